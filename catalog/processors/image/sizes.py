"""Target sizes, by rule: a published ``size`` dict names its rule by its keys; ``fit`` gives the size of one image.

The rounding is part of each rule: published pixels depend on it.
"""

from dataclasses import dataclass, fields

from catalog.errors import ProcessorError


class Size:
    """A rule (height, width) -> (height, width)."""

    def read(self, value, where):
        """A published ``size`` as a rule. A plain number, as old files have it, is read by this size's own rule."""
        if isinstance(value, dict):
            for rule in (Exact, Shortest, Within, Longest):
                if {f.name for f in fields(rule)} == value.keys():
                    _positive(value.values(), value, where)
                    return rule(**value)
        elif isinstance(value, (list, tuple)) and len(value) == 2:
            _positive(value, value, where)
            return Exact(*value)
        else:
            _positive([value], value, where)
            return self.of(value)
        raise ProcessorError(
            f"{where}: expected keys height and width, shortest_edge, longest_edge, or both edges; found {value!r}"
        )

    def fit(self, height, width):
        """Size of the resized image, (height, width) in pixels."""
        raise NotImplementedError


def _positive(numbers, value, where):
    if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers):
        raise ProcessorError(f"{where}: expected positive whole pixels, found {value!r}")


@dataclass(frozen=True)
class Exact(Size):
    """Always this size; the shape is not kept."""

    height: int
    width: int

    def of(self, n):
        return Exact(n, n)

    def fit(self, height, width):
        return self.height, self.width


@dataclass(frozen=True)
class Shortest(Size):
    """The shorter edge becomes ``shortest_edge``, the longer keeps the shape, rounded down."""

    shortest_edge: int

    def of(self, n):
        return Shortest(n)

    def fit(self, height, width):
        n = self.shortest_edge
        return (n, int(n * width / height)) if height <= width else (int(n * height / width), n)


@dataclass(frozen=True)
class Within(Size):
    """As ``Shortest``, but with a shorter edge small enough that the longer one stays within ``longest_edge``."""

    shortest_edge: int
    longest_edge: int

    def of(self, n):
        return Within(n, self.longest_edge)

    def fit(self, height, width):
        short, long = sorted((height, width))
        n = self.shortest_edge
        if long / short * n > self.longest_edge:
            n = round(self.longest_edge * short / long)
        return Shortest(n).fit(height, width)


@dataclass(frozen=True)
class Longest(Size):
    """The longer edge becomes ``longest_edge``, the other keeps the shape, rounded to the nearest pixel."""

    longest_edge: int

    def of(self, n):
        return Longest(n)

    def fit(self, height, width):
        scale = self.longest_edge / max(height, width)
        return int(height * scale + 0.5), int(width * scale + 0.5)
