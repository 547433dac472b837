"""Rows of every kind of file come out as they stand there, and every fault names file and row."""

import gzip
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.data import formats, sources
from trainer.errors import DataError

TABLE = {"sentence": ["good", 'a "quoted" one , yes', "naïve – ü"], "label": [1, 0, 1]}
TEXT = {"sentence": TABLE["sentence"], "label": ["1", "0", "1"]}  # csv and tsv hold text only


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))


def lines(table, join):
    return "".join(join(row) + "\n" for row in zip(*table.values()))


def quoted(row):
    return ",".join('"' + str(value).replace('"', '""') + '"' for value in row)


def records(table):
    return [dict(zip(table, row)) for row in zip(*table.values())]


def content(suffix):
    if suffix == "tsv":
        return "sentence\tlabel\n" + lines(TEXT, "\t".join)
    if suffix == "csv":
        return "sentence,label\n" + lines(TEXT, quoted)
    if suffix == "jsonl":
        return lines({"r": map(json.dumps, records(TABLE))}, "".join)
    if suffix == "json":
        return json.dumps({"version": 1, "data": records(TABLE)}, indent=1)
    return "\n".join(TABLE["sentence"])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", ["tsv", "csv", "json", "jsonl", "txt"])
def test_text_formats(tmp_path, suffix, packed):
    path = tmp_path / f"train.{suffix}{'.gz' if packed else ''}"
    data = content(suffix).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    rows = sources.read(path)
    expected = {"tsv": TEXT, "csv": TEXT, "txt": {"text": TABLE["sentence"]}}.get(suffix, TABLE)
    assert rows.data.to_dict() == expected and isinstance(rows.data, datasets.Dataset)
    assert [rows.where(i) for i in (0, 2)] == [f"{path} row 1", f"{path} row 3"]


def test_parquet_and_both_kinds_of_arrow(tmp_path):
    table = pa.table(TABLE)
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(tmp_path / "b.arrow", table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(tmp_path / "c.arrow", table.schema) as writer:
        writer.write_table(table)
    for name in ("a.parquet", "b.arrow", "c.arrow"):
        assert sources.read(tmp_path / name).data.to_dict() == TABLE


def test_types_of_the_hub_survive(tmp_path):
    features = datasets.Features({"label": datasets.ClassLabel(names=["no", "yes"])})
    datasets.Dataset.from_dict({"label": [1, 0]}, features=features).to_parquet(tmp_path / "a.parquet")
    assert sources.read(tmp_path / "a.parquet").data.features["label"].names == ["no", "yes"]


def test_a_folder_saved_by_datasets(tmp_path):
    data = datasets.Dataset.from_dict(TABLE)
    datasets.DatasetDict({"train": data, "validation": data}).save_to_disk(tmp_path / "saved")
    found = sources.find(tmp_path / "saved")
    assert set(found) == {"train", "validation"} and sources.read(found["train"]).data.to_dict() == TABLE


def test_tsv_is_read_as_glue_writes_it(tmp_path):
    """Stray quotes, carriage returns inside a sentence, spaces at its end, no header, "NA", a last blank line."""
    path = tmp_path / "train.tsv"
    path.write_bytes(b'\xef\xbb\xbfgj04\t1\t\t"an open quote \r\nna\t0\t*\tNA\r\nx\t1\t\ta\rb\n\n\n')
    rows = sources.read(path, header=["source", "label", "mark", "sentence"], columns=["sentence", "label"])
    assert rows.data.to_dict() == {"sentence": ['"an open quote ', "NA", "a\rb"], "label": ["1", "0", "1"]}
    assert rows.unused == ("source", "mark")
    assert formats.first_fields(path, "tsv") == ["gj04", "1", "", '"an open quote ']


def test_csv_fields_with_line_ends_and_commas(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text,label\r\n"two\nlines, one ""field""",1\r\n\r\nplain,0\r\n', newline="")
    assert sources.read(path).data.to_dict() == {"text": ['two\nlines, one "field"', "plain"], "label": ["1", "0"]}


def test_several_files_and_where_rows_came_from(tmp_path):
    for name, rows in (("a", 3), ("b", 2), ("c", 4)):
        (tmp_path / f"{name}.csv").write_text("text\n" + "".join(f"{name}{i}\n" for i in range(rows)))
    rows = sources.read(sources.find(tmp_path / "*.csv")["train"])
    assert rows.data["text"][:] == ["a0", "a1", "a2", "b0", "b1", "c0", "c1", "c2", "c3"]
    assert [rows.where(i).split("/")[-1] for i in (2, 3, 8)] == ["a.csv row 3", "b.csv row 1", "c.csv row 4"]
    some = rows.select([8, 0, 3]).select([2, 0])
    assert some.data["text"][:] == ["b0", "c3"] and some.where(1).endswith("c.csv row 4")
    assert len({rows.digest, some.digest, rows.select([8, 0, 3]).digest}) == 3


def test_a_later_row_widens_a_type(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "CHUNK", 2)
    path = tmp_path / "a.jsonl"
    rows = [{"x": 1}, {"x": 2, "y": None}, {"x": 2.5, "z": "new"}, {"x": 4, "y": "a"}, {"x": None}]
    path.write_text("\n".join(map(json.dumps, rows)))
    read = sources.read(path).data.to_dict()
    assert read == {"x": [1, 2, 2.5, 4, None], "y": [None, None, None, "a", None], "z": [None, None, "new", None, None]}


def names(found):
    return {split: [path.name for path in files] for split, files in found.items()}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["train.tsv", "dev.tsv", "test.tsv"], {"train": ["train.tsv"], "validation": ["dev.tsv"], "test": ["test.tsv"]}),
        (
            ["train.tsv", "dev_matched.tsv", "dev_mismatched.tsv", "readme.txt"],
            {"train": ["train.tsv"], "validation_matched": ["dev_matched.tsv"],
             "validation_mismatched": ["dev_mismatched.tsv"]},
        ),
        (["train.tsv", "dev.tsv", "dev_ids.tsv", "msr_train.txt"], {"train": ["train.tsv"], "validation": ["dev.tsv"]}),
        (
            ["data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet", "data/validation-0.parquet"],
            {"train": ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
             "validation": ["validation-0.parquet"]},
        ),
        (["train/x.csv", "train/y.csv", "valid/x.csv"], {"train": ["x.csv", "y.csv"], "validation": ["x.csv"]}),
        (["reviews.csv", "more.csv", "LICENSE.txt"], {"train": ["more.csv", "reviews.csv"]}),
        (["in_domain_train.tsv", "out_of_domain_dev.tsv"],
         {"train": ["in_domain_train.tsv"], "validation": ["out_of_domain_dev.tsv"]}),
    ],
)  # fmt: skip
def test_splits_are_told_from_names(tmp_path, files, expected):
    for file in files:
        (tmp_path / "set" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / file).write_text("text\nx\n")
    assert names(sources.find(tmp_path / "set")) == expected


def test_one_file_is_the_training_set_wherever_it_lies(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "mine.csv").write_text("a\n1\n")
    assert names(sources.find(tmp_path / "test" / "mine.csv")) == {"train": ["mine.csv"]}


def test_what_cannot_be_found(tmp_path):
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2" / "train.tsv").write_text("a\n")
    with pytest.raises(DataError, match=r"sst: no such file or folder; did you mean '.*sst2'\? .* holds .*sst2"):
        sources.find(tmp_path / "sst")
    with pytest.raises(DataError, match=r"deep/er: no such file or folder"):
        sources.find(tmp_path / "no" / "deep" / "er")
    with pytest.raises(DataError, match=r"no such file or folder; did you mean '.*train\.tsv'"):
        sources.read(tmp_path / "sst2" / "trian.tsv")
    with pytest.raises(DataError, match="no file matches this pattern"):
        sources.find(tmp_path / "*.json")
    (tmp_path / "sst2" / "train.tsv").rename(tmp_path / "sst2" / "train.xlsx")
    with pytest.raises(DataError, match=r"no data file \(\.csv, .*it holds train\.xlsx"):
        sources.find(tmp_path / "sst2")
    for name in ("train.csv", "train.json"):
        (tmp_path / name).write_text("a\n")
    with pytest.raises(DataError, match=r"more than one format for split 'train': .*train\.csv, .*train\.json"):
        sources.find(tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", r"a\.csv: the file is empty"),
        ("a.csv", b"text,label\n", r"a\.csv: the file has no rows"),
        ("a.jsonl", b"\n", r"a\.jsonl: the file has no rows"),
        (
            "a.tsv",
            b"text\tlabel\ngood\t1\nbad\n",
            r"a\.tsv:3: 1 fields where the header has 2 \('text', 'label'\): 'bad'",
        ),
        ("a.tsv", b"text\tlabel\ngood\t1\n\nbad\t1\n", r"a\.tsv:3: 1 fields where the header has 2"),
        ("a.csv", b'a,b\n"x\ny",1\nx,1,2\n', r"a\.csv:4: 3 fields where the header has 2 .*: 'x \| 1 \| 2'"),
        ("a.csv", b'a,b\n"x,1\n', r"a\.csv:2: unexpected end of data; is a quote left open"),
        ("a.csv", b"a,b,a\n1,2,3\n", r"a\.csv:1: the header names column 'a' twice"),
        (
            "a.csv",
            b"a\nok\ncaf\xe9 au lait\n",
            r"a\.csv:3: not UTF-8: byte 0xe9 at offset 8 of the file, after 'caf'.*icon",
        ),
        ("a.txt", "héllo\n".encode("utf-16"), r"a\.txt:1: not UTF-8: byte 0xff at offset 0 .* like UTF-16.*-f utf-16"),
        ("a.jsonl", b'{"a": 1}\n{"a": }\n', r"a\.jsonl:2: not JSON: Expecting value at column 7"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', r"a\.jsonl:2: expected an object with a key a column, this is '\[1\]'"),
        ("a.jsonl", b'{"a": 1}\n{"a": "x"}\n', r"a\.jsonl:2: column 'a' holds '\"x\"' here and '1' in rows before"),
        ("a.json", b'[{"a": 1},\n {"a": 2]', r"a\.json:2: not JSON"),
        ("a.json", b'{"a": 1}\n{"a": 2}', r"a\.json:2: not JSON: Extra data .*called \.jsonl"),
        ("a.json", b'{"rows": []}', r"a\.json: expected a list of objects, or an object whose 'data'"),
        ("a.json", b'[{"a": 1}, 2]', r"a\.json row 2: expected an object"),
        ("a.parquet", b"PAR1 not really", r"a\.parquet: not a whole parquet file"),
        ("a.arrow", b"ARROW1 not really", r"a\.arrow: not a whole arrow file"),
        ("a.csv.gz", b"text\nx\n", r"a\.csv\.gz: cannot be read: Not a gzipped file"),
        ("a.csv.gz", gzip.compress(b"text\nx\n" * 99, mtime=0)[:-12], r"a\.csv\.gz: cannot be read: "),
        ("a.xls", b"x", r"a\.xls: unknown format\. Known: \.csv, \.tsv"),
        ("a.parquet.gz", b"x", r"a\.parquet\.gz: unknown format"),
    ],
)
def test_faults_name_file_and_line(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as error:
        sources.read(tmp_path / name)
    assert error.value.exit_code == 3 and "\n" not in str(error.value)


def test_a_damaged_gz(tmp_path):
    data = bytearray(gzip.compress("".join(f"row {i}\n" for i in range(5000)).encode()))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.txt.gz").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.txt\.gz: cannot be read|not UTF-8"):
        sources.read(tmp_path / "a.txt.gz")


def test_missing_columns_and_values(tmp_path):
    (tmp_path / "a.csv").write_text("sentence,label\nx,1\n")
    with pytest.raises(
        DataError, match=r"a\.csv: no column 'sentense'; did you mean 'sentence'\? .*: 'sentence', 'label'$"
    ):
        sources.read(tmp_path / "a.csv", columns=["sentense", "label"])
    (tmp_path / "b.tsv").write_text("our friends wo n't buy this\t1\nanother\t0\n")
    with pytest.raises(DataError, match=r"no column 'text'\. Columns there: .*\(has the file no header\?\)"):
        sources.read(tmp_path / "b.tsv", columns=["text"])
    (tmp_path / "c.jsonl").write_text('{"text": "x", "label": 1}\n{"text": "y"}\n')
    with pytest.raises(DataError, match=r"c\.jsonl row 2: column 'label' has no value"):
        sources.read(tmp_path / "c.jsonl", columns=["text", "label"])
    (tmp_path / "d.csv").write_text("sentence,gold\nx,1\n")
    with pytest.raises(
        DataError, match=r"d\.csv: its columns are sentence, gold, those of the files before sentence, l"
    ):
        sources.read([tmp_path / "a.csv", tmp_path / "d.csv"])
    with pytest.raises(DataError, match=r"unknown format 'excel'"):
        sources.read(tmp_path / "a.csv", form="excel")


def test_content_not_name_decides_what_is_cached(tmp_path):
    first = tmp_path / "a.csv"
    first.write_text("text\nx\n")
    before = sources.read(first)
    (tmp_path / "b.csv").write_text("text\nx\n")
    same = sources.read(tmp_path / "b.csv")
    assert same.digest == before.digest and same.where(0).endswith("b.csv row 1")
    first.write_text("text\ny\n")
    assert sources.read(first).data["text"][:] == ["y"]
    assert len(list((tmp_path / "cache" / "rows").glob("*/data.arrow"))) == 2
