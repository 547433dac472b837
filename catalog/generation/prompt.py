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
    device = next(model.parameters()).device
    inputs = torch.as_tensor(input_ids, device=device)
    mask = None if attention_mask is None else torch.as_tensor(attention_mask, device=device).bool()
    if isinstance(model, Seq2SeqLM):
        ids, fixed, source = _pair(model, inputs, mask, decoder_input_ids, d)
    elif decoder_input_ids is not None:
        raise ConfigError(
            f"'{model.name}' has no encoder: what the text begins with is input_ids, not decoder_input_ids"
        )
    else:
        ids, fixed, source = _alone(inputs, mask), {}, None
    config = model.config
    ends = as_ids(config.eos_id if d.eos_token_id is None else d.eos_token_id)
    pad = next((i for i in (d.pad_token_id, config.pad_id, *ends) if i is not None), 0)
    given = ids if fixed else inputs
    return Prompt(ids, given, fixed, source, ends, pad, _limit(model, ids.shape[1], d))


def _alone(ids, mask):
    """Ids [B, T] with -1 at padding."""
    _check_ids("input_ids", ids)
    if mask is None or bool(mask.all()):
        return ids
    if mask.shape != ids.shape:
        raise ConfigError(f"attention_mask {list(mask.shape)} is not of the shape of input_ids {list(ids.shape)}")
    wrong = (mask[:, :-1] & ~mask[:, 1:]).any(1) | ~mask[:, -1]
    if wrong.any():
        raise ConfigError(
            f"attention_mask: row {int(wrong.nonzero()[0])} has padding behind its text, where the model would go on writing; "
            "pad in front: tokenizer.having(padding_side='left')"
        )
    return ids.masked_fill(~mask, -1)


def _pair(model, inputs, mask, ids, d):
    """Decoder ids [B, T], the encoder's states and mask, and its ids with -1 at padding where it reads ids."""
    reads_ids = not inputs.is_floating_point()
    if reads_ids:
        _check_ids("input_ids", inputs)
        if mask is not None and mask.shape != inputs.shape:
            raise ConfigError(
                f"attention_mask {list(mask.shape)} is not of the shape of input_ids {list(inputs.shape)}"
            )
    fixed = {"encoder_outputs": model.backbone.encode(inputs, mask).last_hidden_state}
    if mask is not None:
        fixed["attention_mask"] = mask
    source = None if not reads_ids else inputs if mask is None else inputs.masked_fill(~mask, -1)
    return _opening(model, inputs, ids, d), fixed, source


def _opening(model, inputs, ids, d):
    """What the decoder's texts begin with [B, T]: the start token, then ``ids`` if any."""
    config = model.config
    starts = (d.decoder_start_token_id, config.decoder_start_id, d.bos_token_id, config.bos_id)
    start = next((i for i in starts if i is not None), None)
    if ids is None:
        if start is None:
            raise ConfigError(f"'{model.name}' does not say what a text begins with: give decoder_start_token_id")
        return torch.full((len(inputs), 1), start, device=inputs.device)
    ids = torch.as_tensor(ids, device=inputs.device)
    _check_ids("decoder_input_ids", ids)
    if len(ids) not in (1, len(inputs)):
        raise ConfigError(f"decoder_input_ids has {len(ids)} rows, the encoder's input {len(inputs)}")
    if start is not None and (ids[:, 0] != start).all():
        ids = F.pad(ids, (1, 0), value=start)
    return ids.expand(len(inputs), -1)


def _check_ids(name, ids):
    if ids.dim() != 2 or 0 in ids.shape or ids.is_floating_point():
        raise ConfigError(
            f"{name}: {ids.dtype} {list(ids.shape)} is no batch of ids [texts, tokens], one token at least"
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
