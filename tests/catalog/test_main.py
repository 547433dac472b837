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
    assert any(line.startswith("BERT ") for line in lines) and all("question-answering" in line for line in lines)
    assert main(["list", "--task", "question-answerin"]) == 2
    assert "did you mean 'question-answering'" in capsys.readouterr().err


def test_show_a_row(capsys):
    assert main(["show", "HerBERT"]) == 0
    assert "arXiv:1810.04805" in capsys.readouterr().out
    assert main(["show", "HerBRT"]) == 2
    assert "'herbert'" in capsys.readouterr().err


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
