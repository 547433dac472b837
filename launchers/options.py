"""How processes are started; defaults are in ``conf/launcher``, metadata as in ``trainer/options.py``."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class LauncherOptions:
    """Who runs the recipe."""

    name: Literal["local"] = field(metadata={"help": "local: this process", "option": True})
