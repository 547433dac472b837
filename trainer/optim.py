"""The optimizer: AdamW with weight decay on matrices only, in one fused kernel where the device has it."""

from fnmatch import fnmatchcase

from torch import nn
from torch.optim import AdamW, Optimizer

from trainer.errors import OptionError
from trainer.options import OptimOptions

NO_DECAY = ("bias", "*.bias", "*norm*.weight", "*norm*.scale")  # the catalog's names of what has no direction to shrink
FUSED = {"cpu", "cuda", "xpu"}  # on CPU one fused pass over BERT takes a third of the foreach form's time


def decays(name: str) -> bool:
    """Whether weight decay acts on the parameter of that name: on matrices and embeddings, not on norms and biases."""
    return not any(fnmatchcase(name, pattern) for pattern in NO_DECAY)


def groups(model: nn.Module, decay: float) -> list[dict]:
    """Two parameter groups of the trainable parameters, with and without weight decay; tied ones appear once."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    split = [[p for name, p in named if decays(name) is side] for side in (True, False)]
    return [{"params": params, "weight_decay": decay * side} for params, side in zip(split, (1, 0)) if params]


def build(model: nn.Module, options: OptimOptions) -> Optimizer:
    """AdamW (Loshchilov and Hutter, 2017, arXiv:1711.05101) over the trainable parameters of ``model``.

    Raises :class:`OptionError` when there are none.
    """
    devices = {p.device.type for p in model.parameters() if p.requires_grad}
    if not devices:
        raise OptionError("every parameter of the model is frozen: there is nothing to train")
    return AdamW(
        groups(model, options.decay),
        lr=options.lr,
        betas=tuple(options.betas),
        eps=options.eps,
        fused=devices <= FUSED,
        foreach=None if devices <= FUSED else True,
    )


def state(optimizer: Optimizer, model: nn.Module) -> dict[str, dict]:
    """Running averages and step counts by parameter name, so that no order of parameters can mix them up."""
    return {name: dict(optimizer.state[p]) for name, p in model.named_parameters() if p in optimizer.state}


def load(optimizer: Optimizer, model: nn.Module, saved: dict[str, dict]) -> None:
    """Put back what ``state`` returned; tensors go to the device of their parameter.

    Raises ``ValueError`` naming parameters that ``saved`` has and the model does not train.
    """
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if unknown := sorted(saved.keys() - params.keys()):
        raise ValueError(f"optimizer state of parameters that are not trained here: {', '.join(unknown)}")
    fused = optimizer.defaults["fused"]
    optimizer.state.clear()
    for name, entries in saved.items():
        p = params[name]
        for key, value in entries.items():
            device = p.device if fused or key != "step" else "cpu"  # only fused kernels count steps on the device
            optimizer.state[p][key] = value.to(device=device, copy=True)
