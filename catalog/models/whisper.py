"""Whisper: a pre-norm encoder of log-mel frames behind two convolutions, and a decoder that writes what was said.

Radford et al., 2022, "Robust Speech Recognition via Large-Scale Weak Supervision" (arXiv:2212.04356).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from catalog.configs import Config, ConfigMap
from catalog.errors import ConfigError
from catalog.heads import MIX_RULES, ClassifyAudio, DecoderLM, HeadSpec, Seq2SeqLM
from catalog.layers import MLP, Attention, CrossPreNorm, LearnedPositions, PreNorm, SinusoidPositions, Stack
from catalog.namemap import NameMap
from catalog.outputs import Encoded
from catalog.pair import EncoderDecoder, states


@dataclass(frozen=True, kw_only=True)
class WhisperConfig(Config):
    """Sizes of whisper-tiny. ``frames`` is the length of the encoder's output (30 s of audio), two mel frames each."""

    vocab: int = 51865
    mels: int = 80
    width: int = 384
    depth: int = 4
    decoder_depth: int = 4
    heads: int = 6
    decoder_heads: int = 6
    hidden: int = 1536
    decoder_hidden: int = 1536
    frames: int = 1500
    positions: int = 448
    act: str = "gelu"
    dropout: float = 0.0
    attn_dropout: float = 0.0
    mlp_dropout: float = 0.0
    skip: float = 0.0
    decoder_skip: float = 0.0
    scaled_embedding: bool = False
    head_hidden: int = 256
    mixed: bool = False
    pad_id: int | None = 50256
    bos_id: int | None = 50257
    eos_id: int | tuple[int, ...] | None = 50256
    decoder_start_id: int | None = 50257

    def check(self):
        for heads in (self.heads, self.decoder_heads):
            if self.width % heads:
                raise ConfigError(f"width {self.width} does not divide into {heads} heads")


CONFIG = ConfigMap(
    vocab="vocab_size", mels="num_mel_bins", width="d_model", depth="encoder_layers", decoder_depth="decoder_layers",
    heads="encoder_attention_heads", decoder_heads="decoder_attention_heads", hidden="encoder_ffn_dim",
    decoder_hidden="decoder_ffn_dim", frames="max_source_positions", positions="max_target_positions",
    act="activation_function", dropout="dropout", attn_dropout="attention_dropout", mlp_dropout="activation_dropout",
    skip="encoder_layerdrop", decoder_skip="decoder_layerdrop", scaled_embedding="scale_embedding",
    head_hidden="classifier_proj_size", mixed="use_weighted_layer_sum", init_std="init_std",
    fixed={"apply_spec_augment": False},
    kept=("num_hidden_layers", "mask_time_prob", "mask_time_length", "mask_time_min_masks", "mask_feature_prob",
          "mask_feature_length", "mask_feature_min_masks", "median_filter_width", "forced_decoder_ids",
          "alignment_heads", "max_source_length", "is_multilingual", "lang_to_id", "task_to_id"),
)  # fmt: skip


def _side(side, norms):
    layer = f"{side}.layers.{{i}}"
    return [
        (f"{side}.positions.weight", f"{side}.embed_positions.weight"),
        (f"{layer}.attn.{{q,k,v,out}}.*", f"{layer}.self_attn.{{q,k,v,out}}_proj.*"),
        (f"{layer}.{{{norms}}}.*", f"{layer}.{{self_attn_layer_norm,final_layer_norm}}.*"),
        (f"{layer}.mlp.{{up,down}}.*", f"{layer}.{{fc1,fc2}}.*"),
        (f"{side}.norm.*", f"{side}.layer_norm.*"),
    ]


ENCODER = [("encoder.stem.{0,1}.*", "encoder.{conv1,conv2}.*"), *_side("encoder", "norm1,norm2")[1:]]
DECODER = [
    ("embed.*", "decoder.embed_tokens.*"),
    *_side("decoder", "norm1,norm3"),
    ("decoder.layers.{i}.cross.{q,k,v,out}.*", "decoder.layers.{i}.encoder_attn.{q,k,v,out}_proj.*"),
    ("decoder.layers.{i}.norm2.*", "decoder.layers.{i}.encoder_attn_layer_norm.*"),
]
NAMES = NameMap([*ENCODER, *DECODER], prefix="model.", drop=["encoder.embed_positions.weight"])


class WhisperEncoder(nn.Module):
    """Log-mel frames [B, mels, 2 T] -> [B, T, width]."""

    def __init__(self, c: WhisperConfig):
        super().__init__()
        self.stem = nn.ModuleList(
            [nn.Conv1d(c.mels, c.width, 3, padding=1), nn.Conv1d(c.width, c.width, 3, stride=2, padding=1)]
        )
        self.positions, self.drop = SinusoidPositions(c.width), nn.Dropout(c.dropout)
        self.layers = Stack((_encoder_block(c) for _ in range(c.depth)), skip=c.skip)
        self.norm = nn.LayerNorm(c.width)

    def frames(self, features):
        """What the first block receives."""
        for conv in self.stem:
            features = F.gelu(conv(features))  # gelu whatever the blocks' activation
        x = features.transpose(1, 2)
        positions = torch.arange(x.shape[1], device=x.device)[None]
        return self.drop(x + self.positions(positions).to(x.dtype))

    def forward(self, features):
        return self.norm(self.layers(self.frames(features)))


class WhisperDecoder(nn.Module):
    """Tokens x [B, T, width] and a memory [B, S, width] -> [B, T, width]."""

    def __init__(self, c: WhisperConfig):
        super().__init__()
        self.positions, self.drop = LearnedPositions(c.positions, c.width), nn.Dropout(c.dropout)
        self.scale = c.width**0.5 if c.scaled_embedding else 1.0
        self.layers = Stack((_decoder_block(c) for _ in range(c.decoder_depth)), skip=c.decoder_skip)
        self.norm = nn.LayerNorm(c.width)

    def forward(self, x, memory, *, mask, cache=None, **context):
        positions = mask.positions(x.shape[1], cache.length if cache else 0, x.device)
        x = self.drop(x * self.scale + self.positions(positions))
        return self.norm(self.layers(x, memory, mask=mask, cache=cache, **context))


def _attention(c, heads):
    return Attention(c.width, heads, k_bias=False, dropout=c.attn_dropout)  # keys have no bias, as published


def _parts(c, hidden, norms):
    mlp = MLP(c.width, hidden, c.act, dropout=c.mlp_dropout)
    return {"mlp": mlp, "dropout": c.dropout, **{f"norm{i + 1}": nn.LayerNorm(c.width) for i in range(norms)}}


def _encoder_block(c):
    return PreNorm(attn=_attention(c, c.heads), **_parts(c, c.hidden, 2))


def _decoder_block(c):
    heads = c.decoder_heads
    return CrossPreNorm(attn=_attention(c, heads), cross=_attention(c, heads), **_parts(c, c.decoder_hidden, 3))


class Whisper(EncoderDecoder):
    """input_features [B, mels, 2 T], decoder_input_ids [B, U] -> last_hidden_state [B, U, width] of the decoder.

    As :class:`catalog.pair.EncoderDecoder`, except that no frame is ever masked: silence is heard as silence. ``encoder``
    or ``decoder`` False leaves the other alone; without ``decoder_input_ids`` the decoder reads its start token.
    """

    config_class = WhisperConfig

    def __init__(self, c: WhisperConfig, *, encoder=True, decoder=True):
        super().__init__()
        self.config = c
        self.encoder = WhisperEncoder(c) if encoder else None
        self.embed = nn.Embedding(c.vocab, c.width, padding_idx=c.pad_id) if decoder else None
        self.decoder = WhisperDecoder(c) if decoder else None

    def encode(self, input_features, attention_mask=None):
        """The encoder alone; ``attention_mask`` is taken and, as published, not used."""
        return Encoded(last_hidden_state=self.encoder(input_features))

    def forward(
        self, input_features=None, attention_mask=None, decoder_input_ids=None, decoder_attention_mask=None, *,
        encoder_outputs=None, past_key_values=None, use_cache=False,
    ):  # fmt: skip
        memory = states(self.encode(input_features) if encoder_outputs is None else encoder_outputs)
        if decoder_input_ids is None:
            decoder_input_ids = torch.full((memory.shape[0], 1), self.config.decoder_start_id, device=memory.device)
        return self.decode(decoder_input_ids, memory, None, decoder_attention_mask, past_key_values, use_cache)

    def layerwise(self, input_features):
        """As ``encode``, with the states of all layers, the last one normalised."""
        found = self.encoder.layers.states(self.encoder.frames(input_features))
        found[-1] = self.encoder.norm(found[-1])
        return Encoded(last_hidden_state=found[-1], hidden_states=tuple(found))

    def recorded(self):
        """An encoder by itself has the names of a single stack."""
        if self.decoder is not None:
            return self.records
        return {
            "hidden_states": self.records["encoder_hidden_states"],
            "attentions": self.records["encoder_attentions"],
        }


OUT = NameMap([("out.weight", "proj_out.weight")])
HEADS = {
    "seq2seq-lm": HeadSpec(lambda b, c: Seq2SeqLM(b, c, embedding=b.embed), OUT),
    "causal-lm": HeadSpec(DecoderLM, OUT, body=NameMap(DECODER), backbone={"encoder": False}),
    "audio-classification": HeadSpec(
        lambda b, c: ClassifyAudio(b, c, hidden=c.head_hidden, mixed=c.mixed),
        NameMap([*MIX_RULES, ("{project,out}.*", "{projector,classifier}.*")]),
        prefix="", backbone={"decoder": False},
    ),
}  # fmt: skip
