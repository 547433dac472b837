"""What every backbone and every head is: a module with a configuration, and the published optional outputs."""

from contextlib import ExitStack
from dataclasses import replace
from fnmatch import fnmatch
from typing import ClassVar

from torch import nn

from catalog.configs import Config
from catalog.layers.attend import recorded_weights


class Model(nn.Module):
    """Base of backbones and heads.

    ``records`` says where the published optional outputs are found: for a field of hidden states the path of a stack and
    of the module whose output is the last state (``("layers", "norm")``), for a field of attention weights a pattern of
    module paths (``"layers.*.attn"``), or a list of them. The stack may be a pattern too (``"stages.*.blocks"``), and a third
    entry a function that brings each state into the published shape. Blocks stay free of it: asking installs hooks for that
    one call.
    """

    config: Config
    name: str  # of the page in the registry
    head: str | None  # the task over the backbone, None for the backbone itself
    records: ClassVar[dict[str, tuple | str | list[str]]] = {
        "hidden_states": ("layers", "layers"),
        "attentions": "layers.*.attn",
    }

    def __call__(self, *inputs, output_hidden_states=False, output_attentions=False, **more):
        """``forward``, plus the hidden states and attention weights where they are asked for."""
        if not (output_hidden_states or output_attentions):
            return super().__call__(*inputs, **more)
        seen: dict[str, list] = {}
        with ExitStack() as hooks:
            for field, where in self.recorded().items():
                if isinstance(where, tuple) and output_hidden_states:
                    seen[field] = []
                    _watch_states(self, *where[:2], seen[field], hooks, *where[2:])
                elif not isinstance(where, tuple) and output_attentions:
                    seen[field] = []
                    _watch_weights(self, [where] if isinstance(where, str) else where, seen[field], hooks)
            out = super().__call__(*inputs, **more)
        return replace(out, **{field: tuple(values) for field, values in seen.items()})

    def recorded(self) -> dict[str, tuple | str | list[str]]:
        """``records`` with paths from this module on."""
        return self.records


def _matching(model, pattern):
    """Modules whose path matches ``pattern``, in order; a star stands for one word."""
    for path, module in model.named_modules():
        if fnmatch(path, pattern) and path.count(".") == pattern.count("."):
            yield module


def _watch_states(model, stack, last, into, hooks, form=lambda state: state):
    """Record what enters each block of ``stack``, and what leaves ``last``, each in the shape that ``form`` gives it."""
    for block in _matching(model, stack) if "*" in stack else model.get_submodule(stack):
        hook = block.register_forward_pre_hook(lambda _, args: into.append(form(args[0])))
        hooks.callback(hook.remove)
    hook = model.get_submodule(last).register_forward_hook(lambda _, args, out: into.append(form(out)))
    hooks.callback(hook.remove)


def _watch_weights(model, patterns, into, hooks):
    """Record the attention weights of every module whose path matches one of ``patterns``, in their order."""
    for pattern in patterns:
        for module in _matching(model, pattern):
            open_ = []

            def enter(_, args, open_=open_):
                open_.append(recorded_weights(into))
                open_[-1].__enter__()

            def leave(_, args, out, open_=open_):
                open_.pop().__exit__(None, None, None)

            hooks.callback(module.register_forward_pre_hook(enter).remove)
            hooks.callback(module.register_forward_hook(leave).remove)


class Backbone(Model):
    """An architecture without a task: ``width`` of its states, ``forward`` -> :class:`catalog.outputs.Encoded`."""

    @property
    def width(self) -> int:
        """Width of the states that ``forward`` returns."""
        return self.config.width
