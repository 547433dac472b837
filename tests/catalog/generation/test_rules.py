"""Each rule gives the published numbers, and the rules of a way of decoding stand in the published order."""

import ast
import json

import pytest
import torch

from catalog.errors import ConfigError
from catalog.generation import rules, sample
from catalog.generation.options import Decoding
from catalog.generation.order import Text, rules_of
from tests.support import golden

DATA = json.loads((golden.FOLDER / "generation" / "logits_processors.json").read_text())
IDS, SOURCE = torch.tensor(DATA["input_ids"]), torch.tensor(DATA["encoder_input_ids"])


def _scores():
    spec = DATA["scores"]
    a, b = spec["affine"]
    return torch.from_numpy(a * golden.uniform(DATA["salt"], spec["formula"], spec["shape"]) + b).float()


def _ends(value):
    return (value,) if isinstance(value, int) else tuple(value)


RULES = {
    "TemperatureLogitsWarper": lambda k: sample.Temperature(k["temperature"]),
    # 100 is more than there is: nothing is cut, so that the recorded filter value shows nowhere
    "TopKLogitsWarper": lambda k: sample.TopK(k["top_k"], k.get("min_tokens_to_keep", 1)),
    "TopPLogitsWarper": lambda k: sample.TopP(k["top_p"], k.get("min_tokens_to_keep", 1)),
    "TypicalLogitsWarper": lambda k: sample.Typical(k["mass"], k.get("min_tokens_to_keep", 1)),
    "EpsilonLogitsWarper": lambda k: sample.Epsilon(k["epsilon"]),
    "EtaLogitsWarper": lambda k: sample.Eta(k["epsilon"]),
    "RepetitionPenaltyLogitsProcessor": lambda k: rules.RepetitionPenalty(k["penalty"]),
    "EncoderRepetitionPenaltyLogitsProcessor": lambda k: rules.RepetitionPenalty(1 / k["penalty"], SOURCE),
    "NoRepeatNGramLogitsProcessor": lambda k: rules.NoRepeatNgram(k["ngram_size"]),
    "EncoderNoRepeatNGramLogitsProcessor": lambda k: rules.NoRepeatNgram(k["encoder_ngram_size"], SOURCE),
    "MinLengthLogitsProcessor": lambda k: rules.NoEndBefore(k["min_length"], _ends(k["eos_token_id"])),
    "MinNewTokensLengthLogitsProcessor": lambda k: rules.NoEndBefore(
        k["prompt_length_to_skip"] + k["min_new_tokens"], _ends(k["eos_token_id"])
    ),
    "NoBadWordsLogitsProcessor": lambda k: rules.BadWords(k["bad_words_ids"], _ends(k["eos_token_id"])),
    "SequenceBiasLogitsProcessor": lambda k: rules.SequenceBias(
        {ast.literal_eval(words): bias for words, bias in k["sequence_bias"].items()}
    ),
    "ForcedBOSTokenLogitsProcessor": lambda k: rules.Force({1: (k["bos_token_id"],)}),
    "ForcedEOSTokenLogitsProcessor": lambda k: rules.Force({k["max_length"] - 1: _ends(k["eos_token_id"])}),
    "ExponentialDecayLengthPenalty": lambda k: rules.GrowingEnd(
        k["input_ids_seq_length"] + k["exponential_decay_length_penalty"][0],
        k["exponential_decay_length_penalty"][1],
        _ends(k["eos_token_id"]),
    ),
    "SuppressTokensLogitsProcessor": lambda k: rules.Suppress(k["suppress_tokens"]),
    "SuppressTokensAtBeginLogitsProcessor": lambda k: rules.Suppress(k["begin_suppress_tokens"], k["begin_index"]),
    "ForceTokensLogitsProcessor": lambda k: rules.Force({at: (token,) for at, token in k["force_token_map"]}),
    "LogitNormalization": lambda k: rules.normalise,
    "InfNanRemoveLogitsProcessor": lambda k: rules.finite,
}


@pytest.mark.parametrize("index", range(len(DATA["processors"])), ids=lambda i: DATA["processors"][i]["class"])
def test_published_numbers(index):
    case, scores = DATA["processors"][index], _scores()
    before = scores.clone()
    got = RULES[case["class"]](case["kwargs"])(IDS, scores)
    want = torch.tensor([[float(value) for value in row] for row in case["output"]])
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    assert torch.equal(scores, before), "the scores that came in were changed"


def test_min_p():
    scores = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert (sample.MinP(0.4)(IDS, scores) > -torch.inf).tolist() == [[True, True, False, False]]
    assert (sample.MinP(1.0, keep=2)(IDS, scores) > -torch.inf).tolist() == [[True, True, False, False]]


def test_diversity_counts_what_earlier_groups_took():
    rule = rules.Diversity(0.5)
    rule.chosen = torch.tensor([[2, 2, 0], [1, -1, -1]])  # -1: a group that is done
    got = rule(None, torch.zeros(4, 3))  # two rows a prompt
    assert got.tolist() == [[-0.5, 0.0, -1.0]] * 2 + [[0.0, -0.5, 0.0]] * 2


def test_padding_is_no_text():
    """A row gives the same with any padding in front, for every rule that looks at the text."""
    scores = _scores()
    padded = torch.cat([torch.full((3, 4), -1), IDS], 1)
    looking = [
        rules.RepetitionPenalty(1.5), *(rules.NoRepeatNgram(n) for n in (1, 2, 3, 9)), rules.BadWords([[3, 6]]),
        rules.SequenceBias({(5,): 1.0, (3, 3): 2.0}), rules.NoRepeatNgram(2, SOURCE),
    ]  # fmt: skip
    for rule in looking:
        assert torch.equal(rule(padded, scores), rule(IDS, scores))


def test_rows_share_the_source_of_their_text():
    scores = _scores().repeat_interleave(2, 0)
    rule = rules.RepetitionPenalty(1.3, SOURCE)
    assert torch.equal(rule(IDS.repeat_interleave(2, 0), scores)[::2], rule(IDS, scores[::2]))


def test_published_order():
    d = Decoding(
        max_new_tokens=9, min_new_tokens=2, sequence_bias={(1,): 1.0}, num_beams=4, num_beam_groups=2,
        diversity_penalty=0.1, encoder_repetition_penalty=1.1, repetition_penalty=1.1, no_repeat_ngram_size=3,
        encoder_no_repeat_ngram_size=4, bad_words_ids=((1,),), forced_bos_token_id=1, forced_eos_token_id=2,
        remove_invalid_values=True, exponential_decay_length_penalty=(1, 1.1), suppress_tokens=(3,),
        begin_suppress_tokens=(4,), forced_decoder_ids=((1, 2),), renormalize_logits=True,
    )  # fmt: skip
    found = rules_of(d, Text(prompt=1, limit=10, ends=(2,), vocab=40, source=SOURCE))
    names = [getattr(rule, "__name__", type(rule).__name__) for rule in found]
    assert names == [
        "SequenceBias", "Diversity", "RepetitionPenalty", "RepetitionPenalty", "NoRepeatNgram", "NoRepeatNgram",
        "BadWords", "NoEndBefore", "Force", "Force", "finite", "GrowingEnd", "Suppress", "Suppress", "Force", "normalise",
    ]  # fmt: skip
    d = Decoding(
        max_new_tokens=9, do_sample=True, temperature=0.7, top_k=5, top_p=0.9, min_p=0.1, typical_p=0.9,
        epsilon_cutoff=0.01, eta_cutoff=0.01,
    )  # fmt: skip
    found = rules_of(d, Text(1, 10, (2,), 40))
    assert [type(rule).__name__ for rule in found] == [
        "Temperature",
        "TopK",
        "TopP",
        "MinP",
        "Typical",
        "Epsilon",
        "Eta",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suppress_tokens": (40,)}, "suppress_tokens: id 40"),
        ({"bad_words_ids": ((1, -1),)}, "bad_words_ids: id -1"),
        ({"encoder_repetition_penalty": 1.2}, "need an encoder's ids"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        rules_of(Decoding(**options), Text(1, 10, (2,), 40))


def test_draw_follows_the_probabilities():
    wanted = torch.tensor([0.5, 0.25, 0.125, 0.125, 0.0])
    generator = torch.Generator().manual_seed(0)
    drawn = sample.draw(wanted.log().expand(20000, -1), generator)
    torch.testing.assert_close(torch.bincount(drawn, minlength=5) / 20000, wanted, rtol=0, atol=0.015)
    pairs = sample.draw_several(wanted.log().expand(20000, -1), 2, generator)[1]
    assert (pairs[:, 0] != pairs[:, 1]).all()
    # without putting back: P(i) + sum over j of P(j) P(i) / (1 - P(j))
    either = wanted[0] + sum(p * wanted[0] / (1 - p) for p in wanted[1:4])
    torch.testing.assert_close((pairs == 0).any(1).float().mean(), either, rtol=0, atol=0.015)
