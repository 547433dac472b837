"""``python -m catalog``: what it prints, and how it answers a wrong name."""

import json
import subprocess
import sys

import pytest

from catalog.__main__ import main
from tests.support import golden


def test_list_filters_by_task(capsys):
    assert main(["list", "--task", "question-answering"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["row", "model", "modality", "heads"]
    assert any(line.startswith("BERT ") for line in lines[1:]) and all(" qa" in line for line in lines[1:])
    assert not any(line.startswith("LLaMA ") for line in lines)
    starts = {line.index(name) for line, name in ((line, line.split("  ")[-1].strip()) for line in lines)}
    assert len(starts) == 1  # one column under the other
    assert main(["list", "--task", "question-answerin"]) == 2
    assert "did you mean 'question-answering'" in capsys.readouterr().err


def test_show_a_row(capsys):
    assert main(["show", "HerBERT"]) == 0
    assert "arXiv:1810.04805" in capsys.readouterr().out
    assert main(["show", "HerBRT"]) == 2
    assert "'herbert'" in capsys.readouterr().err


def test_show_tells_the_memory_of_every_size(capsys):
    assert main(["show", "bert"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert (
        "438 MB" in lines["bert-base-uncased"] and "219 MB" in lines["bert-base-uncased"]
    )  # 109,482,240 at 4 and 2 bytes
    assert "1.34 GB" in lines["bert-large-uncased"]


def test_verify_tells_what_a_folder_holds(tmp_path, capsys):
    case = golden.Golden(golden.FOLDER / "bert" / "BertForMaskedLM.json")
    folder = case.write(tmp_path / "model")
    assert main(["verify", str(folder)]) == 0
    out = capsys.readouterr().out
    assert f"{case.data['num_parameters']:,} parameters" in out and "sha256" in out
    config = json.loads((folder / "config.json").read_text()) | {"hidden_size": 64}
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["verify", str(folder)]) == 3
    assert "shape" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["-c", "import catalog"], ["-m", "catalog", "list"], ["-m", "catalog", "show", "bert"]]
)
def test_listing_imports_no_framework(arguments):
    code = (
        "import runpy, sys; sys.argv = ['catalog', *sys.argv[1:]]\n"
        "try: runpy.run_module('catalog', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'tensorflow', 'jax', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    if arguments[0] == "-c":
        code = "import sys, catalog; assert not {'torch', 'numpy', 'tensorflow', 'jax'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, *arguments[2:]], check=True, stdout=subprocess.DEVNULL)
