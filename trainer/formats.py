"""In which number formats a run keeps what, measured at its first optimizer step."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from trainer.console import size
from trainer.strategies import norms

Formats = Mapping[str, Mapping[str, int]]  # what -> format -> bytes of it on this process


@contextmanager
def watched(model: nn.Module) -> Iterator[dict[str, Counter]]:
    """Within the block an optimizer's step fills the yielded table: bytes of trained and frozen weights, gradients and
    optimizer state by format, read from the tensors as they lie on this process. It stays empty when no step was made.

    The optimizer is met through PyTorch's own hook, so that it may belong to anybody.
    """
    found: dict[str, Counter] = {}

    def look(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        params = [p for group in optimizer.param_groups for p in group["params"]]
        if not found:
            held = [*model.parameters()]
            found["weights"] = count(part for p in held if p.requires_grad for part in norms.kept(p))
            frozen = [part for p in held if not p.requires_grad for part in norms.kept(p)]
            found["frozen"] = count([*frozen, *model.buffers()])
            grads = [p.grad for p in held if p.grad is not None]
            found["gradients"] = count(grads or [p.grad for p in params if p.grad is not None])
            found["optimizer"] = Counter()
        entries = [entry for p in params for entry in optimizer.state.get(p, {}).values()]
        found["optimizer"] += count(entry for entry in entries if isinstance(entry, Tensor) and entry.dim())

    handle = register_optimizer_step_post_hook(look)
    try:
        yield found
    finally:
        handle.remove()


def count(tensors: Iterable[Tensor]) -> Counter:
    """Bytes by format."""
    bytes_ = Counter()
    for tensor in tensors:
        for part in _plain(tensor.detach()):
            bytes_[str(part.dtype).removeprefix("torch.")] += part.numel() * part.element_size()
    return bytes_


def _plain(tensor: Tensor) -> Iterator[Tensor]:
    """The tensors that one consists of: a part of a ``DTensor``, codes and scales of a quantised one."""
    if is_traceable_wrapper_subclass(tensor):
        for name in tensor.__tensor_flatten__()[0]:
            if isinstance(part := getattr(tensor, name), Tensor):  # a DTensor names its mesh beside its part
                yield from _plain(part)
    else:
        yield tensor


def line(found: Formats, computed: str) -> str:
    """``weights float32 17.5 MiB   gradients ...``: one line of the table."""
    parts = [
        f"{what} {' + '.join(f'{dtype} {size(n)}' for dtype, n in sorted(formats.items()))}"
        for what, formats in found.items()
        if formats
    ]
    return "   ".join([*parts, f"computed in {computed}"])
