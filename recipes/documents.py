"""Rows of text as documents, for language models: where one begins, its tokens, and how many bytes it has."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recipes.examples import Table
from recipes.samples.stories import stories
from trainer.data.cache import digest
from trainer.data.rows import RowError, Rows

TEXTS = Table(
    inputs=("text",),
    spelt={"text": ("content", "sentence", "story", "document")},
    sample=stories,
    ordered=True,
)
TITLE = re.compile(r"\s*= [^=].* =\s*")  # WikiText; parts of an article have more signs


def opened(rows: Rows, document: str) -> Rows:
    """The rows with a column ``opens``: whether a document begins there. ``document``: row, file or title."""
    opens = np.full(len(rows), document == "row")
    chosen = np.arange(len(rows)) if rows.where.chosen is None else rows.where.chosen
    files = np.searchsorted(np.cumsum([count for _, count in rows.where.files]), chosen, "right")
    opens |= np.diff(files, prepend=-1) > 0
    if document == "title":
        opens |= [TITLE.fullmatch(text) is not None for text in rows.data["text"]]
    return replace(rows, data=rows.data.add_column("opens", opens), digest=digest(rows.digest, "opens", document))


def size(rows: Rows, document: str) -> int:
    """Bytes of the text, in UTF-8, the ends of lines between rows of one document counted."""
    return sum(len(text.encode()) for text in rows.data["text"]) + (0 if document == "row" else len(rows))


@dataclass(frozen=True)
class Documents:
    """Rows of ``text`` and ``opens`` -> the token ids of each document, without special tokens.

    Rows of one document are joined by the ends of their lines. Yields (row that it begins with, ids); a document that goes on
    in a later chunk of rows (``trainer.data.prepare``) is cut there, and one without any text is none.
    """

    tokenizer: Any
    lines: bool  # whether rows are lines of a longer text

    def __call__(self, columns: Mapping[str, list]) -> Iterator[tuple[int, bool, list[int]]]:
        """(first row, whether the document begins there, ids) of each. RowError for what is no text."""
        texts = columns["text"]
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise RowError(row, f"column 'text' holds {text!r}, which is not text")
        texts = [text + "\n" for text in texts] if self.lines else texts
        ids = self.tokenizer.ids(texts, special_tokens=False).input_ids
        starts = [row for row, opens in enumerate(columns["opens"]) if opens or row == 0]
        for start, stop in zip(starts, [*starts[1:], len(texts)]):
            if any(text.strip() for text in texts[start:stop]):
                yield start, bool(columns["opens"][start]), [token for row in ids[start:stop] for token in row]
