"""What a port knows of its model without PyTorch: its leaves, its published names, its programs.

A blueprint makes a program when it is first asked for one: from memory, from the folder it was loaded with, from the cache
(``TRIVIUM_CACHE``, else ``trivium`` in the user's cache folder), or by exporting the page, which needs PyTorch.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from catalog.errors import MissingExtra, PortError
from catalog.ports.ir import VERSION, Program, digest
from catalog.ports.request import Request

FILE, CONSTANTS = "port.json", "port.safetensors"


class Leaf(NamedTuple):
    """A parameter or buffer. ``role`` is what its module is (``linear``, ``embedding``, ``norm`` ...).

    ``kind``: ``parameter``, ``frozen`` (does not learn), ``statistic`` (of a batch norm), ``buffer``, or ``table`` (computed
    from the configuration, in no checkpoint). ``tie``: the first name of the same tensor, where it has several.
    """

    shape: tuple[int, ...]
    dtype: str
    role: str
    kind: str
    tie: str | None


class Step(NamedTuple):
    """Our tensors ``ours`` are the published ones ``published``, of these shapes; ``plain``: one and the same, renamed."""

    ours: list[str]
    published: list[str]
    shapes: list[list[int]]
    plain: bool


@dataclass(eq=False)
class Blueprint:
    """One model; see the module docstring. Compared by identity, so that traced functions may hold it."""

    model: str
    head: str | None
    config: dict[str, Any]  # the published config.json
    arguments: list[str]  # of forward, in order
    leaves: dict[str, Leaf]
    published: list[Step]
    tables: dict[str, np.ndarray] = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)  # by type: the page, built without weights when one is needed

    @property
    def title(self) -> str:
        """The model in words."""
        return f"{self.model} with {self.head}" if self.head else self.model

    def program(self, request: Request) -> Program:
        """The program of a request. Raises PortError; MissingExtra where it would need PyTorch and that is absent."""
        if request.key not in self.programs:
            self.programs[request.key] = self._made(request)
        return self.programs[request.key]

    def _made(self, request):
        try:
            import torch
        except ImportError:
            raise MissingExtra(
                f"{self.title}: no program for ({request}) came with this port, and making one needs PyTorch: "
                'pip install "trivium", or call the port so once where it is installed and save it again'
            ) from None
        identity = digest([VERSION, torch.__version__, _sources(), self.model, self.head, self.config, request.key])
        file = _cache() / f"{identity}.json"
        found = _read_cached(file)
        if found is None:
            from catalog.ports.export import export, source

            if request.dtype not in self.sources:
                self.sources[request.dtype] = source(self, request.dtype)
            found = export(self.sources[request.dtype], request)
            _write_cached(file, found)
        return found

    def to_json(self) -> dict[str, Any]:
        """The blueprint and its programs as plain data."""
        return {
            "version": VERSION,
            "model": self.model,
            "head": self.head,
            "config": self.config,
            "arguments": self.arguments,
            "leaves": {name: list(leaf) for name, leaf in self.leaves.items()},
            "published": [list(step) for step in self.published],
            "programs": {key: program.to_json() for key, program in self.programs.items()},
        }

    def save(self, folder: Path) -> None:
        """Write ``port.json`` and its tensors beside the weights, so that the port can be used without PyTorch."""
        from safetensors.numpy import save_file

        from catalog.ports.files import replace

        arrays = {f"table:{name}": array for name, array in self.tables.items()}
        for program in self.programs.values():
            arrays |= program.constants
        replace(
            folder / CONSTANTS, lambda path: save_file({k: np.array(v, order="C") for k, v in arrays.items()}, path)
        )
        replace(folder / FILE, lambda path: path.write_text(json.dumps(self.to_json()), encoding="utf-8"))

    @classmethod
    def load(cls, folder: Path) -> "Blueprint":
        """The inverse of :meth:`save`. Raises PortError naming the file that is damaged or of another version."""
        data, arrays = _read(folder / FILE, folder / CONSTANTS)
        try:
            leaves = {n: Leaf(tuple(v[0]), *v[1:]) for n, v in data["leaves"].items()}
            published = [Step(*step) for step in data["published"]]
            tables = {n.removeprefix("table:"): a for n, a in arrays.items() if n.startswith("table:")}
            programs = {k: Program.from_json(p, arrays, str(folder / FILE)) for k, p in data["programs"].items()}
            return cls(
                data["model"], data["head"], data["config"], data["arguments"], leaves, published, tables, programs
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise PortError(f"{folder / FILE}: not a whole port ({type(error).__name__}: {error}); delete it") from None


def _read(file: Path, constants: Path) -> tuple[Mapping[str, Any], dict[str, np.ndarray]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.get("version") != VERSION:
            raise PortError(f"{file}: not a port of version {VERSION}; delete it and save the port again")
        return data, load_file(constants)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, SafetensorError) as error:
        raise PortError(f"{file}: cannot be read ({error}); delete it and save the port again") from None


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TRIVIUM_CACHE") or Path(home) / "trivium") / "ports"


def _sources() -> str:
    """A hash of the code that pages are made of: a changed page is another program."""
    root = Path(__file__).parents[1]
    found = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*.py") if not {"processors", "checkpoints", "presets"} & set(p.parts)):
        if "ports" not in path.parts or path.name in ("export.py", "partition.py", "ops.py", "ir.py", "request.py"):
            found.update(path.read_bytes())
    return found.hexdigest()


def _read_cached(file):
    if not file.is_file():
        return None
    try:
        data, arrays = _read(file, file.with_suffix(".safetensors"))
        return Program.from_json(data, arrays, str(file))
    except PortError:
        return None  # a half-written or damaged entry is made again


def _write_cached(file, program):
    from safetensors.numpy import save_file

    from catalog.ports.files import replace

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file.with_suffix(".safetensors"), lambda path: save_file(program.constants, path))
        replace(file, lambda path: path.write_text(json.dumps(program.to_json()), encoding="utf-8"))
    except OSError:
        return  # a cache that cannot be written is no cache
