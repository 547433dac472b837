"""The tokenizer and the model of a run: from a checkpoint, from files, or new."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

import catalog
from catalog.loading import describe, local_folder
from catalog.processors import text
from catalog.processors.text.files import build as build_tokenizer
from recipes.options import ModelOptions
from trainer.data import cache
from trainer.errors import DataError

VOCAB = 8000  # most pieces of a vocabulary that is learnt from the training text
BARE = ("pool.*",)  # of a backbone, absent where a checkpoint was trained without a sentence head


def tokenizer(options: ModelOptions, texts: Callable[[], Iterable[str]], content: str) -> tuple[text.Tokenizer, str]:
    """The tokenizer, and where it is from in a few words.

    ``options.tokenizer`` decides, else the checkpoint's own; without either a WordPiece vocabulary is learnt from
    ``texts()``, once for the same ``content`` (a hash). Raises ProcessorError, LoadError or DataError naming the file.
    """
    source = options.tokenizer or options.source
    if source is None:
        return _learnt(texts, content, options.config.get("vocab", VOCAB))
    path = Path(source)
    if path.is_file() and path.name == "tokenizer.json":
        path = path.parent
    if path.is_file():
        return build_tokenizer("BertTokenizer", {"vocab.txt": path.read_bytes()}), str(path)
    return text.load(local_folder(path)), source


def _learnt(texts: Callable[[], Iterable[str]], content: str, size: int) -> tuple[text.Tokenizer, str]:
    def build(path: Path, say: cache.Say) -> dict:
        say("learning a vocabulary from the training text")
        path.write_bytes(text.train_wordpiece(texts(), size).files["vocab.txt"])
        return {}

    path, _ = cache.once("vocabularies", cache.digest("wordpiece", cache.VERSION, content, size), build)
    return build_tokenizer("BertTokenizer", {"vocab.txt": path.read_bytes()}), "learnt from the training text"


def model(options: ModelOptions, labels: Sequence[str] | None, vocab: int, seed: int):
    """The model with its head for these classes (``None``: one number), and where its weights are from.

    New weights follow ``options.config``, whose ``vocab`` is that of the tokenizer unless it says otherwise. A checkpoint
    with this head already is taken whole; of another one the backbone is, under a new head. Its sizes are its own, only
    dropout follows ``options.config``. Raises the catalog's errors, and DataError where the checkpoint's classes are not
    those of the data.
    """
    shape = {
        "labels": tuple(labels or ("score",)),
        "problem": "single_label_classification" if labels else "regression",
    }
    if options.source is None:
        config = catalog.config(options.name, **{"vocab": vocab, **options.config, **shape})
        return catalog.build(options.name, config, head=options.head, seed=seed), "new weights"
    folder = local_folder(options.source)
    name, head, theirs = catalog.read_config(folder)
    whole = head == options.head
    loaded = catalog.load(folder, None if whole else "backbone", dtype=torch.float32, new=() if whole else BARE)
    if whole:
        _agree(theirs.labels, shape["labels"], folder)
    dropout = {field: value for field, value in options.config.items() if field.endswith("dropout")}
    unused = [
        field
        for field in options.config
        if field not in dropout and getattr(theirs, field, None) != options.config[field]
    ]
    made = catalog.build(name, replace(theirs, **dropout, **shape), head=options.head, seed=seed)
    target, state = made if whole else made.backbone, loaded.state_dict()
    target.load_state_dict({name: state[name] for name in target.state_dict()})
    about = f"{options.source}: {describe(loaded)}" + ("" if whole else "; new head")
    return made, about + (f"; its own {', '.join(unused)}, not model.config's" if unused else "")


def _agree(theirs: Sequence[str], ours: Sequence[str], folder: Path) -> None:
    """Raise DataError unless the checkpoint's classes are those of the data, or nameless and as many."""
    nameless = tuple(f"LABEL_{i}" for i in range(len(ours)))
    if tuple(theirs) not in (tuple(ours), nameless):
        raise DataError(
            f"{folder / 'config.json'}: its classes (id2label) are {', '.join(theirs)}; those of the data are "
            f"{', '.join(ours)}. Take a checkpoint of this task, or a backbone without a classification head"
        )
