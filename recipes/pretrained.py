"""The tokenizer and the model of a run: from a checkpoint, from files, or new."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch

import catalog
from catalog.filling import Filling
from catalog.loading import describe, local_folder
from catalog.processors import text
from catalog.processors.text.files import build as build_tokenizer
from recipes.options import ModelOptions
from trainer.data import cache
from trainer.errors import DataError

Kind = Literal["wordpiece", "bytes"]
LEARNT = {"wordpiece": ("BertTokenizer", text.train_wordpiece), "bytes": ("GPT2Tokenizer", text.train_bytes)}
NOTHING: Mapping[str, Any] = MappingProxyType({})
LEARNING = 2  # raise it when the files of a learnt vocabulary change for the same text
VOCAB = 8000  # most pieces of a vocabulary that is learnt from the training text
BARE = ("pool.*",)  # of a backbone, absent where a checkpoint was trained without a sentence head


def tokenizer(
    options: ModelOptions, texts: Callable[[], Iterable[str]], content: str, kind: Kind = "wordpiece"
) -> tuple[text.Tokenizer, str]:
    """The tokenizer, and where it is from in a few words.

    ``options.tokenizer`` decides, else the checkpoint's own; without either a vocabulary of this ``kind`` is learnt from
    ``texts()``, once for the same ``content`` (a hash): BERT's WordPiece, or GPT-2's pieces of bytes. Raises
    ProcessorError, LoadError or DataError naming the file.
    """
    source = options.tokenizer or options.source
    if source is None:
        return _learnt(texts, content, options.config.get("vocab", VOCAB), kind)
    path = Path(source)
    if path.is_file() and path.name == "tokenizer.json":
        path = path.parent
    if path.is_file():
        return build_tokenizer("BertTokenizer", {"vocab.txt": path.read_bytes()}), str(path)
    return text.load(local_folder(path)), source


def _learnt(texts: Callable[[], Iterable[str]], content: str, size: int, kind: Kind) -> tuple[text.Tokenizer, str]:
    name, train = LEARNT[kind]

    def build(path: Path, say: cache.Say) -> dict:
        say("learning a vocabulary from the training text")
        files = {file: made.decode() for file, made in train(texts(), size).files.items()}
        path.write_text(json.dumps(files), encoding="utf-8")
        return {}

    path, _ = cache.once("vocabularies", cache.digest(kind, LEARNING, cache.VERSION, content, size), build)
    files = {file: made.encode() for file, made in json.loads(path.read_text(encoding="utf-8")).items()}
    return build_tokenizer(name, files), "learnt from the training text"


def special(tokenizer: text.Tokenizer, *roles: str) -> dict[str, int]:
    """Token -> id of those of these ``roles`` (``cls_token``) that the tokenizer has."""
    ids = tokenizer.special_ids
    return {tokenizer.traits.special[role]: ids[role] for role in roles if ids.get(role) is not None}


def classes(labels: Sequence[str] | None) -> dict[str, Any]:
    """What a model's configuration says of these classes; ``None``: it gives one number."""
    problem = "single_label_classification" if labels else "regression"
    return {"labels": tuple(labels or ("score",)), "problem": problem}


_blank = ContextVar("blank", default=False)


@contextmanager
def blank(wanted: bool) -> Iterator[None]:
    """Within the block, if ``wanted``, models are made without memory; their ``filling`` gives them their values once they
    are divided among processes, see :class:`catalog.filling.Filling`."""
    token = _blank.set(wanted)
    try:
        yield
    finally:
        _blank.reset(token)


def _without_memory(name: str, config: Any, head: str | None, seed: int, **source: Any):
    made = catalog.build(name, config, head=head, device="meta")
    made.filling = Filling(made, seed=seed, **source)
    return made


def model(options: ModelOptions, seed: int, *, vocab: int | None = None, shape: Mapping[str, Any] = NOTHING):
    """The model with its head, and where its weights are from.

    vocab   tokens that the tokenizer has; None for a model without text
    shape   fields of the configuration that the data decides, as ``classes(labels)``

    New weights follow ``options.config``. Their ``vocab`` is that of the tokenizer where it was learnt, and of a tokenizer
    that was given unless ``options.config`` says otherwise (more rows than tokens divide better). A checkpoint
    with this head already is taken whole; of another one the backbone is, under a new head. Its sizes are its own, only
    dropout follows ``options.config``. Raises the catalog's errors, and DataError where the checkpoint's classes are not
    those of the data.
    """
    if options.source is None:
        tokens = {} if vocab is None else {"vocab": vocab}
        ours = tokens if options.tokenizer is None else {}  # there, config.vocab is the most that may be learnt
        config = catalog.config(options.name, **{**tokens, **options.config, **ours, **shape})
        if _blank.get():
            return _without_memory(options.name, config, options.head, seed), "new weights"
        return catalog.build(options.name, config, head=options.head, seed=seed), "new weights"
    folder = local_folder(options.source)
    name, head, theirs = catalog.read_config(folder)
    whole = head == options.head
    if whole and "labels" in shape:
        _agree(theirs.labels, shape["labels"], folder)
    dropout = {field: value for field, value in options.config.items() if field.endswith("dropout")}
    unused = [
        field
        for field in options.config
        if field not in dropout and getattr(theirs, field, None) != options.config[field]
    ]
    ours, new = replace(theirs, **dropout, **shape), () if whole else BARE
    if _blank.get():
        made = _without_memory(name, ours, options.head, seed, folder=folder, part="" if whole else "backbone", new=new)
        made.loaded = made.filling.plan
    else:
        made = _loaded(name, ours, options.head, seed, folder, whole, new)
    about = f"{options.source}: {describe(made)}" + ("" if whole else "; new head")
    return made, about + (f"; its own {', '.join(unused)}, not model.config's" if unused else "")


def _loaded(name: str, config: Any, head: str | None, seed: int, folder: Path, whole: bool, new: Sequence[str]):
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # what the checkpoint lacks is drawn
        loaded = catalog.load(folder, None if whole else "backbone", dtype=torch.float32, new=new)
    made = catalog.build(name, config, head=head, seed=seed)
    target, state = made if whole else made.backbone, loaded.state_dict()
    target.load_state_dict({name: state[name] for name in target.state_dict()})
    made.loaded = loaded.loaded
    return made


def _agree(theirs: Sequence[str], ours: Sequence[str], folder: Path) -> None:
    """Raise DataError unless the checkpoint's classes are those of the data, or nameless and as many."""
    nameless = tuple(f"LABEL_{i}" for i in range(len(ours)))
    if tuple(theirs) not in (tuple(ours), nameless):
        raise DataError(
            f"{folder / 'config.json'}: its classes (id2label) are {', '.join(theirs)}; those of the data are "
            f"{', '.join(ours)}. Take a checkpoint of this task, or a backbone without a classification head"
        )
