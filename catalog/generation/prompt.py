"""What a text begins with: the prompt and its padding, the encoder's states, the ids that begin, end and pad it."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from catalog.errors import ConfigError
from catalog.generation.options import Decoding
from catalog.generation.order import as_ids
from catalog.heads import CausalLM, DecoderLM, Seq2SeqLM
from catalog.layers import LearnedPositions


class Prompt(NamedTuple):
    """ids [B, T], -1 at padding; ``given`` as they came. ``fixed`` holds what the decoder reads all along (see ``Steps``)."""

    ids: Tensor
    given: Tensor
    fixed: dict[str, Tensor]
    source: Tensor | None
    ends: tuple[int, ...]
    pad: int
    limit: int


def prompt(model, input_ids, attention_mask, decoder_input_ids, d: Decoding) -> Prompt:
    """The prompt of a call. Raises ConfigError where the model cannot write, or not from such inputs."""
    if not isinstance(model, (CausalLM, DecoderLM, Seq2SeqLM)):
        raise ConfigError(
            f"{type(model).__name__} of '{model.name}' does not predict next tokens; load it with head='causal-lm' "
            "or head='seq2seq-lm'"
        )
    if model.training:
        raise ConfigError(
            f"'{model.name}' is in training mode, where dropout changes the text: call model.eval() first"
        )
    ids, mask = _tensor(model, "input_ids", input_ids), _tensor(model, "attention_mask", attention_mask)
    config = model.config
    ends = as_ids(config.eos_id if d.eos_token_id is None else d.eos_token_id)
    pad = next((i for i in (d.pad_token_id, config.pad_id, *ends) if i is not None), 0)
    if isinstance(model, Seq2SeqLM):
        source = _text(config, ids, mask) if not ids.is_floating_point() else None
        opening = _opening(model, len(ids), decoder_input_ids, d)
        limit = _limit(model, opening.shape[1], d)
        return Prompt(opening, opening, _memory(model, ids, mask), source, ends, pad, limit)
    if decoder_input_ids is not None:
        raise ConfigError(
            f"'{model.name}' has no encoder: what the text begins with is input_ids, not decoder_input_ids"
        )
    text = _text(config, ids, mask)
    wrong = (text[:, :-1] >= 0) & (text[:, 1:] < 0)
    if wrong.any() or (text[:, -1] < 0).any():
        row = int((wrong.any(1) | (text[:, -1] < 0)).nonzero()[0])
        raise ConfigError(
            f"attention_mask: row {row} has padding behind its text, where the model would go on writing; "
            "pad in front: tokenizer.having(padding_side='left')"
        )
    return Prompt(text, ids, {}, None, ends, pad, _limit(model, ids.shape[1], d))


def _tensor(model, name, value):
    if value is None:
        return None
    at = next(model.parameters())
    try:
        value = torch.as_tensor(value, device=at.device)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}: no tensor ({error}); pad texts of different lengths: padding='longest'") from None
    return value.to(at.dtype) if value.is_floating_point() else value


def _text(config, ids, mask):
    """Ids [B, T] with -1 at padding."""
    _check_ids("input_ids", ids, config.vocab)
    if mask is None:
        return ids
    if mask.shape != ids.shape:
        raise ConfigError(f"attention_mask {list(mask.shape)} is not of the shape of input_ids {list(ids.shape)}")
    return ids.masked_fill(mask == 0, -1)


def _memory(model, inputs, mask):
    """The encoder's states, and the mask over them."""
    fixed = {"encoder_outputs": model.backbone.encode(inputs, mask).last_hidden_state}
    return fixed if mask is None else {**fixed, "attention_mask": mask}


def _opening(model, count, ids, d):
    """What the decoder's texts begin with [count, T]: the start token, then ``ids`` if any."""
    config = model.config
    starts = (d.decoder_start_token_id, config.decoder_start_id, d.bos_token_id, config.bos_id)
    start = next((i for i in starts if i is not None), None)
    if ids is None:
        if start is None:
            raise ConfigError(f"'{model.name}' does not say what a text begins with: give decoder_start_token_id")
        return torch.full((count, 1), start, device=next(model.parameters()).device)
    ids = _tensor(model, "decoder_input_ids", ids)
    _check_ids("decoder_input_ids", ids, config.vocab)
    if len(ids) not in (1, count):
        raise ConfigError(f"decoder_input_ids has {len(ids)} rows, the encoder's input {count}")
    if start is not None and (ids[:, 0] != start).all():
        ids = F.pad(ids, (1, 0), value=start)
    return ids.expand(count, -1)


def _check_ids(name, ids, vocab):
    if ids.dim() != 2 or 0 in ids.shape or ids.is_floating_point():
        raise ConfigError(
            f"{name}: {ids.dtype} {list(ids.shape)} is no batch of ids [texts, tokens], one token at least"
        )
    wrong = (ids < 0) | (ids >= vocab)
    if wrong.any():
        row, at = wrong.nonzero()[0].tolist()
        raise ConfigError(
            f"{name}: row {row} has id {int(ids[row, at])} at {at}; the model's vocabulary has {vocab} tokens"
        )


def _limit(model, length, d):
    """How long a text may become, its prompt counted."""
    if d.max_length is None and d.max_new_tokens is None:
        raise ConfigError("decoding: how long may the text become? Give max_new_tokens")
    limit = d.max_length if d.max_new_tokens is None else length + d.max_new_tokens
    if limit <= length:
        raise ConfigError(f"decoding.max_length: {limit} leaves no room behind a prompt of {length} tokens")
    side = getattr(model.backbone, "decoder", model.backbone)
    for module in side.modules():
        # the last token is written, not read
        if isinstance(module, LearnedPositions) and limit - 1 > (room := module.num_embeddings - module.offset):
            raise ConfigError(
                f"a text of {limit} tokens ({length} of them the prompt) is longer than the {room} positions of '{model.name}'"
            )
    return limit
