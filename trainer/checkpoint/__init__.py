"""Checkpoints that are whole or not there: written aside, hashed, fsynced, renamed.

    from trainer.checkpoint.store import Checkpoints

    store = Checkpoints(folder, keep=2, rank=0, world=1)
    path = store.save(step, state, pin=False)   # folder/step_N; DiskError when the disk is full, the older ones stay
    path, refused = store.newest_valid()        # the last one saved that is whole; [(path, why)] for those that are not
    state = store.load(path)                    # equal to what was saved; a damaged one is a DataError
    store.pin(path)                             # the best one: kept whatever ``keep`` says; also ``folder/best``
    store.best                                  # its path, or None

``state`` is a nest of dict (any str or int keys), list, tuple, tensor, NumPy array, bytes, str, int, float, bool and
None; dtypes, key types and tuples come back as they were, tensors on the CPU. Nothing is pickled.
``python -m trainer.checkpoint verify FOLDER`` checks one checkpoint or a folder of them.
"""
