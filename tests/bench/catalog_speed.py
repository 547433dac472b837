"""Forward and backward of four models of the catalog against plain torch.nn of the same shapes, as ratios.

    python tests/bench/catalog_speed.py [--repeats 7] [--write]

The two run in turn, in one process on one thread, and their processor time is taken, which other programs disturb less
than the clock; a ratio is that of the medians. ``--write`` keeps the figures in tests/bench/results.
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

import torch
from torch import nn

import catalog
from tests.bench import plain

RESULTS = Path(__file__).parent / "results"


def _gelu_tanh():
    return nn.GELU(approximate="tanh")


def _bert():
    mine = catalog.build("bert-base-uncased", head="masked-lm")
    its = plain.Encoder(embed=nn.Embedding(30522, 768), positions=512, depth=12, act=nn.GELU(), outputs=30522, post=True,
                        tied=True)  # fmt: skip
    ids = torch.randint(30522, (1, 128))
    return mine, {"input_ids": ids}, its, (ids,)


def _gpt2():
    mine = catalog.build("gpt2", head="causal-lm")
    its = plain.Encoder(embed=nn.Embedding(50257, 768), positions=1024, depth=12, act=_gelu_tanh(), outputs=50257,
                        causal=True, eps=1e-5, tied=True)  # fmt: skip
    ids = torch.randint(50257, (1, 128))
    return mine, {"input_ids": ids}, its, (ids,)


def _vit():
    mine = catalog.build("vit", head="image-classification")
    its = plain.Encoder(embed=nn.Conv2d(3, 768, 16, 16), positions=197, depth=12, act=nn.GELU(), outputs=2)
    pixels = torch.randn(1, 3, 224, 224)
    return mine, {"pixel_values": pixels}, its, (pixels,)


def _t5():
    mine, its = catalog.build("t5-small", head="seq2seq-lm"), plain.T5Small()
    source, target = torch.randint(32128, (2, 1, 128))
    return mine, {"input_ids": source, "decoder_input_ids": target}, its, (source, target)


CASES = {"BERT-base": _bert, "GPT-2 124M": _gpt2, "ViT-base": _vit, "T5-small": _t5}


def seconds(step) -> float:
    """Processor seconds of one forward and backward."""
    start = time.process_time()
    step()
    return time.process_time() - start


def measure(name: str, repeats: int) -> dict[str, float]:
    """Medians of ``repeats`` in turn, and their ratio; counts of parameters tell whether the shapes are the same."""
    mine, inputs, its, arguments = CASES[name]()
    mine.eval(), its.eval()  # no dropout on either side
    steps = (lambda: mine(**inputs).logits.sum().backward(), lambda: its(*arguments).sum().backward())
    times = [[], []]
    for turn in range(repeats + 1):
        for side in (0, 1) if turn % 2 else (1, 0):
            value = seconds(steps[side])
            if turn:  # the first makes the gradients' memory
                times[side].append(value)
    ours, plains = map(statistics.median, times)
    counts = [sum(p.numel() for p in model.parameters()) for model in (mine, its)]
    return {"catalog_s": ours, "plain_s": plains, "ratio": ours / plains, "best_ratio": min(times[0]) / min(times[1]),
            "parameters": counts[0], "plain_parameters": counts[1]}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    found = {}
    for name in CASES:
        found[name] = row = measure(name, options.repeats)
        print(f"{name:11} catalog {row['catalog_s']:.3f} s, plain {row['plain_s']:.3f} s, ratio {row['ratio']:.3f} "
              f"(of the fastest: {row['best_ratio']:.3f})", flush=True)  # fmt: skip
    if options.write:
        write(found, options.repeats)


def write(found, repeats):
    """Keep the figures with date and hardware."""
    about = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, one thread used",
        "load": f"{os.getloadavg()[0]:.1f} programs wanted to run meanwhile",
        "torch": torch.__version__,
        "repeats": repeats,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "catalog_speed.json").write_text(json.dumps({**about, "models": found}, indent=2) + "\n")
    head = "| model | catalog, s | plain, s | ratio of medians | ratio of the fastest |"
    told = ", ".join(f"{key}: {value}" for key, value in about.items())
    lines = ["# Forward and backward against plain torch.nn", "", told, "", head, "|---|---|---|---|---|"]
    for name, row in found.items():
        lines.append(
            f"| {name} | {row['catalog_s']:.3f} | {row['plain_s']:.3f} | {row['ratio']:.3f} | {row['best_ratio']:.3f} |"
        )
    (RESULTS / "catalog_speed.md").write_text("\n".join(lines) + "\n")


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    main()
