"""CLIP's text tower: a pre-norm decoder stack over at most 77 tokens, read at the end-of-text token.

Radford et al., 2021, "Learning Transferable Visual Models From Natural Language Supervision" (arXiv:2103.00020).
"""

from dataclasses import dataclass

import torch
from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import HeadSpec, ProjectText
from catalog.layers import MLP, Attention, LearnedPositions, PreNorm, Stack, TokenEmbedding, masks
from catalog.model import Backbone
from catalog.namemap import NameMap
from catalog.outputs import Encoded


@dataclass(frozen=True, kw_only=True)
class ClipTextConfig(Config):
    """Sizes of the text tower of clip-vit-base. ``projection`` is the width of the space shared with images."""

    vocab: int = 49408
    width: int = 512
    depth: int = 12
    heads: int = 8
    hidden: int = 2048
    positions: int = 77
    projection: int = 512
    act: str = "quick_gelu"
    attn_dropout: float = 0.0
    norm_eps: float = 1e-5
    init_factor: float = 1.0
    pad_id: int | None = 1
    bos_id: int | None = 49406
    eos_id: int | tuple[int, ...] | None = 49407

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")


# what published files of either tower say and nothing reads; "dropout" was never applied
UNREAD = ("dropout", "text_config_dict", "vision_config_dict", "logit_scale_init_value")
CONFIG = ConfigMap(
    vocab="vocab_size", width="hidden_size", depth="num_hidden_layers", heads="num_attention_heads",
    hidden="intermediate_size", positions="max_position_embeddings", projection="projection_dim", act="hidden_act",
    attn_dropout="attention_dropout", norm_eps="layer_norm_eps", init_factor="initializer_factor", kept=UNREAD,
)  # fmt: skip


def tower_rules(ours, published):
    """The blocks of either tower, ours and published names under these prefixes."""
    layer, theirs = ours + "layers.{i}", published + "encoder.layers.{i}"
    return [
        (f"{layer}.attn.{{q,k,v,out}}.*", f"{theirs}.self_attn.{{q,k,v,out}}_proj.*"),
        (f"{layer}.mlp.{{up,down}}.*", f"{theirs}.mlp.{{fc1,fc2}}.*"),
        (f"{layer}.norm{{1,2}}.*", f"{theirs}.layer_norm{{1,2}}.*"),
    ]


def text_rules(ours, published):
    """All of the text tower."""
    embed = (f"{ours}embed.{{tokens,positions}}.*", f"{published}embeddings.{{token,position}}_embedding.*")
    return [*tower_rules(ours, published), embed, (f"{ours}norm.*", f"{published}final_layer_norm.*")]


NAMES = NameMap(text_rules("", "text_model."), drop=["text_model.embeddings.position_ids"])


def tower(c):
    """The blocks of either tower."""
    return Stack(
        PreNorm(
            attn=Attention(c.width, c.heads, dropout=c.attn_dropout),
            mlp=MLP(c.width, c.hidden, c.act),
            norm1=nn.LayerNorm(c.width, eps=c.norm_eps), norm2=nn.LayerNorm(c.width, eps=c.norm_eps),
        )
        for _ in range(c.depth)
    )  # fmt: skip


def start_tower(layers, c):
    """The published scale of fresh blocks: the deeper the stack, the smaller what each adds."""
    wide, deep = c.init_factor * c.width**-0.5, (2 * c.depth) ** -0.5
    for block in layers:
        for part in (block.attn.q, block.attn.k, block.attn.v, block.mlp.down):
            nn.init.normal_(part.weight, 0.0, wide * deep)
        nn.init.normal_(block.attn.out.weight, 0.0, wide)
        nn.init.normal_(block.mlp.up.weight, 0.0, wide * 2**-0.5)


class ClipText(Backbone):
    """input_ids [B, T] -> last_hidden_state [B, T, width], pooler_output [B, width] of the end-of-text token.

    attention_mask [B, T] is 1 at real tokens; an unpadded batch is [1, total] with ``lengths`` [n].
    """

    config_class = ClipTextConfig

    def __init__(self, c: ClipTextConfig):
        super().__init__()
        self.config = c
        self.embed = TokenEmbedding(c.vocab, c.width, positions=LearnedPositions(c.positions, c.width))
        self.layers, self.norm = tower(c), nn.LayerNorm(c.width, eps=c.norm_eps)

    def forward(self, input_ids, attention_mask=None, position_ids=None, *, lengths=None):
        mask = masks.causal(attention_mask, lengths)
        if position_ids is None:
            position_ids = mask.positions(input_ids.shape[1], device=input_ids.device)
        states = self.norm(self.layers(self.embed(input_ids, position_ids), mask=mask))
        return Encoded(last_hidden_state=states, pooler_output=self._end(states, input_ids, mask), mask=mask)

    def _end(self, states, ids, mask):
        """The state at each text's first end-of-text token, [B, width]."""
        ids, end = mask.rows(ids, -1), self.config.eos_id
        # files from before 2023 say 2 and mean the largest id of the vocabulary
        where = ids.argmax(-1) if end == 2 else (ids == end).int().argmax(-1)
        rows = mask.rows(states)
        return rows[torch.arange(rows.shape[0], device=rows.device), where]

    def initialise(self, std):
        """As published; see :func:`start_tower`."""
        for table in (self.embed.tokens, self.embed.positions):
            nn.init.normal_(table.weight, 0.0, 0.02 * self.config.init_factor)
        start_tower(self.layers, self.config)


HEADS = {"projection": HeadSpec(ProjectText, NameMap([("out.*", "text_projection.*")]))}
