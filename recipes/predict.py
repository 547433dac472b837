"""Apply a saved text classifier: ``python -m recipes.predict FOLDER "a text"``; one line an answer.

FOLDER holds a model with its tokenizer in the published layout, as a run leaves it in its folder ``model``.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

BATCH = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Print label, probability and text (or number and text) for each text given."""
    parser = argparse.ArgumentParser(prog="python -m recipes.predict", description=__doc__.partition(";")[0])
    parser.add_argument("folder", type=Path, help="a model with its tokenizer, as runs/.../model")
    parser.add_argument("text", nargs="*", help="texts to judge")
    parser.add_argument("--pair", help="the second text, for a task of pairs")
    parser.add_argument("--file", type=Path, help="texts from a file, one a line, a pair with a tab between")
    given = parser.parse_args(arguments)
    if bool(given.text) == bool(given.file) or (given.pair and len(given.text) != 1):
        parser.error('give texts, or --file FILE; --pair goes with one text: FOLDER "first" --pair "second"')
    try:
        texts = lines(given.file) if given.file else [(text, given.pair) for text in given.text]
        for answer, (text, pair) in zip(judge(given.folder, texts), texts):
            print("\t".join([answer, text, *([pair] if pair else [])]))
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def lines(path: Path) -> list[tuple[str, str | None]]:
    """The texts of a file, with their pairs. Raises DataError where it is not text or has none."""
    from trainer.data import sources

    rows = [line.partition("\t") for line in sources.read(path, form="text").data["text"]]
    return [(text, pair or None) for text, _, pair in rows]


def judge(folder: Path, texts: Sequence[tuple[str, str | None]]) -> Iterator[str]:
    """``label <tab> probability``, or the number of a regression, for each text or pair.

    Raises the catalog's errors where the folder holds no whole model.
    """
    import torch

    import catalog
    from catalog.errors import LoadError
    from catalog.processors import text

    model, tokenizer = catalog.load(folder), text.load(folder)
    if model.head != "sequence-classification":
        raise LoadError(f"{folder}: a model with head '{model.head}'; this needs sequence-classification")
    for start in range(0, len(texts), BATCH):
        part = texts[start : start + BATCH]
        pairs = [pair or "" for _, pair in part]
        inputs = tokenizer([text for text, _ in part], pairs, max_length=model.config.positions, padding="longest")
        with torch.inference_mode():
            logits = model(**{name: torch.tensor(rows) for name, rows in inputs.items()}).logits.float()
        if model.config.problem == "regression":
            yield from (f"{number:.3f}" for number in logits[:, 0].tolist())
            continue
        shares, found = logits.softmax(-1).max(-1)
        yield from (f"{model.config.labels[i]}\t{share:.3f}" for i, share in zip(found.tolist(), shares.tolist()))


if __name__ == "__main__":
    sys.exit(main())
