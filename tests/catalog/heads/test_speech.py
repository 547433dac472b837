"""Losses of speech heads: exact under any cut of the batch, and what padding must not change."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import catalog
from catalog import losses
from catalog.errors import ConfigError
from catalog.heads.audio import LayerMix
from catalog.heads.speaker import AngularMargin
from tests.support import golden

CASES = {case.name.split("/")[1]: case for case in golden.cases("wav2vec2", "whisper")}
CUT = ["Wav2Vec2ForAudioFrameClassification", "Wav2Vec2ForSequenceClassification@stable", "Wav2Vec2ForXVector"]


def _load(name, tmp_path, **changes):
    model = catalog.load(CASES[name].write(tmp_path / "model"))
    for part in model.modules():
        if hasattr(part, "config"):
            part.config = replace(part.config, **changes)
    return model


@pytest.mark.parametrize("name", [*CUT, "Wav2Vec2ForCTC", "WhisperForAudioClassification"])
def test_totals_and_counts_add_up(name, tmp_path):
    model = _load(name, tmp_path)
    inputs = dict(CASES[name].inputs)
    labels = inputs.pop("labels")
    with torch.no_grad():
        whole = model.terms(model(**inputs), labels=labels)["loss"]
        rows = [{key: value[i : i + 1] for key, value in inputs.items()} for i in range(2)]
        parts = [model.terms(model(**row), labels=labels[i : i + 1])["loss"] for i, row in enumerate(rows)]
    assert float(whole.count) == float(model.counts(labels=labels)["loss"]) == sum(float(p.count) for p in parts)
    torch.testing.assert_close(sum(p.total for p in parts), whole.total, rtol=1e-5, atol=0)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_ctc_is_pytorchs_under_ragged_labels(reduction, tmp_path):
    model = _load("Wav2Vec2ForCTC@stable", tmp_path, ctc_reduction=reduction)
    values = CASES["Wav2Vec2ForCTC@stable"].inputs["input_values"]
    labels = torch.tensor([[3, 4, 5, -100], [6, 6, -100, -100]])
    mask = torch.ones(2, values.shape[1], dtype=torch.long)
    mask[1, 700:] = 0
    out = model(values, attention_mask=mask, labels=labels)
    assert out.frames.tolist() == [model.backbone.features.lengths(n) for n in (1024, 700)]
    want = F.ctc_loss(
        out.logits.log_softmax(-1).transpose(0, 1), labels.clamp_min(0), out.frames, torch.tensor([3, 2]),
        blank=model.config.pad_id, reduction=reduction,
    )  # fmt: skip
    torch.testing.assert_close(out.loss, want)


def test_a_label_outside_the_vocabulary_is_refused(tmp_path):
    model = _load("Wav2Vec2ForCTC", tmp_path)
    with pytest.raises(ConfigError, match="labels go up to 32, and the vocabulary ends at 31"):
        model(CASES["Wav2Vec2ForCTC"].inputs["input_values"], labels=torch.tensor([[3, 32], [3, 4]]))


@pytest.mark.parametrize(
    "name", ["Wav2Vec2Model@stable", "Wav2Vec2ForXVector", "Wav2Vec2ForSequenceClassification@stable"]
)
def test_padding_behind_a_recording_changes_nothing(name, tmp_path):
    case = CASES[name]
    folder = case.write(tmp_path / "model")
    data = (folder / "config.json").read_text()
    if '"feat_extract_norm": "group"' in data:  # a norm over time sees the padding, as published: compare without it
        (folder / "config.json").write_text(
            data.replace('"feat_extract_norm": "group"', '"feat_extract_norm": "layer"')
        )
        model = catalog.load(folder, new=["*features.*.norm.*"])
    else:
        model = catalog.load(folder)
    values = case.inputs["input_values"][:1, :900]
    padded = F.pad(values, (0, 124), value=3.0)
    mask = F.pad(torch.ones(1, 900, dtype=torch.long), (0, 124))
    with torch.no_grad():
        alone, behind = model(values, attention_mask=torch.ones(1, 900)), model(padded, attention_mask=mask)
    if name.startswith("Wav2Vec2Model"):
        one, other = alone.last_hidden_state, behind.last_hidden_state[:, : alone.last_hidden_state.shape[1]]
    else:
        one, other = alone.logits, behind.logits
    torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["WhisperForAudioClassification", "Wav2Vec2ForSequenceClassification",
                                  "Wav2Vec2ForSequenceClassification@stable"])  # fmt: skip
def test_a_mix_of_one_layer_is_that_layer(name, tmp_path):
    case = CASES[name]
    folder = case.write(tmp_path / "model")
    plain = catalog.load(folder)
    (folder / "config.json").write_text(
        (folder / "config.json")
        .read_text()
        .replace('"use_weighted_layer_sum": false', '"use_weighted_layer_sum": true')
    )
    mixed = catalog.load(folder, new=["read.mix.*"])
    assert mixed.read.mix.weights.tolist() == pytest.approx([1 / 3] * 3)
    inputs = {key: value for key, value in case.inputs.items() if key != "labels"}
    with torch.no_grad():
        mixed.read.mix.weights.copy_(torch.tensor([-50.0, -50.0, 50.0]))
        torch.testing.assert_close(mixed(**inputs).logits, plain(**inputs).logits)
        states = plain.backbone.layerwise(*inputs.values()).hidden_states
        mixed.read.mix.weights.copy_(torch.tensor([50.0, -50.0, -50.0]))
        torch.testing.assert_close(mixed(**inputs).logits, plain.out(plain.project(states[0]).mean(1)))


def test_weights_of_a_mix_sum_to_one():
    mix = LayerMix(2)
    with torch.no_grad():
        mix.weights.copy_(torch.tensor([0.0, 3.0]).log())  # shares 0 and 1: log 0 is minus infinity
    torch.testing.assert_close(mix([torch.ones(1, 1, 2), torch.full((1, 1, 2), 5.0)]), torch.full((1, 1, 2), 5.0))


def test_the_margin_is_taken_from_the_true_direction_only():
    margin = AngularMargin(2, 2)
    with torch.no_grad():
        margin.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))
    got = margin(torch.tensor([[3.0, 4.0]]), torch.tensor([1]))
    torch.testing.assert_close(got, torch.tensor([[30 * 0.6, 30 * (0.8 - 0.4)]]))


def test_pretraining_terms_carry_the_hidden_frames(tmp_path):
    case = CASES["Wav2Vec2ForPreTraining"]
    model = catalog.load(case.write(tmp_path / "model"))
    answers = {name: case.inputs[name] for name in model.targets}
    out = model(**case.inputs)
    terms, hidden = model.terms(out, **answers), case.inputs["mask_time_indices"].sum()
    assert terms["contrast"].count == model.counts(**answers)["contrast"] == hidden
    torch.testing.assert_close(losses.mean(terms) * hidden, out.loss)
