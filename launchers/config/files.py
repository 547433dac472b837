"""Reading one YAML file so that every value knows its line."""

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader  # the loader Hydra reads with: 1e-3 is a number, a repeated key an error

from launchers.config.errors import OptionError


@dataclass(frozen=True)
class Entry:
    """One value of a file: its dotted key, the value, its text and the ``file:line`` where it stands."""

    name: str
    value: Any
    text: str
    where: str


@dataclass(frozen=True)
class ConfigFile:
    """A YAML mapping with the place of every value. ``shown`` is the path as messages write it."""

    shown: str
    text: str
    node: Any
    data: dict[str, Any]

    def entries(self, *below: str, deep: bool = True) -> list[Entry]:
        """The values under the keys ``below``; with ``deep`` the leaves by dotted name, else the next level only."""
        node, data = self.node, self.data
        for key in below:
            node = next((v for k, v in node.value if k.value == key), None)
            if not isinstance(node, yaml.MappingNode):
                return []
            data = data[key]
        return list(self._walk(node, data, "", deep))

    def items(self, key: str) -> list[Entry]:
        """The items of a list below ``key``, named by nothing, each with its line."""
        node = next((v for k, v in self.node.value if k.value == key), None)
        if not isinstance(node, yaml.SequenceNode):
            return []
        pairs = zip(node.value, self.data[key])
        return [Entry("", data, self._source(item), f"{self.shown}:{item.start_mark.line + 1}") for item, data in pairs]

    def line(self, *below: str) -> str:
        """``file:line`` of a key."""
        node, line = self.node, 1
        for key in below:
            found = [pair for pair in node.value if pair[0].value == key] if isinstance(node, yaml.MappingNode) else []
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        return f"{self.shown}:{line}"

    def _walk(self, node: Any, data: Any, prefix: str, deep: bool) -> Iterator[Entry]:
        for (key, value), item in zip(node.value, data.values()):
            name = prefix + key.value
            if deep and isinstance(value, yaml.MappingNode) and value.value:
                yield from self._walk(value, item, f"{name}.", deep)
            else:
                text = value.value if isinstance(value, yaml.ScalarNode) else self._source(value)
                yield Entry(name, item, text, f"{self.shown}:{key.start_mark.line + 1}")

    def _source(self, node: Any) -> str:
        return " ".join(self.text[node.start_mark.index : node.end_mark.index].split())


def read(path: Path) -> ConfigFile:
    """The file at ``path``; every mistake in it is an ``OptionError`` with its line."""
    shown = shorten(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise OptionError(f"not UTF-8 at byte {error.start}", shown, ("save the file as UTF-8",)) from None
    except OSError as error:
        raise OptionError(f"cannot be read: {error.strerror}", shown) from None
    return _parsed(shown, text)


@functools.lru_cache(maxsize=256)  # a sweep reads the same files for every job
def _parsed(shown: str, text: str) -> ConfigFile:
    try:
        loader = get_yaml_loader()(text)
        node = loader.get_single_node()
        _refuse_odd_keys(shown, node)
        data = {} if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _broken(shown, text, error) from None
    if node is None:
        node = yaml.MappingNode("tag:yaml.org,2002:map", [])
    if not isinstance(node, yaml.MappingNode):
        raise OptionError("not a mapping of keys to values", f"{shown}:1", ("write lines of the form key: value",))
    return ConfigFile(shown, text, node, data)


def _refuse_odd_keys(shown: str, node: Any) -> None:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
            raise OptionError("a key must be a plain word", f"{shown}:{key.start_mark.line + 1}")
        _refuse_odd_keys(shown, value)


def shorten(path: Path) -> str:
    """``path`` relative to the working folder or the project, whichever holds it."""
    project = Path(__file__).resolve().parents[2]
    for base in (Path.cwd(), project):
        if path.resolve().is_relative_to(base):
            return path.resolve().relative_to(base).as_posix()
    return os.fspath(path)


def _broken(shown: str, text: str, error: yaml.YAMLError) -> OptionError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{shown}:{mark.line + 1}" if mark else shown
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return OptionError("a tab where YAML wants spaces", where, ("indent with two spaces",))
    problem = getattr(error, "problem", None) or "not YAML"
    return OptionError(f"not YAML: {problem}", where, (f"the line reads: {line.strip()}" if line.strip() else "",))
