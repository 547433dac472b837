"""Every page of the catalog divided among two processes, its matrices or its tokens: outputs and gradients of the whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalog import registry
from tests.support import golden

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = {  # where another class says more about a page than its bare backbone
    "albert": "AlbertForMaskedLM", "bart": "BartForConditionalGeneration", "beit": "BeitForImageClassification",
    "bert": "BertForPreTraining", "bloom": "BloomForCausalLM", "clip": "CLIPModel", "detr": "DetrForObjectDetection",
    "distilbert": "DistilBertForMaskedLM", "electra": "ElectraForMaskedLM", "gpt2": "GPT2DoubleHeadsModel",
    "gpt_neox": "GPTNeoXForCausalLM", "llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "opt": "OPTForCausalLM",
    "camembert": "CamembertForMaskedLM", "swin": "SwinForImageClassification", "mt5": "MT5ForConditionalGeneration",
    "wav2vec2": "Wav2Vec2ForCTC", "whisper": "WhisperForConditionalGeneration",
}  # fmt: skip


def cases():
    """One golden file for each page: name of a row -> name of the file. Rows that share a page are one."""
    found, pages = {}, {}
    for case in golden.cases():
        name, head = registry.CLASSES.get(case.data["class"], (None, None))
        chosen = case.data["class"] == PUBLISHED.get(name) or (name not in PUBLISHED and head is None)
        if chosen and "@" not in case.name and pages.setdefault(registry.MODELS[name], name) == name:
            found[name] = case.name
    return found


CASES = cases()
NOTHING = {"tp": {"resnet"}, "cp": {"resnet", "convnext", "swin"}}  # no attention; for cp no plain sequence of tokens


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What both processes found."""
    folder = tmp_path_factory.mktemp("divided")
    worker = str(Path(__file__).with_name("divided.py"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", worker]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(folder), json.dumps(list(CASES.values()))], cwd=ROOT, env=env, capture_output=True, text=True,
        timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"out.{rank}.json").read_text()) for rank in range(2)]


def test_every_page_has_a_case():
    assert {registry.MODELS[name] for name in CASES} == set(registry.MODELS.values())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", ["tp", "cp"])
def test_divided_it_computes_what_it_computes_whole(results, way, name):
    for result in results:
        found = result[way][CASES[name]]
        if name in NOTHING[way]:
            assert "to divide in" in found and "choose strategy=fsdp" in found
            continue
        worst, where, divided = found
        assert worst < 1e-10, where
        assert (divided >= 8) is (way == "tp")
