"""The published order of the rules: which of them a way of decoding asks for, one after another."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from catalog.errors import ConfigError
from catalog.generation import rules, sample
from catalog.generation.options import Decoding


class Text(NamedTuple):
    """What the rules are told about the text: lengths in tokens, ids that end it, the encoder's ids [B, S] if any."""

    prompt: int
    limit: int
    ends: Sequence[int]
    vocab: int
    source: Tensor | None = None


def rules_of(d: Decoding, text: Text) -> list[rules.Rule]:
    """The rules of a way of decoding, in the published order. Raises ConfigError on an id beyond the vocabulary."""
    _check_ids(d, text.vocab)
    found: list[rules.Rule] = []
    if d.sequence_bias:
        found.append(rules.SequenceBias(d.sequence_bias))
    if d.diversity_penalty:
        found.append(rules.Diversity(d.diversity_penalty))
    if d.encoder_repetition_penalty != 1.0:
        found.append(rules.RepetitionPenalty(1 / d.encoder_repetition_penalty, _source(text)))
    if d.repetition_penalty != 1.0:
        found.append(rules.RepetitionPenalty(d.repetition_penalty))
    if d.no_repeat_ngram_size:
        found.append(rules.NoRepeatNgram(d.no_repeat_ngram_size))
    if d.encoder_no_repeat_ngram_size:
        found.append(rules.NoRepeatNgram(d.encoder_no_repeat_ngram_size, _source(text)))
    if d.bad_words_ids:
        found.append(rules.BadWords(d.bad_words_ids, text.ends))
    shortest = max(d.min_length or 0, text.prompt + (d.min_new_tokens or 0))
    if text.ends and shortest > text.prompt:
        found.append(rules.NoEndBefore(shortest, text.ends))
    if d.forced_bos_token_id is not None:
        found.append(rules.Force({1: (d.forced_bos_token_id,)}))
    if d.forced_eos_token_id is not None:
        found.append(rules.Force({text.limit - 1: as_ids(d.forced_eos_token_id)}))
    if d.remove_invalid_values:
        found.append(rules.finite)
    if d.exponential_decay_length_penalty and text.ends:
        start, factor = d.exponential_decay_length_penalty
        found.append(rules.GrowingEnd(text.prompt + start, factor, text.ends))
    if d.suppress_tokens:
        found.append(rules.Suppress(d.suppress_tokens))
    if d.begin_suppress_tokens:
        found.append(rules.Suppress(d.begin_suppress_tokens, at=_first_free(d, text.prompt)))
    if d.forced_decoder_ids:
        found.append(rules.Force({length: (token,) for length, token in d.forced_decoder_ids}))
    return found + _cuts(d, text) + ([rules.normalise] if d.renormalize_logits else [])


def _cuts(d, text):
    """What narrows the distribution before a draw; beams need a token each beside the ends."""
    if not d.do_sample:
        return []
    keep = 1 + max(len(text.ends), 1) if d.num_beams > 1 else 1
    found = [] if d.temperature == 1.0 else [sample.Temperature(d.temperature)]
    for value, cut in (
        (d.top_k, sample.TopK), (d.top_p, sample.TopP), (d.min_p, sample.MinP), (d.typical_p, sample.Typical),
        (d.epsilon_cutoff, sample.Epsilon), (d.eta_cutoff, sample.Eta),
    ):  # fmt: skip
        if value is not None:
            found.append(cut(value, keep))
    return found


def _first_free(d, prompt):
    """The length of the text when the first token is chosen that is not forced."""
    begin = prompt + (prompt == 1 and d.forced_bos_token_id is not None)
    return begin + (d.forced_decoder_ids[-1][0] if d.forced_decoder_ids else 0)


def _source(text):
    if text.source is None:
        raise ConfigError("decoding: encoder_repetition_penalty and encoder_no_repeat_ngram_size need an encoder's ids")
    return text.source


def as_ids(value: int | Sequence[int] | None) -> tuple[int, ...]:
    """One id, several, or none, as a tuple."""
    return () if value is None else (value,) if isinstance(value, int) else tuple(value)


def _check_ids(d, vocab):
    groups = {
        "suppress_tokens": d.suppress_tokens,
        "begin_suppress_tokens": d.begin_suppress_tokens,
        "bad_words_ids": [i for word in d.bad_words_ids for i in word],
        "sequence_bias": [i for word in d.sequence_bias or () for i in word],
        "forced_bos_token_id": as_ids(d.forced_bos_token_id),
        "forced_eos_token_id": as_ids(d.forced_eos_token_id),
        "forced_decoder_ids": [token for _, token in d.forced_decoder_ids],
        "eos_token_id": as_ids(d.eos_token_id),
        "pad_token_id": as_ids(d.pad_token_id),
        "bos_token_id": as_ids(d.bos_token_id),
        "decoder_start_token_id": as_ids(d.decoder_start_token_id),
    }
    for name, ids in groups.items():
        for i in ids:
            if not 0 <= i < vocab:
                raise ConfigError(f"decoding.{name}: id {i} is not in the model's vocabulary of {vocab} tokens")
