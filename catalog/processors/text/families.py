"""All families by published class name, and the class that a model type implies."""

from catalog.errors import ProcessorError, did_you_mean
from catalog.processors.text import (
    bytelevel,
    characters,
    clip,
    sentencepiece_only,
    spm_bpe,
    unigram_families,
    whisper,
    wordbpe,
    wordpiece,
)
from catalog.processors.text.family import Family

MODULES = (wordpiece, wordbpe, bytelevel, clip, whisper, unigram_families, spm_bpe, sentencepiece_only, characters)
FAMILIES: dict[str, Family] = {name: page for module in MODULES for name, page in module.FAMILIES.items()}

# config.json's model_type -> family, for published folders whose tokenizer_config.json does not name the class
MODEL_TYPES = {
    "albert": "Albert", "bart": "Bart", "bert": "Bert", "bert-generation": "BertGeneration", "big_bird": "BigBird",
    "blenderbot": "Blenderbot", "bloom": "Bloom", "camembert": "Camembert", "clip": "CLIP", "code_llama": "CodeLlama",
    "codegen": "CodeGen", "convbert": "ConvBert", "deberta": "Deberta", "deberta-v2": "DebertaV2",
    "distilbert": "DistilBert", "electra": "Electra", "fnet": "FNet", "funnel": "Funnel", "gpt2": "GPT2",
    "gpt_neo": "GPT2", "gpt_neox": "GPTNeoX", "gptj": "GPT2", "layoutlm": "LayoutLM", "led": "LED", "llama": "Llama",
    "longformer": "Longformer", "lxmert": "Lxmert", "mbart": "MBart", "mistral": "Llama", "mobilebert": "MobileBert",
    "mpnet": "MPNet", "mt5": "T5", "mvp": "Mvp", "openai-gpt": "OpenAIGPT", "opt": "GPT2", "pegasus": "Pegasus",
    "reformer": "Reformer", "rembert": "RemBert", "roberta": "Roberta", "squeezebert": "SqueezeBert", "t5": "T5",
    "umt5": "T5", "wav2vec2": "Wav2Vec2CTC", "whisper": "Whisper", "xglm": "XGLM", "xlm-roberta": "XLMRoberta",
    "xlnet": "XLNet",
}  # fmt: skip
ALIASES = {"MT5": "T5"}  # published class names that are another's


def short(name: str) -> str:
    name = name.removesuffix("Fast").removesuffix("Tokenizer")
    return ALIASES.get(name, name)


def known(name: str) -> bool:
    return short(name) in FAMILIES


def family(name: str) -> Family:
    """The family of a published class name, slow or fast."""
    if not known(name):
        names = [f"{one}Tokenizer" for one in FAMILIES]
        raise ProcessorError(
            f"no tokenizer class '{name}' here{did_you_mean(name, names) or '.'} All {len(names)}: catalog.processors.REGISTRY"
        )
    return FAMILIES[short(name)]
