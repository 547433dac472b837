"""Find names in texts: ``python train.py recipe=bert_ner``, with ``bert_pos`` the part of speech of each word."""

from importlib.util import find_spec
from typing import Any

from recipes import pretrained
from recipes.examples import Table, examples
from recipes.prepared import Prepared, Say, feed
from recipes.samples.tagged import entities, parts_of_speech
from recipes.task_options import TaggingOptions
from recipes.token_classification import TagFeatures, TokenClassification, fields, labels_of, named, texts
from trainer.data.prepare import prepare as featurise
from trainer.errors import OptionError
from trainer.preflight import Checks

SCALES = {
    "demo": "sizes for two cores and half a minute, offline",
    "full": "the published sizes, checkpoint and a data set of the hub",
}
TOKENS = ("words", "text", "sentence")
NAMES = Table(
    inputs=("tokens",), label="tags", spelt={"tokens": TOKENS, "tags": ("ner_tags", "labels", "label")}, sample=entities
)
PARTS = Table(
    inputs=("tokens",), label="tags", spelt={"tokens": TOKENS, "tags": ("upos", "pos_tags", "pos", "labels", "label")},
    sample=parts_of_speech,
)  # fmt: skip


def prepare(config: Any, say: Say) -> Prepared:
    """Tagged words, tokenizer, model and task; ``say`` takes lines of progress. Nothing is trained yet."""
    names = config.recipe == "bert_ner"
    measured = ("f1", "precision", "recall", "accuracy") if names else ("accuracy",)
    best = config.eval.metric or measured[0]
    if best not in (*measured, "loss"):
        raise OptionError(f"eval.metric={best}: the task measures {', '.join((*measured, 'loss'))}")
    if names and find_spec("seqeval") is None:
        raise OptionError("recipe=bert_ner measures with seqeval, which is not installed: pip install 'trivium[text]'")
    found = examples(config.data, NAMES if names else PARTS)
    rows, others = named(found.train), {name: named(rows) for name, rows in found.evals.items()}
    tokenizer, vocabulary = pretrained.tokenizer(config.model, lambda: texts(rows), rows.digest)
    labels = TaggingOptions(**config.options).labels or labels_of(rows, names)
    features = TagFeatures(tokenizer, config.batch.max_length, tuple(labels))
    train = featurise(rows, features, key=features.key(), say=say)
    evals = {name: featurise(rows, features, key=features.key(), say=say) for name, rows in others.items()}
    model, weights = pretrained.model(
        config.model, config.seed, vocab=len(tokenizer), shape={"labels": features.labels}
    )
    shape = fields(tokenizer)
    return Prepared(
        model=model,
        task=TokenClassification(features.labels, names, best),
        processor=tokenizer,
        train=feed(train, shape, config.batch, config.seed),
        evals={name: feed(data, shape, config.batch, None) for name, data in evals.items()},
        checks=Checks(
            vocab=model.config.vocab, classes=len(features.labels),
            decode=lambda row: tokenizer.decode(row["input_ids"]),
        ),
        about=f"{'which words are names' if names else 'which part of speech is each word'}?   {len(features.labels)} tags   "
        f"measured: {', '.join(measured)}; best by {best}",
        source=f"{found.about}   data {rows.digest[:6]}",
        weights=f"{weights}   vocabulary of {len(tokenizer):,}, {vocabulary}",
        use='python -m catalog run token-classification --model {folder} "Anna works in Port Alma."',
    )  # fmt: skip
