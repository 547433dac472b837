"""Checkpoints that are whole or not there: each process writes its parts aside; hashed, fsynced, renamed.

    from trainer.checkpoint.store import Checkpoints

    store = Checkpoints(folder, keep=2, rank=0, gather=gather)
    path = store.save(step, own, tensors)       # folder/step_N; DiskError when the disk is full, the older ones stay
    store.save(step, own, tensors, wait=False)  # from a copy, in a thread; store.finish() waits for it
    path, refused = store.newest_valid()        # the last one saved that is whole; [(path, why)] for those that are not
    saved = store.load(path)                    # a damaged one is a DataError
    saved.fill(tensors)                         # each process takes its parts, however they were divided when saved
    saved.values(rank)                          # equal to the ``own`` of that process
    store.pin(path)                             # the best one: kept whatever ``keep`` says; also ``folder/best``
    store.best                                  # its path, or None

``tensors`` are tensors and ``DTensor`` by name. ``own`` is a nest of dict (any str or int keys), list, tuple, tensor, NumPy
array, bytes, str, int, float, bool and None; dtypes, key types and tuples come back as they were, tensors on the CPU.

    step_N/rank_R.safetensors   the parts that process R wrote (what several hold is written once), and its own tensors
    step_N/rank_R.json          the rest of its ``own``
    step_N/index.json           of every tensor dtype, shape and the place of its parts: [[rank, offsets, sizes], ...]
    step_N/manifest.json        size and sha256 of every file; written last

Who writes what, and who reads what, is decided by the planner of ``torch.distributed.checkpoint``; its own file formats
hold a pickle, these do not. ``python -m trainer.checkpoint verify FOLDER`` checks one checkpoint or a folder of them.
"""
