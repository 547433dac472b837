"""Fine-tune an encoder on a task of GLUE: ``python train.py recipe=bert_glue task=sst2``."""

from collections.abc import Sequence
from typing import Any

from recipes import pretrained
from recipes.examples import Table, column, examples
from recipes.glue import TASKS, GlueTask
from recipes.prepared import Prepared, Say, feed
from recipes.streaming import featurise
from recipes.text_classification import Features, TextClassification, fields
from trainer.errors import OptionError
from trainer.preflight import Checks

SCALES = {
    "demo": "sizes for two cores and a minute, offline",
    "full": "the published setting, checkpoint and data set of the hub",
}


def prepare(config: Any, say: Say) -> Prepared:
    """Examples, tokenizer, model and task of ``config.task``; ``say`` takes lines of progress. Nothing is trained yet."""
    glue = TASKS[config.task]
    metric = deciding(glue, config)
    found = examples(config.data, table(config.task))
    tokenizer, vocabulary = pretrained.tokenizer(
        config.model, lambda: column(found.train, glue.text), found.train.digest
    )
    features = Features(tokenizer, config.batch.max_length, glue.text, glue.labels)
    train = featurise(found.train, features, say)
    evals = {name: featurise(rows, features, say) for name, rows in found.evals.items()}
    model, weights = pretrained.model(
        config.model, config.seed, vocab=len(tokenizer), shape=pretrained.classes(glue.labels)
    )
    shape = fields(next(iter(evals.values())).fields, tokenizer.pad_id, glue.labels)
    return Prepared(
        model=model,
        task=TextClassification(glue.labels, glue.metrics, metric),
        processor=tokenizer,
        train=feed(train, shape, config.batch, config.seed),
        evals={name: feed(data, shape, config.batch, None) for name, data in evals.items()},
        checks=Checks(
            vocab=model.config.vocab,
            special=pretrained.special(tokenizer, "cls_token", "sep_token"),
            classes=len(glue.labels) if glue.labels else None,
            decode=lambda row: f"{tokenizer.decode(row['input_ids'])} -> {named(row['labels'], glue.labels)}",
        ),
        about=f"{glue.about}   measured: {', '.join(glue.metrics)}; best by {metric}",
        source=f"{found.about}   data {found.train.digest[:6]}",
        weights=f"{weights}   vocabulary of {len(tokenizer):,}, {vocabulary}",
        use='python -m catalog run text-classification --model {folder} "a text"'
        + (' --pair "a second text"' if len(glue.text) > 1 else ""),
    )


def table(name: str) -> Table:
    """Where the columns and splits of a task are."""
    glue = TASKS[name]
    return Table(
        inputs=glue.text, label="label", spelt={ours: (theirs,) for ours, theirs in glue.files.items()},
        headers=glue.headers, evals=glue.evals, sample=glue.sample, subset=name,
        streams=True,
    )  # fmt: skip


def named(label: int | float, labels: Sequence[str] | None) -> str | float:
    """The name of a class, or the number itself."""
    return label if labels is None else labels[label]


def deciding(glue: GlueTask, config: Any) -> str:
    """The metric that picks the best model. Raises OptionError where the task does not have it."""
    metric = config.eval.metric or glue.metrics[0]
    if metric not in (*glue.metrics, "loss"):
        raise OptionError(f"eval.metric={metric}: task {config.task} measures {', '.join((*glue.metrics, 'loss'))}")
    return metric
