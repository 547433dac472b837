"""``catalog.pipeline(task, model)``: the pipeline of a task over a saved or published model."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from catalog import cards
from catalog.errors import ConfigError, did_you_mean

PORTED = ("flax", "tf")
ANY = "*"  # whatever head a folder says it has


class Task(NamedTuple):
    """Where a task's pipeline is, and what it needs of a model.

    heads   head that a folder says it has -> head that is loaded for the task
    ported  whether one forward pass is all it takes, so that models of other frameworks do
    """

    home: str
    modality: str
    heads: Mapping[str | None, str | None]
    ported: bool = True


def _same(*heads):
    return {head: head for head in heads}


TASKS: dict[str, Task] = {
    "text-classification": Task("classify:TextClassification", "text", _same("sequence-classification")),
    "zero-shot-classification": Task("classify:ZeroShotClassification", "text", _same("sequence-classification")),
    "fill-mask": Task("fill:FillMask", "text", {"masked-lm": "masked-lm", "pre-training": "masked-lm"}),
    "text-generation": Task("writing:TextGeneration", "text", _same("causal-lm"), ported=False),
    "summarization": Task("writing:Summarization", "text", _same("seq2seq-lm"), ported=False),
    "translation": Task("writing:Translation", "text", _same("seq2seq-lm"), ported=False),
    "token-classification": Task("tokens:TokenClassification", "text", _same("token-classification")),
    "question-answering": Task("answers:QuestionAnswering", "text", _same("question-answering")),
    "multiple-choice": Task("choices:MultipleChoice", "text", _same("multiple-choice")),
    "feature-extraction": Task("vectors:FeatureExtraction", "text", {ANY: None}),
    "image-classification": Task(
        "images:ImageClassification", "image", _same("image-classification", "image-classification-with-teacher")
    ),
    "object-detection": Task("images:ObjectDetection", "image", _same("object-detection")),
    "zero-shot-image-classification": Task("images:ZeroShotImageClassification", "image-text", {None: None}),
    "audio-classification": Task("sounds:AudioClassification", "audio", _same("audio-classification")),
    "automatic-speech-recognition": Task("speech:SpeechRecognition", "audio", _same("ctc", "seq2seq-lm"), ported=False),
}


def pipeline(
    task: str, model: str | Path, *, framework: str = "torch", batch_size: int = 32, device=None, dtype=None
) -> Any:  # fmt: skip
    """A function that does ``task`` with ``model``: ``pipeline("text-classification", "my-model")("a fine film")``.

    task        a name of ``TASKS``
    model       a folder with a model and its processor, as a run leaves it in ``model``, or a hub id
    framework   ``"torch"``; ``"flax"`` or ``"tf"`` for tasks of one forward pass
    batch_size  rows that go through the model at once, those of like lengths together
    device      of a PyTorch model
    dtype       of the parameters; ``None`` keeps the file's

    Raises ConfigError for an unknown task, and where the model has not the head or is of another modality; LoadError and
    ProcessorError where files are missing or broken.
    """
    wanted = TASKS.get(task)
    if wanted is None:
        raise ConfigError(f"no task '{task}'{did_you_mean(task, TASKS)} There are: {', '.join(TASKS)}")
    if framework in PORTED and not wanted.ported:
        raise ConfigError(
            f"{task} writes token by token, which is done in PyTorch only: leave framework={framework!r} out"
        )
    from catalog.building import read_config
    from catalog.frameworks import load
    from catalog.loading import local_folder
    from catalog.processors import processor

    folder = local_folder(model)
    name, own, config = read_config(folder)
    head = _head(task, name, own, folder)
    module, _, kind = wanted.home.partition(":")
    loaded = load(folder, head or "backbone", framework=framework, dtype=dtype, device=device)
    made = getattr(import_module(f"catalog.pipelines.{module}"), kind)
    return made(task, loaded, processor(folder), config, folder, framework, batch_size)


def tasks_of(name: str, head: str | None) -> list[str]:
    """The tasks that a model with this head serves."""
    modality = cards.card(name).modality
    return [task for task, needs in TASKS.items() if needs.modality == modality and {head, ANY} & needs.heads.keys()]


def _head(task, name, own, folder):
    """The head to load. Raises ConfigError saying what the model can do."""
    needs = TASKS[task]
    if task not in (served := tasks_of(name, own)):
        modality = cards.card(name).modality
        has = f"head '{own}'" if own else "no head"
        wants = " or ".join(head or "two towers" for head in needs.heads if head != ANY) or "a backbone"
        others = f"This model serves: {', '.join(served)}" if served else "No task is served by this model"
        about = f"takes {needs.modality}" if modality != needs.modality else f"needs {wants}"
        raise ConfigError(f"{folder}: '{name}' ({modality}) with {has}; {task} {about}. {others}")
    return needs.heads.get(own, needs.heads.get(ANY))
