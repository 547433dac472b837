"""Optimizers: AdamW with weight decay on matrices only, in one fused kernel where the device has it, and four more."""

from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.amp import GradScaler
from torch.distributed.tensor import DTensor
from torch.optim import SGD, Adafactor, Adam, AdamW, Optimizer

from trainer import rounding
from trainer.errors import OptionError
from trainer.options import OptimOptions

NO_DECAY = ("bias", "*.bias", "*norm*.weight", "*norm*.scale")  # the catalog's names of what has no direction to shrink
FUSED = {"cpu", "cuda", "xpu"}  # on CPU one fused pass over BERT takes a third of the foreach form's time
TAKES = {  # of the options beside rate and decay; the others are null
    "adamw": {"betas", "eps"}, "adam": {"betas", "eps"}, "sgd": {"momentum"}, "adafactor": set(),
}  # fmt: skip


def decays(name: str) -> bool:
    """Whether weight decay acts on the parameter of that name: on matrices and embeddings, not on norms and biases."""
    return not any(fnmatchcase(name, pattern) for pattern in NO_DECAY)


def groups(model: nn.Module, decay: float) -> list[dict]:
    """Parameter groups of the trainable parameters, with and without weight decay; tied ones appear once.

    One group holds tensors that are divided among the same processes: one kernel cannot update others together.
    """
    split: dict[tuple, list[nn.Parameter]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            split.setdefault((decays(name), getattr(p, "device_mesh", None)), []).append(p)
    order = sorted(split.items(), key=lambda entry: not entry[0][0])
    return [{"params": params, "weight_decay": decay * side} for (side, _), params in order]


def build(model: nn.Module, options: OptimOptions) -> Optimizer:
    """The optimizer of ``options.name`` over the trainable parameters of ``model``: AdamW (Loshchilov and Hutter, 2017,
    arXiv:1711.05101), Adam (Kingma and Ba, 2014, arXiv:1412.6980), SGD with momentum, or Adafactor (Shazeer and Stern,
    2018, arXiv:1804.04235).

    Raises :class:`OptionError` when there are none, or the optimizer cannot do what is asked.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise OptionError("every parameter of the model is frozen: there is nothing to train")
    check(options, trained)
    split, fused = groups(model, options.decay), {p.device.type for p in trained} <= FUSED
    if options.name == "adafactor":
        return Adafactor(split, lr=options.lr)
    if options.name == "sgd":
        # not fused: that kernel, told to skip its first step, goes on with averages that were never written
        return SGD(split, lr=options.lr, momentum=options.momentum)
    kind = {"adamw": AdamW, "adam": Adam}[options.name]
    return kind(
        split, lr=options.lr, betas=tuple(options.betas), eps=options.eps, fused=fused, foreach=None if fused else True
    )


def check(options: OptimOptions, trained: list[nn.Parameter]) -> None:
    """Raise :class:`OptionError` for an option the optimizer lacks or needs, and for one that no strategy divides."""
    for field in ("betas", "eps", "momentum"):
        given, takes = getattr(options, field) is not None, field in TAKES[options.name]
        if given != takes:
            raise OptionError(
                f"optim.{field}={getattr(options, field)}: {options.name} "
                + (
                    "has no such option; leave it null"
                    if given
                    else "needs it; take the value of its file in conf/optim"
                )
            )
    if options.name == "adafactor" and any(isinstance(p, DTensor) for p in trained):
        raise OptionError(
            "optim=adafactor averages over whole rows and columns, which no process holds under this strategy\n"
            "   take optim=adamw, or strategy=ddp"
        )


def update(optimizer: Optimizer, lr: float, skip: Tensor, scaler: GradScaler | None = None) -> None:
    """One step at rate ``lr`` unless ``skip`` (scalar float, on the device) is 1; gradients are cleared.

    Weights that are kept in bf16 are rounded at random, see :mod:`trainer.rounding`.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr
    if scaler is not None:
        scaler.step(optimizer)  # skips by itself on the infinities that unscale_ found
        scaler.update()
    elif optimizer.defaults.get("fused"):
        optimizer.grad_scale, optimizer.found_inf = None, skip  # the kernel reads it: no wait for the device
        rounding.step(optimizer)
    elif not skip:
        rounding.step(optimizer)
    optimizer.zero_grad(set_to_none=True)
