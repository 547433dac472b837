"""From a checked configuration to running processes. Importing it imports nothing."""
