"""Ways of decoding against each other: the cache, padding, beams, draws; and against every text there is."""

import itertools

import pytest
import torch

import catalog
from catalog.errors import ConfigError

VOCAB = 23
SMALL = {"vocab": VOCAB, "width": 16, "depth": 2, "heads": 2, "hidden": 32, "init_std": 0.5}
PAIR = SMALL | {"decoder_depth": 2, "decoder_start_id": 2, "pad_id": 1, "eos_id": 3, "bos_id": 0}
MODELS = {
    "gpt2": {**SMALL, "positions": 40, "bos_id": 0, "eos_id": 3},
    "llama": {**SMALL, "kv_heads": 1, "eos_id": 3},
    "bloom": {"vocab": VOCAB, "width": 16, "depth": 2, "heads": 2, "init_std": 0.5, "eos_id": 3},
    "t5": {k: v for k, v in PAIR.items() if k != "bos_id"} | {"head_dim": 8},
    "bart": {**PAIR, "positions": 40, "decoder_heads": 2, "decoder_hidden": 32},
}
WAYS = {
    "greedy": {},
    "penalised": {"repetition_penalty": 1.4, "no_repeat_ngram_size": 2, "bad_words_ids": [[5], [6, 7]]},
    "beams": {"num_beams": 3, "num_return_sequences": 2, "length_penalty": 0.0},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.8, "length_penalty": 0.0},
    "never": {"num_beams": 3, "early_stopping": "never", "length_penalty": 0.0},
    "contrastive": {"penalty_alpha": 0.5, "top_k": 3},
}
TEXTS = [[4, 9, 17, 8], [11, 5], [20, 14, 6]]
DRAWN = {"do_sample": True, "seed": 7}


@pytest.fixture(scope="module")
def models():
    heads = {name: "seq2seq-lm" if name in ("t5", "bart") else "causal-lm" for name in MODELS}
    return {
        name: catalog.build(name, catalog.config(name, **sizes), head=heads[name], seed=4).eval()
        for name, sizes in MODELS.items()
    }


def batch(model, texts=TEXTS):
    """The texts padded: in front for a decoder, behind for an encoder."""
    width = max(map(len, texts))
    front = model.head == "causal-lm"
    gaps = [[1] * (width - len(text)) for text in texts]
    ids = [gap + text if front else text + gap for gap, text in zip(gaps, texts)]
    real = [[0] * len(g) + [1] * len(t) if front else [1] * len(t) + [0] * len(g) for g, t in zip(gaps, texts)]
    return torch.tensor(ids), torch.tensor(real)


def written(model, ids, mask=None, **options):
    """What stands behind the prompt."""
    options = {"max_new_tokens": 8, "pad_token_id": 1} | options
    got = catalog.generate(model, ids, mask, **options)
    return got.sequences[:, ids.shape[1] if model.head == "causal-lm" else 1 :], got


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODELS)
def test_each_row_is_what_it_is_alone(name, way, models):
    model, options = models[name], WAYS[way]
    together, got = written(model, *batch(model), **options)
    copies = options.get("num_return_sequences", 1)
    for i, text in enumerate(TEXTS):
        alone, single = written(model, torch.tensor([text]), **options)
        rows = together[i * copies : (i + 1) * copies]
        assert torch.equal(rows[:, : alone.shape[1]], alone) and (rows[:, alone.shape[1] :] == 1).all()
        if got.sequences_scores is not None:
            scores = got.sequences_scores[i * copies : (i + 1) * copies]
            torch.testing.assert_close(scores, single.sequences_scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MODELS)
def test_the_cache_changes_nothing(name, way, models):
    model = models[name]
    kept = written(model, *batch(model), output_scores=True, **WAYS[way])[1]
    anew = written(model, *batch(model), output_scores=True, use_cache=False, **WAYS[way])[1]
    assert torch.equal(kept.sequences, anew.sequences)
    for one, other in zip(kept.scores, anew.scores, strict=True):
        if one.shape[0] == len(TEXTS):  # beams: those that do not count may differ in the order of their ties
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_one_beam_and_one_candidate_are_greedy(name, models):
    model = models[name]
    best, got = written(model, *batch(model), output_scores=True)
    assert torch.equal(written(model, *batch(model), **DRAWN, top_k=1)[0], best)
    assert torch.equal(written(model, *batch(model), **DRAWN, temperature=1e-4)[0], best)
    assert torch.equal(written(model, *batch(model), num_beams=1)[0], best)
    prompt = got.sequences.shape[1] - best.shape[1]
    for step, scores in enumerate(got.scores):
        going = ~(best[:, :step] == 3).any(1)
        assert torch.equal(scores.argmax(-1)[going], best[going, step]) and prompt > 0


@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 3}, {"top_p": 0.9, "temperature": 1.5, "num_return_sequences": 2}]
)
def test_seeds_reproduce(options, models):
    model = models["gpt2"]
    first, again, other = (
        written(model, *batch(model), **{**DRAWN, "seed": seed}, **options)[1].sequences for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    state = torch.random.get_rng_state()
    written(model, *batch(model), **DRAWN, **options)
    assert torch.equal(torch.random.get_rng_state(), state), "a seed of one's own leaves the shared generator alone"


def test_draws_follow_the_model(models):
    """Many draws of one token have the model's frequencies."""
    model, ids = models["gpt2"], torch.tensor([TEXTS[0]])
    chances = model(ids).logits[0, -1].softmax(-1).detach()
    drawn = catalog.generate(model, ids, max_new_tokens=1, num_return_sequences=4000, **DRAWN).sequences[:, -1]
    torch.testing.assert_close(torch.bincount(drawn, minlength=VOCAB) / 4000, chances, rtol=0, atol=0.03)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_enough_beams_find_the_best_text_of_all(penalty, models):
    """With a beam for every text there is, the search is exhaustive: a text's worth is its sum over length ** penalty."""
    config = catalog.config("gpt2", vocab=4, width=16, depth=1, heads=2, positions=16, init_std=0.6, eos_id=3)
    model = catalog.build("gpt2", config, head="causal-lm", seed=3).eval()
    prompt, new = [1, 2], 3
    worths = {}
    for text in itertools.product(range(4), repeat=new):
        text = text[: text.index(3) + 1] if 3 in text else text
        ids = torch.tensor([prompt + list(text)])
        logs = model(ids).logits.log_softmax(-1)[0, len(prompt) - 1 : -1].detach()
        total = float(logs.gather(1, ids[0, len(prompt) :, None]).sum())
        counted = len(prompt) + len(text) - (3 in text)  # the prompt counts, the end does not, as published
        worths[text] = total / counted**penalty
    best = sorted(worths.items(), key=lambda item: -item[1])[:5]
    got = catalog.generate(
        model, [prompt], max_new_tokens=new, num_beams=16, num_return_sequences=5, length_penalty=penalty,
        early_stopping="never", pad_token_id=0,
    )  # fmt: skip
    for row, score, (text, worth) in zip(got.sequences.tolist(), got.sequences_scores.tolist(), best):
        assert tuple(row[2 : 2 + len(text)]) == text and score == pytest.approx(worth, abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_rules_hold_in_the_text(name, models):
    model = models[name]
    for options in ({}, {"num_beams": 3}, {"do_sample": True, "seed": 0}):
        ids = written(model, *batch(model), suppress_tokens=[9], bad_words_ids=[[4, 5], [8]], min_new_tokens=5,
                      forced_eos_token_id=3, no_repeat_ngram_size=2, **options)[0]  # fmt: skip
        for row in ids.tolist():
            pairs = list(itertools.pairwise(row))
            body = [pair for pair in pairs if 1 not in pair]  # 1 is padding behind the end, or a token
            assert not {9, 8} & set(row) and (4, 5) not in pairs and len(set(body)) == len(body)
            assert 3 in row and row.index(3) >= 5


def test_several_ends(models):
    model = models["gpt2"]
    free = written(model, *batch(model), eos_token_id=())[0]
    ends = tuple({int(free[0, 2]), int(free[1, 4])})
    got = written(model, *batch(model), eos_token_id=ends)[0]
    for row, whole in zip(got.tolist(), free.tolist()):
        stop = next((i for i, token in enumerate(whole) if token in ends), len(whole))
        assert row[: stop + 1] == whole[: len(row)][: stop + 1] and set(row[stop + 1 :]) <= {1}


def test_nothing_is_computed_once_all_have_ended(models):
    model, calls = models["gpt2"], []
    hook = model.register_forward_hook(lambda *_: calls.append(1))
    free = written(model, torch.tensor([TEXTS[0]]), eos_token_id=())[0]
    assert len(calls) == 8
    calls.clear()
    end = int(free[0, 2])
    got = written(model, torch.tensor([TEXTS[0]]), eos_token_id=end)[0]
    hook.remove()
    assert len(calls) == got.shape[1] == free[0].tolist().index(end) + 1


def test_a_prompt_is_computed_once_for_all_its_rows(models):
    model, rows = models["gpt2"], []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    written(model, torch.tensor(TEXTS[:1]), num_beams=4, eos_token_id=())
    written(model, torch.tensor(TEXTS[:1]), num_return_sequences=3, eos_token_id=(), **DRAWN)
    hook.remove()
    assert rows == [1, *[4] * 7, 1, *[3] * 7]


@pytest.mark.parametrize("way", ["greedy", "beams", "contrastive"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_dtype_and_inference_mode(dtype, way, models):
    config = catalog.config("llama", **MODELS["llama"])
    model = catalog.build("llama", config, head="causal-lm", dtype=dtype, seed=4).eval()
    with torch.inference_mode():
        got = written(model, *batch(model), output_scores=True, **WAYS[way])[1]
    assert all(scores.dtype == torch.float32 and not scores.isnan().any() for scores in got.scores)
    assert ((got.sequences >= 0) & (got.sequences < VOCAB)).all()


def test_what_is_written_may_be_trained_on(models):
    model = models["gpt2"]
    ids = catalog.generate(model, [TEXTS[0]], max_new_tokens=4).sequences
    model(ids, labels=ids).loss.backward()
    model.zero_grad()


def test_an_opening_is_continued(models):
    model = models["bart"]
    ids, mask = batch(model)
    whole = catalog.generate(model, ids, mask, max_new_tokens=6, eos_token_id=()).sequences
    rest = catalog.generate(model, ids, mask, max_new_tokens=3, eos_token_id=(), decoder_input_ids=whole[:, :4])
    assert torch.equal(rest.sequences, whole)
    bare = catalog.generate(model, ids, mask, max_new_tokens=3, eos_token_id=(), decoder_input_ids=[[9, 10]])
    assert bare.sequences[:, :3].tolist() == [[2, 9, 10]] * 3  # the start token is put in front


def test_published_options_are_a_base(models):
    model, base = models["gpt2"], catalog.Decoding(num_beams=3, length_penalty=2.0, max_length=9)
    got = catalog.generate(model, [TEXTS[0]], decoding=base, max_new_tokens=2)
    want = catalog.generate(model, [TEXTS[0]], num_beams=3, length_penalty=2.0, max_new_tokens=2)
    assert torch.equal(got.sequences, want.sequences) and got.sequences.shape == (1, 6)


@pytest.mark.parametrize(
    ("name", "call", "message"),
    [
        ("gpt2", {"input_ids": [[4, 5]]}, "how long may the text become\\? Give max_new_tokens"),
        ("gpt2", {"input_ids": [[4, 5]], "max_length": 2}, "leaves no room behind a prompt of 2 tokens"),
        ("gpt2", {"input_ids": [[4, 5]], "max_new_tokens": 50}, "longer than the 40 positions of 'gpt2'"),
        ("bart", {"input_ids": [[4, 5]], "max_new_tokens": 50}, "longer than the 40 positions of 'bart'"),
        ("gpt2", {"input_ids": [[4, 5], [6, 1]], "attention_mask": [[1, 1], [1, 0]]}, "row 1 has padding behind"),
        ("gpt2", {"input_ids": [[4, 5], [6, 1]], "attention_mask": [[1, 1, 1]]}, "not of the shape of input_ids"),
        ("bart", {"input_ids": [[4, 5], [6, 1]], "attention_mask": [[1, 1, 1]]}, "not of the shape of input_ids"),
        ("gpt2", {"input_ids": [4, 5]}, "no batch of ids"),
        ("gpt2", {"input_ids": [[4, 5], [6]]}, "pad texts of different lengths"),
        ("gpt2", {"input_ids": [[4, 5], [6, 23]]}, "row 1 has id 23 at 1; the model's vocabulary has 23 tokens"),
        ("bart", {"input_ids": [[4]], "decoder_input_ids": [[-1]]}, "decoder_input_ids: row 0 has id -1"),
        ("gpt2", {"input_ids": [[4.0, 5.0]]}, "no batch of ids"),
        ("gpt2", {"input_ids": torch.zeros(1, 0, dtype=torch.long)}, "no batch of ids"),
        ("gpt2", {"input_ids": [[4]], "decoder_input_ids": [[1]]}, "has no encoder"),
        ("bart", {"input_ids": [[4]] * 3, "decoder_input_ids": [[1]] * 2}, "2 rows, the encoder's input 3"),
        ("gpt2", {"input_ids": [[4]], "num_beans": 2}, "did you mean 'num_beams'"),
        ("gpt2", {"input_ids": [[4]], "encoder_no_repeat_ngram_size": 2}, "need an encoder's ids"),
    ],
)
def test_refused(name, call, message, models):
    if not {"max_length", "max_new_tokens"} & set(call) and "how long" not in message:
        call = {**call, "max_new_tokens": 3}
    with pytest.raises(ConfigError, match=message):
        catalog.generate(models[name], **call)


def test_models_that_cannot_write(models):
    config = catalog.config("bert", vocab=9, width=8, depth=1, heads=2, hidden=8, positions=8)
    reader = catalog.build("bert", config, head="masked-lm").eval()
    with pytest.raises(ConfigError, match="does not predict next tokens"):
        catalog.generate(reader, [[1]], max_new_tokens=2)
    with pytest.raises(ConfigError, match="training mode"):
        catalog.generate(catalog.build("bert", config, head="causal-lm"), [[1]], max_new_tokens=2)
    writer = catalog.build("bert", config, head="causal-lm", seed=0).eval()
    got = catalog.generate(writer, [[1, 2]], max_new_tokens=3, eos_token_id=())
    assert torch.equal(
        catalog.generate(writer, [[1, 2]], max_new_tokens=3, eos_token_id=(), use_cache=False).sequences, got.sequences
    )
