"""Images and sound as examples: they stay where they lie, and are decoded when a batch is made and never before.

A column of rows holds file names (relative to the file, or the folder, that the row came from), or encoded bytes, or the
hub's pairs of both. :func:`trainer.data.prepare.prepare` is told its name (``media=["image"]``) and hands out each entry
as a :class:`Media`; its processing function may ask for what headers tell, a loader's transform decodes:

    def process(columns):                                    # once, at preparation
        sizes = media.each(media.image_size, columns["image"])         # or media.sound_facts: a bad file is named
        return {"patches": [196] * len(sizes), "labels": [...]}

    def transform(row, draw):                                # trainer.data.each: in the loader's workers
        pixels = media.image(row["image"])                   # uint8 [H, W, 3]
        if draw.random() < 0.5: pixels = pixels[:, ::-1]     # draw: np.random.Generator of (seed, epoch, row)
        return {"pixel_values": ..., "labels": row["labels"]}

    data = prepare(rows, process, key={...}, length="patches", media=["image"])
    feed = Loader(data, plan, Collate((Field("pixel_values", "row", dtype="float32"), Field("labels", "row")), options),
                  change=EachRow(transform, seed))
"""

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import xxhash

from trainer.data.cache import digest
from trainer.data.rows import RowError, Rows, nearest
from trainer.errors import DataError

KINDS = {
    "image": (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"),
    "audio": (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au"),
}
BEGINNING = 1 << 16  # bytes of a file that its digest takes in, with its size: no data set is read whole at every start
THREADS = 8  # files looked at together: the time goes to waiting for the disk


class Sound(NamedTuple):
    """A waveform, float32 [T] or [T, channels] in -1..1, and its samples per second."""

    wave: np.ndarray
    rate: int


class Media:
    """One encoded image or sound, neither read nor opened yet."""

    def __init__(self, column: "Column", row: int):
        self.column, self.row = column, row

    @property
    def name(self) -> str:
        """Its file, or the row that holds its bytes, for messages."""
        found = self.column.source(self.row)
        return str(found) if isinstance(found, Path) else self.column.where(self.row)

    def open(self) -> BinaryIO:
        """Its bytes as a file. DataError with the nearest names where a file is missing."""
        found = self.column.source(self.row)
        if not isinstance(found, Path):
            return io.BytesIO(found)
        try:
            return open(found, "rb")
        except FileNotFoundError:
            raise DataError(f"{found}: no such file{_near(found)}") from None
        except OSError as error:
            raise DataError(f"{found}: cannot be read: {error.strerror}") from None


class Column:
    """The column ``name`` of ``rows``: ``column[i]`` is the :class:`Media` of row ``i``. Small to pickle."""

    def __init__(self, rows: Rows, name: str):
        self.where, self.name = rows.where, name
        self._table = rows.data.select_columns([name]).with_format("arrow")
        kind = self._table.features.arrow_schema.field(name).type
        pair = pa.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}
        if not (pair or _is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            raise DataError(f"{self.where(0)}: column {name!r} holds {kind}; files are named by text, or held as bytes")
        self.files = _is_text(kind)  # no row holds bytes: content is not part of the rows' own digest

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, i: int) -> Media:
        return Media(self, int(i))

    def source(self, i: int) -> Path | bytes:
        """Where entry ``i`` lies, or its bytes."""
        value = self._table[i][self.name][0].as_py()
        if isinstance(value, dict):
            value = value["path"] if value["bytes"] is None else value["bytes"]
        if not value:
            raise DataError(f"{self.where(i)}: column {self.name!r} names no file and holds no bytes")
        return value if isinstance(value, bytes) else located(self.where.folder(i), value)

    def digest(self) -> str:
        """A hash of what the files hold, wherever they lie: of each its size and beginning. DataError for one missing."""
        if not self.files:
            return ""

        def one(i: int) -> str:
            with self[i].open() as file:
                return f"{file.seek(0, io.SEEK_END)} {xxhash.xxh3_128_hexdigest(_beginning(file))}"

        with ThreadPoolExecutor(THREADS) as pool:
            return digest(list(pool.map(one, range(len(self)))))


def undecoded(data: datasets.Dataset) -> datasets.Dataset:
    """The data set with its images and sounds as bytes and names, which ``datasets`` would decode wherever they are met."""
    for name, feature in data.features.items():
        if isinstance(feature, datasets.Image | datasets.Audio):
            data = data.cast_column(name, type(feature)(decode=False))
    return data


def listed(folder: Path) -> tuple[str, list[str], list[str] | None]:
    """Images or sounds of a folder: which of the two, names relative to it, and their labels.

    The label is the name of the sub-folder that a file lies in; ``None`` where all lie in the folder itself. DataError
    where it holds both images and sounds, or some files have a label and some none.
    """
    kinds, files = {}, []
    for path in sorted(folder.rglob("*")):
        if (kind := kind_of(path)) and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            kinds.setdefault(kind, path)
            files.append(path.relative_to(folder))
    if len(kinds) > 1:
        raise DataError(f"{folder}: images and sounds together: {' and '.join(map(str, kinds.values()))}")
    if not files:
        raise DataError(f"{folder}: no image or sound in this folder")
    bare = [file for file in files if len(file.parts) == 1]
    if bare and len(bare) < len(files):
        raise DataError(
            f"{folder / bare[0]}: lies in no class's folder, others do, as {folder / next(f for f in files if f.parts[1:])}"
        )
    labels = None if bare else [file.parent.as_posix() for file in files]
    return next(iter(kinds)), [file.as_posix() for file in files], labels


def kind_in(folder: Path) -> str | None:
    """``image`` or ``audio`` by the first such file in a folder, whichever comes first; else None."""
    return next(filter(None, map(kind_of, folder.rglob("*"))), None)


def kind_of(path: Path) -> str | None:
    """``image`` or ``audio`` by a file's name, else None."""
    return next((kind for kind, suffixes in KINDS.items() if path.suffix.lower() in suffixes), None)


def located(folder: Path, name: str) -> Path:
    """The file that a row of a file in ``folder`` names: beside that file, or in ``images`` or ``audio`` beside it."""
    places = (folder, *(folder / inner for inner in ("images", "image", "audio", "clips")))
    return next((place / name for place in places if (place / name).is_file()), folder / name)


def each(function: Callable[[Media], Any], column: Sequence[Media]) -> list[Any]:
    """``function`` of every entry; what one is refused for becomes a RowError, so that file and row are named."""

    def one(i: int) -> Any:
        try:
            return function(column[i])
        except DataError as error:
            raise RowError(i, str(error)) from None

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(len(column))))


def image_size(media: Media) -> tuple[int, int]:
    """Width and height as shown, from the header alone."""
    with _reading(media, "image") as file, _pillow().Image.open(file) as found:
        told = "exif" in found.info or found.format == "TIFF"  # elsewhere Pillow would decode to look for it
        turned = told and found.getexif().get(0x0112, 1) >= 5  # the orientation tag: a quarter turn
        return found.size[::-1] if turned else found.size


def image(media: Media) -> np.ndarray:
    """Pixels, uint8 [H, W, 3], upright as the EXIF tag says; grey, palette and alpha as Pillow converts them to RGB.

    DataError names the file that is no image, is cut short, or has more than 8 bits a channel.
    """
    pillow = _pillow()
    with _reading(media, "image") as file, pillow.Image.open(file) as found:
        found.load()
        if found.mode[0] in "IF":
            raise ValueError(f"mode {found.mode} has more than 8 bits a channel; scale it to 0..255 first")
        return np.asarray(pillow.ImageOps.exif_transpose(found).convert("RGB"))


def sound_facts(media: Media) -> tuple[int, int]:
    """Samples a channel and samples per second, from the header alone. DataError for a sound that is empty or cut."""
    soundfile = _soundfile()
    with _reading(media, "sound") as file:
        _whole_riff(file)
        found = soundfile.info(file)
        if not found.frames:
            raise ValueError("it holds no samples")
        return found.frames, found.samplerate


def sound(media: Media) -> Sound:
    """The waveform. DataError names the file that is no sound or is cut short."""
    frames, rate = sound_facts(media)
    with _reading(media, "sound") as file:
        wave, _ = _soundfile().read(file, dtype="float32")
        if len(wave) != frames:
            raise ValueError(f"cut short: {len(wave):,} samples of {frames:,}")
        return Sound(wave, rate)


@contextmanager
def _reading(media: Media, what: str) -> Iterator[BinaryIO]:
    """The open file; whatever a decoder makes of it becomes a DataError that names it."""
    try:
        with media.open() as file:
            yield file
    except DataError:
        raise
    except Exception as error:  # decoders raise what they like: OSError, SyntaxError, struct.error, LibsndfileError ...
        raise DataError(f"{media.name}: not a readable {what}: {str(error) or type(error).__name__}") from None


def _whole_riff(file: BinaryIO) -> None:
    """Refuse a .wav that is shorter than it says; libsndfile would take what is there."""
    head = file.read(8)
    told, size = int.from_bytes(head[4:], "little") + 8, file.seek(0, io.SEEK_END)
    file.seek(0)
    if head[:4] == b"RIFF" and size < told < (1 << 32) - 1:  # a stream's length was not known and is all ones
        raise ValueError(f"cut short: {size:,} bytes of {told:,}")


def _beginning(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(BEGINNING)


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; there is no folder {path.parent}"
    near = nearest(path.name, [item.name for item in path.parent.iterdir()])
    return f"; did you mean {near!r}?" if near else ""


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _pillow() -> Any:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise DataError("reading images needs Pillow: pip install 'trivium[vision]'") from None
    return PIL


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError):  # the latter: the library under it is not there
        raise DataError("reading sound needs soundfile: pip install 'trivium[audio]'") from None
    return soundfile
