"""Fresh weights at the published scale.

A module that owns bare parameters (neither Linear, Embedding, convolution nor norm) says how they start by a method
``initialise(std)``; so does a module whose parts start otherwise than the rule here. Nothing is left to memory's content:
a module that owns parameters and has no rule is an error.
"""

import torch
from torch import nn

from catalog.errors import ConfigError

_MATRICES = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.RMSNorm)


@torch.no_grad()
def initialise(module: nn.Module, std: float, only: set[str] | None = None) -> None:
    """Give every parameter of ``module`` its starting value: matrices normal(0, std), biases 0, norms 1 and 0.

    ``only``: full names of the parameters to start anew; whatever shares a module with them stays as it is.
    Raises ConfigError for a module with parameters of its own and no rule.
    """
    for path, part in reversed(list(module.named_modules())):  # parts before their owner, whose rule goes over theirs
        names = {f"{path}.{name}".lstrip(".") for name, _ in part.named_parameters(recurse=False)}
        if only is not None and not names & only:
            continue
        kept = {name: parameter.detach().clone() for name, parameter in part.named_parameters(recurse=False)
                if only is not None and f"{path}.{name}".lstrip(".") not in only}  # fmt: skip
        _start(path, part, std, bool(names))
        for name, value in kept.items():
            getattr(part, name).copy_(value)


def _start(path, part, std, owns):
    if hasattr(part, "initialise"):
        part.initialise(std)
    elif isinstance(part, _MATRICES):
        part.weight.normal_(0.0, std)
        if getattr(part, "bias", None) is not None:
            part.bias.zero_()
        if getattr(part, "padding_idx", None) is not None:
            part.weight[part.padding_idx].zero_()
    elif isinstance(part, _NORMS):
        part.reset_parameters()
    elif owns:
        raise ConfigError(
            f"{type(part).__name__} at '{path}' has parameters and no rule to start them: give it an initialise(std)"
        )
