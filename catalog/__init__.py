"""Trivium's model catalog: every architecture is one page of PyTorch, loaded by its published name.

Importing the package imports no framework; each name below brings what it needs when it is first used.
"""

from importlib import import_module

_HOMES = {
    "build": "catalog.building",
    "config": "catalog.building",
    "read_config": "catalog.building",
    "load": "catalog.frameworks",
    "save": "catalog.frameworks",
    "convert": "catalog.frameworks",
    "chunk_loss": "catalog.heads.base",
    "export": "catalog.exporting.export",
    "names": "catalog.registry",
    "names_of": "catalog.registry",
    "card": "catalog.cards",
    "pipeline": "catalog.pipelines.making",
    "processor": "catalog.processors",
    "generate": "catalog.generation.generate",
    "stream": "catalog.generation.generate",
    "Decoding": "catalog.generation.options",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'catalog' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
