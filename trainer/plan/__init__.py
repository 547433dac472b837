"""What a run would take of every GPU of a cluster, found on one process without any: ``plan=true``.

The engine itself runs, on tensors without memory: its strategies divide the model, its ``Stepper`` computes one optimizer step.
So what is planned is what will be done.
"""
