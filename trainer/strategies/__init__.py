"""How one optimizer step is spread over processes and devices: one class a strategy behind one interface (``base``)."""
