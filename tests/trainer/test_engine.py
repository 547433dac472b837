"""The loop on the real data engine: files, prepared rows, unpadded batches made by threads."""

import json
import os
import signal

import pytest
import torch

from tests.support import training
from trainer.data import sources
from trainer.data.batches import BatchPlan
from trainer.data.collate import Collate, Field
from trainer.data.loader import Loader
from trainer.data.prepare import prepare
from trainer.errors import DataError, Stopped
from trainer.options import BatchOptions
from trainer.preflight import Checks

FIELDS = (Field("input_ids", "token"), Field("labels", "row"))


def process(columns):
    ids = [[int(word) for word in text.split()] for text in columns["text"]]
    return {"input_ids": ids, "labels": [sum(row) % training.CLASSES for row in ids]}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "train.txt"
    path.write_text("".join(" ".join(map(str, ids)) + "\n" for ids in training.Rows(150).ids))
    return prepare(sources.read(path), process, key="words")


def feed(data, seed=3, workers=2, **changes):
    given = {"layout": "unpadded", "tokens": 40, "size": None, "max_length": 16, "accumulate": 2} | changes
    options = BatchOptions(**given)
    return Loader(data, BatchPlan(data.lengths, options, seed), Collate(FIELDS, options), workers=workers)


class Unpadded(training.Task):
    """The task on either layout: sequences of an unpadded batch are cut apart by their lengths."""

    def terms(self, model, batch):
        return super().terms(model, self.padded(batch))

    def predict(self, model, batch):
        return super().predict(model, self.padded(batch))

    def counts(self, model, batch):
        return {"class": len(batch["labels"])}

    def padded(self, batch):
        if "lengths" not in batch:
            return batch
        rows = batch["input_ids"][0].split(batch["lengths"].tolist())
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return {**batch, "input_ids": ids, "attention_mask": (ids > 0).long()}


def trainer(folder, data, loader=None, **kw):
    kw = {"task": Unpadded(), "options": training.config(epochs=2, eval_every=10, save_every=7, log_every=1)} | kw
    return training.trainer(folder, feed=loader or feed(data), evals={"dev": feed(data, seed=None)}, **kw)


def steps(folder):
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return {e["step"]: e for e in lines if e["event"] == "step"}


def test_stopped_and_resumed_with_other_workers_it_ends_the_same(tmp_path, data):
    whole = trainer(tmp_path / "whole", data)
    whole.fit()
    last = max(steps(tmp_path / "whole"))
    for stop in (5, last // 2 + 2):
        folder, loader = tmp_path / f"cut{stop}", feed(data)
        stopped = trainer(folder, data, loader)
        stopped.task.spoil = lambda batch, s=stopped, at=stop: (
            s.model.calls == 2 * at and os.kill(os.getpid(), signal.SIGTERM)
        )
        with pytest.raises(Stopped):
            stopped.fit()
        loader.close()
        resumed = trainer(folder, data, feed(data, workers=0))
        resumed.fit(resume=True)
        assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters()))
        found, expected = steps(folder), steps(tmp_path / "whole")
        assert [(n, e["loss"], e["tokens"]) for n, e in sorted(found.items())] == [
            (n, e["loss"], e["tokens"]) for n, e in sorted(expected.items())
        ]


def test_nothing_is_computed_for_padding_and_every_token_is_counted(tmp_path, data):
    trainer(tmp_path, data).fit()
    found = steps(tmp_path)
    assert {e["padding"] for e in found.values()} == {0.0}
    assert found[max(found)]["tokens"] == 2 * int(data.lengths.sum())


def test_layouts_give_the_same_loss_on_the_same_rows(tmp_path, data):
    """Sixteen rows a micro batch in file order; unpadded, bucketed to the longest and padded to 16."""
    net = training.model(dtype=torch.float64, dropout=0.0)
    losses = []
    for layout in ("unpadded", "bucketed", "padded"):
        loader = feed(data, seed=None, layout=layout, tokens=None, size=16)
        losses.append(trainer(tmp_path, data, net=net).evaluate(loader)["loss"])
    assert losses[1] == pytest.approx(losses[0], abs=1e-12)
    assert losses[2] == pytest.approx(losses[0], abs=1e-12)


def test_predictions_are_in_the_order_of_the_file(tmp_path, data):
    made = trainer(tmp_path, data)
    one_by_one = [made.predict(feed(data, seed=None, tokens=None, size=1))]
    assert made.predict(feed(data, seed=None, layout="bucketed")) == one_by_one[0]
    assert len(set(one_by_one[0])) > 1


def test_a_bad_row_is_named_by_its_file(tmp_path, data):
    checks = Checks(vocab=20, classes=training.CLASSES)
    row = next(i for i, ids in enumerate(training.Rows(150).ids) if max(ids) >= 20)
    with pytest.raises(DataError, match=rf"in row {row} \({data.where(row)}\), column 'input_ids'.*vocabulary of 20"):
        trainer(tmp_path, data, checks=checks).fit()


def test_other_batches_are_refused_on_resume(tmp_path, data):
    trainer(tmp_path, data, options=training.config(steps=1)).fit()
    with pytest.raises(DataError, match=r"belongs to other data: order was"):
        trainer(tmp_path, data, feed(data, tokens=50), options=training.config(steps=2)).fit(resume=True)
