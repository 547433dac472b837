"""Image models beyond their golden numbers: other sizes, chosen stages, losses that split, and what is refused."""

import pytest
import torch
from torch.nn import functional as F

import catalog
from catalog import losses
from catalog.errors import ConfigError
from tests.support import golden
from tests.support.export import Named

PAINTERS = [case for case in golden.cases("vit", "deit", "swin") if "MaskedImage" in case.name]
EXTRACTORS = [case for case in golden.cases("resnet", "convnext", "swin", "dinov2") if case.name.endswith("Backbone")]


def loaded(name, tmp_path, **how):
    (case,) = [case for case in golden.cases(name.split("/")[0]) if case.name == name]
    return catalog.load(case.write(tmp_path / "published"), **how), case.inputs["pixel_values"]


@torch.no_grad()
def test_a_larger_image_reads_resampled_positions(tmp_path):
    model, _ = loaded("vit/ViTModel", tmp_path)
    pixels = torch.randn(2, 3, 40, 56)
    with pytest.raises(ConfigError, match="5 x 7 patches does not fit positions for 4 x 4"):
        model(pixels)
    got = model(pixels, interpolate_pos_encoding=True).last_hidden_state
    table = model.embed.positions.weight
    grid = table[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, scale_factor=(5.1 / 4, 7.1 / 4), mode="bicubic")
    states = torch.cat([model.embed.front[0].weight.expand(2, -1, -1), model.embed.patch(pixels)], 1)
    states = states + torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2)], 1)
    torch.testing.assert_close(got, model.norm(model.layers(states)))


@torch.no_grad()
def test_gated_feed_forwards_and_features_of_another_size(tmp_path):
    sizes = {"image": 32, "patch": 8, "width": 24, "depth": 2, "heads": 2, "gated": True, "features": (0, 2)}
    model = catalog.build("dinov2", catalog.config("dinov2", **sizes), head="feature-maps", seed=0).eval()
    assert model.backbone.layers[0].mlp.up.out_features == 64
    again = catalog.load(catalog.save(model, tmp_path / "saved"))
    pixels = torch.randn(1, 3, 24, 40)
    stem, last = model(pixels).feature_maps
    assert torch.equal(again(pixels).feature_maps[1], last)
    states = model.backbone(pixels).last_hidden_state[:, 1:]
    torch.testing.assert_close(last.flatten(2).transpose(1, 2), states)
    assert stem.shape == (1, 24, 3, 5)


@torch.no_grad()
def test_an_image_is_filled_up_to_whole_patches_and_windows(tmp_path):
    model, pixels = loaded("swin/SwinModel", tmp_path)
    odd = pixels[:, :, :27, :31]
    got = model(odd).last_hidden_state
    torch.testing.assert_close(got, model(F.pad(odd, (0, 1, 0, 1))).last_hidden_state)
    assert got.shape == (2, 4 * 4, 64)


@pytest.mark.parametrize("case", PAINTERS, ids=lambda case: case.name)
def test_the_loss_of_painted_images_is_a_sum_over_hidden_pixels(case, tmp_path):
    model = catalog.load(case.write(tmp_path / "model")).double()
    inputs = {name: v.double() if v.is_floating_point() else v for name, v in case.inputs.items()}
    with torch.no_grad():
        whole = model(**inputs)
        (term,) = model.terms(whole, **inputs).values()
        assert torch.equal(whole.loss, losses.mean({"loss": term}))
        assert float(term.count) == float(model.counts(**inputs)["loss"])
        side = model.config.patch
        assert float(term.count) == int(inputs["bool_masked_pos"].sum()) * side**2
        rows = [{name: value[i : i + 1] for name, value in inputs.items()} for i in range(2)]
        parts = [model.terms(model(**row), **row)["loss"] for row in rows]
    total = sum(part.total for part in parts) / sum(part.count for part in parts)
    torch.testing.assert_close(total, whole.loss, rtol=1e-12, atol=0)
    seen = inputs["pixel_values"].clone()
    hidden = model._pixels(inputs["bool_masked_pos"], seen.shape)[:, None].expand_as(seen)
    far = (whole.reconstruction - seen).abs()[hidden].mean()
    torch.testing.assert_close(far, whole.loss, rtol=1e-10, atol=0)
    assert model(inputs["pixel_values"]).loss is None


def test_visual_tokens_are_learned_where_patches_are_hidden(tmp_path):
    model, pixels = loaded("beit/BeitForMaskedImageModeling", tmp_path)
    hidden = torch.zeros(2, 16, dtype=torch.bool)
    hidden[0, [1, 5]], hidden[1, [0, 7, 9]] = True, True
    ids = torch.tensor([3, 8, 39, 0, 5])
    with torch.no_grad():
        out = model(pixels, hidden, labels=ids)
        want = F.cross_entropy(out.logits[hidden], ids)
        torch.testing.assert_close(out.loss, want)
        everywhere = torch.full((2, 16), -100).masked_scatter(hidden, ids)
        torch.testing.assert_close(model(pixels, hidden, labels=everywhere).loss, want)
    assert int(model.counts(labels=ids, bool_masked_pos=hidden)["loss"]) == 5


@torch.no_grad()
def test_biases_of_every_layer_and_shared_ones_add_up(tmp_path):
    sizes = {"image": 32, "patch": 8, "width": 16, "depth": 3, "heads": 2, "hidden": 24, "taps": (0, 1, 2, 3)}
    config = catalog.config("beit", **sizes, shared=True, relative=True, absolute=True, mean=False)
    model = catalog.build("beit", config, seed=0).eval()
    torch.nn.init.normal_(model.bias.table)
    pixels = torch.randn(2, 3, 32, 32)
    both = model(pixels)
    torch.testing.assert_close(both.pooler_output, both.last_hidden_state[:, 0])
    again = catalog.load(catalog.save(model, tmp_path / "saved"))
    assert torch.equal(again(pixels).last_hidden_state, both.last_hidden_state)
    for layer in model.layers:  # the shared table into each layer's own: the sum is the same
        layer.attn.bias.table.copy_(model.bias.table)
    model.bias.table.zero_()
    torch.testing.assert_close(model(pixels).last_hidden_state, both.last_hidden_state)
    with pytest.raises(ConfigError, match="3 x 4 patches, and this model's positions are for images of 32"):
        model(pixels[:, :, :24])


@torch.no_grad()
def test_a_pixel_without_a_class_is_nobodys_target(tmp_path):
    model, pixels = loaded("beit/BeitForSemanticSegmentation", tmp_path)
    labels = torch.randint(0, 3, (2, 20, 24), generator=torch.Generator().manual_seed(0))
    labels[0, :15] = 255
    whole = model(pixels, labels=labels)
    terms, counts = model.terms(whole, labels=labels), model.counts(labels=labels)
    assert {name: int(term.count) for name, term in terms.items()} == {"loss": 600, "auxiliary": 600}
    assert {name: int(count) for name, count in counts.items()} == {"loss": 600, "auxiliary": 600}
    rows = [model.terms(model(pixels[i : i + 1]), labels=labels[i : i + 1]) for i in range(2)]
    loss = sum(terms[k].weight * sum(row[k].total for row in rows) / counts[k] for k in terms)
    torch.testing.assert_close(loss, whole.loss)
    scores = F.interpolate(whole.logits, size=(20, 24), mode="bilinear", align_corners=False)
    torch.testing.assert_close(terms["loss"].total / 600, F.cross_entropy(scores, labels, ignore_index=255))
    assert terms["auxiliary"].weight == 0.4


@pytest.mark.parametrize("case", EXTRACTORS, ids=lambda case: case.name)
def test_feature_maps_are_the_stages_that_were_chosen(case, tmp_path):
    folder = case.write(tmp_path / "published")
    model = catalog.load(folder)
    pixels = case.inputs["pixel_values"]
    with torch.no_grad():
        maps = model(pixels).feature_maps
        assert [m.shape[1] for m in maps] == [model.backbone.widths[n] for n in model.config.features]
        program = torch.export.export(
            Named(model), ({"pixel_values": pixels},),
            dynamic_shapes=({"pixel_values": {0: torch.export.Dim("batch", min=1, max=64)}},), strict=False,
        )  # fmt: skip
        again = program.module()({"pixel_values": torch.cat([pixels, pixels])}).feature_maps
        torch.testing.assert_close(again[0], torch.cat([maps[0], maps[0]]), rtol=1e-4, atol=1e-5)


def test_stages_are_read_by_name_and_by_number():
    from catalog.building import from_published
    from catalog.models import resnet

    published = {"model_type": "resnet", "architectures": ["ResNetBackbone"]}
    by_name = from_published({**published, "out_features": ["stem", "stage3"]})[2]
    by_number = from_published({**published, "out_indices": [0, 3]})[2]
    assert by_name == by_number and by_name.features == (0, 3)
    assert resnet.CONFIG.write(by_name, "resnet", [])["out_features"] == ["stem", "stage3"]
    with pytest.raises(ConfigError, match=r"no stage 'stagex'.*stem, stage1, stage2, stage3, stage4"):
        from_published({**published, "out_features": ["stagex"]})
    last = catalog.build("resnet", head="feature-maps", device="meta")
    assert last.chosen == [4]


def test_sizes_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="one number a stage each"):
        catalog.config("resnet", depths=(1, 2))
    with pytest.raises(ConfigError, match="basic, bottleneck"):
        catalog.config("resnet", block="botleneck")
    with pytest.raises(ConfigError, match="width 96 does not divide into 5 heads"):
        catalog.config("swin", heads=(5, 6, 12, 24))
    with pytest.raises(ConfigError, match="smaller than one patch"):
        catalog.config("vit", image=8)


def test_the_pair_of_classifiers_has_no_loss(tmp_path):
    model, pixels = loaded("deit/DeiTForImageClassificationWithTeacher", tmp_path)
    with torch.no_grad():
        out = model(pixels)
    torch.testing.assert_close(out.logits, (out.cls_logits + out.distillation_logits) / 2)
    with pytest.raises(ConfigError, match="fine-tune with the head 'image-classification'"):
        model.terms(out, labels=torch.zeros(2))


def test_training_moves_batch_statistics_and_every_weight(tmp_path):
    model, pixels = loaded("resnet/ResNetForImageClassification", tmp_path)
    before = model.backbone.embed[0].norm.running_mean.clone()
    model.train()(pixels, labels=torch.tensor([0, 2])).loss.backward()
    assert not torch.equal(model.backbone.embed[0].norm.running_mean, before)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
