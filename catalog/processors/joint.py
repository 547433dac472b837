"""Which processor a published folder holds, and the pair of a tokenizer and an image or audio processor."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from catalog.errors import ProcessorError, did_you_mean
from catalog.processors import REGISTRY, find, settings
from catalog.processors.text.files import load as load_tokenizer
from catalog.processors.text.settings import CONFIG, ENGINE
from catalog.processors.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Joint:
    """``tokenizer`` for texts, ``features`` for images or sound; each is called on its own inputs."""

    tokenizer: Tokenizer
    features: settings.Processor

    def save(self, folder) -> None:
        self.tokenizer.save(folder)
        self.features.save(folder)


def load(source, name: str | None = None):
    folder = Path(source)
    if name is not None:
        kind = class_of(name)
        return load_tokenizer(folder, name) if issubclass(kind, Tokenizer) else kind.load(folder)
    features = settings.class_name(folder) if (folder / settings.FILE).is_file() else None
    texts = any((folder / file).is_file() for file in (CONFIG, ENGINE))
    if features and texts:
        return Joint(load_tokenizer(folder), class_of(features).load(folder))
    if features:
        return class_of(features).load(folder)
    return load_tokenizer(folder)  # says what is missing where the folder holds no tokenizer either


def class_of(name: str):
    home = find(name)
    if home is None:
        raise ProcessorError(f"no processor class '{name}' here{did_you_mean(name, REGISTRY) or '.'} All {len(REGISTRY)}: "
                             f"catalog.processors.REGISTRY")  # fmt: skip
    module, attribute = home.split(":")
    return getattr(import_module(module), attribute)
