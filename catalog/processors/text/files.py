"""Tokenizers in the published folder layout: read and written.

tokenizer.json where it is present, else the class's own vocabulary files; tokenizer_config.json,
special_tokens_map.json and added_tokens.json beside them.
"""

import copy
import json
from itertools import groupby
from pathlib import Path

import tokenizers
from tokenizers import AddedToken

from catalog.errors import ProcessorError, did_you_mean
from catalog.processors.text.families import family, known
from catalog.processors.text.family import TYPED, Family, always
from catalog.processors.text.settings import (
    ADDED,
    CONFIG,
    ENGINE,
    GENERIC,
    SPECIAL_MAP,
    TEMPLATE,
    added_tokens,
    class_of_model,
    read_object,
    read_options,
    read_traits,
)  # fmt: skip
from catalog.processors.text.templates import set_template
from catalog.processors.text.tokenizer import Tokenizer
from catalog.processors.text.traits import ROLES
from catalog.processors.text.vocabularies import Source

WRITTEN = (CONFIG, SPECIAL_MAP, ADDED, ENGINE, TEMPLATE, "config.json")  # made anew by save, or not of the tokenizer


def load(folder, name: str | None = None, options: dict | None = None) -> Tokenizer:
    """The tokenizer of a folder in the published layout. ``name``: its published class, where no file names it.

    ``options`` are constructor arguments of that class that override the files'; the engine is then made anew from the
    vocabulary files. Raises ProcessorError, naming the file and line, for a missing or broken file.
    """
    source = Source(Path(folder))
    if not source.folder.is_dir():
        raise ProcessorError(f"{folder}: no such folder; a tokenizer is read from a folder in the published layout")
    settings = read_object(source, CONFIG)
    name = (name or settings.get("tokenizer_class") or class_of_model(source)).removesuffix("Fast")
    classless = name == GENERIC or (not known(name) and source.find(ENGINE))
    page = described_by_engine(source) if classless else family(name)
    ready = bool(source.find(ENGINE)) and page.face.engine_is_whole and not options
    return assembled(source, name, page, settings, options or {}, ready)


def build(name: str, files: dict[str, bytes], options: dict | None = None) -> Tokenizer:
    """A tokenizer from the contents of its vocabulary files, without a folder."""
    return assembled(Source(Path("(memory)"), dict(files)), name, family(name), {}, options or {}, ready=False)


def assembled(source: Source, name: str, page: Family, settings: dict, given: dict, ready: bool) -> Tokenizer:
    """Engine, traits, special tokens and template; ``ready``: tokenizer.json is the engine, not the vocabulary files."""
    options = read_options(source, name, page, settings, given)
    traits = read_traits(source, settings, name, page, options)
    engine = read_engine(source) if ready else page.build(source, options, traits.special)
    for names in page.files:
        if source.find(*names):
            source.bytes(*names)  # kept for save
    files = {file: content for file, content in source.files.items() if file not in WRITTEN}
    made = page.face(engine, traits, files)
    add_special(made, source, added_tokens(source, settings, ready), page)
    if page.template_options or not ready:
        set_template(made, page.template(options))
    return made


def described_by_engine(source: Source) -> Family:
    """The page of a tokenizer that has no class of its own: its tokenizer.json says it all."""
    if not source.find(ENGINE):
        raise ProcessorError(f"{source.folder}: a {GENERIC} is read from {ENGINE}, which the folder does not hold")
    return Family(build=read_engine, files=(), special={}, template=always("$A", "$A $B"), inputs=TYPED)


def configured(tokenizer: Tokenizer, options: dict) -> Tokenizer:
    """A copy whose template follows other options; the vocabulary and the rules of the text stay."""
    page = family(tokenizer.traits.name)
    for option in options:
        if option not in page.template_options:
            allowed = ", ".join(page.template_options) or "none"
            raise ProcessorError(
                f"{option}={options[option]!r} cannot be changed on a built {tokenizer.traits.name}"
                f"{did_you_mean(option, page.template_options) or '.'} It can change: {allowed}"
            )
    made = copy.deepcopy(tokenizer).having(options=tokenizer.traits.options | options)
    set_template(made, page.template(made.traits.options))
    return made


def read_engine(source: Source) -> tokenizers.Tokenizer:
    path, text = source.text(ENGINE)
    try:
        engine = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise ProcessorError(f"{path}: not a tokenizer of the tokenizers library ({error})") from None
    engine.no_padding()  # a file may hold how its training run cut and padded
    engine.no_truncation()
    return engine


def add_special(made: Tokenizer, source: Source, listed: list[tuple[int, AddedToken]], page: Family) -> None:
    """Mark the special tokens, so that they are found in text; append what the vocabulary lacks, in published order."""
    for is_special, run in groupby(listed, key=lambda entry: entry[1].special):
        made.add_tokens([token for _, token in run], special=is_special)  # in runs: one by one is slow for thousands
    for i, token in listed:
        if made.vocabulary_id(token.content) != i:
            raise ProcessorError(
                f"{source.folder}: added token {token.content!r} should have id {i}; after the {made.base_size} tokens of the "
                f"vocabulary files it gets {made.vocabulary_id(token.content)}"
            )
    present = {token.content for token in made.engine.get_added_tokens_decoder().values()}
    special = made.traits.special
    left, right = ({special.get(role) for role in roles} for roles in (page.swallow_left, page.swallow_right))
    tokens = [*(special[role] for role in ROLES if role in special), *made.traits.more_special]
    ids = {token: made.vocabulary_id(token) for token in tokens}
    missing = [
        token for token in sorted(ids, key=lambda t: len(made) if ids[t] is None else ids[t]) if token not in present
    ]
    flags = {"special": True, "normalized": False}
    made.add_tokens([AddedToken(t, lstrip=t in left, rstrip=t in right, **flags) for t in missing], special=True)


def save(tokenizer: Tokenizer, folder) -> None:
    """Write the published layout; loading it gives the same ids."""
    folder, traits, engine = Path(folder), tokenizer.traits, tokenizer.engine
    flags = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
    added = {tokenizer.vocabulary_id(token.content): token for token in engine.get_added_tokens_decoder().values()}
    more = {"additional_special_tokens": list(traits.more_special)} if traits.more_special else {}
    template = {} if traits.chat_template is None else {"chat_template": traits.chat_template}
    settings = traits.special | more | traits.options | template | {
        "tokenizer_class": traits.name,
        "model_max_length": traits.max_length,
        "model_input_names": list(traits.inputs),
        "padding_side": traits.padding_side,
        "truncation_side": traits.truncation_side,
        "clean_up_tokenization_spaces": traits.tidy,
        "added_tokens_decoder": {str(i): {f: getattr(token, f) for f in flags} for i, token in sorted(added.items())},
    }  # fmt: skip
    contents = dict(tokenizer.files) | {CONFIG: dumped(settings), SPECIAL_MAP: dumped(traits.special | more)}
    if tokenizer.engine_is_whole:
        contents[ENGINE] = engine.to_str(pretty=True).encode()
    if late := {token.content: i for i, token in sorted(added.items()) if i >= tokenizer.base_size}:
        contents[ADDED] = dumped(late)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise ProcessorError(
            f"{error.filename or folder}: the tokenizer cannot be written ({error.strerror})"
        ) from None


def dumped(value: dict) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
