"""Golden files of image processors and feature extractors: their inputs, and outputs against the recorded numbers."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np

from catalog.processors.settings import IGNORED
from tests.support.golden import uniform

FOLDER = Path(__file__).parents[1] / "golden" / "processors"


def load(name):
    """The golden file of a published class, as a dict."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def inputs(case, key):
    """The arrays that a golden file lists under ``key``, made by its formula."""
    return [formula(case["salt"], spec) for spec in case[key]]


def formula(salt, spec):
    a, b = spec["affine"]
    return (np.float32(a) * uniform(salt, spec["formula"], spec["shape"]) + np.float32(b)).astype(spec["dtype"])


def find(registry, name):
    """The class that a registry of strings names."""
    module, attribute = registry[name].split(":")
    return getattr(import_module(module), attribute)


def flat(value, name=""):
    """Nested dicts and lists as the golden files name them: ``labels.0.boxes``."""
    if isinstance(value, (dict, list, tuple)):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, item in pairs for k, v in flat(item, f"{name}.{key}" if name else str(key)).items()}
    return {name: value}


def expect(got, case, tolerance=1e-5):
    """Assert that outputs have the recorded names, shapes, samples and moments, and no others.

    ``tolerance`` is of the largest value; integers must be equal.
    """
    got, wanted = flat(got), case["outputs"]
    assert got.keys() == wanted.keys()
    for name, want in wanted.items():
        if "value" in want:
            assert got[name] == want["value"], name
            continue
        value = np.asarray(got[name])
        assert list(value.shape) == want["shape"], name
        sample = np.array(want["sample"], np.float64)
        at = np.arange(len(sample)) * value.size // len(sample)
        exact = value.dtype.kind in "iub"
        assert exact == ("dtype" in want), f"{name}: {value.dtype}"
        allowed = 0 if exact else tolerance * max(1.0, want["absmax"])
        np.testing.assert_allclose(value.ravel()[at].astype(np.float64), sample, rtol=0, atol=allowed, err_msg=name)
        for moment, number in {"mean": np.mean, "std": np.std, "absmax": lambda v: np.abs(v).max()}.items():
            if moment in want:
                assert abs(number(value.astype(np.float64)) - want[moment]) <= allowed, f"{name}: {moment}"


def expect_kept(stored, published):
    """Assert that every published setting was stored as it was, but for those that change no number.

    Null means the default, which is stored as such; an old name is stored under its successor; a switch that is off may
    belong to a step that ours does not have.
    """
    for key, value in published.items():
        key = {"reduce_labels": "do_reduce_labels"}.get(key, key)
        if key in stored:
            assert value in (stored[key], None), key
        else:
            assert key in IGNORED or value in (None, False), key
