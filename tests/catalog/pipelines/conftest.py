"""Tiny models in folders, as a run leaves them."""

import numpy as np
import pytest

import catalog
from catalog.processors.text import train_wordpiece

TEXTS = (
    "a warm and funny film",
    "a waste of an evening in Paris with Anna",
    "no",
    "an evening of a warm film and no waste",
)


@pytest.fixture(scope="session")
def tokenizer():
    """Word pieces of ``TEXTS``."""
    return train_wordpiece(list(TEXTS), 80)


@pytest.fixture(scope="session")
def folder(tmp_path_factory, tokenizer):
    """``folder(name, head, processor=..., **config)``: a model of random weights, saved."""

    def make(name, head, processor=tokenizer, **ours):
        path = tmp_path_factory.mktemp(name)
        sizes = (
            {"vocab": 80, "width": 16, "depth": 1, "heads": 2, "hidden": 32, "positions": 24} if name == "bert" else {}
        )
        model = catalog.build(name, catalog.config(name, **(sizes | ours)), head=head, seed=0)
        for parameter in model.parameters():  # scores that differ
            parameter.data.mul_(8 if parameter.ndim > 1 else 1)
        return catalog.save(model, path, processor=processor)

    return make


def tone(seconds, rate=16000, pitch=440.0):
    """A tone that rises, float32 [T]."""
    t = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (pitch + 100 * t) * t)).astype(np.float32)
