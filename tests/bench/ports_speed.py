"""Forward and gradient of Flax ports against the same models written by hand in Flax, as ratios.

    python tests/bench/ports_speed.py [--repeats 20] [--only bert] [--write]

The two run in turn, in one process; a ratio is that of the medians of their processor time, which other programs disturb
less than the clock. ``compile`` is the first call. ``--write`` keeps the figures in tests/bench/results.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import jax
import numpy as np
from flax import nnx

import catalog
from catalog.ports import export
from catalog.ports.flax import Port
from tests.bench import plain_flax

RESULTS = Path(__file__).parent / "results"


def _text(name, head, post, causal, eps, batch, length, **sizes):
    config = catalog.config(name, **sizes, positions=512)
    mine = catalog.build(name, config, head=head)
    its = plain_flax.Text(
        vocab=config.vocab, width=config.width, depth=config.depth, heads=config.heads, hidden=4 * config.width,
        positions=512, eps=eps, post=post, causal=causal, rngs=nnx.Rngs(0),
    )  # fmt: skip
    ids = np.random.default_rng(0).integers(5, config.vocab, (batch, length))
    mask = np.ones_like(ids)
    return mine, lambda m: m(ids, attention_mask=mask).logits, its, lambda m: m(ids, mask)


def _bert():
    return _text("bert", "masked-lm", True, False, 1e-12, 8, 128, width=256, depth=4, heads=4, hidden=1024)


def _gpt2():
    return _text("gpt2", "causal-lm", False, True, 1e-5, 2, 128, width=768, depth=4, heads=12)


def _vit():
    config = catalog.config("vit", width=256, depth=4, heads=4, hidden=1024, image=224, patch=16)
    mine = catalog.build("vit", config, head="image-classification")
    its = plain_flax.Images(
        side=224, patch=16, width=256, depth=4, heads=4, hidden=1024, eps=1e-12, labels=2, rngs=nnx.Rngs(0)
    )
    pixels = np.random.default_rng(0).standard_normal((4, 3, 224, 224), np.float32)
    return mine, lambda m: m(pixel_values=pixels).logits, its, lambda m: m(pixels)


SHAPES = {"bert": _bert, "gpt2": _gpt2, "vit": _vit}


def measure(name: str, repeats: int) -> dict[str, float]:
    """Milliseconds of the derived and the written model, and their ratios, forward and with the gradient."""
    mine, call_mine, its, call_its = SHAPES[name]()
    port = Port(export.blueprint(mine.eval()), export.values(mine))
    call_mine(port)  # the program is made before anything is timed
    found: dict[str, float] = {}
    for what, wrap in (
        ("forward", lambda f: nnx.jit(f)),
        ("gradient", lambda f: nnx.jit(nnx.grad(lambda m: f(m).sum()))),
    ):
        runs = ((wrap(call_mine), port), (wrap(call_its), its))
        found |= dict(zip((f"{what} compile derived s", f"{what} compile written s"), (_once(*run) for run in runs)))
        times = [[_once(*run) * 1e3 for run in runs] for _ in range(repeats)]
        derived, written = (statistics.median(column) for column in zip(*times))
        found |= {f"{what} derived ms": derived, f"{what} written ms": written, f"{what} ratio": derived / written}
    return {key: round(value, 3) for key, value in found.items()}


def _once(function, model):
    start = time.process_time()
    jax.block_until_ready(function(model))
    return time.process_time() - start


def main():
    """Measure and print; see the module docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--only", choices=sorted(SHAPES))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    figures = {}
    for name in [options.only] if options.only else SHAPES:
        figures[name] = measure(name, options.repeats)
        print(name, json.dumps(figures[name]), flush=True)
    if options.write:
        RESULTS.mkdir(exist_ok=True)
        about = {
            "date": datetime.date.today().isoformat(), "jax": jax.__version__, "repeats": options.repeats,
            "cores": os.cpu_count(), "machine": platform.machine(),
        }  # fmt: skip
        (RESULTS / "ports_speed.json").write_text(json.dumps({**about, "flax": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
