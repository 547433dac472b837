"""Train a decoder on running text: ``python train.py recipe=gpt2_clm``, or ``recipe=llama_clm``."""

from dataclasses import replace
from typing import Any

from recipes import pretrained
from recipes.causal_language import FIELDS, CausalFeatures, CausalLanguage, RowFeatures, Sized, Window
from recipes.documents import TEXTS, opened, size
from recipes.examples import column, examples
from recipes.prepared import Prepared, Say, feed
from recipes.streaming import Stream, featurise
from recipes.task_options import CausalOptions
from trainer.data.blocks import Blocks
from trainer.errors import OptionError
from trainer.preflight import Checks

SCALES = {
    "demo": "sizes for two cores and half a minute, offline",
    "full": "the published sizes, checkpoint and a data set of the hub",
}


def prepare(config: Any, say: Say) -> Prepared:
    """Blocks of documents, tokenizer, model and task; ``say`` takes lines of progress. Nothing is trained yet."""
    options = CausalOptions(**config.options)
    if config.batch.layout != "unpadded":
        raise OptionError(f"batch={config.batch.layout}: documents are packed into blocks; write batch=unpadded")
    if config.data.stream and options.document != "row":
        raise OptionError(f"data.stream=true reads rows in any order: options.document is row, not {options.document}")
    found = examples(config.data, replace(TEXTS, streams=options.document == "row"))
    tokenizer, vocabulary = pretrained.tokenizer(
        config.model, lambda: column(found.train, ["text"]), found.train.digest, "bytes"
    )
    features = CausalFeatures(tokenizer, options.document)

    def blocks(rows):
        documents = featurise(opened(rows, options.document), features, say)
        return Blocks(documents, config.batch.max_length)

    if isinstance(found.train, Stream):
        train = featurise(found.train, RowFeatures(features), say)
        change, documents = Window(config.batch.max_length, config.seed), f"{len(train):,} documents"
    else:
        train = blocks(found.train)
        change, documents = Sized(train), f"{len(train.data):,} documents in blocks"
    evals = {name: blocks(rows) for name, rows in found.evals.items()}
    measured = next(iter(evals))
    tokens = int(evals[measured].lengths.sum()) - len(evals[measured].data)  # less those that begin a document
    model, weights = pretrained.model(config.model, config.seed, vocab=len(tokenizer), shape=ends(config, tokenizer))
    return Prepared(
        model=model,
        task=CausalLanguage(size(found.evals[measured], options.document) / tokens, deciding(config)),
        processor=tokenizer,
        train=feed(train, FIELDS, config.batch, config.seed, change),
        evals={name: feed(data, FIELDS, config.batch, None, Sized(data)) for name, data in evals.items()},
        checks=Checks(
            vocab=model.config.vocab,
            special=pretrained.special(tokenizer, "eos_token" if tokenizer.bos_id is None else "bos_token"),
            decode=lambda row: tokenizer.decode(row["input_ids"]),
        ),
        about=f"which token comes next?   measured: perplexity, bits_per_byte; best by {deciding(config)}",
        source=f"{found.about}   data {found.train.digest[:6]}   {documents}",
        weights=f"{weights}   vocabulary of {len(tokenizer):,}, {vocabulary}",
        use='python -m catalog run text-generation --model {folder} "Once upon a time"',
    )


def ends(config: Any, tokenizer: Any) -> dict[str, int | None]:
    """What new weights know of the tokenizer: the ids that begin, end and pad a text; a checkpoint keeps its own."""
    if config.model.source is not None:
        return {}
    end = tokenizer.eos_id
    return {"bos_id": end if tokenizer.bos_id is None else tokenizer.bos_id, "eos_id": end, "pad_id": tokenizer.pad_id}


def deciding(config: Any) -> str:
    """The metric that picks the best model. Raises OptionError where the task does not have it."""
    metric, known = config.eval.metric or "perplexity", ("perplexity", "bits_per_byte", "loss")
    if metric not in known:
        raise OptionError(f"eval.metric={metric}: the task measures {', '.join(known)}")
    return metric
