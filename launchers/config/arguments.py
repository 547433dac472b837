"""The command line, argument by argument, in Hydra's grammar: ``key=value``, ``group=option``, ``+key=value``, ``~key``."""

import re
import typing
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from launchers.config import schema
from launchers.config.errors import OptionError
from launchers.config.values import accepts, is_list, is_text

_SHAPE = re.compile(r"(?P<sign>\+\+|\+|~)?(?P<key>[^=]*?)(?P<set>\s*=\s*(?P<value>.*))?", re.DOTALL)


@dataclass(frozen=True)
class Argument:
    """One argument. ``value`` is parsed; ``text`` is the part behind ``=`` as typed; ``removes`` stands for ``~key``."""

    position: int
    key: str
    value: Any
    text: str
    removes: bool = False

    @property
    def where(self) -> str:
        return f"command line, argument {self.position}"

    @property
    def chooses(self) -> bool:
        """Whether it picks the option of a group."""
        return self.key in schema.GROUPS


class UnknownKey(Exception):
    """An argument whose key does not exist; the caller knows the configuration and can say what is near."""

    def __init__(self, key: str, where: str):
        self.key, self.where = key, where


def parse(position: int, argument: str, commands: Collection[str] = ()) -> Argument:
    """The argument at ``position`` (counted from 1), its key known to the schema or among ``commands``.

    Raises ``OptionError`` for a mistake in the form, ``UnknownKey`` for a key that does not exist.
    """
    where = f"command line, argument {position}"
    found = _SHAPE.fullmatch(argument.strip())
    assert found is not None  # the expression matches any text
    sign, name, text = found["sign"] or "", found["key"].strip(), found["value"]
    if sign != "~" and found["set"] is None:
        raise _no_value(name, where, commands)
    if not name:
        raise OptionError(f"no key before '=' in '{argument}'", where, ("write key=value",))
    key = schema.find(name)
    if name in schema.GROUPS and (text or "").lstrip()[:1] in ("{", "["):
        raise OptionError(f"{name}={text}: an option is a name", where, (f"single keys: {name}.KEY=VALUE",))
    if name in commands or name in schema.GROUPS:
        if sign == "~":
            raise OptionError(f"'{argument}': a run needs its {name}", where, (f"choose another: {name}=OPTION",))
        return Argument(position, name, _unquote(text).strip(), text)
    if name in schema.sections():
        hint = f"below it: {', '.join(schema.below(name))}"
        raise OptionError(f"'{name}' is a section and has no value of its own", where, (hint,))
    if key is None:
        raise UnknownKey(name, where)
    if sign == "~":
        if key.name == name:
            raise OptionError(f"'{argument}' would leave {name} without a value", where, (_off(key),))
        return Argument(position, name, None, "", removes=True)
    return Argument(position, name, _value(key, name, text, where), text)


def _value(key: schema.Key, name: str, text: str, where: str) -> Any:
    """The value behind ``=``. Free text is taken as typed, everything else is read by Hydra's grammar."""
    if not text or text == "???":  # Hydra's word for a value that is still to come
        raise OptionError(f"{name}={text}: no value", where, (_off(key),))
    listed = is_list(key) and text.startswith("[")
    if is_text(key) and not listed and text != "null" and "${" not in text:
        return _unquote(text)
    try:
        override = OverridesParser.create().parse_override(f"{name}={text}")
    except HydraException:
        hint = f"text with special characters: '{name}=\"{text}\"'" if key.is_open else f"accepts: {accepts(key)}"
        raise OptionError(f"{name}={text}: not a value", where, (hint,)) from None
    if override.is_sweep_override():
        raise OptionError(
            f"{name}={text} names several values", where, ("one run takes one value; a sweep: add --multirun",)
        )
    return override.value()


def _unquote(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace(f"\\{text[0]}", text[0])
    return text


def _off(key: schema.Key) -> str:
    optional = type(None) in typing.get_args(key.type)
    return f"to switch it off: {key.name}=null" if optional else f"accepts: {accepts(key)}"


def _no_value(name: str, where: str, commands: Collection[str]) -> OptionError:
    known = schema.find(name) is not None or name in schema.GROUPS or name in commands
    hint = f"write {name}=VALUE" if known else "arguments are key=value"
    if ":" in name:
        hint = f"write {name.replace(': ', '=').replace(':', '=')}"
    return OptionError(f"'{name}' has no '='", where, (hint,))


def last(arguments: Sequence[Argument], key: str) -> Argument | None:
    """The argument that decides ``key``: the last one that names it."""
    return next((argument for argument in reversed(arguments) if argument.key == key), None)
