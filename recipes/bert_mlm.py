"""Train an encoder to guess hidden tokens: ``python train.py recipe=bert_mlm``, with ``bert_pretrain`` also pairs."""

from typing import Any

from recipes import pretrained
from recipes.documents import TEXTS, opened
from recipes.examples import column, examples
from recipes.masked_language import MaskedLanguage, Pairing, SegmentFeatures, fields, masking
from recipes.prepared import Prepared, Say, feed
from recipes.task_options import MaskingOptions
from trainer.data.prepare import prepare as featurise
from trainer.errors import DataError, OptionError
from trainer.preflight import Checks

SCALES = {
    "demo": "sizes for two cores and half a minute, offline",
    "full": "the published sizes, checkpoint and a data set of the hub",
}


def prepare(config: Any, say: Say) -> Prepared:
    """Segments of documents, tokenizer, model and task; ``say`` takes lines of progress. Nothing is trained yet."""
    options = MaskingOptions(**config.options)
    pairs = config.recipe == "bert_pretrain"
    measured = ("perplexity", *(["next_sentence_accuracy"] if pairs else []))
    best = config.eval.metric or measured[0]
    if best not in (*measured, "loss"):
        raise OptionError(f"eval.metric={best}: the task measures {', '.join((*measured, 'loss'))}")
    found = examples(config.data, TEXTS)
    tokenizer, vocabulary = pretrained.tokenizer(
        config.model, lambda: column(found.train, ["text"]), found.train.digest
    )
    if tokenizer.mask_id is None:
        raise DataError(
            f"{config.model.tokenizer or config.model.source}: the tokenizer has no mask token to hide text with"
        )
    features = SegmentFeatures(tokenizer, config.batch.max_length, options.document, pairs)

    def segments(rows):
        return featurise(opened(rows, options.document), features, key=features.key(), say=say)

    train, evals = segments(found.train), {name: segments(rows) for name, rows in found.evals.items()}
    shape, hide = fields(tokenizer, pairs), masking(tokenizer, options.mask, options.whole_word, config.seed)

    def change(data):
        return Pairing(data, config.seed, tokenizer.sep_id, hide) if pairs else hide

    model, weights = pretrained.model(config.model, config.seed, vocab=len(tokenizer))
    whole = ", whole words" if options.whole_word else ""
    return Prepared(
        model=model,
        task=MaskedLanguage(pairs, best),
        processor=tokenizer,
        train=feed(train, shape, config.batch, config.seed, change(train)),
        evals={name: feed(data, shape, config.batch, None, change(data)) for name, data in evals.items()},
        checks=Checks(
            vocab=model.config.vocab,
            special=pretrained.special(tokenizer, "cls_token", "sep_token"),
            decode=lambda row: tokenizer.decode(row["input_ids"]),
        ),
        about=f"which tokens are hidden ({options.mask:.0%}{whole})?{' does the second text follow the first?' * pairs}   "
        f"measured: {', '.join(measured)}; best by {best}",
        source=f"{found.about}   data {found.train.digest[:6]}",
        weights=f"{weights}   vocabulary of {len(tokenizer):,}, {vocabulary}",
        use=f'python -m catalog run fill-mask --model {{folder}} "The {tokenizer.traits.special["mask_token"]} was open."',
    )
