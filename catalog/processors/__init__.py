"""Processors: text, images and sound to model inputs. Strings only here; a processor is imported when it is used."""

from importlib import import_module

from catalog.processors import audio, image

# published class name (slow and fast tokenizers alike, without "Fast") -> where it is read: load(folder, name)
REGISTRY: dict[str, str] = dict.fromkeys(
    (
        "BertTokenizer", "ConvBertTokenizer", "DPRContextEncoderTokenizer", "DPRQuestionEncoderTokenizer",
        "DistilBertTokenizer", "ElectraTokenizer", "FunnelTokenizer", "LayoutLMTokenizer", "LxmertTokenizer",
        "MPNetTokenizer", "MobileBertTokenizer", "SqueezeBertTokenizer",
    ),
    "catalog.processors.text:Tokenizer",
)  # fmt: skip
REGISTRY |= image.REGISTRY | audio.REGISTRY


def find(name: str) -> str | None:
    """Where the processor of a published class name is, or None."""
    return REGISTRY.get(name.removesuffix("Fast"))
