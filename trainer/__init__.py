"""The training loop, its data engine and its checkpoints. Knows nothing of any architecture; importing it imports nothing."""
