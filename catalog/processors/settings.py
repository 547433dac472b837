"""The published ``preprocessor_config.json``: read into frozen dataclasses, checked field by field, written back.

An image or audio processor is a tuple of *parts*, frozen dataclasses whose field names are the published keys.
``fill`` replaces the fields a file names, ``dump`` gathers all fields into one dict; together they are the whole border.
"""

import json
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path

from catalog.errors import ProcessorError, did_you_mean
from catalog.processors import audio, image

FILE = "preprocessor_config.json"
TYPES = ("image_processor_type", "feature_extractor_type")

# Published keys that change no number here: names of Python classes, call-time arguments that newer files store
# (arrays are always numpy and channels first), tables that follow from other keys, and remains of old versions.
IGNORED = frozenset(
    (
        *TYPES, "processor_class", "_processor_class", "auto_map", "_auto_class", "_max_size", "_valid_processor_keys",
        "_valid_kwargs_names", "data_format", "input_data_format", "return_tensors", "device", "disable_grouping",
        "default_to_square", "mel_filters", "window", "num_labels",
    )
)  # fmt: skip


def read(source):
    """The dict in ``source``, a ``preprocessor_config.json`` or the folder that holds one. Raises ProcessorError."""
    path = Path(source)
    path = path / FILE if path.is_dir() else path
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProcessorError(f"{path}: no such file; a processor needs a folder with {FILE}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProcessorError(f"{path}: cannot be read ({error})") from None
    except json.JSONDecodeError as error:
        raise ProcessorError(f"{path}:{error.lineno}: not JSON ({error.msg}); save the processor again") from None
    if not isinstance(settings, dict):
        raise ProcessorError(f"{path}: expected a JSON object of processor settings, found {type(settings).__name__}")
    return settings


def write(folder, settings):
    """Write ``settings`` as ``folder/preprocessor_config.json``, keys sorted as in published files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def published_type(settings):
    """The class a file names, in its current spelling, or None: old names of image processors and `Fast` are undone."""
    name = next((settings[key] for key in TYPES if settings.get(key)), None)
    return name.removesuffix("Fast") if isinstance(name, str) else None


def class_name(folder):
    """The processor class of a folder: what its file names or, in the first files, what its ``config.json`` implies.

    Raises ProcessorError where neither says it.
    """
    named = published_type(read(folder))
    if named:
        return named
    try:
        model = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        model = None
    implied = (image.MODELS | audio.MODELS).get(model)
    if implied is None:
        raise ProcessorError(
            f"{Path(folder) / FILE}: names no processor; add {' or '.join(TYPES)}, or load by class name"
        )
    return implied


def check_type(settings, wanted, where):
    """Refuse a file written for another processor than ``wanted`` (a published class name)."""
    found = published_type(settings)
    old = wanted.replace("ImageProcessor", "FeatureExtractor")
    if found not in (None, wanted, old):
        raise ProcessorError(f"{where}: written for {found}, not {wanted}; load it with {found} or drop its type key")


def fill(parts, settings, where):
    """``parts`` with the fields that ``settings`` names replaced.

    Raises ProcessorError for a value of the wrong kind, and for a key that no part has, unless it is listed as ignored
    or is null, false or 0, which newer files write for steps that a processor does not take.
    """
    known = {f.name for part in parts for f in fields(part)}
    for key, value in settings.items():
        if key not in known and key not in IGNORED and value not in (None, False):
            raise ProcessorError(
                f"{where}: unknown key '{key}'{did_you_mean(key, known)} (known: {', '.join(sorted(known))}); "
                f'to load without it: config={{"{key}": None}}'
            )
    return tuple(_filled(part, settings, where) for part in parts)


def _filled(part, settings, where):
    named = {f.name: settings[f.name] for f in fields(part) if f.name in settings}
    named = {key: _value(getattr(part, key), value, f"{where}: {key}") for key, value in named.items()}
    try:
        return replace(part, **named)  # a part checks its fields against each other when it is made
    except ProcessorError as error:
        raise ProcessorError(f"{where}: {error}") from None


def _value(default, value, where):
    """``value`` as the kind of thing ``default`` is; null means the default, except that a null switch is off."""
    if value is None:
        return False if isinstance(default, bool) else default
    if is_dataclass(default):
        return default.read(value, where)
    if isinstance(default, bool) or default is None or isinstance(default, dict):
        right = default is None or isinstance(value, type(default))
    elif isinstance(default, tuple):
        right = isinstance(value, (list, tuple)) and len(value) > 0
        value = tuple(value) if right else value
    elif isinstance(default, str):
        right = isinstance(value, str)
    else:
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        right = right and not (isinstance(default, int) and value != int(value))
    if not right:
        raise ProcessorError(f"{where}: expected something like {default!r}, found {value!r}")
    return value


def dump(parts):
    """All fields of ``parts`` in one dict of JSON values."""
    return {key: list(v) if isinstance(v, tuple) else v for part in parts for key, v in asdict(part).items()}


class Processor:
    """What image processors and audio feature extractors share: published settings in, published settings out.

    steps    parts applied in turn to every input; a class that has none leaves it empty
    parts    parts that hold further published keys and are used by name
    config   published settings that differ from the declared ones; strict, see ``fill``
    """

    type_key = None
    steps = ()
    parts = ()

    def __init__(self, config=None, *, where=None):
        config = self.modern(dict(config or {}))
        parts = fill((*self.steps, *self.parts), config, where or type(self).__name__)
        self.steps, self.parts = parts[: len(self.steps)], parts[len(self.steps) :]
        self.processor_class = config.get("processor_class") or config.get("_processor_class")

    @staticmethod
    def modern(config):
        """Hook: the spellings of old files, put into the current ones."""
        return config

    @classmethod
    def load(cls, source, config=None):
        """From a folder in the published layout or its ``preprocessor_config.json``; ``config`` overrides the file.

        Raises ProcessorError.
        """
        where = Path(source) / FILE if Path(source).is_dir() else source
        stored = read(where)
        check_type(stored, cls.__name__, where)
        return cls(stored | (config or {}), where=where)

    def save(self, folder):
        """Write the published ``preprocessor_config.json`` into ``folder``; ``load`` inverts it."""
        write(folder, self.config)

    @property
    def config(self):
        """The published settings, complete, as a dict of JSON values."""
        config = dump((*self.steps, *self.parts)) | {self.type_key: type(self).__name__}
        return config | ({"processor_class": self.processor_class} if self.processor_class else {})

    def part(self, kind):
        """The part of class ``kind``."""
        return next(part for part in self.parts if isinstance(part, kind))

    def __eq__(self, other):
        return type(self) is type(other) and self.config == other.config

    __hash__ = None
