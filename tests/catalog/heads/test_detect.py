"""Matching and set losses by hand, and exact under any cut of the batch."""

from itertools import permutations

import pytest
import torch

import catalog
from catalog import losses
from catalog.boxes import corners, generalized_iou
from catalog.heads.detect import match
from catalog.heads.shapes import dice, focal
from catalog.outputs import Detected
from tests.support import golden

CASES = [case for case in golden.cases("detr") if "loss" in case.data["outputs"] and "@" not in case.name]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request):
    return request.param


def test_totals_and_counts_add_up(case, tmp_path):
    model = catalog.load(case.write(tmp_path / "model"))
    labels, pixels = case.inputs["labels"], case.inputs["pixel_values"]
    whole = model(pixels, labels=labels)
    counts, terms = model.counts(labels=labels), model.terms(whole, labels=labels)
    torch.testing.assert_close(losses.mean(terms), whole.loss)
    parts = [model.terms(model(pixels[i : i + 1]), labels=labels[i : i + 1]) for i in range(2)]
    for name, term in terms.items():
        assert float(term.count) == pytest.approx(float(counts[name]))
        assert sum(float(part[name].count) for part in parts) == pytest.approx(float(counts[name]))
        torch.testing.assert_close(parts[0][name].total + parts[1][name].total, term.total, rtol=1e-4, atol=1e-6)


def test_an_image_without_objects_has_a_loss_all_the_same(case, tmp_path):
    model = catalog.load(case.write(tmp_path / "model"))
    fields = case.inputs["labels"][0]
    nothing = [{name: value[:0] for name, value in fields.items()}]
    out = model(case.inputs["pixel_values"][:1], labels=nothing)
    assert out.loss.isfinite() and float(out.loss_dict["loss_bbox"]) == 0
    out.loss.backward()
    assert model.out.weight.grad.isfinite().all()


def test_matching_is_the_cheapest_of_all(case):
    config = catalog.read_config(_config(case))[2]
    torch.manual_seed(0)
    output = Detected(logits=torch.randn(1, 5, 4), pred_boxes=torch.rand(1, 5, 4) * 0.4 + 0.1, last_hidden_state=None)
    target = {"class_labels": torch.tensor([2, 0, 1]), "boxes": torch.rand(3, 4) * 0.4 + 0.1}
    _, query, thing = match(output, [target], config)

    def cost(q, t):
        box, wanted = output.pred_boxes[0, q], target["boxes"][t]
        kind = output.logits[0, q].softmax(-1)[target["class_labels"][t]]
        overlap = generalized_iou(corners(box), corners(wanted))
        distance = (box - wanted).abs().sum()
        return float(config.box_cost * distance - config.class_cost * kind - config.giou_cost * overlap)

    best = min(sum(cost(q, t) for t, q in enumerate(order)) for order in permutations(range(5), 3))
    assert sum(cost(q, t) for q, t in zip(query.tolist(), thing.tolist())) == pytest.approx(best, abs=1e-5)


def _config(case):
    import json
    import tempfile
    from pathlib import Path

    path = Path(tempfile.mkdtemp()) / "config.json"
    path.write_text(json.dumps(case.config()))
    return path


def test_boxes_agree_by_hand():
    one = corners(torch.tensor([0.5, 0.5, 0.4, 0.4]))
    torch.testing.assert_close(one, torch.tensor([0.3, 0.3, 0.7, 0.7]))
    others = corners(torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.7, 0.5, 0.4, 0.4], [0.9, 0.5, 0.2, 0.4]]))
    # the same; half of it shared (0.08 of 0.24, nothing else enclosed); apart, the enclosing box 0.7 wide
    want = [1.0, 0.08 / 0.24, 0.0 - (0.28 - 0.24) / 0.28]
    torch.testing.assert_close(generalized_iou(one, others), torch.tensor(want))


def test_losses_of_masks_by_hand():
    logits, target = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    sure = float(torch.sigmoid(torch.tensor(2.0)))
    want = [0.25 * 0.5**2 * 0.693147, 0.75 * sure**2 * -float(torch.tensor(1 - sure).log())]
    torch.testing.assert_close(focal(logits, target), torch.tensor([want]))
    assert float(dice(logits, target)) == pytest.approx(1 - (2 * 0.5 + 1) / (0.5 + sure + 1 + 1))


def test_dilation_keeps_the_last_map_twice_as_large():
    config = catalog.config("detr", width=16, depth=1, decoder_depth=1, heads=2, decoder_heads=2, hidden=8,
                            decoder_hidden=8, queries=3, backbone="resnet18", dilation=True)  # fmt: skip
    plain = catalog.config("detr", **{f: getattr(config, f) for f in ("width", "depth", "decoder_depth", "heads",
                           "decoder_heads", "hidden", "decoder_hidden", "queries", "backbone")})  # fmt: skip
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert catalog.build("detr", config, seed=0).look(pixels).projected.shape == (1, 16, 4, 4)
        assert catalog.build("detr", plain, seed=0).look(pixels).projected.shape == (1, 16, 2, 2)


def test_what_pads_an_image_is_not_seen(tmp_path):
    """The decoder reads nothing where the mask says that the image has ended."""
    model = catalog.load(golden.cases("detr")[0].write(tmp_path / "model"), head="backbone")
    pixels, mask = torch.randn(1, 3, 64, 128), torch.ones(1, 64, 128)
    mask[..., 64:] = 0
    with torch.no_grad():
        seen = model.look(pixels, mask)
        assert seen.mask.keys.view(2, 4).tolist() == [[True, True, False, False]] * 2
        states = seen.encoded.last_hidden_state
        other = model.decoder(
            torch.zeros_like(states),
            seen.encoded.encoder_last_hidden_state + 100 * (~seen.mask.keys)[..., None],
            memory_mask=seen.mask,
            positions=model.queries.weight[None],
            memory_positions=model.places(seen.mask.keys.view(1, 2, 4)),
        )
    torch.testing.assert_close(states, other)
