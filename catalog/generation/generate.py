"""Writing text with a model: ``generate`` returns it, ``stream`` gives it out while it is being written."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from catalog.errors import ConfigError
from catalog.generation import beam, contrastive, greedy
from catalog.generation.cache import Steps
from catalog.generation.options import Decoding
from catalog.generation.order import Text, rules_of
from catalog.generation.prompt import Prompt, prompt
from catalog.generation.sample import draw
from catalog.generation.stop import Ends
from catalog.generation.stream import Pieces
from catalog.outputs import Output, output

CONTEXT = 8  # tokens of the prompt that decide how the first piece of a stream is spelled (a blank in front or none)


@output
class Generated(Output):
    """Texts as ids: ``sequences`` [B * num_return_sequences, T], the prompt first, padding behind the end.

    ``scores``: what each token was chosen by, [rows, vocab] a step, all rules applied. ``sequences_scores``
    [B * num_return_sequences]: each beam's sum of log-probabilities divided by its length ** length_penalty.
    """

    sequences: Tensor
    scores: tuple[Tensor, ...] | None = None
    sequences_scores: Tensor | None = None


@torch.no_grad()  # and not inference mode: what is returned may be trained on
def generate(
    model, input_ids, attention_mask=None, *, decoder_input_ids=None, tokenizer=None,
    on_text: Callable[[str], Any] | None = None, decoding: Decoding | None = None, **options,
) -> Generated:  # fmt: skip
    """Write on from input_ids [B, T]: greedy, sampled, by beams or contrastive, as ``options`` say.

    model              a head that predicts next tokens (``causal-lm``, ``seq2seq-lm``), in evaluation mode, of any dtype
    input_ids          the prompt of a decoder; of an encoder-decoder what the encoder reads (Whisper: input_features)
    attention_mask     [B, T], 0 at padding; a decoder's prompts are padded in front
    decoder_input_ids  [1 or B, T'], what an encoder-decoder's text begins with; its start token is put in front if missing
    tokenizer          for ``stop_strings`` and ``on_text``
    on_text            called with each piece of one text as it comes: ``partial(print, end="", flush=True)``
    options            the fields of :class:`catalog.generation.options.Decoding`, changing ``decoding`` where it is given

    A row's text does not depend on the rows beside it, except what is drawn at random, lengths that count padding
    (``max_length``, ``min_length``) and, as published, the length that a decoder's beam scores are divided by.
    Raises ConfigError on options that do not exist or contradict each other, and on inputs that the model cannot continue.
    """
    d = (decoding or Decoding()).having(**options)
    start = prompt(model, input_ids, attention_mask, decoder_input_ids, d)
    if d.num_beams > 1:
        if on_text is not None:
            raise ConfigError("on_text: beams are chosen at the end, so that nothing can be shown before; num_beams=1")
        return _beams(model, start, d)
    ids, steps = _begin(model, start, d)
    pieces = None if on_text is None else _pieces(start, ids, tokenizer)
    tokens, scores = [], []
    for token, score in _written(steps, ids, start, d, tokenizer):
        tokens.append(token)
        if d.output_scores:
            scores.append(score)
        if pieces is not None and (piece := pieces.push(token)):
            on_text(piece)
    if pieces is not None and (piece := pieces.end()):
        on_text(piece)
    sequences = torch.cat([ids, torch.stack(tokens, 1)], 1)
    return Generated(sequences=_padded(sequences, start), scores=tuple(scores) or None)


@torch.no_grad()  # and not inference mode: what is returned may be trained on
def stream(
    model, tokenizer, input_ids, attention_mask=None, *, decoder_input_ids=None, decoding: Decoding | None = None, **options
) -> Iterator[str]:  # fmt: skip
    """The pieces of one text while it is written: ``for piece in stream(...): print(piece, end="", flush=True)``.

    As :func:`generate`, for one row without beams. A piece is whole characters; together they are the text behind the
    prompt, special tokens left out.
    """
    d = (decoding or Decoding()).having(**options)
    start = prompt(model, input_ids, attention_mask, decoder_input_ids, d)
    if d.num_beams > 1:
        raise ConfigError("a stream has no beams: they are chosen at the end; num_beams=1")
    ids, steps = _begin(model, start, d)
    pieces = _pieces(start, ids, tokenizer)
    for token, _ in _written(steps, ids, start, d, tokenizer):
        if piece := pieces.push(token):
            yield piece
    if piece := pieces.end():
        yield piece


def _pieces(start, ids, tokenizer):
    if tokenizer is None or len(ids) != 1:
        raise ConfigError("text is shown as it comes for one row, and with its tokenizer (tokenizer=)")
    before = [] if start.fixed else ids[0, -CONTEXT:].clamp_min(0).tolist()
    return Pieces(tokenizer, before)


def _begin(model, start: Prompt, d: Decoding) -> tuple[Tensor, Steps]:
    """The rows to be written, each text once for each of its copies, and the model ready for them."""
    copies = d.num_beams if d.num_beams > 1 else d.num_return_sequences
    watch = d.penalty_alpha is not None
    return start.ids.repeat_interleave(copies, 0), Steps(
        model, start.fixed, copies=copies, keep=d.use_cache, watch=watch
    )


def _written(steps, ids, start, d, tokenizer):
    """(tokens, scores) of every step, by the way of decoding that ``d`` asks for."""
    if d.stop_strings and tokenizer is None:
        raise ConfigError("stop_strings are looked for in the text: give tokenizer=")
    rules, ends = _rules(steps.model, start, d), Ends(start.ends, d.stop_strings, tokenizer, len(ids))
    if d.penalty_alpha is not None:
        return contrastive.write(steps, ids, rules, ends, start.limit, count=d.top_k, alpha=d.penalty_alpha)
    pick = partial(draw, generator=_generator(d, ids.device)) if d.do_sample else partial(torch.argmax, dim=-1)
    return greedy.write(steps, ids, rules, pick, ends, start.limit)


def _rules(model, start, d):
    return rules_of(d, Text(start.ids.shape[1], start.limit, start.ends, model.config.vocab, start.source))


def _generator(d, device):
    return None if d.seed is None else torch.Generator(device).manual_seed(d.seed)


def _beams(model, start, d):
    ids, steps = _begin(model, start, d)
    plan = beam.Plan(
        d.num_beams, d.num_beam_groups, start.limit, start.ends, d.length_penalty, d.early_stopping, d.do_sample,
        _generator(d, ids.device),
    )  # fmt: skip
    kept = [] if d.output_scores else None
    found, scores = beam.search(steps, ids, _rules(model, start, d), plan, kept)
    best = found[:, : d.num_return_sequences].flatten(0, 1)
    length = int((best >= 0).any(0).nonzero().max()) + 1
    return Generated(
        sequences=_padded(best[:, :length], start),
        scores=None if kept is None else tuple(kept),
        sequences_scores=scores[:, : d.num_return_sequences].flatten(),
    )


def _padded(sequences, start):
    """The prompt as it was given, and the pad token behind each end."""
    copies, length = len(sequences) // len(start.given), start.given.shape[1]
    written = sequences[:, length:]
    written = torch.where(written < 0, start.pad, written)
    return torch.cat([start.given.repeat_interleave(copies, 0), written], 1)
