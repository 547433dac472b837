"""Images and sounds: found in folders, lists and tables, decoded in the workers, and a bad file is named."""

import io
import pickle
import wave

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.data import media, sources
from trainer.data.batches import BatchPlan
from trainer.data.collate import Collate, Field
from trainer.data.each import EachRow
from trainer.data.loader import Loader
from trainer.data.prepare import prepare
from trainer.errors import DataError
from trainer.options import BatchOptions

Image = pytest.importorskip("PIL.Image", reason="needs Pillow")
CLASSES = ("bird", "cat")
PIXELS = (Field("pixel_values", "row", dtype="float32"), Field("labels", "row"))
WAVES = (Field("input_values", "token", dtype="float32"), Field("labels", "row"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIVIUM_CACHE", str(tmp_path / "cache"))


def png(level, size=(6, 4)):
    made = io.BytesIO()
    Image.new("RGB", size, (level, 0, 0)).save(made, "PNG")
    return made.getvalue()


def wav(samples, rate=8000):
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((np.asarray(samples) * 32767).astype("<i2").tobytes())
    return made.getvalue()


def folder(root, split="train", count=3):
    """``count`` images a class; the red of the k-th is k."""
    for c, name in enumerate(CLASSES):
        (root / split / name).mkdir(parents=True)
        for k in range(count):
            (root / split / name / f"{k}.png").write_bytes(png(10 * c + k))
    return root


def sizes(columns):
    found = media.each(media.image_size, columns["image"])
    return {
        "patches": [w * h for w, h in found],
        "labels": [CLASSES.index(name) if isinstance(name, str) else name for name in columns["label"]],
    }


def noisy(row, draw):
    """The red of an image, and numbers that were drawn for it."""
    red = media.image(row["image"])[0, 0, 0]
    return {"pixel_values": np.array([[red, draw.integers(1 << 20)]]), "labels": row["labels"]}


def images(rows, **more):
    return prepare(rows, sizes, key="sizes", length="patches", media=["image"], **more)


def loader(data, fields=PIXELS, change=None, layout="bucketed", tokens=None, **more):
    size = None if tokens else 2
    options = BatchOptions(layout=layout, tokens=tokens, size=size, max_length=10**6, accumulate=1)
    return Loader(data, BatchPlan(data.lengths, options, 5), Collate(fields, options), change=change, **more)


def seen(feed, epoch=0, name="pixel_values"):
    """What each row was given in an epoch."""
    steps = [step for (step,) in feed.epoch(epoch)]
    return {row: value for step in steps for row, value in zip(step["rows"].tolist(), step[name].tolist())}


def test_a_folder_of_classes_and_its_splits(tmp_path):
    folder(tmp_path / "set"), folder(tmp_path / "set", "test", 1)
    (tmp_path / "set" / "classes.txt").write_text("bird\ncat\n")
    found = sources.find(tmp_path / "set")
    assert {split: [path.name for path in paths] for split, paths in found.items()} == {
        "train": ["train"],
        "test": ["test"],
    }
    rows = sources.read(found["train"])
    assert rows.data["label"][:] == ["bird"] * 3 + ["cat"] * 3 and rows.data["image"][4] == "cat/1.png"
    assert rows.where(4).endswith("train row 5")
    data = images(rows)
    assert data.lengths.tolist() == [24] * 6 and data.fields == ["patches", "labels", "image"]
    assert media.image(data[4]["image"]).shape == (4, 6, 3) and media.image(data[4]["image"])[0, 0].tolist() == [
        11,
        0,
        0,
    ]
    assert data[4]["image"].name.endswith("train/cat/1.png")
    alone = sources.find(tmp_path / "set" / "train" / "cat")
    assert sources.read(alone["train"]).data.column_names == ["image"]


def test_only_headers_are_read_before_a_batch_is_made(tmp_path, monkeypatch):
    rows = sources.read(folder(tmp_path / "set") / "train")

    def never(media):
        raise AssertionError("decoded")

    monkeypatch.setattr(media, "image", never)
    data = images(rows)
    assert len(data.rows(range(6))) == 6 and len(data.columns(np.arange(6))["image"]) == 6
    stored = pa.ipc.open_stream(pa.memory_map(str(data.path))).read_all()
    assert stored.column_names == ["patches", "labels", "length"] and data.path.stat().st_size < 5000


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "mine.tsv"])
def test_lists_name_files_beside_them(tmp_path, name):
    root = folder(tmp_path / "set").joinpath("train")
    files = ["cat/2.png", str(root / "bird" / "0.png")]
    lines = {
        "csv": "file_name,label\n" + "".join(f"{file},cat\n" for file in files),
        "tsv": "file_name\tlabel\n" + "".join(f"{file}\tcat\n" for file in files),
        "jsonl": "".join(f'{{"file_name": "{file}", "label": "cat"}}\n' for file in files),
    }
    (root / name).write_text(lines[name.split(".")[1]])
    rows = sources.read(sources.find(tmp_path / "set")["train"])
    data = prepare(rows, lambda columns: {"n": [1] * len(columns["label"])}, key=1, length="n", media=["file_name"])
    assert [int(media.image(row["file_name"])[0, 0, 0]) for row in data.rows(range(2))] == [12, 0]


def test_bytes_in_tables_as_ours_and_the_hubs(tmp_path):
    content = [png(k) for k in range(4)]
    pq.write_table(pa.table({"image": content, "label": [0, 1, 0, 1]}), tmp_path / "plain.parquet")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    pairs = [{"bytes": data, "path": f"{k}.png"} for k, data in enumerate(content)]
    hub = datasets.Dataset.from_dict({"image": pairs, "label": [0, 1, 0, 1]}, features=features)
    hub.to_parquet(tmp_path / "hub.parquet")
    for name in ("plain", "hub"):
        data = images(sources.read(tmp_path / f"{name}.parquet").select([3, 1, 2]))
        assert [int(media.image(row["image"])[0, 0, 0]) for row in data.rows(range(3))] == [3, 1, 2]
        assert data[0]["image"].name.endswith(f"{name}.parquet row 4")
        assert data.path.stat().st_size < 3000, "bytes are not stored a second time"


def test_what_is_drawn_follows_from_seed_epoch_and_row(tmp_path):
    data = images(sources.read(folder(tmp_path / "set") / "train"))
    with loader(data, change=EachRow(noisy, 7), workers=0) as feed:
        first, second = seen(feed, 0), seen(feed, 1)
    assert sorted(first) == list(range(6)) and [first[row][0][0] for row in range(6)] == [0, 1, 2, 10, 11, 12]
    drawn = [value[0][1] for epoch in (first, second) for value in epoch.values()]
    assert len(set(drawn)) == 12, "each row in each epoch has numbers of its own"
    for more in ({"workers": 3}, {"workers": 1, "kind": "process"}):
        with loader(data, change=EachRow(noisy, 7), **more) as feed:
            assert seen(feed, 1) == second
            resumed = [step["pixel_values"].tolist() for (step,) in feed.epoch(1, start=2)]
        with loader(data, change=EachRow(noisy, 7), workers=0) as feed:
            assert resumed == [step["pixel_values"].tolist() for (step,) in feed.epoch(1)][2:]
    shares = {}
    for rank in range(2):
        with loader(data, change=EachRow(noisy, 7), workers=0) as feed:
            feed.share(rank, 2)
            shares |= seen(feed, 1)
    assert shares == second
    with loader(data, change=EachRow(noisy, 8), workers=0) as feed:
        assert seen(feed, 0) != first


def test_an_empty_share_has_nothing_to_decode(tmp_path):
    data = images(sources.read(folder(tmp_path / "set", count=1) / "train"))
    with loader(data, change=EachRow(noisy, 7), workers=0) as feed:
        feed.share(4, 5)
        assert [len(step["rows"]) for (step,) in feed.epoch(0)] == [0]


def test_files_that_are_no_images_are_named(tmp_path):
    root = folder(tmp_path / "set").joinpath("train")
    (root / "cat" / "1.png").write_bytes(b"no image at all")
    with pytest.raises(DataError, match=r"train row 5: .*cat.1\.png: not a readable image: cannot identify"):
        images(sources.read(root))
    (root / "cat" / "1.png").write_bytes(png(5, (300, 300))[:-400])  # the header is whole
    data = images(sources.read(root))
    with (
        loader(data, change=EachRow(noisy, 7), workers=2) as feed,
        pytest.raises(DataError, match=r"^row 4 \(.*train row 5\) cannot be made a batch of: .*cat.1\.png: not a re"),
    ):
        seen(feed)
    (root / "cat" / "1.png").unlink()
    with pytest.raises(DataError, match=r"cat.1\.png: no such file; did you mean"):
        data[4]["image"].open()
    Image.fromarray(np.ones((2, 2), np.int32)).save(root / "cat" / "1.tif")
    deep = images(sources.read(root))
    with pytest.raises(DataError, match="mode I has more than 8 bits a channel"):
        media.image(deep[4]["image"])


def test_a_missing_file_of_a_list_is_named(tmp_path):
    (tmp_path / "list.csv").write_text("image,label\n0.png,cat\n")
    (tmp_path / "O.png").write_bytes(png(1))
    with pytest.raises(DataError, match=r"0\.png: no such file; did you mean 'O\.png'\?"):
        images(sources.read(tmp_path / "list.csv"))
    (tmp_path / "empty.csv").write_text("image,label\n,cat\n")
    with pytest.raises(DataError, match=r"empty\.csv row 1: column 'image' names no file and holds no bytes"):
        images(sources.read(tmp_path / "empty.csv"))
    (tmp_path / "numbers.jsonl").write_text('{"image": 3, "label": "cat"}\n')
    with pytest.raises(DataError, match="column 'image' holds int64; files are named by text"):
        images(sources.read(tmp_path / "numbers.jsonl"))


def test_folders_that_cannot_be_told(tmp_path):
    root = folder(tmp_path / "set").joinpath("train")
    (root / "stray.png").write_bytes(png(1))
    with pytest.raises(DataError, match=r"stray\.png: lies in no class's folder, others do, as .*bird.0\.png"):
        sources.read(root)
    (root / "stray.png").rename(root / "bird" / "stray.wav")
    with pytest.raises(DataError, match=r"images and sounds together: .*0\.png and .*stray\.wav"):
        sources.read(root)
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match=r"no data file .* image or sound in this folder; it holds nothing"):
        sources.find(tmp_path / "bare")


def test_identity_is_of_content_and_not_of_place(tmp_path):
    rows = sources.read(folder(tmp_path / "one") / "train")
    first, again = loader(images(rows)), loader(images(sources.read(folder(tmp_path / "two") / "train")))
    assert first.identity == again.identity
    (tmp_path / "two" / "train" / "cat" / "1.png").write_bytes(png(99))
    changed = images(sources.read(tmp_path / "two" / "train"))
    assert changed.lengths.tolist() == first.dataset.lengths.tolist() and loader(changed).identity != first.identity
    copy = pickle.loads(pickle.dumps(first.dataset))
    assert copy.digest == first.dataset.digest and copy[4]["image"].name == first.dataset[4]["image"].name


def test_images_are_turned_upright(tmp_path):
    wide = Image.new("RGB", (6, 4))
    wide.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    wide.save(tmp_path / "a.png", exif=exif)
    Image.new("LA", (3, 2), (7, 0)).save(tmp_path / "b.png")
    data = prepare(sources.read(tmp_path), lambda c: {"n": [1] * len(c["image"])}, key=1, length="n", media=["image"])
    turned, grey = (row["image"] for row in data.rows([0, 1]))
    assert media.image_size(turned) == (4, 6) and media.image(turned)[0, 3].tolist() == [255, 0, 0]
    assert media.image_size(grey) == (3, 2) and (media.image(grey) == 7).all()


def lengths(columns):
    facts = media.each(media.sound_facts, columns["audio"])
    return {"samples": [frames for frames, _ in facts], "labels": [CLASSES.index(name) for name in columns["label"]]}


def heard(row, draw):
    return {"input_values": media.sound(row["audio"]).wave, "labels": row["labels"]}


def test_sounds_are_bucketed_by_their_samples(tmp_path):
    pytest.importorskip("soundfile", reason="needs soundfile")
    draw, waves = np.random.default_rng(0), []
    for c, name in enumerate(CLASSES):
        (tmp_path / "set" / name).mkdir(parents=True)
        for k in range(6):
            waves.append(draw.uniform(-1, 1, 20 + 13 * k + c))
            (tmp_path / "set" / name / f"{k}.wav").write_bytes(wav(waves[-1]))
    data = prepare(sources.read(tmp_path / "set"), lengths, key=1, length="samples", media=["audio"])
    assert data.lengths.tolist() == [len(w) for w in waves]
    with loader(data, WAVES, EachRow(heard, 0), tokens=200) as feed:
        steps = [step for (step,) in feed.epoch(0)]
    assert sorted(row for step in steps for row in step["rows"].tolist()) == list(range(12))
    for step in steps:
        assert step["input_values"].shape == step["attention_mask"].shape and step["input_values"].numel() <= 200
        for row, samples, mask in zip(step["rows"].tolist(), step["input_values"], step["attention_mask"].bool()):
            np.testing.assert_allclose(samples[mask], waves[row], atol=1e-4)
            assert not samples[~mask].any()


def test_sounds_that_are_cut_short_or_empty(tmp_path):
    pytest.importorskip("soundfile", reason="needs soundfile")
    (tmp_path / "set" / "cat").mkdir(parents=True)
    file = tmp_path / "set" / "cat" / "a.wav"
    for content, why in (
        (wav(np.ones(100))[:-50], "cut short: 194 bytes of 244"),
        (wav([]), "it holds no samples"),
        (b"nonsense", "Format not recognised"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=rf"cat row 1: .*a\.wav: not a readable sound: .*{why}"):
            prepare(sources.read(file.parent), lambda c: {"n": media.each(media.sound_facts, c["audio"])}, key=1,
                    length="n", media=["audio"])  # fmt: skip
