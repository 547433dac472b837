"""Processors: text, images and sound to model inputs. Strings only here; a processor is imported when it is used."""

from importlib import import_module

from catalog.processors import audio, image, text

# published class name -> "module:Class", whose load(folder) reads it
REGISTRY: dict[str, str] = text.REGISTRY | image.REGISTRY | audio.REGISTRY


def find(name: str) -> str | None:
    """Where the processor of a published class name is, or None."""
    return REGISTRY.get(name.removesuffix("Fast"))


def processor(source, name: str | None = None):
    """The processor of a folder in the published layout: its tokenizer, its image or audio processor, or both joined.

    ``name`` picks one by its published class. Raises ProcessorError where the folder holds none, or a file is broken.
    """
    return import_module("catalog.processors.joint").load(source, name)
