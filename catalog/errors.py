"""Errors of the catalog: each one a complete message, each with the exit code of the program that meets it."""

from collections.abc import Iterable
from difflib import get_close_matches


class CatalogError(Exception):
    """What a user can cause in the catalog. ``exit_code`` 3: the data or the files are at fault."""

    exit_code = 3


class ConfigError(CatalogError):
    """A size or choice that the architecture cannot have."""

    exit_code = 2


class UnknownModel(ConfigError):
    """A name that the catalog does not hold."""


class UnknownField(ConfigError):
    """A configuration field that the model does not have."""


class LoadError(CatalogError):
    """A checkpoint that cannot be read as the model it is said to be; nothing was loaded."""


class NameMapError(CatalogError):
    """A name map that contradicts itself: a mistake on the model's page, found when the page is imported."""


class ProcessorError(CatalogError):
    """A tokenizer, image or audio file, or an input, that a processor cannot use."""


class MissingExtra(CatalogError):
    """An optional dependency that is not installed; the message names the extra."""

    exit_code = 2


def closest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The names in ``known`` most like ``name``, best first."""
    return get_close_matches(name, list(known), n=count, cutoff=0.5)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for a misspelt name, or nothing when no name is near."""
    near = closest(name, known, 1)
    return f"; did you mean '{near[0]}'?" if near else ""


class SaveError(CatalogError):
    """A folder that cannot be written; what stood there before is untouched."""

    exit_code = 4


class PortError(CatalogError):
    """A model, or a way of calling it, that cannot be carried to another framework; or a port's file that is damaged."""
