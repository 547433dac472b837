"""Tokenizers, by published class name. Strings only; nothing is imported before it is used."""

from importlib import import_module

NAMES = (
    "Albert", "Bart", "Barthez", "Bartpho", "Bert", "BertGeneration", "Bertweet", "BigBird", "Blenderbot", "Bloom", "ByT5",
    "CLIP", "Camembert", "CodeGen", "CodeLlama", "ConvBert", "Cpm", "DPRContextEncoder", "DPRQuestionEncoder", "Deberta",
    "DebertaV2", "DistilBert", "Electra", "FNet", "Funnel", "GPT2", "GPTNeoX", "GPTSw3", "Herbert", "LED", "LayoutLM",
    "Llama", "Longformer", "Lxmert", "MBart", "MBart50", "MPNet", "MT5", "MobileBert", "Mvp", "OpenAIGPT", "Pegasus",
    "Phobert", "Reformer", "RemBert", "Roberta", "SqueezeBert", "T5", "Wav2Vec2CTC", "Wav2Vec2PhonemeCTC", "Whisper", "XGLM",
    "XLMRoberta", "XLNet",
)  # fmt: skip
REGISTRY = {f"{name}Tokenizer": f"{__name__}:Tokenizer" for name in NAMES}  # slow and fast alike, without "Fast"

_HOMES = {
    "Tokenizer": "catalog.processors.text.tokenizer",
    "build": "catalog.processors.text.files",
    "load": "catalog.processors.text.files",
    "train_bytes": "catalog.processors.text.training",
    "train_wordpiece": "catalog.processors.text.training",
}

__all__ = ["NAMES", "REGISTRY", *_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'catalog.processors.text' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
