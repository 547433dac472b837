"""How to decode, under the published names; every contradiction is told before anything is computed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from catalog.configs import check_type
from catalog.errors import ConfigError, did_you_mean

Ids = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How to decode. The defaults are greedy: the best token each time, nothing penalised.

    ======================================= ==========================================================================
    max_new_tokens, min_new_tokens          tokens written beyond the prompt (an encoder-decoder's prompt is its start)
    max_length, min_length                  the same with the prompt, and its padding, counted
    eos_token_id, pad_token_id,             ids; None: the model's. ``eos_token_id=()``: nothing ends a text
    bos_token_id, decoder_start_token_id
    stop_strings                            a text ends when one of them has been written
    do_sample, seed                         draw the next token at random (seed None: from PyTorch's generator)
    temperature top_k top_p min_p           what is drawn from (see ``sample.py``); top_k is contrastive search's too
    typical_p epsilon_cutoff eta_cutoff
    num_return_sequences                    texts a prompt: draws, or the best beams
    num_beams length_penalty early_stopping beam search; a text's score is divided by its length ** length_penalty.
                                            early_stopping True: a prompt is done when num_beams texts have ended;
                                            False: when no running beam can be expected to beat them; "never": when none can
    num_beam_groups diversity_penalty       beams in groups, later ones pushed away from what earlier ones wrote
    penalty_alpha                           contrastive search among top_k candidates (arXiv:2202.06417)
    repetition_penalty no_repeat_ngram_size the text against itself
    encoder_repetition_penalty              the text against the encoder's input (> 1 keeps to it)
    encoder_no_repeat_ngram_size
    bad_words_ids sequence_bias             sequences of ids that are not completed, or made more or less likely
    suppress_tokens begin_suppress_tokens   ids that are not written at all, or not first
    forced_bos_token_id forced_eos_token_id the first and the last token; forced_decoder_ids: (length, id) pairs
    exponential_decay_length_penalty        (start, factor): ends become likelier beyond ``start`` tokens
    remove_invalid_values                   not-a-number and infinite scores are replaced by finite ones
    renormalize_logits                      scores are log-probabilities again after all rules
    use_cache                               keep keys and values (slower without, the same text)
    output_scores                           return the scores of every step
    ======================================= ==========================================================================
    """

    max_new_tokens: int | None = None
    min_new_tokens: int | None = None
    max_length: int | None = None
    min_length: int | None = None
    eos_token_id: int | Ids | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    decoder_start_token_id: int | None = None
    stop_strings: tuple[str, ...] = ()
    do_sample: bool = False
    seed: int | None = None
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None
    num_return_sequences: int = 1
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    num_beam_groups: int = 1
    diversity_penalty: float = 0.0
    penalty_alpha: float | None = None
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    encoder_repetition_penalty: float = 1.0
    encoder_no_repeat_ngram_size: int = 0
    bad_words_ids: tuple[Ids, ...] = ()
    sequence_bias: Mapping[Ids, float] | None = None
    suppress_tokens: Ids = ()
    begin_suppress_tokens: Ids = ()
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | Ids | None = None
    forced_decoder_ids: tuple[Ids, ...] = ()
    exponential_decay_length_penalty: tuple[float, ...] | None = None
    remove_invalid_values: bool = False
    renormalize_logits: bool = False
    use_cache: bool = True
    output_scores: bool = False

    def __post_init__(self):
        for name, kind in get_type_hints(type(self)).items():
            check_type("decoding", name, getattr(self, name), kind)
        for name, holds, wanted in _BOUNDS:
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise ConfigError(f"decoding.{name}: {value!r} is not {wanted}")
        for holds, message in _CONTRADICTIONS:
            if holds(self):
                raise ConfigError(f"decoding: {message}")
        idle = [name for name in _DRAWN if getattr(self, name) != _DEFAULTS[name] and not self.do_sample]
        if self.penalty_alpha is not None:
            idle = [name for name in idle if name != "top_k"]
        if idle:
            raise ConfigError(f"decoding: {', '.join(idle)} would change nothing without do_sample=True")
        idle = [name for name in _BEAMED if getattr(self, name) != _DEFAULTS[name] and self.num_beams == 1]
        if idle:
            raise ConfigError(f"decoding: {', '.join(idle)} would change nothing with num_beams=1")

    def having(self, **options: Any) -> "Decoding":
        """The same with other options. Raises ConfigError naming the nearest one where there is no such option."""
        for name in options:
            if name not in _DEFAULTS:
                raise ConfigError(f"no decoding option '{name}'{did_you_mean(name, _DEFAULTS)}")
        given = {name: _plain(value) for name, value in options.items()}
        for limit, other in (("max_length", "max_new_tokens"), ("max_new_tokens", "max_length")):
            if given.get(limit) is not None:  # the later limit stands for the one there was
                given.setdefault(other, None)
        # None is "not set" in published files, also for options that are numbers here
        return replace(self, **{name: _DEFAULTS[name] if value is None else value for name, value in given.items()})

    @classmethod
    def read(cls, folder: str | Path) -> "Decoding":
        """The options that a checkpoint was published with: ``generation_config.json``, or else ``config.json``.

        What an option would change nothing for is left out, as published files state everything.
        """
        folder = Path(folder)
        path = folder / "generation_config.json"
        path = path if path.is_file() else folder / "config.json"
        try:
            published = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{folder}: neither generation_config.json nor config.json there") from None
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ConfigError(f"{path}: not JSON ({error})") from None
        found = {name: value for name, value in published.items() if name in _DEFAULTS and value is not None}
        if not found.get("do_sample"):
            found = {name: value for name, value in found.items() if name not in _DRAWN}
        if found.get("num_beams", 1) == 1:
            found = {name: value for name, value in found.items() if name not in _BEAMED}
        if "max_new_tokens" in found:
            found.pop("max_length", None)
        try:
            return cls().having(**{k: v for k, v in found.items() if (k, v) not in _NEUTRAL.items()})
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None


_DEFAULTS = {f.name: f.default for f in fields(Decoding)}
_NEUTRAL = {"top_p": 1.0, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "top_k": 0, "min_length": 0}
_DRAWN = ("seed", "temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
_BEAMED = ("length_penalty", "early_stopping", "num_beam_groups", "diversity_penalty")


def _positive(value):
    return value > 0


def _counted(value):
    return value >= 0


def _share(value):
    return 0 < value <= 1


def _part(value):
    return 0 < value < 1


_BOUNDS = (
    *((name, lambda v: v >= 1, "1 or more") for name in (
        "max_new_tokens", "max_length", "top_k", "num_return_sequences", "num_beams", "num_beam_groups")),
    *((name, _counted, "0 or more") for name in (
        "min_new_tokens", "min_length", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "diversity_penalty")),
    *((name, _positive, "larger than 0") for name in ("repetition_penalty", "encoder_repetition_penalty")),
    ("temperature", _positive, "larger than 0; for the best token each time leave do_sample out"),
    *((name, _share, "larger than 0 and at most 1") for name in ("top_p", "min_p", "typical_p", "penalty_alpha")),
    *((name, _part, "between 0 and 1") for name in ("epsilon_cutoff", "eta_cutoff")),
    ("early_stopping", lambda v: v in (True, False, "never"), 'True, False or "never"'),
    ("stop_strings", lambda v: all(isinstance(s, str) and s for s in v), "a list of strings that are not empty"),
    *((name, lambda v: all(isinstance(i, int) for i in v), "a list of ids") for name in (
        "suppress_tokens", "begin_suppress_tokens")),
    ("bad_words_ids", lambda v: all(isinstance(w, tuple) and w for w in v), "a list of lists of ids"),
    ("sequence_bias", lambda v: all(isinstance(w, tuple) and w for w in v), "a table from tuples of ids to numbers"),
    ("forced_decoder_ids", lambda v: all(isinstance(w, tuple) and len(w) == 2 for w in v), "pairs of length and id"),
    ("exponential_decay_length_penalty", lambda v: len(v) == 2, "a pair of start and factor"),
)  # fmt: skip

_CONTRADICTIONS = (
    (lambda d: d.max_length is not None and d.max_new_tokens is not None,
     "max_length and max_new_tokens are two limits; give one"),
    (lambda d: (d.min_new_tokens or 0) > (d.max_new_tokens or d.min_new_tokens or 0),
     "min_new_tokens is larger than max_new_tokens"),
    (lambda d: (d.min_length or 0) > (d.max_length or d.min_length or 0), "min_length is larger than max_length"),
    (lambda d: d.num_beams % d.num_beam_groups != 0, "num_beams does not divide into num_beam_groups"),
    (lambda d: d.num_beam_groups > 1 and d.do_sample, "groups of beams are not drawn: leave do_sample out"),
    (lambda d: d.diversity_penalty > 0 and d.num_beams > 1 and d.num_beam_groups == 1,
     "diversity_penalty stands between groups of beams: give num_beam_groups"),
    (lambda d: d.num_return_sequences > d.num_beams and not (d.do_sample and d.num_beams == 1),
     "num_return_sequences is larger than num_beams; draw several texts with do_sample=True"),
    (lambda d: d.penalty_alpha is not None and (d.num_beams > 1 or d.do_sample),
     "contrastive search (penalty_alpha) goes neither with num_beams nor with do_sample"),
    (lambda d: d.penalty_alpha is not None and (d.top_k or 1) < 2,
     "contrastive search (penalty_alpha) chooses among top_k candidates: give top_k of 2 or more"),
    (lambda d: bool(d.stop_strings) and d.num_beams > 1, "stop_strings end one text at a time: num_beams=1"),
)  # fmt: skip


def _plain(value):
    """Lists as tuples, all the way down."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item) for item in value)
    return {_plain(k): v for k, v in value.items()} if isinstance(value, Mapping) else value
