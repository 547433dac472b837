"""What the catalog holds, as strings: listing names imports no framework."""

from importlib import import_module

from catalog.errors import UnknownModel, closest

# model_type of a published config.json -> the page's class, and the published class names with the head each stands for
# (None: the bare backbone). Sorted by model_type.
PAGES: dict[str, tuple[str, dict[str, str | None]]] = {
    "albert": (
        "catalog.models.albert:Albert",
        {
            "AlbertModel": None,
            "AlbertForMaskedLM": "masked-lm",
            "AlbertForPreTraining": "pre-training",
            "AlbertForSequenceClassification": "sequence-classification",
            "AlbertForTokenClassification": "token-classification",
            "AlbertForQuestionAnswering": "question-answering",
            "AlbertForMultipleChoice": "multiple-choice",
        },
    ),
    "bart": (
        "catalog.models.bart:Bart",
        {
            "BartModel": None,
            "BartForConditionalGeneration": "seq2seq-lm",
            "BartForCausalLM": "causal-lm",
            "BartForSequenceClassification": "sequence-classification",
            "BartForQuestionAnswering": "question-answering",
        },
    ),
    "beit": (
        "catalog.models.beit:Beit",
        {
            "BeitModel": None,
            "BeitForImageClassification": "image-classification",
            "BeitForMaskedImageModeling": "masked-image-modeling",
            "BeitForSemanticSegmentation": "semantic-segmentation",
        },
    ),
    "bert": (
        "catalog.models.bert:Bert",
        {
            "BertModel": None,
            "BertForMaskedLM": "masked-lm",
            "BertLMHeadModel": "causal-lm",
            "BertForPreTraining": "pre-training",
            "BertForNextSentencePrediction": "next-sentence",
            "BertForSequenceClassification": "sequence-classification",
            "BertForTokenClassification": "token-classification",
            "BertForQuestionAnswering": "question-answering",
            "BertForMultipleChoice": "multiple-choice",
        },
    ),
    "bloom": (
        "catalog.models.bloom:Bloom",
        {
            "BloomModel": None,
            "BloomForCausalLM": "causal-lm",
            "BloomForSequenceClassification": "sequence-classification",
            "BloomForTokenClassification": "token-classification",
            "BloomForQuestionAnswering": "question-answering",
        },
    ),
    "camembert": (
        "catalog.models.roberta:Roberta",
        {
            "CamembertModel": None,
            "CamembertForMaskedLM": "masked-lm",
            "CamembertForCausalLM": "causal-lm",
            "CamembertForSequenceClassification": "sequence-classification",
            "CamembertForTokenClassification": "token-classification",
            "CamembertForQuestionAnswering": "question-answering",
            "CamembertForMultipleChoice": "multiple-choice",
        },
    ),
    "clip": ("catalog.models.clip:Clip", {"CLIPModel": None}),
    "clip_text_model": (
        "catalog.models.clip_text:ClipText",
        {"CLIPTextModel": None, "CLIPTextModelWithProjection": "projection"},
    ),
    "clip_vision_model": (
        "catalog.models.clip_vision:ClipVision",
        {"CLIPVisionModel": None, "CLIPVisionModelWithProjection": "projection"},
    ),
    "convnext": (
        "catalog.models.convnext:ConvNext",
        {
            "ConvNextModel": None,
            "ConvNextForImageClassification": "image-classification",
            "ConvNextBackbone": "feature-maps",
        },
    ),
    "deit": (
        "catalog.models.deit:Deit",
        {
            "DeiTModel": None,
            "DeiTForImageClassification": "image-classification",
            "DeiTForImageClassificationWithTeacher": "image-classification-with-teacher",
            "DeiTForMaskedImageModeling": "masked-image-modeling",
        },
    ),
    "dinov2": (
        "catalog.models.dinov2:Dinov2",
        {
            "Dinov2Model": None,
            "Dinov2ForImageClassification": "image-classification",
            "Dinov2Backbone": "feature-maps",
        },
    ),
    "detr": (
        "catalog.models.detr:Detr",
        {
            "DetrModel": None,
            "DetrForObjectDetection": "object-detection",
            "DetrForSegmentation": "image-segmentation",
        },
    ),
    "distilbert": (
        "catalog.models.distilbert:DistilBert",
        {
            "DistilBertModel": None,
            "DistilBertForMaskedLM": "masked-lm",
            "DistilBertForSequenceClassification": "sequence-classification",
            "DistilBertForTokenClassification": "token-classification",
            "DistilBertForQuestionAnswering": "question-answering",
            "DistilBertForMultipleChoice": "multiple-choice",
        },
    ),
    "electra": (
        "catalog.models.electra:Electra",
        {
            "ElectraModel": None,
            "ElectraForMaskedLM": "masked-lm",
            "ElectraForCausalLM": "causal-lm",
            "ElectraForPreTraining": "pre-training",
            "ElectraForSequenceClassification": "sequence-classification",
            "ElectraForTokenClassification": "token-classification",
            "ElectraForQuestionAnswering": "question-answering",
            "ElectraForMultipleChoice": "multiple-choice",
        },
    ),
    "gpt2": (
        "catalog.models.gpt2:Gpt2",
        {
            "GPT2Model": None,
            "GPT2LMHeadModel": "causal-lm",
            "GPT2DoubleHeadsModel": "double-heads",
            "GPT2ForSequenceClassification": "sequence-classification",
            "GPT2ForTokenClassification": "token-classification",
            "GPT2ForQuestionAnswering": "question-answering",
        },
    ),
    "gpt_neox": (
        "catalog.models.gpt_neox:GptNeox",
        {
            "GPTNeoXModel": None,
            "GPTNeoXForCausalLM": "causal-lm",
            "GPTNeoXForSequenceClassification": "sequence-classification",
            "GPTNeoXForTokenClassification": "token-classification",
            "GPTNeoXForQuestionAnswering": "question-answering",
        },
    ),
    "llama": (
        "catalog.models.llama:Llama",
        {
            "LlamaModel": None,
            "LlamaForCausalLM": "causal-lm",
            "LlamaForSequenceClassification": "sequence-classification",
        },
    ),
    "mbart": (
        "catalog.models.mbart:MBart",
        {
            "MBartModel": None,
            "MBartForConditionalGeneration": "seq2seq-lm",
            "MBartForCausalLM": "causal-lm",
            "MBartForSequenceClassification": "sequence-classification",
            "MBartForQuestionAnswering": "question-answering",
        },
    ),
    "mistral": (
        "catalog.models.mistral:Mistral",
        {
            "MistralModel": None,
            "MistralForCausalLM": "causal-lm",
            "MistralForSequenceClassification": "sequence-classification",
        },
    ),
    "mt5": (
        "catalog.models.t5:T5",
        {
            "MT5Model": None,
            "MT5EncoderModel": "encoder",
            "MT5ForConditionalGeneration": "seq2seq-lm",
            "MT5ForSequenceClassification": "sequence-classification",
            "MT5ForQuestionAnswering": "question-answering",
        },
    ),
    "opt": (
        "catalog.models.opt:Opt",
        {
            "OPTModel": None,
            "OPTForCausalLM": "causal-lm",
            "OPTForSequenceClassification": "sequence-classification",
            "OPTForQuestionAnswering": "question-answering",
        },
    ),
    "resnet": (
        "catalog.models.resnet:Resnet",
        {
            "ResNetModel": None,
            "ResNetForImageClassification": "image-classification",
            "ResNetBackbone": "feature-maps",
        },
    ),
    "roberta": (
        "catalog.models.roberta:Roberta",
        {
            "RobertaModel": None,
            "RobertaForMaskedLM": "masked-lm",
            "RobertaForCausalLM": "causal-lm",
            "RobertaForSequenceClassification": "sequence-classification",
            "RobertaForTokenClassification": "token-classification",
            "RobertaForQuestionAnswering": "question-answering",
            "RobertaForMultipleChoice": "multiple-choice",
        },
    ),
    "swin": (
        "catalog.models.swin:Swin",
        {
            "SwinModel": None,
            "SwinForImageClassification": "image-classification",
            "SwinForMaskedImageModeling": "masked-image-modeling",
            "SwinBackbone": "feature-maps",
        },
    ),
    "t5": (
        "catalog.models.t5:T5",
        {
            "T5Model": None,
            "T5EncoderModel": "encoder",
            "T5ForConditionalGeneration": "seq2seq-lm",
            "T5ForSequenceClassification": "sequence-classification",
            "T5ForQuestionAnswering": "question-answering",
        },
    ),
    "vit": (
        "catalog.models.vit:Vit",
        {
            "ViTModel": None,
            "ViTForImageClassification": "image-classification",
            "ViTForMaskedImageModeling": "masked-image-modeling",
        },
    ),
    "wav2vec2": (
        "catalog.models.wav2vec2:Wav2Vec2",
        {
            "Wav2Vec2Model": None,
            "Wav2Vec2ForCTC": "ctc",
            "Wav2Vec2ForMaskedLM": "masked-lm",
            "Wav2Vec2ForPreTraining": "pre-training",
            "Wav2Vec2ForSequenceClassification": "audio-classification",
            "Wav2Vec2ForAudioFrameClassification": "frame-classification",
            "Wav2Vec2ForXVector": "speaker",
        },
    ),
    "whisper": (
        "catalog.models.whisper:Whisper",
        {
            "WhisperModel": None,
            "WhisperForConditionalGeneration": "seq2seq-lm",
            "WhisperForCausalLM": "causal-lm",
            "WhisperForAudioClassification": "audio-classification",
        },
    ),
    "xlm-roberta": (
        "catalog.models.roberta:Roberta",
        {
            "XLMRobertaModel": None,
            "XLMRobertaForMaskedLM": "masked-lm",
            "XLMRobertaForCausalLM": "causal-lm",
            "XLMRobertaForSequenceClassification": "sequence-classification",
            "XLMRobertaForTokenClassification": "token-classification",
            "XLMRobertaForQuestionAnswering": "question-answering",
            "XLMRobertaForMultipleChoice": "multiple-choice",
        },
    ),
}

MODELS = {name: home for name, (home, _) in PAGES.items()}
CLASSES = {published: (name, head) for name, (_, classes) in PAGES.items() for published, head in classes.items()}


def names() -> list[str]:
    """Names of all models in the catalog, sorted."""
    return sorted(MODELS)


def heads(name: str) -> list[str]:
    """The heads that a model has, in published order. Raises UnknownModel."""
    require(name)
    return [head for model, head in CLASSES.values() if model == name and head is not None]


def published_class(name: str, head: str | None) -> str:
    """The published class of a model with this head (``None``: the backbone). Raises UnknownModel."""
    require(name)
    for published, entry in CLASSES.items():
        if entry == (name, head):
            return published
    known = heads(name)
    raise UnknownModel(f"{name} has no head '{head}'.{_close(head, known)} Heads: {', '.join(known)}")


def resolve(published: str) -> tuple[str, str | None]:
    """(model, head) of a published class name. Raises UnknownModel with close names."""
    if published not in CLASSES:
        raise UnknownModel(f"no class '{published}' in the catalog.{_close(published, CLASSES)}")
    return CLASSES[published]


def require(name: str) -> None:
    """Raise UnknownModel with close names unless the catalog holds ``name``."""
    if name not in MODELS:
        raise UnknownModel(
            f"no model '{name}' in the catalog.{_close(name, MODELS)} All {len(MODELS)}: catalog.names()"
        )


def _close(name, known):
    near = closest(str(name), known)
    return f" Close names: {', '.join(map(repr, near))}." if near else ""


def page(name: str):
    """The module of a model's page, with ``CONFIG``, ``NAMES`` and ``HEADS``. Imports PyTorch."""
    require(name)
    return import_module(MODELS[name].split(":")[0])


def model_class(name: str) -> type:
    """The backbone class of a model. Imports PyTorch."""
    return getattr(page(name), MODELS[name].split(":")[1])


def config_class(name: str) -> type:
    """The configuration class of a model."""
    return model_class(name).config_class


def names_of(name: str, head: str | None = None, config=None):
    """The NameMap of a model with this head; a page whose names depend on the configuration has a function ``names``."""
    module = page(name)
    body = module.names(config or config_class(name)()) if hasattr(module, "names") else module.NAMES
    if head is None:
        return body
    published_class(name, head)
    spec = module.HEADS[head]
    return (spec.body or body).joined(spec.names, body.prefix if spec.prefix is None else spec.prefix)


def names_of_model(model):
    """The NameMap of a built model."""
    return names_of(model.name, model.head, model.config)
