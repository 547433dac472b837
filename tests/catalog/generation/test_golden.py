"""Every recorded run of the published decoding is reproduced token for token, with and without the cache."""

import json

import pytest
import torch

import catalog
from catalog import registry
from tests.support import golden

FOLDER = golden.FOLDER / "generation"
FILES = {
    path.stem: json.loads(path.read_text())
    for path in sorted(FOLDER.glob("*.json"))
    if path.stem != "logits_processors"
}
RUNS = [
    (name, run)
    for name, data in FILES.items()
    if data["class"] in registry.CLASSES
    for run, recorded in data["runs"].items()
    if "error" not in recorded
]

# Where padding spoke in the published run: its contrastive search compares candidates with the states of padding too, and
# its mask adds two large negative numbers, so that padding reads what stands behind it. (Repeating both gives these rows.)
# Here padding changes nothing: the row is the text alone.
PADDING_SPEAKS = {("llama", "contrastive"), ("mistral", "contrastive")}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Model and case of each file, loaded once."""
    kept = {}

    def load(name):
        if name not in kept:
            case = golden.Golden(golden.FOLDER / FILES[name]["weights_of"])
            kept[name] = catalog.load(case.write(tmp_path_factory.mktemp(name) / "published")), case
        return kept[name]

    return load


def decode(model, case, data, recorded, rows=slice(None), **more):
    """The recorded call, in our hands."""
    inputs = {key: case._input(key, spec)[rows] for key, spec in data["inputs"].items()}
    first = inputs.pop("input_ids", inputs.pop("input_features", None))
    ids = data["generation_config"]
    start = ids["bos_token_id"] if ids["decoder_start_token_id"] is None else ids["decoder_start_token_id"]
    named = {"eos_token_id": ids["eos_token_id"], "decoder_start_token_id": start}
    return catalog.generate(model, first, **inputs, **named, **recorded["kwargs"], **more)


@pytest.mark.parametrize(("name", "run"), RUNS, ids=["-".join(pair) for pair in RUNS])
def test_recorded_run(name, run, loaded):
    data, (model, case) = FILES[name], loaded(name)
    recorded = data["runs"][run]
    got = decode(model, case, data, recorded, output_scores=True)
    want = recorded["sequences"]
    if (name, run) in PADDING_SPEAKS:
        assert got.sequences[0].tolist() == want[0]
        assert got.sequences[1].tolist() != want[1]
        want = [want[0], decode(model, case, data, recorded, rows=slice(1, 2)).sequences[0].tolist()]
    assert got.sequences.tolist() == want
    if "sequences_scores" in recorded:
        scores = torch.tensor(recorded["sequences_scores"])
        torch.testing.assert_close(got.sequences_scores, scores, rtol=0, atol=1e-4)
    uncached = decode(model, case, data, recorded, use_cache=False)
    assert torch.equal(got.sequences, uncached.sequences)


@pytest.mark.parametrize("name", [name for name, run in RUNS if run == "greedy_repetition"])
def test_recorded_scores(name, loaded):
    """The recorded scores are those of the second token, as their values show; the pad token's are penalised there."""
    data, (model, case) = FILES[name], loaded(name)
    recorded = data["runs"]["greedy_repetition"]
    got = decode(model, case, data, recorded, output_scores=True).scores[1]
    if "attention_mask" in data["inputs"]:
        ids, real = (torch.tensor(data["inputs"][key]["values"]) for key in ("input_ids", "attention_mask"))
        for row in (real[:, 0] == 0).nonzero().flatten().tolist():  # only decoders are padded in front
            pad = int(ids[row, 0])
            value, penalty = got[row, pad], recorded["kwargs"]["repetition_penalty"]
            got[row, pad] = value * penalty if value < 0 else value / penalty
    want = torch.tensor([float(value) for value in recorded["first_scores"]])
    torch.testing.assert_close(golden.sample(got, len(want)), want, rtol=1e-4, atol=1e-4)
