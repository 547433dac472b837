"""What text decoders share: tokens go in, each reads what stands before it, keys and values may be kept."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from catalog.errors import ConfigError
from catalog.layers import Cache, masks
from catalog.layers.masks import Mask
from catalog.model import Backbone
from catalog.outputs import Encoded


@dataclass
class Context:
    """What every block of one forward pass is told: who may attend, where the new tokens stand, what was kept."""

    mask: Mask
    positions: Tensor  # [1 or B, T], each token's index in its own sequence
    cache: Cache | None

    @property
    def past(self) -> int:
        """Number of tokens whose keys and values are kept from before."""
        return self.cache.length if self.cache else 0


class Decoder(Backbone):
    """input_ids [B, T] -> last_hidden_state [B, T, width]. A page builds ``embed``, ``layers`` and ``norm``.

    attention_mask [B, S] is 1 at real tokens and covers the kept ones too (S = past + T); position_ids [B, T] are counted
    from each sequence's first real token unless given; an unpadded batch is [1, total] with ``lengths`` [n]. With
    ``use_cache`` the output holds ``past_key_values``, to be given to the next call together with the next tokens alone.
    """

    records: ClassVar = {"hidden_states": ("layers", "norm"), "attentions": "layers.*.attn"}
    mask = staticmethod(masks.causal)

    def forward(
        self, input_ids, attention_mask=None, position_ids=None, *, lengths=None, past_key_values=None, use_cache=False
    ):
        context = self.context(input_ids, attention_mask, position_ids, lengths, past_key_values, use_cache)
        return self.decode(self.embed(input_ids, context.positions), context)

    def context(self, input_ids, attention_mask, position_ids, lengths, past_key_values, use_cache) -> Context:
        """The context of new tokens [B, T]; only their shape is looked at."""
        if lengths is not None and (use_cache or past_key_values):
            raise ConfigError(
                "an unpadded batch (lengths=) keeps no keys and values: pass one row a text with an attention_mask, "
                "or leave use_cache and past_key_values out"
            )
        cache = Cache(past_key_values, len(self.layers)) if use_cache or past_key_values else None
        context = Context(self.mask(attention_mask, lengths), position_ids, cache)
        if position_ids is None:
            context.positions = context.mask.positions(input_ids.shape[1], context.past, input_ids.device)
        return context

    def decode(self, states, context: Context, bias=None) -> Encoded:
        """Embedded tokens [B, T, width] through the blocks; ``bias`` is added to the attention scores."""
        states = self.layers(
            states, mask=context.mask, positions=context.positions, bias=bias, cache=context.cache
        )  # fmt: skip
        return Encoded(
            last_hidden_state=self.norm(states),
            past_key_values=context.cache.tensors() if context.cache else None,
            mask=context.mask,
        )
