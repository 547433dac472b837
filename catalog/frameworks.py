"""Loading, saving and converting models of every framework: one door, which imports only what the framework needs."""

from pathlib import Path


def load(
    source, head=None, *, framework="torch", dtype=None, device=None, new=(), revision=None,
    device_map=None, max_memory=None, offload_folder=None,
):  # fmt: skip
    """The model of a checkpoint: in PyTorch, in evaluation mode; in ``"flax"`` an ``nnx.Module``; in ``"tf"`` a Keras model.

    source     a folder in the published layout (``config.json`` and weights of any framework), or a hub id
    head       a task of :func:`catalog.registry.heads`, ``"backbone"``, or ``None``: what the checkpoint says it is
    framework  ``"torch"``, ``"flax"`` or ``"tf"``
    dtype      of the parameters, a ``torch.dtype`` or its name; ``None`` keeps the file's
    device     of a PyTorch model; the other frameworks place arrays themselves
    new        patterns of our names that may be absent from the file and then start fresh (``["out.*"]``)
    revision   of the hub repository
    device_map      ``"auto"``, or path of a module -> device, ``"cpu"`` or ``"disk"``: a PyTorch model over several of them,
                    through accelerate; blocks stay whole
    max_memory      for ``"auto"``: device -> bytes or ``"2GiB"``; ``None`` is what is free
    offload_folder  where parameters on the disk are kept

    Every missing, unexpected and misshapen tensor is listed in one LoadError, and nothing is loaded. MissingExtra names what
    to install where the framework is absent.
    """
    if framework != "torch":
        from catalog.errors import LoadError
        from catalog.ports import store

        placing = {
            "device": device, "device_map": device_map, "max_memory": max_memory, "offload_folder": offload_folder
        }  # fmt: skip
        for name, value in placing.items():
            if value is not None:
                raise LoadError(f"{name}={value!r}: {framework} places arrays itself; {name} is for PyTorch")
        return store.load(source, head, framework, dtype=dtype, new=new, revision=revision)
    from catalog import loading

    if isinstance(dtype, str):
        import torch

        dtype = getattr(torch, dtype)
    return loading.load(
        source, head, dtype=dtype, device=device, new=new, revision=revision,
        device_map=device_map, max_memory=max_memory, offload_folder=offload_folder,
    )  # fmt: skip


def save(model, folder: str | Path, *, framework=None, processor=None, shard_bytes=5_000_000_000, weights=None) -> Path:
    """Write ``config.json``, the weights and, where given, the processor's files; ``catalog.load(folder)`` reads them back.

    ``framework`` says in whose layout, the model's own unless named. Safetensors are split into shards of at most
    ``shard_bytes``. ``weights`` of a PyTorch model, by our names, stand in for its own, which may be on ``meta``. Nothing is
    replaced before all of it is written. Returns the folder. Raises SaveError (exit code 4) naming the file where the disk
    refuses.
    """
    if not hasattr(model, "blueprint") and framework in (None, "torch"):
        from catalog import saving

        return saving.save(model, folder, processor=processor, shard_bytes=shard_bytes, weights=weights)
    from catalog.ports import store

    return store.save(model, folder, framework, processor=processor)


def convert(source: str | Path, folder: str | Path, framework: str) -> str:
    """Write the weights in ``source``, of any framework, as ``framework`` (torch, flax, tf) has them, without building a model.

    ``source`` is a folder in the published layout or a hub id. Returns a line that says what was written. Raises LoadError
    listing every tensor that does not fit the architecture.
    """
    from catalog.ports import store

    return store.convert(source, folder, framework)
