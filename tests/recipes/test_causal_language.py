"""Documents of rows, files and titles; perplexity and bits per byte of a worked example."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from catalog.processors import text
from recipes.causal_language import CausalFeatures, CausalLanguage
from recipes.documents import TEXTS, opened, size
from recipes.examples import NOTHING, examples
from recipes.metrics import Judged
from trainer.errors import DataError

LINES = [" = First = ", "one two", "", " = = part = = ", "three", " = Second = ", "four"]


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))
    for split in ("train", "valid"):
        (tmp_path / f"{split}.txt").write_text("\n".join(LINES) + "\n")
    return examples(replace(NOTHING, path=str(tmp_path)), TEXTS).train


@pytest.mark.parametrize(("document", "begins"), [("row", [0, 1, 2, 3, 4, 5, 6]), ("file", [0]), ("title", [0, 5])])
def test_where_documents_begin(rows, document, begins):
    opens = opened(rows, document).data["opens"]
    assert [i for i, value in enumerate(opens) if value] == begins
    assert size(rows, document) == sum(map(len, LINES)) + (0 if document == "row" else len(LINES))


def test_a_document_begins_with_its_token_and_blank_rows_are_none():
    tokenizer = text.train_bytes(LINES, 300)
    end = tokenizer.eos_id
    made = CausalFeatures(tokenizer, "row")({"text": ["one", "", "two"], "opens": [True] * 3})
    assert made["row"] == [0, 2] and all(ids[0] == ids[-1] == end for ids in made["input_ids"])
    made = CausalFeatures(tokenizer, "file")({"text": ["one", "", "two"], "opens": [True, False, False]})
    assert len(made["input_ids"]) == 1 and tokenizer.decode(made["input_ids"][0][1:]) == "one\n\ntwo\n"


def test_figures_of_a_uniform_guess():
    """One of 256 bytes by chance: perplexity 256, eight bits a byte where a token is a byte, joined over processes."""
    task = CausalLanguage(bytes_per_token=1.0)
    term = SimpleNamespace(total=torch.tensor(6 * math.log(256), dtype=torch.float64), count=6)
    one, two = task.new_metrics(), task.new_metrics()
    one.update(Judged(None, {"loss": term}), {})
    two.update(Judged(None, {"loss": term}), {})
    one.merge([one.state(), two.state()])
    assert one.sums["loss"][1] == 12
    assert one.compute() == pytest.approx({"perplexity": 256, "bits_per_byte": 8})


def test_a_folder_without_text_is_refused(tmp_path):
    with pytest.raises(DataError, match="no data file"):
        examples(replace(NOTHING, path=str(tmp_path)), TEXTS)
