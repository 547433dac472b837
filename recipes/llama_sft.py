"""Teach a decoder to answer instructions: ``python train.py recipe=llama_sft``."""

from typing import Any

from recipes import pretrained
from recipes.examples import Table, column, examples
from recipes.gpt2_clm import ends
from recipes.instructions import InstructionFeatures, Instructions, conversational, fields
from recipes.prepared import Prepared, Say, feed
from recipes.samples.instructions import instructions
from recipes.task_options import InstructionOptions
from trainer.data.prepare import prepare as featurise
from trainer.errors import OptionError
from trainer.preflight import Checks

SCALES = {
    "demo": "sizes for two cores and half a minute, offline",
    "full": "a published checkpoint and a data set of the hub",
}
PAIRS = Table(
    inputs=("instruction", "response"),
    spelt={
        "instruction": ("prompt", "question", "dialogue", "input"),
        "response": ("answer", "output", "completion", "summary"),
    },
    sample=instructions,
)
MEASURED = ("exact_match", "f1")


def prepare(config: Any, say: Say) -> Prepared:
    """Conversations, tokenizer, model and task; ``say`` takes lines of progress. Nothing is trained yet."""
    options = InstructionOptions(**config.options)
    best = config.eval.metric or MEASURED[0]
    if best not in (*MEASURED, "loss"):
        raise OptionError(f"eval.metric={best}: the task measures {', '.join((*MEASURED, 'loss'))}")
    found = examples(config.data, PAIRS)
    tokenizer, vocabulary = pretrained.tokenizer(
        config.model, lambda: column(found.train, PAIRS.inputs), found.train.digest, "bytes"
    )
    tokenizer = conversational(tokenizer) if config.model.source is None else tokenizer
    features = InstructionFeatures(tokenizer, config.batch.max_length, options.system)
    train = featurise(found.train, features, key=features.key(), say=say)
    evals = {name: featurise(rows, features, key=features.key(), say=say) for name, rows in found.evals.items()}
    model, weights = pretrained.model(config.model, config.seed, vocab=len(tokenizer), shape=ends(config, tokenizer))
    shape = fields(tokenizer)
    return Prepared(
        model=model,
        task=Instructions(tokenizer, options.max_new_tokens, best),
        processor=tokenizer,
        train=feed(train, shape, config.batch, config.seed),
        evals={name: feed(data, shape, config.batch, None) for name, data in evals.items()},
        checks=Checks(
            vocab=model.config.vocab,
            classes=model.config.vocab,
            decode=lambda row: tokenizer.decode(row["input_ids"]),
        ),
        about=f"what is the answer?   measured: {', '.join(MEASURED)} of what is written; best by {best}",
        source=f"{found.about}   data {found.train.digest[:6]}",
        weights=f"{weights}   vocabulary of {len(tokenizer):,}, {vocabulary}",
        use='python -m catalog run text-generation --model {folder} "What is the plural of mouse"',
    )
