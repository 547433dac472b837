"""BART: a post-norm encoder-decoder with learned positions, trained to restore damaged text. TAPEX too.

Lewis et al., 2019, "BART: Denoising Sequence-to-Sequence Pre-training" (arXiv:1910.13461).
"""

from dataclasses import dataclass

from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import DecoderLM, HeadSpec, PairAnswerSpan, PairClassify, Seq2SeqLM
from catalog.layers import MLP, Attention, CrossPostNorm, LearnedPositions, PostNorm, Stack
from catalog.namemap import NameMap
from catalog.pair import EncoderDecoder


@dataclass(frozen=True, kw_only=True)
class BartConfig(Config):
    """Sizes of bart-large."""

    vocab: int = 50265
    width: int = 1024
    depth: int = 12
    decoder_depth: int = 12
    heads: int = 16
    decoder_heads: int = 16
    hidden: int = 4096
    decoder_hidden: int = 4096
    positions: int = 1024
    act: str = "gelu"
    dropout: float = 0.1
    attn_dropout: float = 0.0
    mlp_dropout: float = 0.0
    head_dropout: float = 0.0
    scaled_embedding: bool = False
    pad_id: int | None = 1
    bos_id: int | None = 0
    eos_id: int | tuple[int, ...] | None = 2
    decoder_start_id: int | None = 2

    def check(self):
        for heads in (self.heads, self.decoder_heads):
            if self.width % heads:
                raise ConfigError(f"width {self.width} does not divide into {heads} heads")


CONFIG = ConfigMap(
    vocab="vocab_size", width="d_model", depth="encoder_layers", decoder_depth="decoder_layers",
    heads="encoder_attention_heads", decoder_heads="decoder_attention_heads", hidden="encoder_ffn_dim",
    decoder_hidden="decoder_ffn_dim", positions="max_position_embeddings", act="activation_function",
    dropout="dropout", attn_dropout="attention_dropout", mlp_dropout="activation_dropout",
    head_dropout="classifier_dropout", scaled_embedding="scale_embedding", init_std="init_std",
    fixed={"encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "static_position_embeddings": False,
           "is_decoder": (True, False)},
    kept=("num_hidden_layers", "classif_dropout", "add_bias_logits", "add_final_layer_norm", "normalize_before",
          "normalize_embedding", "extra_pos_embeddings", "force_bos_token_to_be_generated"),
)  # fmt: skip


def side_rules(side):
    """The names of one stack."""
    layer = f"{side}.layers.{{i}}"
    norms = (
        "self_attn_layer_norm,encoder_attn_layer_norm,final_layer_norm"
        if side == "decoder"
        else "self_attn_layer_norm,final_layer_norm"
    )
    ours = "1,2,3" if side == "decoder" else "1,2"
    rules = [
        (f"{side}.positions.*", f"{side}.embed_positions.*"),
        (f"{side}.embed_norm.*", f"{side}.layernorm_embedding.*"),
        (f"{layer}.attn.{{q,k,v,out}}.*", f"{layer}.self_attn.{{q,k,v,out}}_proj.*"),
        (f"{layer}.norm{{{ours}}}.*", f"{layer}.{{{norms}}}.*"),
        (f"{layer}.mlp.{{up,down}}.*", f"{layer}.{{fc1,fc2}}.*"),
        (f"{side}.norm.*", f"{side}.layer_norm.*"),  # mBART's; BART ends without
    ]
    cross = (f"{layer}.cross.{{q,k,v,out}}.*", f"{layer}.encoder_attn.{{q,k,v,out}}_proj.*")
    return [*rules, cross] if side == "decoder" else rules


def heads(prefix="model."):
    """The heads of BART-like models."""
    alone = NameMap([("embed.*", "decoder.embed_tokens.*"), *side_rules("decoder")])
    return {
        "seq2seq-lm": HeadSpec(
            lambda b, c: Seq2SeqLM(b, c, embedding=b.embed, bias=True),
            NameMap([("out.weight", "lm_head.weight"), ("bias", "final_logits_bias")]),
        ),
        "causal-lm": HeadSpec(
            DecoderLM, NameMap([("out.weight", "lm_head.weight")]), body=alone, backbone={"encoder": False}
        ),
        "sequence-classification": HeadSpec(
            lambda b, c: PairClassify(b, c, dropout=c.head_dropout),
            NameMap([("{transform.dense,out}.*", "classification_head.{dense,out_proj}.*")]),
        ),
        "question-answering": HeadSpec(PairAnswerSpan, NameMap([("out.*", "qa_outputs.*")])),
    }


NAMES = NameMap(
    [("embed.*", "shared.*"), *side_rules("encoder"), *side_rules("decoder")],
    prefix="model.",
    tied={f"{side}.embed_tokens.weight": "embed.weight" for side in ("encoder", "decoder")},
)
HEADS = heads()


class BartSide(nn.Module):
    """One of the two stacks: tokens x [B, T, width], for the decoder a memory [B, S, width] too -> [B, T, width]."""

    def __init__(self, c: BartConfig, blocks, *, norm):
        super().__init__()
        self.positions = LearnedPositions(c.positions, c.width, offset=2)  # two rows that no token uses
        self.embed_norm, self.drop = nn.LayerNorm(c.width), nn.Dropout(c.dropout)
        self.scale = c.width**0.5 if c.scaled_embedding else 1.0
        self.layers, self.norm = Stack(blocks), norm

    def forward(self, x, *memory, mask, cache=None, **context):
        positions = mask.positions(x.shape[1], cache.length if cache else 0, x.device)
        x = self.drop(self.embed_norm(x * self.scale + self.positions(positions)))
        return self.norm(self.layers(x, *memory, mask=mask, cache=cache, **context))


class Bart(EncoderDecoder):
    """As :class:`catalog.pair.EncoderDecoder`; ``encoder=False`` leaves only the decoder."""

    config_class = BartConfig
    encoder_block, decoder_block = PostNorm, CrossPostNorm

    def __init__(self, c: BartConfig, *, encoder=True):
        super().__init__()
        self.config = c
        self.embed = nn.Embedding(c.vocab, c.width, padding_idx=c.pad_id)
        self.encoder = (
            BartSide(c, [self._encoder(c) for _ in range(c.depth)], norm=self.last_norm(c)) if encoder else None
        )
        self.decoder = BartSide(c, [self._decoder(c) for _ in range(c.decoder_depth)], norm=self.last_norm(c))

    def last_norm(self, c):
        """What stands behind the last block: nothing, as every block ends in a norm."""
        return nn.Identity()

    def _encoder(self, c):
        return self.encoder_block(
            attn=Attention(c.width, c.heads, dropout=c.attn_dropout),
            mlp=MLP(c.width, c.hidden, c.act, dropout=c.mlp_dropout),
            norm1=nn.LayerNorm(c.width), norm2=nn.LayerNorm(c.width), dropout=c.dropout,
        )  # fmt: skip

    def _decoder(self, c):
        attn, cross = (Attention(c.width, c.decoder_heads, dropout=c.attn_dropout) for _ in range(2))
        norms = {f"norm{i}": nn.LayerNorm(c.width) for i in (1, 2, 3)}
        mlp = MLP(c.width, c.decoder_hidden, c.act, dropout=c.mlp_dropout)
        return self.decoder_block(attn=attn, cross=cross, mlp=mlp, dropout=c.dropout, **norms)
