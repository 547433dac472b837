"""What encoder-decoders share: the encoder's states are the memory that the decoder reads while it writes."""

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from catalog.layers import Cache, masks
from catalog.model import Backbone
from catalog.outputs import Encoded, EncodedPair


def shift_right(ids: Tensor, start: int, pad: int) -> Tensor:
    """Ids [B, T] moved one to the right behind ``start``; ignored labels (-100) become ``pad``."""
    return F.pad(ids[:, :-1].masked_fill(ids[:, :-1] < 0, pad), (1, 0), value=start)


class EncoderDecoder(Backbone):
    """A page gives ``embed(ids)``, ``encoder(x, mask=) -> [B, S, width]`` and
    ``decoder(x, memory, mask=, memory_mask=, cache=) -> [B, T, width]``.

    input_ids [B, S], decoder_input_ids [B, T] -> last_hidden_state [B, T, width] of the decoder. Without
    ``decoder_input_ids`` the decoder reads the input itself, shifted right. ``encoder_outputs`` (an output of ``encode``,
    a tuple, or the states) spares the encoder.
    """

    records: ClassVar = {
        "decoder_hidden_states": ("decoder.layers", "decoder.norm"),
        "decoder_attentions": "decoder.layers.*.attn",
        "cross_attentions": "decoder.layers.*.cross",
        "encoder_hidden_states": ("encoder.layers", "encoder.norm"),
        "encoder_attentions": "encoder.layers.*.attn",
    }

    def shift(self, ids: Tensor) -> Tensor:
        """What the decoder reads when it is to write ``ids`` [B, T]."""
        return shift_right(ids, self.config.decoder_start_id, self.config.pad_id)

    def encode(self, input_ids, attention_mask=None) -> Encoded:
        """The encoder alone."""
        mask = masks.padding(attention_mask)
        return Encoded(last_hidden_state=self.encoder(self.embed(input_ids), mask=mask), mask=mask)

    def forward(
        self, input_ids=None, attention_mask=None, decoder_input_ids=None, decoder_attention_mask=None, *,
        encoder_outputs=None, past_key_values=None, use_cache=False,
    ):  # fmt: skip
        memory = (
            self.encode(input_ids, attention_mask).last_hidden_state
            if encoder_outputs is None
            else states(encoder_outputs)
        )
        if decoder_input_ids is None:
            decoder_input_ids = self.shift(input_ids)
        return self.decode(
            decoder_input_ids, memory, attention_mask, decoder_attention_mask, past_key_values, use_cache
        )

    def decode(self, ids, memory, attention_mask, decoder_attention_mask, past_key_values, use_cache) -> EncodedPair:
        """The decoder over a memory [B, S, width], or by itself (``None``)."""
        cache = Cache(past_key_values, len(self.decoder.layers)) if use_cache or past_key_values else None
        mask = masks.causal(decoder_attention_mask)
        out = self.decoder(self.embed(ids), memory, mask=mask, memory_mask=masks.padding(attention_mask), cache=cache)
        kept = cache.tensors() if cache else None
        return EncodedPair(last_hidden_state=out, past_key_values=kept, encoder_last_hidden_state=memory, mask=mask)


def states(encoder_outputs) -> Tensor:
    """The states [B, S, width] in an output, a tuple or a tensor."""
    if isinstance(encoder_outputs, Tensor):
        return encoder_outputs
    return encoder_outputs[0] if isinstance(encoder_outputs, (tuple, list)) else encoder_outputs.last_hidden_state
