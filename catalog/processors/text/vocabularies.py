"""Vocabulary files of the published layout, read with messages that name the file and the line."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from catalog.errors import ProcessorError


@dataclass
class Source:
    """A folder of vocabulary files. ``files`` collects what was read, so that saving writes the same bytes."""

    folder: Path
    files: dict[str, bytes] = field(default_factory=dict)

    def find(self, *names: str) -> str | None:
        """The first of ``names`` that the folder holds."""
        return next((name for name in names if name in self.files or (self.folder / name).is_file()), None)

    def path(self, name: str) -> Path:
        return self.folder / name

    def bytes(self, *names: str) -> tuple[str, bytes]:
        """Name and content of the first of ``names`` that exists."""
        name = self.find(*names)
        if name is None:
            held = sorted(p.name for p in self.folder.iterdir()) if self.folder.is_dir() else []
            holds = f"it holds {', '.join(held[:8])}" if held else "it is empty or not a folder"
            raise ProcessorError(f"{self.folder}: no vocabulary file {' or '.join(names)}; {holds}")
        if name not in self.files:
            try:
                self.files[name] = self.path(name).read_bytes()
            except OSError as error:
                raise ProcessorError(f"{self.path(name)}: cannot be read ({error.strerror})") from None
        return name, self.files[name]

    def text(self, *names: str) -> tuple[Path, str]:
        name, content = self.bytes(*names)
        try:
            return self.path(name), content.decode("utf-8")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise ProcessorError(f"{self.path(name)}:{line}: not UTF-8; byte {content[error.start]:#04x}") from None

    def json(self, *names: str):
        path, text = self.text(*names)
        try:
            return path, json.loads(text)
        except json.JSONDecodeError as error:
            raise ProcessorError(f"{path}:{error.lineno}: not JSON ({error.msg}); the file may be truncated") from None


def from_lines(source: Source, *names: str) -> dict[str, int]:
    """vocab.txt: a token a line, its id is the line number from 0."""
    path, text = source.text(*names)
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    vocab = {}
    for number, line in enumerate(lines):
        token = line.rstrip("\r")
        if token in vocab:
            raise ProcessorError(
                f"{path}:{number + 1}: token {token!r} stands at line {vocab[token] + 1} already; "
                f"each token must have one id"
            )
        vocab[token] = number
    return not_empty(vocab, path)


def counted(text: str) -> list[str]:
    """fairseq's dictionaries: a piece, a blank and its count a line. Lines end in a line feed only: pieces hold others."""
    return [line.partition(" ")[0] for line in text.split("\n") if line.strip()]


def from_json(source: Source, *names: str) -> dict[str, int]:
    """vocab.json: {token: id}, each id once."""
    path, vocab = source.json(*names)
    if not isinstance(vocab, dict):
        raise ProcessorError(f"{path}: expected an object of token: id, found {type(vocab).__name__}")
    return check_ids(vocab, path)


def check_ids(vocab: dict[str, int], path) -> dict[str, int]:
    """Refuse ids that are no integers, or that two tokens share."""
    holder = {}
    for token, i in vocab.items():
        if not isinstance(i, int) or isinstance(i, bool) or i < 0:
            raise ProcessorError(f"{path}: token {token!r} has id {i!r}; expected an integer from 0")
        if i in holder:
            raise ProcessorError(
                f"{path}: id {i} belongs to {holder[i]!r} and to {token!r}; each id must have one token"
            )
        holder[i] = token
    return not_empty(vocab, path)


def not_empty(vocab, path):
    if not vocab:
        raise ProcessorError(f"{path}: no token in it; expected a vocabulary")
    return vocab


def merges(source: Source, *names: str, columns: int = 2) -> list[tuple[str, str]]:
    """merges.txt: two pieces a line in rank order, after an optional ``#version`` line.

    ``columns=3`` is for files whose lines end in a count (PhoBERT, XLM).
    """
    path, text = source.text(*names)
    pairs = []
    for number, line in enumerate(text.split("\n")):
        if not line.strip() or (number == 0 and line.startswith("#version")):
            continue
        parts = line.rstrip("\r").split(" ")
        if len(parts) != columns and not (columns == 3 and len(parts) == 2):
            raise ProcessorError(f"{path}:{number + 1}: expected two pieces with one blank between, found {line!r}")
        pairs.append((parts[0], parts[1]))
    return pairs
