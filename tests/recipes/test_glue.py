"""The nine tasks read from tables in GLUE's own layout, from the hub's spelling and from files of one's own."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recipes.bert_glue import table
from recipes.examples import SAMPLES, examples
from recipes.glue import TASKS
from recipes.options import DataOptions
from recipes.text_classification import Features
from trainer.errors import DataError, OptionError


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))


def options(path=None, **given):
    defaults = {
        "name": None,
        "subset": None,
        "stream": False,
        "weights": None,
        "split_train": "train",
        "split_eval": None,
        "columns": None,
        "label": None,
    }
    path = tuple(map(str, path)) if isinstance(path, list) else path and str(path)
    return DataOptions(path=path, **{**defaults, **given})


def read(task, path=None, **given):
    chosen = options(path, **given)
    return examples(chosen, table(task))


def values(task, rows):
    """Texts and parsed labels, row by row."""
    features = Features(None, 0, TASKS[task].text, TASKS[task].labels)
    columns = rows.data[:]
    labels = [features.label(value, row) for row, value in enumerate(columns["label"])]
    return list(zip(*(columns[name] for name in TASKS[task].text), labels))


MNLI_TRAIN = "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse"
MNLI_TRAIN += " sentence1 sentence2 label1 gold_label"
MNLI_DEV = MNLI_TRAIN.replace("label1", "label1 label2 label3 label4 label5")

# task -> (header, a row, what it means); fields are split at blanks, "_" stands for a blank inside one
OWN_LAYOUT = {
    "sst2": ("sentence label", "a_warm_film_ 1", ("a warm film ", 1)),
    "cola": (None, "gj04 0 * Him_sleeps.", ("Him sleeps.", 0)),
    "mrpc": ("Quality #1_ID #2_ID #1_String #2_String", '1 7 9 He_"won". It_was_he_who_"won".',
             ('He "won".', 'It was he who "won".', 1)),
    "stsb": ("index genre filename year old_index source1 source2 sentence1 sentence2 score",
             "0 captions x 2012 4 none none A_dog_runs. A_dog_is_running. 4.750",
             ("A dog runs.", "A dog is running.", 4.75)),
    "qqp": ("id qid1 qid2 question1 question2 is_duplicate", "5 1 2 How_far? How_long? 0", ("How far?", "How long?", 0)),
    "mnli": (MNLI_TRAIN, "0 1 1n talk b b p p It_rains. It_is_wet. neutral entailment", ("It rains.", "It is wet.", 0)),
    "qnli": ("index question sentence label", "0 Who? Ann_did. not_entailment", ("Who?", "Ann did.", 1)),
    "rte": ("index sentence1 sentence2 label", "0 Ann_won. Ann_lost. not_entailment", ("Ann won.", "Ann lost.", 1)),
    "wnli": ("index sentence1 sentence2 label", "0 Ann_saw_it. It_was_seen. 1", ("Ann saw it.", "It was seen.", 1)),
}  # fmt: skip


def line(words):
    kept = {"not_entailment", "sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse"}
    kept |= {"old_index", "is_duplicate", "gold_label"}
    return "\t".join(word if word in kept else word.replace("_", " ") for word in words.split(" "))


@pytest.mark.parametrize("task", OWN_LAYOUT)
def test_own_layout(task, tmp_path):
    header, row, meaning = OWN_LAYOUT[task]
    lines = ([line(header)] if header else []) + [line(row)] * 2
    (tmp_path / "train.tsv").write_text("\n".join(lines) + "\n")
    dev = [line(MNLI_DEV if task == "mnli" else header)] if header else []
    row = row.replace("neutral", "neutral neutral neutral neutral neutral") if task == "mnli" else row
    for split in ("dev_matched", "dev_mismatched") if task == "mnli" else ("dev",):
        (tmp_path / f"{split}.tsv").write_text("\n".join([*dev, line(row)]) + "\n")
    found = read(task, tmp_path)
    assert values(task, found.train) == [meaning] * 2
    assert [values(task, rows) for rows in found.evals.values()] == [[meaning]] * len(TASKS[task].evals)


def test_mnli_measures_two_sets_and_the_matched_one_first(tmp_path):
    for split, premise in (("train", "Train."), ("dev_matched", "Matched."), ("dev_mismatched", "Mismatched.")):
        (tmp_path / f"{split}.tsv").write_text(f"sentence1\tsentence2\tgold_label\n{premise}\tIt.\tcontradiction\n")
    found = read("mnli", tmp_path)
    assert list(found.evals) == ["matched", "mismatched"]
    assert values("mnli", found.evals["matched"]) == [("Matched.", "It.", 2)]
    assert values("mnli", found.evals["mismatched"]) == [("Mismatched.", "It.", 2)]


def test_hub_spelling_in_json_lines_and_parquet(tmp_path):
    row = {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0, "idx": 5}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n")
    pq.write_table(pa.Table.from_pylist([row, row]), tmp_path / "validation.parquet")
    found = read("mnli", tmp_path)
    assert values("mnli", found.train) == [("It rains.", "It is wet.", 0)]
    assert values("mnli", found.evals["dev"]) == [("It rains.", "It is wet.", 0)] * 2


def test_cola_as_published_in_two_columns_and_packed(tmp_path):
    (tmp_path / "train.tsv.gz").write_bytes(gzip.compress(b"they slept\t1\nslept they the\t0\n"))
    (tmp_path / "out_of_domain_dev.tsv").write_bytes(b"who left\t1\n")
    found = read("cola", tmp_path)
    assert values("cola", found.train) == [("they slept", 1), ("slept they the", 0)]
    assert values("cola", found.evals["dev"]) == [("who left", 1)]


def test_own_csv_with_own_columns(tmp_path):
    path = tmp_path / "reviews.csv"
    lines = ["id,review,verdict"] + [f'{i},"Fine, number {i}",{"positive" if i % 2 else "negative"}' for i in range(20)]
    path.write_text("\n".join(lines) + "\n")
    found = read("sst2", path, columns=("review",), label="verdict")
    rows = values("sst2", found.train) + values("sst2", found.evals["dev"])
    assert sorted(rows) == sorted((f"Fine, number {i}", i % 2) for i in range(20))
    assert len(found.evals["dev"]) == 2 and "held out" in found.about


def test_several_paths_are_one_set_and_weights_give_each_its_share(tmp_path):
    counts = {"a": 40, "b": 160}
    for name, count in counts.items():
        rows = "".join(f"{name}{i}\t{i % 2}\n" for i in range(count))
        (tmp_path / f"{name}.tsv").write_text("sentence\tlabel\n" + rows)
    paths = [tmp_path / "a.tsv", tmp_path / "*b.tsv"]
    plain = read("sst2", paths)
    assert len(plain.train) + len(plain.evals["dev"]) == 200
    found = read("sst2", paths, weights=(1.0, 1.0))
    held, seen = set(found.evals["dev"].data["sentence"]), found.train.data["sentence"][:]
    assert len(held) == 20 and not held & set(seen)
    assert [sum(text[0] == name for text in seen) for name in "ab"] == [90, 90]
    assert {seen.count(text) for text in seen if text[0] == "a"} == {2, 3} and len(set(seen)) == 36 + 90
    at = next(i for i, text in enumerate(seen) if text[0] == "b")
    assert found.train.where(at) == f"{tmp_path / 'b.tsv'} row {int(seen[at][1:]) + 1}"
    (tmp_path / "more").mkdir()
    (tmp_path / "b.tsv").rename(tmp_path / "more" / "train.tsv")
    (tmp_path / "more" / "dev.tsv").write_text("sentence\tlabel\nfine\t1\n")
    found = read("sst2", [paths[0], tmp_path / "more"], weights=(3.0, 1.0))
    assert sum(text[0] == "a" for text in found.train.data["sentence"]) == 150
    assert found.evals["dev"].data["sentence"][:] == ["fine"]
    assert len(read("sst2", [paths[0], tmp_path / "more"]).train) == 200, "a file that is named is not left out"


def test_columns_that_nothing_reads_are_told(tmp_path):
    (tmp_path / "own.csv").write_text("id,comment,stars,when\n" + "7,fine,1,now\n" * 20)
    found = read("sst2", tmp_path / "own.csv", columns=("comment",), label="stars")
    assert found.train.unused == ("id", "when") and "not used: id, when" in found.about
    assert "not used" not in read("sst2").about


def test_the_same_tenth_is_held_out_every_time(tmp_path):
    lines = [f"sentence {i}\t{i % 2}" for i in range(100)]
    (tmp_path / "train.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    first, second = read("sst2", tmp_path), read("sst2", tmp_path)
    assert values("sst2", first.evals["dev"]) == values("sst2", second.evals["dev"])
    assert not set(values("sst2", first.train)) & set(values("sst2", first.evals["dev"]))


def test_a_split_can_be_chosen(tmp_path):
    for split, text in (("train", "a"), ("dev", "b"), ("test", "c")):
        (tmp_path / f"{split}.tsv").write_text(f"sentence\tlabel\n{text}\t1\n")
    assert values("sst2", read("sst2", tmp_path, split_eval="test").evals["test"]) == [("c", 1)]
    assert values("sst2", read("sst2", tmp_path, split_train="dev", split_eval="dev").train) == [("b", 1)]
    with pytest.raises(DataError, match=r"no split 'tset' there. It has .*test: test.tsv; train: train.tsv"):
        read("sst2", tmp_path, split_eval="tset")


def test_columns_must_be_as_many_as_the_task_reads():
    with pytest.raises(OptionError, match=r"data.columns=\[one\]: the task reads 2 columns, as sentence1, sentence2"):
        read("mrpc", columns=("one",))


def test_missing_column_says_which_are_there_and_how_to_name_ones_own(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\nfine,1\n")
    with pytest.raises(DataError, match=r"train.csv: no column 'sentence'.*'text', 'label'.*data.columns"):
        read("sst2", tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("postive", r"unknown label 'postive'; this task has negative \(0\), positive \(1\)"),
        ("2", "label 2 is outside 0 to 1"),
        ("0.5", "label 0.5 is outside 0 to 1"),
        ("nan", "label nan is outside 0 to 1"),
        ("-1", "this split has no labels"),
        ("", "unknown label ''"),
    ],
)
def test_labels_that_are_none(value, message):
    with pytest.raises(ValueError, match=message):
        Features(None, 0, ("sentence",), ("negative", "positive")).label(value, 0)


def test_labels_by_name_by_number_and_as_numbers():
    classes = Features(None, 0, ("sentence",), ("negative", "positive"))
    assert [classes.label(value, 0) for value in ("positive", "1", 1, "1.0", " negative")] == [1, 1, 1, 1, 0]
    score = Features(None, 0, ("sentence",), None)
    assert [score.label(value, 0) for value in ("4.750", 3, 0.0)] == [4.75, 3.0, 0.0]
    for value in ("four", "inf", "nan"):
        with pytest.raises(ValueError, match="is not a number"):
            score.label(value, 0)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_sample_that_reads(task):
    found = read(task)
    assert list(found.evals) == list(TASKS[task].evals)
    for rows in (found.train, *found.evals.values()):
        parsed = values(task, rows)
        assert len(parsed) >= 80 and all(all(row[:-1]) for row in parsed)
        if TASKS[task].labels:
            assert {row[-1] for row in parsed} == set(range(len(TASKS[task].labels)))
        else:
            assert {row[-1] for row in parsed} == {0.0, 1.25, 2.5, 3.75, 5.0}


@pytest.mark.parametrize("task", TASKS)
def test_no_row_of_a_dev_sample_is_learned_from(task):
    found = read(task)
    learned = {row[:-1] for row in values(task, found.train)}
    for rows in found.evals.values():
        assert not learned & {row[:-1] for row in values(task, rows)}


def test_hand_written_sample_is_balanced():
    found = read("sst2")
    for rows, count in ((found.train, 758), (found.evals["dev"], 200)):
        labels = [row[-1] for row in values("sst2", rows)]
        assert len(labels) == count and sum(labels) == count // 2


def test_generated_samples_are_what_the_grammar_makes(tmp_path, monkeypatch):
    from recipes.data import make_pairs

    monkeypatch.setattr(make_pairs, "HERE", tmp_path)
    make_pairs.main()
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.tsv")}
    kept = {p.relative_to(SAMPLES): p.read_bytes() for p in SAMPLES.rglob("*.tsv") if p.parent.name != "sentiment"}
    assert made == kept


@pytest.mark.shared
@pytest.mark.parametrize(
    ("task", "train", "dev", "first"),
    [
        ("sst2", 67_349, 872, ("it 's a charming and often affecting journey . ", 1)),
        ("cola", 8_551, 516, ("somebody just left guess who", 1)),
        ("mrpc", 3_668, 408, None),  # no dev split there: a tenth of 4,076 is held out
        ("rte", 2_490, 277, None),
        ("stsb", 5_749, 1_500, ("A man with a hard hat is dancing.", "A man wearing a hard hat is dancing.", 5.0)),
    ],
)
def test_published_files(shared, task, train, dev, first):
    found = read(task, shared / "data" / "text_classification" / task)
    assert (len(found.train), {name: len(rows) for name, rows in found.evals.items()}) == (train, {"dev": dev})
    parsed = values(task, found.evals["dev"])
    assert first is None or parsed[0] == first
    values(task, found.train)  # every label of the file is one of the task's
