"""The special tokens around a text or a pair."""

from tokenizers import processors

from catalog.errors import ProcessorError, did_you_mean
from catalog.processors.text.tokenizer import Tokenizer


def set_template(made: Tokenizer, template: tuple[str, str]) -> None:
    """Install the (single, pair) template, after what the engine does to offsets."""
    single, pair = (written(made, one) for one in template)
    used = sorted({word.rpartition(":")[0] for word in single + pair if not word.startswith("$")})
    for token in used:
        if made.engine.token_to_id(token) is None:
            raise ProcessorError(
                f"{made.traits.name} puts {token!r} around a text, which the vocabulary lacks"
                f"{did_you_mean(token, made.traits.more_special)}"
            )
    template = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, made.engine.token_to_id(token)) for token in used]
    )
    first = made.engine.post_processor
    if isinstance(first, processors.Sequence):
        first = first[0]
    keep = isinstance(first, processors.ByteLevel)
    made.engine.post_processor = processors.Sequence([first, template]) if keep else template


def written(made: Tokenizer, template: str) -> list[str]:
    """Roles -> tokens: "cls $A sep:1" -> ["[CLS]:0", "$A:0", "[SEP]:1"]. Words that are no role stand for themselves."""
    words = []
    for word in template.split():
        name, _, kind = word.partition(":")
        words.append(f"{made.traits.special.get(name + '_token', name)}:{kind or 0}")
    return words
