"""Tiny models of several kinds in float64, each with examples and the plain task of its own loss."""

import numpy as np
import torch

import catalog
from tests.support import training

SIZES = {"vocab": training.VOCAB, "width": 16, "depth": 2, "heads": 4}
TOKENS = {**SIZES, "hidden": 32, "positions": 16, "dropout": 0.0, "attn_dropout": 0.0}
MODELS = {  # name: (head, sizes); heads divide by four, so that every strategy can be asked for
    "albert": ("masked-lm", {**TOKENS, "token_width": 8}),
    "bert": ("masked-lm", TOKENS),
    "gpt2": ("causal-lm", {**TOKENS, "embed_dropout": 0.0}),
    "llama": ("causal-lm", {**SIZES, "kv_heads": 2, "hidden": 32, "positions": 16}),
    "t5": ("seq2seq-lm", {**SIZES, "head_dim": 4, "hidden": 32, "dropout": 0.0}),
    "vit": ("image-classification", {
        "image": 8, "patch": 4, "stride": 4, "width": 16, "depth": 2, "heads": 4, "hidden": 32, "labels": ("a", "b", "c"),
    }),
}  # fmt: skip


def build(name, dtype=torch.float64, device=None, **more):
    """The model with its head, of other sizes where ``more`` says so; the same weights each time."""
    head, sizes = MODELS[name]
    return catalog.build(name, catalog.config(name, **sizes | more), head=head, dtype=dtype, device=device, seed=0)


class Examples(training.Batches):
    """A feed for ``model``: tokens and their labels, padded or end to end, or images and their classes."""

    def __init__(self, model, dataset, layout="padded", **how):
        super().__init__(dataset, **how)
        self.model, self.layout = model, layout

    def batch(self, rows):
        batch = super().batch(rows)
        if self.model == "vit":
            seeds = [np.random.default_rng(int(i)).normal(size=(3, 8, 8)) for i in rows]
            pixels = torch.tensor(np.array(seeds, dtype=np.float64).reshape(-1, 3, 8, 8))
            return {"pixel_values": pixels, "labels": batch["labels"], "rows": batch["rows"]}
        if self.layout == "unpadded":
            each = [self.dataset.ids[i] for i in rows]
            ids = torch.tensor([[token for row in each for token in row]], dtype=torch.long)
            lengths = torch.tensor([len(row) for row in each], dtype=torch.long)
            return {"input_ids": ids, "lengths": lengths, "labels": ids, "rows": batch["rows"]}
        ids = batch["input_ids"]
        return {**batch, "labels": ids.masked_fill(batch["attention_mask"] == 0, -100)}


class Mean:
    """The mean of the first score of each row."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.sum = self.seen = 0

    def update(self, output, batch):
        self.sum, self.seen = self.sum + float(first(output).sum()), self.seen + len(batch["labels"])

    def compute(self):
        return {"mean": self.sum / self.seen}

    def state(self):
        return self.sum, self.seen

    def merge(self, states):
        self.sum, self.seen = map(sum, zip(*states))


def first(output):
    return output.logits.flatten(1)[:, 0]


class Task:
    """The model's own loss."""

    targets, best = ("labels",), ("loss", "min")

    def counts(self, model, batch):
        return model.counts(**self._targets(model, batch))

    def terms(self, model, batch):
        output = self._forward(model, batch)
        return output, model.terms(output, **self._targets(model, batch))

    def new_metrics(self):
        return Mean()

    def predict(self, model, batch):
        return first(self._forward(model, {"labels": batch.get("input_ids"), **batch})).tolist()

    def _targets(self, model, batch):
        ends = model.head == "causal-lm" and "lengths" in batch  # no text's first token is to be told from another text
        return {name: batch[name] for name in ("labels", *["lengths"] * ends)}

    def _forward(self, model, batch):
        inputs = {name: value for name, value in batch.items() if name not in ("labels", "rows")}
        if model.name == "vit":
            inputs["pixel_values"] = inputs["pixel_values"].to(next(model.parameters()).dtype)
        if model.name == "t5":  # the decoder reads what it is to write
            inputs["decoder_input_ids"] = batch["labels"].clamp(min=0)
        return model(**inputs)
