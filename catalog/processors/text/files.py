"""Tokenizers in the published folder layout: read and written.

tokenizer.json where it is present, else the class's own vocabulary files; tokenizer_config.json,
special_tokens_map.json and added_tokens.json beside them.
"""

import copy
import json
from itertools import groupby
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, processors

from catalog.errors import ProcessorError, did_you_mean
from catalog.processors.text.families import MODEL_TYPES, family
from catalog.processors.text.family import TYPED, Family, always
from catalog.processors.text.tokenizer import Tokenizer
from catalog.processors.text.traits import ROLES, Traits
from catalog.processors.text.vocabularies import Source

CONFIG, SPECIAL_MAP, ADDED, ENGINE = (
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json",
)  # fmt: skip
GENERIC = "PreTrainedTokenizer"  # published name of a tokenizer that is described by its tokenizer.json alone
NO_LIMIT = 10**18  # published files write 1e30 for "no limit"


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
    page = described_by_engine(source) if name == GENERIC else family(name)
    for option in options or {}:
        if option not in page.options:
            known = ", ".join(page.options) or "none"
            raise ProcessorError(
                f"{name} has no option '{option}'{did_you_mean(option, page.options) or '.'} Its options: {known}"
            )
    ready = source.find(ENGINE) and not options
    options = {key: (options or {}).get(key, settings.get(key, default)) for key, default in page.options.items()}
    traits = read_traits(source, settings, name, page, options)
    engine = read_engine(source) if ready else page.build(source, options, traits.special)
    for names in page.files:
        if source.find(*names):
            source.bytes(*names)  # kept for save
    files = {file: content for file, content in source.files.items() if file not in WRITTEN}
    made = page.face(engine, traits, files)
    add_special(made, source, settings, page)
    if page.template_options or not ready:
        set_template(made, page.template(options))
    return made


def described_by_engine(source: Source) -> Family:
    """The page of a tokenizer that has no class of its own: its tokenizer.json says it all."""
    if not source.find(ENGINE):
        raise ProcessorError(f"{source.folder}: a {GENERIC} is read from {ENGINE}, which the folder does not hold")
    return Family(build=read_engine, files=(), special={}, template=always("$A", "$A $B"), inputs=TYPED)


def build(name: str, files: dict[str, bytes], **options) -> Tokenizer:
    """A tokenizer from the contents of its vocabulary files, without a folder."""
    page = family(name)
    options = page.options | options
    source = Source(Path("(memory)"), dict(files))
    traits = read_traits(source, {}, name, page, options)
    made = page.face(page.build(source, options, traits.special), traits, dict(files))
    add_special(made, source, {}, page)
    set_template(made, page.template(options))
    return made


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


def class_of_model(source: Source) -> str:
    """The class that config.json's ``model_type`` implies."""
    model_type = read_object(source, "config.json").get("model_type")
    if model_type in MODEL_TYPES:
        return MODEL_TYPES[model_type] + "Tokenizer"
    if source.find(ENGINE):
        return GENERIC
    says = (
        f"config.json says model_type={model_type!r}, which has no tokenizer here" if model_type else "no config.json"
    )
    raise ProcessorError(
        f"{source.folder}: nothing names the tokenizer's class ({CONFIG} has no tokenizer_class, {says}); "
        f"say it: load(folder, name='BertTokenizer')"
    )


def read_object(source: Source, name: str) -> dict:
    """A JSON object, or {} where the file is absent."""
    if not source.find(name):
        return {}
    path, value = source.json(name)
    if not isinstance(value, dict):
        raise ProcessorError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def read_engine(source: Source) -> tokenizers.Tokenizer:
    path, text = source.text(ENGINE)
    try:
        engine = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise ProcessorError(f"{path}: not a tokenizer of the tokenizers library ({error})") from None
    engine.no_padding()  # a file may hold how its training run cut and padded
    engine.no_truncation()
    return engine


def read_traits(source: Source, settings: dict, name: str, page: Family, options: dict) -> Traits:
    """Roles: the class's own, changed by special_tokens_map.json, changed by tokenizer_config.json."""
    said = read_object(source, SPECIAL_MAP) | {k: v for k, v in settings.items() if v is not None}
    special = page.special | {role: content(said[role], source, role) for role in ROLES if role in said}
    more = said.get("additional_special_tokens") or page.more_special(options)
    limit = settings.get("model_max_length")
    inputs = [name for name in settings.get("model_input_names", page.inputs) if name in TYPED]
    return Traits(
        name=name,
        inputs=tuple(inputs),
        pad_type=page.pad_type,
        special=special,
        more_special=tuple(content(token, source, "additional_special_tokens") for token in more),
        options=options,
        max_length=int(limit) if limit is not None and limit < NO_LIMIT else None,
        padding_side=settings.get("padding_side") or page.padding_side,
        truncation_side=settings.get("truncation_side") or "right",
        tidy=settings.get("clean_up_tokenization_spaces", page.tidy),
    )


def content(token, source: Source, role: str) -> str:
    """A token as published: a string, or an object with ``content``."""
    token = token.get("content") if isinstance(token, dict) else token
    if not isinstance(token, str) or not token:
        raise ProcessorError(f"{source.folder}: {role} is {token!r}; expected a string or an object with 'content'")
    return token


def add_special(made: Tokenizer, source: Source, settings: dict, page: Family) -> None:
    """Mark the special tokens, so that they are found in text; append what the vocabulary lacks, in published order."""
    listed = added_tokens(source, settings)
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


def added_tokens(source: Source, settings: dict) -> list[tuple[int, AddedToken]]:
    """What added_tokens.json or tokenizer_config.json's ``added_tokens_decoder`` list, by id."""
    fields = ("single_word", "lstrip", "rstrip", "normalized", "special")
    found = {}
    if source.find(ADDED) and not source.find(ENGINE):
        found = {i: AddedToken(token, normalized=True) for token, i in read_object(source, ADDED).items()}
    for i, token in settings.get("added_tokens_decoder", {}).items():
        flags = {flag: token[flag] for flag in fields if flag in token}
        found[int(i)] = AddedToken(content(token, source, f"added_tokens_decoder {i}"), **flags)
    return sorted(found.items())


def set_template(made: Tokenizer, template: tuple[str, str]) -> None:
    """Install the (single, pair) template, after what the engine does to offsets."""
    single, pair = (written(made, one) for one in template)
    used = sorted({word.rpartition(":")[0] for word in single + pair if not word.startswith("$")})
    for token in used:
        if made.engine.token_to_id(token) is None:
            raise ProcessorError(
                f"{made.traits.name} puts {token!r} around a text, which the vocabulary lacks"
                f"{did_you_mean(token, made.traits.more_special)}"
            )
    template = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, made.engine.token_to_id(token)) for token in used]
    )
    first = made.engine.post_processor
    if isinstance(first, processors.Sequence):
        first = first[0]
    keep = isinstance(first, processors.ByteLevel)
    made.engine.post_processor = processors.Sequence([first, template]) if keep else template


def written(made: Tokenizer, template: str) -> list[str]:
    """Roles -> tokens: "cls $A sep:1" -> ["[CLS]:0", "$A:0", "[SEP]:1"]. Words that are no role stand for themselves."""
    words = []
    for word in template.split():
        name, _, kind = word.partition(":")
        words.append(f"{made.traits.special.get(name + '_token', name)}:{kind or 0}")
    return words


WRITTEN = (CONFIG, SPECIAL_MAP, ADDED, ENGINE, "config.json")


def save(tokenizer: Tokenizer, folder) -> None:
    """Write the published layout; loading it gives the same ids."""
    folder, traits, engine = Path(folder), tokenizer.traits, tokenizer.engine
    flags = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
    added = {tokenizer.vocabulary_id(token.content): token for token in engine.get_added_tokens_decoder().values()}
    more = {"additional_special_tokens": list(traits.more_special)} if traits.more_special else {}
    settings = traits.special | more | traits.options | {
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
