"""Batches hold what the examples hold, in either layout."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.collate import Collate, Field
from trainer.options import BatchOptions

FIELDS = (
    Field("input_ids", "token", pad=7),
    Field("tags", "token", pad=-100),
    Field("labels", "row"),
    Field("score", "row", dtype="float32"),
    Field("targets", "row", dtype="float32"),
)


def collate(layout, max_length=12, fields=FIELDS):
    return Collate(fields, BatchOptions(layout=layout, tokens=99, size=None, max_length=max_length, accumulate=1))


@st.composite
def examples(draw):
    def numbers(n):
        return draw(st.lists(st.integers(0, 1000), min_size=n, max_size=n))

    return [
        {
            "input_ids": np.array(numbers(n), np.int32),
            "tags": numbers(n),
            "labels": draw(st.integers(-5, 5)),
            "score": draw(st.floats(-1, 1, width=32)),
            "targets": np.array([1.0, 0.5], np.float32) * n,
            "text": "not asked for",
        }
        for n in draw(st.lists(st.integers(1, 12), min_size=1, max_size=8))
    ]


@given(examples(), st.sampled_from(["unpadded", "bucketed", "padded"]))
def test_round_trip(features, layout):
    rows = [100 + i for i in range(len(features))]
    batch = collate(layout)(features, rows)
    n, lengths = len(features), [len(feature["input_ids"]) for feature in features]
    assert set(batch) == {field.name for field in FIELDS} | {"rows"} | (
        {"lengths"} if layout == "unpadded" else {"attention_mask"}
    )
    assert batch["rows"].tolist() == rows and batch["labels"].tolist() == [f["labels"] for f in features]
    assert batch["score"].tolist() == [f["score"] for f in features] and batch["score"].dtype == torch.float32
    assert batch["targets"].tolist() == [f["targets"].tolist() for f in features]
    for name, pad in (("input_ids", 7), ("tags", -100)):
        tensor = batch[name]
        assert tensor.dtype == torch.int64
        expected = [list(map(int, feature[name])) for feature in features]
        if layout == "unpadded":
            assert tensor.shape == (1, sum(lengths)) and batch["lengths"].tolist() == lengths
            assert [part.tolist() for part in tensor[0].split(lengths)] == expected
            continue
        assert tensor.shape == (n, 12 if layout == "padded" else max(lengths))
        mask = batch["attention_mask"]
        assert (
            mask.sum(1).tolist() == lengths
            and [row[row_mask == 1].tolist() for row, row_mask in zip(tensor, mask)] == expected
        )
        assert (tensor[mask == 0] == pad).all() and (mask.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("layout", ["unpadded", "bucketed", "padded"])
def test_no_rows(layout):
    fields = FIELDS[:3]
    batch = collate(layout, fields=fields)([], [])
    assert batch["rows"].shape == batch["labels"].shape == (0,)
    assert batch["input_ids"].shape == {"unpadded": (1, 0), "bucketed": (0, 0), "padded": (0, 12)}[layout]


def test_fields_that_disagree():
    with pytest.raises(ValueError, match="'tags' and 'input_ids' differ in length"):
        collate("bucketed", fields=FIELDS[:2])([{"input_ids": [1, 2], "tags": [1]}], [0])


PIXELS = np.arange(12, dtype=np.float32).reshape(3, 2, 2)


def test_arrays_of_one_shape_need_no_lengths():
    fields = (Field("pixel_values", "row", dtype="float32"), Field("labels", "row"))
    rows = [{"pixel_values": PIXELS, "labels": 1}, {"pixel_values": -PIXELS, "labels": 0}]
    for layout in ("unpadded", "bucketed"):
        batch = collate(layout, fields=fields)(rows, [4, 5])
        assert set(batch) == {"pixel_values", "labels", "rows"} and batch["pixel_values"].dtype == torch.float32
        assert torch.equal(batch["pixel_values"], torch.stack([torch.tensor(PIXELS), -torch.tensor(PIXELS)]))
        none = collate(layout, fields=fields)([], [])
        assert {name: len(tensor) for name, tensor in none.items()} == {"pixel_values": 0, "labels": 0, "rows": 0}
    rows[1]["pixel_values"] = PIXELS[:, :1]
    with pytest.raises(ValueError, match=r"'pixel_values' has rows of several shapes: \(3, 1, 2\), \(3, 2, 2\)"):
        collate("bucketed", fields=fields)(rows, [4, 5])


def test_waveforms_are_padded_with_a_mask_and_their_targets_to_a_length_of_their_own():
    fields = (
        Field("input_values", "token", dtype="float32"),
        Field("labels", "own", pad=-100),
        Field("boxes", "own", pad=-1, dtype="float32"),
    )
    waves = [np.array([0.5, 0.25, 1.0], np.float32), np.array([-0.5], np.float32)]
    boxes = [np.zeros((0, 4)), np.array([[1, 2, 3, 4], [5, 6, 7, 8]])]
    rows = [{"input_values": w, "labels": y, "boxes": b} for w, y, b in zip(waves, ([7], [8, 9]), boxes)]
    batch = collate("bucketed", fields=fields)(rows, [0, 1])
    assert batch["input_values"].tolist() == [[0.5, 0.25, 1.0], [-0.5, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[7, -100], [8, 9]]
    assert batch["boxes"].tolist() == [[[-1] * 4] * 2, [[1, 2, 3, 4], [5, 6, 7, 8]]]
    joined = collate("unpadded", fields=fields)(rows, [0, 1])
    assert joined["input_values"].tolist() == [[0.5, 0.25, 1.0, -0.5]] and joined["lengths"].tolist() == [3, 1]
    assert torch.equal(joined["labels"], batch["labels"])


def test_frames_of_several_numbers_are_tokens():
    frames = [np.arange(6.0).reshape(3, 2), np.ones((1, 2))]
    batch = collate("padded", max_length=4, fields=(Field("input_features", "token", dtype="float32"),))(
        [{"input_features": f} for f in frames], [0, 1]
    )
    assert batch["input_features"].shape == (2, 4, 2) and batch["attention_mask"].sum(1).tolist() == [3, 1]
    assert batch["input_features"][0, :3].tolist() == frames[0].tolist() and not batch["input_features"][1, 1:].any()


def test_a_row_longer_than_the_batch_is_wide():
    with pytest.raises(ValueError, match="'input_ids' has 5 entries in a batch that is 4 wide"):
        collate("padded", max_length=4, fields=FIELDS[:1])([{"input_ids": [1] * 5}], [0])


def test_lists_a_row_that_differ_in_length(tmp_path, monkeypatch):
    from trainer.data import sources
    from trainer.data.prepare import prepare

    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path))
    (tmp_path / "a.txt").write_text("x\nxy\nxyz\n")
    data = prepare(
        sources.read(tmp_path / "a.txt"),
        lambda columns: {"input_ids": [[1]] * 3, "targets": [[1.0] * len(text) for text in columns["text"]]},
        key=0,
    )
    made = collate("padded", fields=(FIELDS[0], FIELDS[4]))
    assert made.arrays(data.columns([1]), [1])["targets"].tolist() == [[1, 1]]
    with pytest.raises(ValueError, match="'targets' has not equally many numbers in every row"):
        made.arrays(data.columns([0, 1, 2]), [0, 1, 2])
