"""Packed blocks on the way to a model: every token once, no document read by another."""

import numpy as np
import pytest
import torch

import catalog
from trainer.data import sources
from trainer.data.batches import BatchPlan
from trainer.data.blocks import Blocks
from trainer.data.collate import Collate, Field
from trainer.data.loader import Loader
from trainer.data.prepare import prepare
from trainer.options import BatchOptions

CAPACITY = 16
FIELDS = (Field("input_ids", "token"), Field("half", "token"))
SIZES = [3, 40, 1, 16, 7, 7, 2, 17, 5, 9, 12, 4] * 3


@pytest.fixture
def documents(tmp_path, monkeypatch):
    """Document ``d`` is the numbers 100 d, 100 d + 1, ..."""
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path))
    path = tmp_path / "texts.txt"
    path.write_text("".join(" ".join(str(100 * d + t) for t in range(n)) + "\n" for d, n in enumerate(SIZES)))

    def process(columns):
        ids = [[int(word) for word in text.split()] for text in columns["text"]]
        return {"input_ids": ids, "half": [[i // 2 for i in row] for row in ids], "size": list(map(len, ids))}

    return prepare(sources.read(path), process, key="numbers")


def feed(documents, tokens=48, seed=1, fields=FIELDS):
    blocks = Blocks(documents, CAPACITY)
    options = BatchOptions(layout="unpadded", tokens=tokens, size=None, max_length=CAPACITY, accumulate=1)
    return Loader(blocks, BatchPlan(blocks.lengths, options, seed), Collate(fields, options), workers=0)


def test_every_token_once_in_full_batches_whose_lengths_are_those_of_pieces(documents):
    loader, seen, slots = feed(documents), [], 0
    assert loader.dataset.fields == ["input_ids", "half"]
    batches = [micro for micros in loader.epoch(0) for micro in micros]
    for batch in batches:
        pieces = batch["input_ids"][0].split(batch["lengths"].tolist())
        assert batch["lengths"].sum() == batch["input_ids"].shape[1] <= 48
        for piece in pieces:
            assert (piece.diff() == 1).all() and len(set((piece // 100).tolist())) == 1, "of one document, in order"
        assert torch.equal(batch["half"], batch["input_ids"] // 2)
        seen += torch.cat(pieces).tolist()
        slots += 48
    assert sorted(seen) == [100 * d + t for d, n in enumerate(SIZES) for t in range(n)]
    assert sorted(torch.cat([batch["rows"] for batch in batches]).tolist()) == list(range(len(loader.dataset)))
    assert sum(SIZES) / (len(loader.dataset) * CAPACITY) > 0.95, "blocks are nearly full"
    assert sum(SIZES) / slots > 0.9


def test_a_document_is_cut_only_where_it_is_longer_than_a_block(documents):
    blocks = Blocks(documents, CAPACITY)
    lengths = np.concatenate([blocks.columns([i])["input_ids"].lengths for i in range(len(blocks))])
    assert sorted(lengths.tolist()) == sorted(min(16, n - t) for n in SIZES for t in range(0, n, 16))


def test_a_block_says_where_it_is_from(documents):
    blocks = Blocks(documents, CAPACITY)
    first = blocks[0]["input_ids"]
    assert blocks.where(0) == f"{documents.where(int(first[0]) // 100)}" and blocks.where(0).endswith("texts.txt row 2")
    assert any(blocks.where(i).endswith("more in a block") for i in range(len(blocks)))
    with pytest.raises(IndexError, match=rf"block {len(blocks)} of {len(blocks)}"):
        blocks[len(blocks)]


def test_a_causal_model_gives_each_document_what_it_gives_it_alone(documents):
    config = catalog.config("gpt2", vocab=4000, width=16, depth=2, heads=2, hidden=32, positions=CAPACITY)
    model = catalog.build("gpt2", config, head="causal-lm", seed=0).eval().double()
    (batch,) = next(feed(documents, fields=FIELDS[:1]).epoch(0))
    assert len(batch["lengths"]) > len(batch["rows"]), "some blocks hold several documents"
    with torch.no_grad():
        together = model(input_ids=batch["input_ids"], lengths=batch["lengths"]).logits[0]
        for piece, logits in zip(
            batch["input_ids"][0].split(batch["lengths"].tolist()), together.split(batch["lengths"].tolist())
        ):
            assert torch.allclose(model(input_ids=piece[None]).logits[0], logits, atol=1e-10)
