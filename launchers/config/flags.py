"""The few words of the command line that begin with a dash."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launchers.config.errors import OptionError
from launchers.config.nearest import nearest

KNOWN = {
    "--help": "help", "-h": "help", "--multirun": "multirun", "-m": "multirun", "--config-dir": "config_dir",
    "--show": "show",
}  # fmt: skip
VALUED = ("config_dir", "show")


@dataclass(frozen=True)
class CommandLine:
    """``settings`` are the arguments without a dash, each with its position counted from 1.

    ``--show 3`` is another word for the setting ``train.show=3``.
    """

    help: bool
    multirun: bool
    folders: tuple[Path, ...]
    settings: tuple[tuple[int, str], ...]


def split(argv: Sequence[str]) -> CommandLine:
    """Flags apart from settings. Raises ``OptionError`` for a flag that does not exist."""
    seen: set[str] = set()
    folders: list[Path] = []
    settings: list[tuple[int, str]] = []
    words = iter(enumerate(argv, 1))
    for position, word in words:
        if not word.startswith("-"):
            settings.append((position, word))
            continue
        name, _, value = word.partition("=")
        where = f"command line, argument {position}"
        flag = KNOWN.get(name)
        if flag is None or (value and flag not in VALUED):
            raise _unknown(word, name, where)
        if flag in VALUED:
            value = value or next(words, (0, ""))[1]
        if flag == "show":
            settings.append((position, f"train.show={value}"))
        if flag == "config_dir":
            if not Path(value).is_dir() or not value:
                raise OptionError(f"--config-dir {value}: no such folder", where, ("a folder laid out like conf/",))
            folders.append(Path(value).resolve())
        seen.add(flag)
    return CommandLine("help" in seen, "multirun" in seen, tuple(folders), tuple(settings))


def _unknown(word: str, name: str, where: str) -> OptionError:
    meant = nearest(name, KNOWN)
    if meant is None and "=" in word:
        return OptionError(f"unknown flag '{name}'", where, (f"settings have no dashes: {word.lstrip('-')}",))
    hint = f"did you mean '{meant}'?" if meant else "settings are key=value"
    flags = "flags: --help, --multirun, --config-dir FOLDER, --show N"
    return OptionError(f"unknown flag '{word}'", where, (hint, flags))
