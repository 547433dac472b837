"""Every head's loss is a sum over targets: however a batch is cut, totals, counts and gradients add up to the whole."""

import pytest
import torch

import catalog
from catalog import losses, registry
from tests.support import golden

# Rows are compared with all rows of the batch they are in: what is learned from parts of a batch is another task.
OF_THE_BATCH = {("wav2vec2", "pre-training")}  # its negatives may lie in other rows, and its codes are spread over all
CASES = {}  # (model, head) -> a golden file that has a loss, of every other model and head of the catalog
for found in golden.cases():
    name = registry.CLASSES.get(found.data["class"])
    if name and name[1] and name not in OF_THE_BATCH and "loss" in found.data["outputs"]:
        CASES.setdefault(name, found)
ALSO_READ = ("pixel_values", "bool_masked_pos")  # targets that are inputs as well: an image is restored from its rest
NO_LOSS = {  # heads without a loss; the last is tried by itself below, as its golden file has none
    "projection", "encoder", "feature-maps", "image-classification-with-teacher", "double-heads",
}  # fmt: skip


def part(value, rows):
    """These rows of an input or of labels, whatever holds them."""
    if isinstance(value, torch.Tensor):
        return value[rows]
    if isinstance(value, list) and len(value) == 2:
        return value[rows]
    return [part(item, rows) for item in value] if isinstance(value, (list, tuple)) else value


def doubled(value):
    """In float64, so that only the order of additions is left to differ."""
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: doubled(item) for key, item in value.items()}
    return [doubled(item) for item in value] if isinstance(value, (list, tuple)) else value


def uneven(targets, ignore):
    """One target less in the first row, where rows have several: equal counts would let a mean of means pass."""
    made = {}
    for key, value in targets.items():
        if isinstance(value, torch.Tensor) and value.dim() > 1:
            value = value.clone()
            if value.dtype == torch.bool:
                value[0, value[0].nonzero()[:1].flatten()] = False
            elif key == "labels" and not value.is_floating_point() and value.shape[-1] > 3:
                value[0].view(-1)[1] = ignore
        made[key] = value
    return made


def gradients(model, parts, counts):
    """The loss of a batch that comes in these parts, (inputs, targets) each, and every parameter's gradient."""
    model.zero_grad()
    whole = 0.0
    for inputs, targets in parts:
        terms = model.terms(model(**inputs), **targets)
        loss = sum(term.weight * term.total / float(counts[name]) for name, term in terms.items())
        loss.backward()
        whole += loss.detach()
    return whole, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("key", CASES, ids="/".join)
def test_any_split_gives_the_loss_and_gradient_of_the_whole(key, tmp_path):
    case = CASES[key]
    model = catalog.load(case.write(tmp_path / "model")).double().eval()
    given = doubled(case.inputs)
    targets = {name: given[name] for name in model.targets if name in given}
    targets = uneven(targets, getattr(model.config, "ignore", losses.IGNORE))
    inputs = {name: value for name, value in given.items() if name not in targets}
    inputs |= {name: value for name, value in targets.items() if name in ALSO_READ}
    assert_adds_up(model, inputs, targets)


def assert_adds_up(model, inputs, targets):
    """Row by row, the batch gives what it gives whole: loss, gradients and counts, to rounding."""
    counts = {name: max(float(count), 1.0) for name, count in model.counts(**targets).items()}
    loss, expected = gradients(model, [(inputs, targets)], counts)
    rows = [slice(0, 1), slice(1, 2)]
    split = [tuple({n: part(v, row) for n, v in side.items()} for side in (inputs, targets)) for row in rows]
    found, grads = gradients(model, split, counts)
    assert abs(found - loss) < 1e-9 and loss.isfinite() and expected
    assert grads.keys() == expected.keys()
    worst = max(((grads[n] - g).abs().max() / g.abs().max().clamp_min(1)).item() for n, g in expected.items())
    assert worst < 1e-9
    each = [model.counts(**targets) for _, targets in split]
    terms = model.terms(model(**inputs), **targets)
    for name, count in model.counts(**targets).items():
        assert float(terms[name].count) == pytest.approx(float(count), rel=1e-12)
        assert sum(float(of[name]) for of in each) == pytest.approx(float(count), rel=1e-12)


def test_tokens_and_choices_together_add_up():
    config = catalog.config("gpt2", vocab=60, width=16, depth=1, heads=2)
    model = catalog.build("gpt2", config, head="double-heads", seed=1).double().eval()
    ids = (torch.arange(2 * 3 * 7) * 5 % 60).view(2, 3, 7)
    labels = ids.clone()
    labels[0, :, :4] = losses.IGNORE
    assert_adds_up(model, {"input_ids": ids}, {"labels": labels, "mc_labels": torch.tensor([2, 0])})


def test_every_head_of_the_catalog_is_tried():
    heads = {(model, head) for model, head in registry.CLASSES.values() if head is not None}
    tried = {head for _, head in CASES}
    missing = {key for key in heads if key not in CASES and key[1] not in NO_LOSS | tried}
    missing -= OF_THE_BATCH
    assert not missing


@pytest.mark.parametrize("case", [c for c in golden.cases("clip") if "loss" in c.data["outputs"]], ids=lambda c: c.name)
def test_a_contrastive_loss_is_of_the_whole_batch(case, tmp_path):
    """Two towers: a row's negatives are the other rows. Whoever splits such a batch gathers its outputs before ``terms``."""
    model = catalog.load(case.write(tmp_path / "model")).double().eval()
    given = doubled(case.inputs)
    whole = losses.mean(model.terms(model(**given)))
    halves = [losses.mean(model.terms(model(**{n: v[i : i + 1] for n, v in given.items()}))) for i in range(2)]
    assert abs(sum(halves)) < 1e-12 < whole, "a row alone has nothing to be told from"


@pytest.mark.parametrize("key", [key for key in CASES if key[0] in ("bert", "gpt2")], ids="/".join)
def test_the_published_mean_is_the_terms_divided_at_once(key, tmp_path):
    case = CASES[key]
    model = catalog.load(case.write(tmp_path / "model")).double().eval()
    targets = {name: case.inputs[name] for name in model.targets}
    inputs = {name: value for name, value in case.inputs.items() if name not in targets}
    with torch.no_grad():
        loss = losses.mean(model.terms(model(**inputs), **targets))
        assert torch.equal(model(**inputs, **targets).loss, loss)


def test_the_next_token_is_nobodys_across_sequences():
    labels = torch.tensor([[5, 6, 7, 8, 9]])
    assert losses.shifted(labels).tolist() == [[6, 7, 8, 9, -100]]
    assert losses.shifted(labels, torch.tensor([2, 3])).tolist() == [[6, -100, 8, 9, -100]]


def test_problems_choose_their_loss():
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.0]], dtype=torch.float64)
    squared = losses.mean_squared(logits[:, :1], torch.tensor([1.0, 0.0]))
    assert float(squared.total) == pytest.approx(0.25 + 4.0) and float(squared.count) == 2
    decisions = losses.binary(logits, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert float(decisions.count) == 4
    ignored = losses.cross_entropy(logits, torch.tensor([1, -100]))
    assert float(ignored.count) == 1 and float(ignored.total) == pytest.approx(1.7014, abs=1e-4)
