"""Choose the ending that fits a text: ``python train.py recipe=bert_swag``."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from recipes import pretrained
from recipes.examples import Table, examples
from recipes.multiple_choice import ChoiceFeatures, MultipleChoice, fields
from recipes.prepared import Prepared, Say, feed
from recipes.samples.endings import endings
from recipes.task_options import ChoiceOptions
from trainer.data.prepare import prepare as featurise
from trainer.data.rows import Rows
from trainer.errors import OptionError
from trainer.preflight import Checks

SCALES = {
    "demo": "sizes for two cores and half a minute, offline",
    "full": "the published sizes, checkpoint and data set of the hub",
}
LABEL = ("answer", "gold")
LISTS = Table(
    inputs=("context", "endings"), label="label", sample=endings,
    spelt={"context": ("query", "question"), "endings": ("choices", "options"), "label": LABEL},
)  # fmt: skip
COLUMNS = Table(
    inputs=("sent1", "sent2", "ending0", "ending1", "ending2", "ending3"), label="label", spelt={"label": LABEL},
    sample=endings,
)  # fmt: skip


def prepare(config: Any, say: Say) -> Prepared:
    """Texts with their endings, tokenizer, model and task; ``say`` takes lines of progress. Nothing is trained yet."""
    options, best = ChoiceOptions(**config.options), config.eval.metric or "accuracy"
    if best not in ("accuracy", "loss"):
        raise OptionError(f"eval.metric={best}: the task measures accuracy, loss")
    if config.batch.layout != "unpadded":
        raise OptionError(f"batch={config.batch.layout}: a row is several texts of their own; write batch=unpadded")
    drawn = config.data.path is None and config.data.name is None
    found = examples(config.data, LISTS if drawn or options.endings == "list" else COLUMNS)
    tokenizer, vocabulary = pretrained.tokenizer(config.model, lambda: texts(found.train), found.train.digest)
    features = ChoiceFeatures(tokenizer, config.batch.max_length)
    train = featurise(found.train, features, key=features.key(), say=say)
    evals = {name: featurise(rows, features, key=features.key(), say=say) for name, rows in found.evals.items()}
    model, weights = pretrained.model(config.model, config.seed, vocab=len(tokenizer))
    longest = max(int(data.lengths.max()) for data in (train, *evals.values()))  # of a row, with all its endings
    shape, batch = fields(tokenizer), replace(config.batch, max_length=max(longest, config.batch.max_length))
    return Prepared(
        model=model,
        task=MultipleChoice(best),
        processor=tokenizer,
        train=feed(train, shape, batch, config.seed),
        evals={name: feed(data, shape, batch, None) for name, data in evals.items()},
        checks=Checks(vocab=model.config.vocab, decode=lambda row: tokenizer.decode(row["input_ids"])),
        about=f"which ending fits the text?   measured: accuracy; best by {best}",
        source=f"{found.about}   data {found.train.digest[:6]}",
        weights=f"{weights}   vocabulary of {len(tokenizer):,}, {vocabulary}",
        use='python -m catalog run multiple-choice --model {folder} "Ann is hungry." "Ann eats." "Ann sleeps."',
    )


def texts(rows: Rows) -> Iterator[str]:
    """All texts of the rows, to learn a vocabulary from; what is no text is told by the features, with its row."""
    for name in rows.data.column_names:
        for value in rows.data[name]:
            yield from (part for part in (value if isinstance(value, list) else [value]) if isinstance(part, str))
