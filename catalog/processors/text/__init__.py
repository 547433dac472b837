"""Tokenizers. Nothing is imported before it is used."""

from importlib import import_module

_HOMES = {
    "Tokenizer": "catalog.processors.text.tokenizer",
    "load": "catalog.processors.text.files",
    "train_wordpiece": "catalog.processors.text.training",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'catalog.processors.text' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
