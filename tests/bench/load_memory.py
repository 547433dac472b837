"""Peak memory and time of loading a checkpoint of 2.2 GB, against reading its files once.

    python tests/bench/load_memory.py [--folder FOLDER]

Writes a random checkpoint of TinyLlama's shape (1.1 billion parameters, bf16, a shard a layer), loads it in processes of
their own and prints ratios. Nothing is asserted here; tests/catalog/test_memory.py asserts the same of a small one.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from safetensors.torch import save_file

import catalog
from catalog import registry
from catalog.building import skeleton
from tests.support.memory import load_in_a_process

SIZES = {"vocab": 32000, "width": 2048, "depth": 22, "heads": 32, "kv_heads": 4, "hidden": 5632, "positions": 2048}


def write(folder: Path) -> int:
    """A checkpoint shard by shard, with no more memory than a shard; returns its bytes."""
    config = catalog.config("llama", **SIZES)
    shapes = {name: tensor.shape for name, tensor in skeleton("llama", config, "causal-lm").state_dict().items()}
    steps = registry.names_of("llama", "causal-lm", config).steps(shapes, published=False)
    shards = {}
    for step in steps:  # nothing but renames
        (ours,), (published,) = step.ours, step.published
        shards.setdefault(ours.partition("layers.")[2].partition(".")[0], {})[published] = shapes[ours]
    noise, index, total = torch.randn(1 << 20).mul_(0.02).bfloat16(), {}, 0
    for number, names in enumerate(shards.values(), 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {}
        for name, shape in names.items():
            repeats = -(-shape.numel() // noise.numel())
            tensors[name] = noise.repeat(repeats)[: shape.numel()].reshape(shape).clone()
        save_file(tensors, folder / file)
        index |= dict.fromkeys(tensors, file)
        total += sum(tensor.nbytes for tensor in tensors.values())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    published = registry.page("llama").CONFIG.write(config, "llama", ["LlamaForCausalLM"])
    (folder / "config.json").write_text(json.dumps(published))
    return total


def read_once(folder: Path) -> float:
    """Seconds to read every shard through one buffer of 16 MiB."""
    start, buffer = time.perf_counter(), bytearray(1 << 24)
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="where to write the checkpoint; removed afterwards (default: a temporary one)")
    root = Path(tempfile.mkdtemp(prefix="trivium-bench-", dir=parser.parse_args().folder))
    try:
        total = write(root)
        read_once(root)  # both sides read from the page cache
        print(f"checkpoint {total / 1e9:.2f} GB, {len(list(root.glob('*.safetensors')))} shards")
        for label, dtype in (("kept bf16", ""), ("cast to fp32", "float32")):
            got, once = load_in_a_process(root, "llama", dtype), read_once(root)
            used = got["peak"] - got["baseline"]
            print(
                f"{label:13} model {got['model'] / 1e9:.2f} GB, largest tensor {got['largest'] / 1e9:.2f} GB, "
                f"peak / model {used / got['model']:.3f}, peak / (model + one tensor) "
                f"{used / (got['model'] + got['largest']):.3f}; {got['seconds']:.2f} s, "
                f"{got['seconds'] / once:.2f} x reading the files once ({once:.2f} s)"
            )
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
