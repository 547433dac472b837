"""Configurations: ours inside (frozen, in our words), the published ``config.json`` outside, one table between them."""

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from catalog.errors import ConfigError, UnknownField, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every model's configuration has beside its sizes.

    ``labels`` names the classes of a head in id order; ``problem`` is ``regression``, ``single_label_classification`` or
    ``multi_label_classification`` (``None``: told by the labels). ``extra`` keeps published fields that shape nothing here,
    so that saving writes them back.
    """

    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")
    problem: str | None = None
    init_std: float = 0.02
    tied: bool = True
    pad_id: int | None = None
    bos_id: int | None = None
    eos_id: int | tuple[int, ...] | None = None
    decoder_start_id: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        for f in fields(self):
            check_type(type(self).__name__, f.name, getattr(self, f.name), typing.get_type_hints(type(self))[f.name])
        self.check()

    def check(self) -> None:
        """Raise ConfigError where the sizes contradict each other; a model's configuration overrides it."""


def check_type(owner: str, name: str, value: Any, kind: Any) -> None:
    """Raise ConfigError unless ``value`` is of the declared type ``kind`` (an int will do where a float is declared)."""
    choices = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    plain = tuple(typing.get_origin(c) or c for c in choices if c is not Any)
    if float in plain:
        plain += (int,)
    wrong_bool = isinstance(value, bool) and bool not in plain
    if Any not in choices and (not isinstance(value, plain) or wrong_bool):
        raise ConfigError(f"{owner}.{name}: {value!r} is not {getattr(kind, '__name__', kind)}")


class Field(NamedTuple):
    """A published key whose value is not ours as it stands: ``read`` makes ours of it, ``write`` the published one."""

    published: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


def _read_labels(table):
    return tuple(table[key] for key in sorted(table, key=int))


# Published keys with the same meaning in every config.json.
COMMON = {
    "problem": "problem_type",
    "init_std": "initializer_range",
    "tied": "tie_word_embeddings",
    "pad_id": "pad_token_id",
    "bos_id": "bos_token_id",
    "eos_id": Field(
        "eos_token_id",
        lambda v: tuple(v) if isinstance(v, list) else v,
        lambda v: list(v) if isinstance(v, tuple) else v,
    ),
    "decoder_start_id": "decoder_start_token_id",
    "labels": Field("id2label", _read_labels, lambda labels: {str(i): name for i, name in enumerate(labels)}),
}  # fmt: skip

# Published keys that shape no network: kept in ``extra`` and written back.
KEPT = frozenset(
    [
        "_name_or_path",
        "architectures",
        "model_type",
        "transformers_version",
        "torch_dtype",
        "dtype",
        "label2id",
        "num_labels",
        "_num_labels",
        "finetuning_task",
        "task_specific_params",
        "tokenizer_class",
        "use_cache",
        "gradient_checkpointing",
        "output_attentions",
        "output_past",
        "output_hidden_states",
        "return_dict",
        "is_encoder_decoder",
        "prefix",
        "sep_token_id",
        "auto_map",
        "_commit_hash",
        "attn_implementation",
        "_attn_implementation",
        "max_length",
        "min_length",
        "do_sample",
        "early_stopping",
        "num_beams",
        "num_beam_groups",
        "diversity_penalty",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
        "repetition_penalty",
        "length_penalty",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "bad_words_ids",
        "num_return_sequences",
        "output_scores",
        "return_dict_in_generate",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "remove_invalid_values",
        "exponential_decay_length_penalty",
        "suppress_tokens",
        "begin_suppress_tokens",
        "torchscript",
        "use_bfloat16",
        "pruned_heads",
        "tf_legacy_loss",
        "chunk_size_feed_forward",
        "tie_encoder_decoder",
        "cross_attention_hidden_size",
        "directionality",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
        "output_router_logits",
        "pretraining_tp",
        "keys_to_ignore_at_inference",
        "total_flops",
        "n_ctx",
        "onnx_export",
        "quantization_config",
        "bos_token",
        "eos_token",
        "vocab_file",
    ]
)

# Published keys that change the network, and the only value a page has unless it maps them or says otherwise.
FIXED = {"is_decoder": False, "add_cross_attention": False}


class ConfigMap:
    """Our configuration fields <-> the published keys, both ways from one table.

    ``fixed`` lists published keys that may only have these values (a variation this page does not have); ``kept`` those
    that shape nothing and are written back as they came; ``legacy`` gives our field for a key that older files spell
    otherwise (read only). A published key that is in none of the tables is an error.
    """

    def __init__(
        self, *, fixed: Mapping[str, Any] | None = None, kept: tuple[str, ...] = (),
        legacy: Mapping[str, str] | None = None, **table: str | Field,
    ):  # fmt: skip
        self.table = {**COMMON, **table}
        self.names = {(f.published if isinstance(f, Field) else f): ours for ours, f in self.table.items()}
        self.names |= legacy or {}
        fixed = {key: value for key, value in {**FIXED, **(fixed or {})}.items() if key not in self.names}
        self.fixed = {key: value if isinstance(value, tuple) else (value,) for key, value in fixed.items()}
        self.kept = KEPT | set(kept)

    def read(self, published: Mapping[str, Any], kind: type[Config], where: str = "config.json") -> Config:
        """Our configuration from a published one. Raises ConfigError naming every key that is unknown or unsupported."""
        ours, extra, problems = {}, {}, []
        for key, value in published.items():
            if key in self.names:
                name = self.names[key]
                entry = self.table[name]
                if value is not None or _takes_none(kind, name):
                    ours[name] = entry.read(value) if isinstance(entry, Field) and value is not None else value
            elif key in self.fixed:
                extra[key] = value
                if value not in self.fixed[key]:
                    allowed = " or ".join(map(repr, self.fixed[key]))
                    problems.append(f"{key} = {value!r} is not in the catalog's {kind.__name__}; it has {allowed}")
            elif key in self.kept:
                extra[key] = value
            else:
                problems.append(f"unknown key '{key}' (value {value!r}){did_you_mean(key, self.names)}")
        if "labels" not in ours and isinstance(published.get("num_labels"), int):
            ours["labels"] = tuple(f"LABEL_{i}" for i in range(published["num_labels"]))
        if problems:
            raise ConfigError(
                f"{where}: {len(problems)} problem{'s' * (len(problems) > 1)}\n  " + "\n  ".join(problems)
            )
        try:
            return kind(**ours, extra=extra)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    def write(self, config: Config, model_type: str, architectures: list[str]) -> dict[str, Any]:
        """The published form of our configuration."""
        published = {"model_type": model_type, "architectures": architectures}
        published |= {key: value for key, value in config.extra.items() if key not in published}
        for ours, entry in self.table.items():
            value = getattr(config, ours)
            key = entry.published if isinstance(entry, Field) else entry
            published[key] = entry.write(value) if isinstance(entry, Field) and value is not None else value
        published["label2id"] = {name: i for i, name in enumerate(config.labels)}
        return published


def _takes_none(kind, name):
    return type(None) in typing.get_args(typing.get_type_hints(kind)[name])


def nested(published: str, kind: type[Config], table: ConfigMap, model_type: str) -> Field:
    """A published configuration inside another, ``kind`` with us, read and written by its own ``table``."""

    def write(config):
        inner = table.write(config, model_type, [])
        return {key: value for key, value in inner.items() if key != "architectures"}

    return Field(published, lambda value: table.read(value, kind, published), write)


def changed(config: Config, values: Mapping[str, Any]) -> Config:
    """``config`` with fields in our words replaced. Raises UnknownField with the nearest field, or ConfigError."""
    kind = type(config)
    known = [f.name for f in fields(kind)]
    for name in values:
        if name not in known:
            raise UnknownField(
                f"{kind.__name__} has no field '{name}'{did_you_mean(name, known)} It has: {', '.join(known)}. "
                "To read a published config.json: catalog.read_config(path)"
            )
    return replace(config, **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
