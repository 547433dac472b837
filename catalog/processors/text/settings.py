"""The companions of the vocabulary: tokenizer_config.json, special_tokens_map.json, added_tokens.json, config.json."""

from tokenizers import AddedToken

from catalog.errors import ProcessorError, did_you_mean
from catalog.processors.text.families import MODEL_TYPES
from catalog.processors.text.family import TYPED, Family
from catalog.processors.text.traits import ROLES, Traits
from catalog.processors.text.vocabularies import Source, check_ids

CONFIG, SPECIAL_MAP, ADDED, ENGINE, TEMPLATE = (
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json", "chat_template.jinja",
)  # fmt: skip
GENERIC = "PreTrainedTokenizer"  # published name of a tokenizer that is described by its tokenizer.json alone
NO_LIMIT = 10**18  # published files write 1e30 for "no limit"


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


def value_of(settings: dict, key: str, kind, source: Source):
    """A setting of the expected type, or None where it is absent."""
    value = settings.get(key)
    if value is not None and not isinstance(value, kind):
        kinds = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise ProcessorError(f"{source.path(CONFIG)}: {key} is {value!r}; expected {kinds}")
    return value


def read_options(source: Source, name: str, page: Family, settings: dict, given: dict) -> dict:
    """Constructor arguments: ``given``, else the file's, else the published default. Null in a file is the default."""
    for option in given:
        if option not in page.options:
            known = ", ".join(page.options) or "none"
            raise ProcessorError(
                f"{name} has no option '{option}'{did_you_mean(option, page.options) or '.'} Its options: {known}"
            )
    found = {}
    for option, default in page.options.items():
        kind = object if default is None else type(default)
        value = value_of(given if option in given else settings, option, kind, source)
        found[option] = default if value is None else value
    return found


def read_traits(source: Source, settings: dict, name: str, page: Family, options: dict) -> Traits:
    """Roles: the class's own, changed by special_tokens_map.json, changed by tokenizer_config.json."""
    said = {k: v for part in (read_object(source, SPECIAL_MAP), settings) for k, v in part.items() if v is not None}
    special = page.special | {role: content(said[role], source, role) for role in ROLES if role in said}
    more = value_of(said, "additional_special_tokens", list, source) or page.more_special(options)
    inputs = value_of(said, "model_input_names", list, source) or page.inputs
    limit = value_of(said, "model_max_length", (int, float), source)
    sides = {
        side: said.get(side, default)
        for side, default in (("padding_side", page.padding_side), ("truncation_side", "right"))
    }
    for side, value in sides.items():
        if value not in ("left", "right"):
            raise ProcessorError(f"{source.path(CONFIG)}: {side} is {value!r}; expected 'left' or 'right'")
    return Traits(
        name=name,
        inputs=tuple(name for name in TYPED if name in inputs),
        pad_type=page.pad_type,
        special=special,
        more_special=tuple(content(token, source, "additional_special_tokens") for token in more),
        options=options,
        max_length=int(limit) if limit is not None and limit < NO_LIMIT else None,
        chat_template=read_template(source, settings),
        tidy=said.get("clean_up_tokenization_spaces", page.tidy),
        **sides,
    )


def read_template(source: Source, settings: dict) -> str | None:
    """The chat template: a file of its own, or in the settings, where of several the one called default is taken."""
    if source.find(TEMPLATE):
        return source.text(TEMPLATE)[1]
    found = value_of(settings, "chat_template", (str, list), source)
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
        if not isinstance(found, str):
            raise ProcessorError(f"{source.path(CONFIG)}: of its chat templates none is called 'default'")
    return found


def content(token, source: Source, role: str) -> str:
    """A token as published: a string, or an object with ``content``."""
    token = token.get("content") if isinstance(token, dict) else token
    if not isinstance(token, str) or not token:
        raise ProcessorError(f"{source.folder}: {role} is {token!r}; expected a string or an object with 'content'")
    return token


def added_tokens(source: Source, settings: dict, ready: bool) -> list[tuple[int, AddedToken]]:
    """What added_tokens.json (older; not where the engine is ``ready``) and ``added_tokens_decoder`` list, by id."""
    fields = ("single_word", "lstrip", "rstrip", "normalized", "special")
    found = {}
    if not ready:
        listed = read_object(source, ADDED)
        listed = check_ids(listed, source.path(ADDED)) if listed else {}
        found = {i: AddedToken(token, normalized=True) for token, i in listed.items()}
    for i, token in (value_of(settings, "added_tokens_decoder", dict, source) or {}).items():
        if not i.isdecimal() or not isinstance(token, dict):
            raise ProcessorError(
                f"{source.path(CONFIG)}: added_tokens_decoder holds {i!r}: {token!r}; expected an id and an object"
            )
        flags = {flag: token[flag] for flag in fields if flag in token}
        found[int(i)] = AddedToken(content(token, source, f"added_tokens_decoder {i}"), **flags)
    return sorted(found.items())
