"""Cutting rows to a length, and saying which row cannot be used."""

from contextlib import contextmanager

from catalog.errors import ProcessorError

STRATEGIES = ("longest_first", "only_first", "only_second")


@contextmanager
def cutting(engine, side, special_tokens, paired, *, max_length=None, truncation="longest_first", stride=0):
    """The engine cuts to ``max_length`` inside; it keeps that as state, so the caller must hold the tokenizer's lock."""
    if truncation not in STRATEGIES:
        raise ProcessorError(f"truncation={truncation!r} is not known; one of {', '.join(STRATEGIES)}")
    if max_length is None:
        yield
        return
    added = engine.num_special_tokens_to_add(paired) if special_tokens else 0
    if max_length < added or (stride and stride >= max_length - added):
        raise ProcessorError(
            f"max_length={max_length} leaves {max_length - added} tokens for the text beside {added} special tokens; it must "
            f"leave more than the stride of {stride}"
        )
    engine.enable_truncation(max_length, stride=stride, strategy=truncation, direction=side)
    try:
        yield
    finally:
        engine.no_truncation()


def explained(engine, error, rows, split, special_tokens, *, max_length=None, truncation="longest_first", stride=0):
    """The engine's complaint as a ProcessorError that names the row."""
    for number, row in enumerate(rows):
        try:
            engine.encode_batch([row], is_pretokenized=split, add_special_tokens=special_tokens)
        except Exception as cause:
            if "runcation" not in str(cause):
                return ProcessorError(f"text {number} is {short(row)}: expected a string, or a list of words ({cause})")
            side = {"only_first": "first", "only_second": "second"}.get(truncation, "longer")
            return ProcessorError(
                f"text {number} ({short(row)}) cannot be cut to max_length={max_length} by shortening the {side} text only "
                f"(truncation='{truncation}'); use 'longest_first' or a larger max_length"
            )
    return ProcessorError(f"the texts cannot be encoded: {error}")


def short(row) -> str:
    shown = repr(row)
    return shown if len(shown) <= 60 else shown[:57] + "..."
