"""T5: a pre-norm encoder-decoder whose only positions are biases by bucket of distance. MT5, FLAN-T5, UL2 and ByT5 too.

Raffel et al., 2019, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer" (arXiv:1910.10683).
Gated MLPs: Shazeer, 2020 (arXiv:2002.05202).
"""

from dataclasses import dataclass

from torch import nn

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import EncoderOnly, HeadSpec, PairAnswerSpan, PairClassify, Seq2SeqLM
from catalog.layers import MLP, Attention, BucketBias, CrossPreNorm, GatedMLP, PreNorm, RMSNorm, Stack
from catalog.namemap import NameMap
from catalog.pair import EncoderDecoder

MLPS = {
    "relu": (MLP, "relu"),
    "gelu": (MLP, "gelu"),
    "gated-gelu": (GatedMLP, "gelu_new"),
    "gated-silu": (GatedMLP, "silu"),
}


@dataclass(frozen=True, kw_only=True)
class T5Config(Config):
    """Sizes of t5-small. ``mlp`` is one of relu, gelu, gated-gelu, gated-silu; ``decoder_depth`` None is ``depth``."""

    vocab: int = 32128
    width: int = 512
    depth: int = 6
    decoder_depth: int | None = None
    heads: int = 8
    head_dim: int = 64
    hidden: int = 2048
    mlp: str = "relu"
    buckets: int = 32
    distance: int = 128
    dropout: float = 0.1
    head_dropout: float = 0.0
    norm_eps: float = 1e-6
    init_factor: float = 1.0
    pad_id: int | None = 0
    eos_id: int | tuple[int, ...] | None = 1
    decoder_start_id: int | None = 0

    def check(self):
        if self.mlp not in MLPS:
            raise ConfigError(f"mlp '{self.mlp}' is none of {', '.join(MLPS)}")


CONFIG = ConfigMap(
    vocab="vocab_size", width="d_model", depth="num_layers", decoder_depth="num_decoder_layers", heads="num_heads",
    head_dim="d_kv", hidden="d_ff", mlp="feed_forward_proj", buckets="relative_attention_num_buckets",
    distance="relative_attention_max_distance", dropout="dropout_rate", head_dropout="classifier_dropout",
    norm_eps="layer_norm_epsilon", init_factor="initializer_factor",
    kept=("dense_act_fn", "is_gated_act", "n_positions"),  # said again by feed_forward_proj; never used
)  # fmt: skip


def _stack(side, cross, gated):
    at, last = f"{side}.block.{{i}}.layer", 2 if cross else 1
    mlp = ("{gate,up,down}", "{wi_0,wi_1,wo}") if gated else ("{up,down}", "{wi,wo}")
    rules = [
        (f"{side}.layers.{{i}}.attn.{{q,k,v,out}}.*", f"{at}.0.SelfAttention.{{q,k,v,o}}.*"),
        (f"{side}.layers.{{i}}.norm1.*", f"{at}.0.layer_norm.*"),
        (f"{side}.bias.table.*", f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.*"),
        (f"{side}.layers.{{i}}.mlp.{mlp[0]}.*", f"{at}.{last}.DenseReluDense.{mlp[1]}.*"),
        (f"{side}.layers.{{i}}.norm{last + 1}.*", f"{at}.{last}.layer_norm.*"),
        (f"{side}.norm.*", f"{side}.final_layer_norm.*"),
    ]
    return rules + cross * [
        (f"{side}.layers.{{i}}.cross.{{q,k,v,out}}.*", f"{at}.1.EncDecAttention.{{q,k,v,o}}.*"),
        (f"{side}.layers.{{i}}.norm2.*", f"{at}.1.layer_norm.*"),
    ]


def names(c: T5Config) -> NameMap:
    """Gated MLPs have three matrices under names of their own."""
    gated = c.mlp.startswith("gated")
    return NameMap(
        [("embed.*", "shared.*"), *_stack("encoder", False, gated), *_stack("decoder", True, gated)],
        tied={f"{side}.embed_tokens.weight": "embed.weight" for side in ("encoder", "decoder")},
        drop=["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"],  # in old files, never used
    )


class T5Side(nn.Module):
    """One of the two stacks: tokens x [B, T, width], for the decoder a memory [B, S, width] too -> [B, T, width]."""

    def __init__(self, c: T5Config, block, *, depth, two_way):
        super().__init__()
        self.bias = BucketBias(c.heads, c.buckets, c.distance, two_way=two_way)
        self.layers = Stack(block(c) for _ in range(depth))
        self.norm, self.drop = RMSNorm(c.width, c.norm_eps), nn.Dropout(c.dropout)

    def forward(self, x, *memory, mask, cache=None, **context):
        past = cache.length if cache else 0
        bias = self.bias(x.shape[1], past + x.shape[1], x.device)  # one table for all layers
        x = self.layers(self.drop(x), *memory, mask=mask, bias=bias, cache=cache, **context)
        return self.drop(self.norm(x))


def _attention(c):
    # scores are not scaled: the initialisation of q takes care of it
    return Attention(c.width, c.heads, head_dim=c.head_dim, bias=False, scale=1.0, dropout=c.dropout)


def _mlp(c):
    kind, act = MLPS[c.mlp]
    return kind(c.width, c.hidden, act, bias=False, dropout=c.dropout)


def _norms(c, count):
    return {f"norm{i + 1}": RMSNorm(c.width, c.norm_eps) for i in range(count)}


def _encoder_block(c):
    return PreNorm(attn=_attention(c), mlp=_mlp(c), dropout=c.dropout, **_norms(c, 2))


def _decoder_block(c):
    return CrossPreNorm(attn=_attention(c), cross=_attention(c), mlp=_mlp(c), dropout=c.dropout, **_norms(c, 3))


class T5(EncoderDecoder):
    """As :class:`catalog.pair.EncoderDecoder`; ``decoder=False`` leaves only the encoder."""

    config_class = T5Config

    def __init__(self, c: T5Config, *, decoder=True):
        super().__init__()
        self.config = c
        self.embed = nn.Embedding(c.vocab, c.width)
        self.encoder = T5Side(c, _encoder_block, depth=c.depth, two_way=True)
        depth = c.depth if c.decoder_depth is None else c.decoder_depth
        self.decoder = T5Side(c, _decoder_block, depth=depth, two_way=False) if decoder else None

    def initialise(self, std):
        """Each matrix by the number of its inputs, q also by the head's width (as unscaled scores ask)."""
        c, factor = self.config, self.config.init_factor
        nn.init.normal_(self.embed.weight, 0.0, factor)
        for name, weight in self.named_parameters():
            if name.endswith((".k.weight", ".v.weight", ".table.weight", ".up.weight", ".gate.weight")):
                nn.init.normal_(weight, 0.0, factor * c.width**-0.5)
            elif name.endswith(".q.weight"):
                nn.init.normal_(weight, 0.0, factor * (c.width * c.head_dim) ** -0.5)
            elif name.endswith(".out.weight"):
                nn.init.normal_(weight, 0.0, factor * (c.heads * c.head_dim) ** -0.5)
            elif name.endswith(".down.weight"):
                nn.init.normal_(weight, 0.0, factor * c.hidden**-0.5)


def _writer(b, c):
    scale = c.width**-0.5 if c.tied else 1.0  # a tied table is larger than a matrix of its own would be
    return Seq2SeqLM(b, c, embedding=b.embed, scale=scale)


HEADS = {
    "encoder": HeadSpec(EncoderOnly, backbone={"decoder": False}),
    "seq2seq-lm": HeadSpec(_writer, NameMap([("out.weight", "lm_head.weight")])),
    "sequence-classification": HeadSpec(
        lambda b, c: PairClassify(b, c, dropout=c.head_dropout),
        NameMap([("transform.dense.*", "classification_head.dense.*"), ("out.*", "classification_head.out_proj.*")]),
        prefix="transformer.",
    ),
    "question-answering": HeadSpec(
        lambda b, c: PairAnswerSpan(b, c, dropout=c.head_dropout), NameMap([("out.*", "qa_outputs.*")])
    ),
}
