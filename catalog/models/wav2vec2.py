"""wav2vec 2.0: convolutions over the waveform, then a transformer whose positions are a convolution too.

Baevski et al., 2020, "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations" (arXiv:2006.11477).
XLSR (Conneau et al., 2020, arXiv:2006.13979), XLS-R (Babu et al., 2021, arXiv:2111.09296), MMS (Pratap et al., 2023,
arXiv:2305.13516) and Wav2Vec2Phoneme (Xu et al., 2021, arXiv:2109.11680) too.
"""

from dataclasses import dataclass

from catalog.configs import Config, ConfigMap, Field
from catalog.errors import ConfigError
from catalog.heads import (
    CTC,
    MIX_RULES,
    ClassifyAudio,
    ClassifyFrames,
    FrameContrast,
    FrameVocab,
    HeadSpec,
    XVector,
)
from catalog.namemap import NameMap
from catalog.speech import SpeechEncoder


@dataclass(frozen=True, kw_only=True)
class Wav2Vec2Config(Config):
    """Sizes of wav2vec2-base. ``conv_norm`` is group or layer; ``norm_first`` the layout of the large models.

    ``language_adapter`` is the width of MMS's small networks behind each block (None: none).
    """

    vocab: int = 32
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    act: str = "gelu"
    norm_eps: float = 1e-5
    norm_first: bool = False
    conv_sizes: tuple[int, ...] = (512, 512, 512, 512, 512, 512, 512)
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_norm: str = "group"
    conv_act: str = "gelu"
    conv_bias: bool = False
    position_kernel: int = 128
    position_groups: int = 16
    dropout: float = 0.1
    attn_dropout: float = 0.1
    mlp_dropout: float = 0.1
    project_dropout: float = 0.0
    head_dropout: float = 0.1
    skip: float = 0.1
    augment: bool = True
    mask_rate: float = 0.05
    mask_span: int = 10
    mask_least: int = 2
    channel_rate: float = 0.0
    channel_span: int = 10
    channel_least: int = 0
    codes: int = 320
    code_groups: int = 2
    code_width: int = 256
    code_dropout: float = 0.0
    contrast_width: int = 256
    temperature: float = 0.1
    diversity: float = 0.1
    ctc_reduction: str = "sum"
    ctc_zero_infinity: bool = False
    head_hidden: int = 256
    mixed: bool = False
    delay_sizes: tuple[int, ...] = (512, 512, 512, 512, 1500)
    delay_kernels: tuple[int, ...] = (5, 3, 3, 1, 1)
    delay_dilations: tuple[int, ...] = (1, 2, 3, 1, 1)
    speaker_width: int = 512
    adapter: bool = False
    adapter_kernel: int = 3
    adapter_stride: int = 2
    adapter_depth: int = 3
    adapter_width: int | None = None
    language_adapter: int | None = None
    pad_id: int | None = 0
    bos_id: int | None = 1
    eos_id: int | tuple[int, ...] | None = 2

    def check(self):
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} does not divide into {self.heads} heads")
        if self.conv_norm not in ("group", "layer"):
            raise ConfigError(f"conv_norm '{self.conv_norm}' is neither group nor layer")
        if not len(self.conv_sizes) == len(self.conv_kernels) == len(self.conv_strides):
            sizes = f"{len(self.conv_sizes)}, {len(self.conv_kernels)} and {len(self.conv_strides)}"
            raise ConfigError(f"conv_sizes, conv_kernels and conv_strides are of {sizes} convolutions; make them equal")
        if self.language_adapter is not None and not self.norm_first:
            raise ConfigError("language_adapter needs norm_first: only that layout was published with adapters")


def listed(published):
    """A published list as a tuple."""
    return Field(published, tuple, list)


CONFIG = ConfigMap(
    vocab="vocab_size", width="hidden_size", depth="num_hidden_layers", heads="num_attention_heads",
    hidden="intermediate_size", act="hidden_act", norm_eps="layer_norm_eps", norm_first="do_stable_layer_norm",
    conv_sizes=listed("conv_dim"), conv_kernels=listed("conv_kernel"), conv_strides=listed("conv_stride"),
    conv_norm="feat_extract_norm", conv_act="feat_extract_activation", conv_bias="conv_bias",
    position_kernel="num_conv_pos_embeddings", position_groups="num_conv_pos_embedding_groups",
    dropout="hidden_dropout", attn_dropout="attention_dropout", mlp_dropout="activation_dropout",
    project_dropout="feat_proj_dropout", head_dropout="final_dropout", skip="layerdrop", augment="apply_spec_augment",
    mask_rate="mask_time_prob", mask_span="mask_time_length", mask_least="mask_time_min_masks",
    channel_rate="mask_feature_prob", channel_span="mask_feature_length", channel_least="mask_feature_min_masks",
    codes="num_codevectors_per_group", code_groups="num_codevector_groups", code_width="codevector_dim",
    code_dropout="feat_quantizer_dropout", contrast_width="proj_codevector_dim",
    temperature="contrastive_logits_temperature", diversity="diversity_loss_weight",
    ctc_reduction="ctc_loss_reduction", ctc_zero_infinity="ctc_zero_infinity", head_hidden="classifier_proj_size",
    mixed="use_weighted_layer_sum", delay_sizes=listed("tdnn_dim"), delay_kernels=listed("tdnn_kernel"),
    delay_dilations=listed("tdnn_dilation"), speaker_width="xvector_output_dim", adapter="add_adapter",
    adapter_kernel="adapter_kernel_size", adapter_stride="adapter_stride", adapter_depth="num_adapter_layers",
    adapter_width="output_hidden_size", language_adapter="adapter_attn_dim",
    kept=("num_feat_extract_layers", "num_negatives", "freeze_feat_extract_train", "mask_channel_length",
          "mask_channel_min_space", "mask_channel_other", "mask_channel_prob", "mask_channel_selection",
          "mask_time_min_space", "mask_time_other", "mask_time_selection", "no_mask_channel_overlap",
          "no_mask_time_overlap", "hidden_dropout_prob", "feat_extract_dropout", "codevector_dropout",
          "attention_probs_dropout_prob", "num_codevectors"),
)  # fmt: skip

ENCODER_RULES = [
    ("positions.{gain,direction,bias}", "encoder.pos_conv_embed.conv.{weight_g,weight_v,bias}"),
    ("norm.*", "encoder.layer_norm.*"),
    ("layers.{i}.attn.{q,k,v,out}.*", "encoder.layers.{i}.attention.{q,k,v,out}_proj.*"),
    ("layers.{i}.norm{1,2}.*", "encoder.layers.{i}.{layer_norm,final_layer_norm}.*"),
    ("layers.{i}.mlp.{up,down}.*", "encoder.layers.{i}.feed_forward.{intermediate,output}_dense.*"),
    ("layers.{i}.adapter.{norm,down,up}.*", "encoder.layers.{i}.adapter_layer.{norm,linear_1,linear_2}.*"),
]
FEATURE_RULES = [
    ("features.{i}.{conv,norm}.*", "feature_extractor.conv_layers.{i}.{conv,layer_norm}.*"),
    ("project.{norm,linear}.*", "feature_projection.{layer_norm,projection}.*"),
    ("mask_vector", "masked_spec_embed"),
]
ADAPTER_RULES = [
    ("adapter.convs.{i}.*", "adapter.layers.{i}.conv.*"),
    ("adapter.{linear,norm}.*", "adapter.{proj,proj_layer_norm}.*"),
]
# PyTorch renamed the two parts of a weight in 2023; published files have the older names
LEGACY = [(f"**.parametrizations.weight.original{i}", f"**.weight_{part}") for i, part in enumerate("gv")]
NAMES = NameMap([*FEATURE_RULES, *ENCODER_RULES, *ADAPTER_RULES], prefix="wav2vec2.", legacy=LEGACY)


class Wav2Vec2(SpeechEncoder):
    """As :class:`catalog.speech.SpeechEncoder`."""

    config_class = Wav2Vec2Config


def _speaker(b, c):
    delays = list(zip(c.delay_sizes, c.delay_kernels, c.delay_dilations))
    return XVector(b, c, delays=delays, width=c.speaker_width, mixed=c.mixed)


LETTERS = NameMap([("out.*", "lm_head.*")])
HEADS = {
    "ctc": HeadSpec(lambda b, c: CTC(b, c, dropout=c.head_dropout), LETTERS),
    "masked-lm": HeadSpec(lambda b, c: FrameVocab(b, c, dropout=c.head_dropout), LETTERS),
    "pre-training": HeadSpec(
        lambda b, c: FrameContrast(b, c, features=c.conv_sizes[-1]),
        NameMap([
            ("quantize.score.*", "quantizer.weight_proj.*"), ("quantize.entries", "quantizer.codevectors"),
            ("{project,project_code}.*", "{project_hid,project_q}.*"),
        ]),
    ),
    "audio-classification": HeadSpec(
        lambda b, c: ClassifyAudio(b, c, hidden=c.head_hidden, mixed=c.mixed),
        NameMap([*MIX_RULES, ("{project,out}.*", "{projector,classifier}.*")]),
    ),
    "frame-classification": HeadSpec(
        lambda b, c: ClassifyFrames(b, c, mixed=c.mixed), NameMap([*MIX_RULES, ("out.*", "classifier.*")])
    ),
    "speaker": HeadSpec(
        _speaker,
        NameMap([
            *MIX_RULES, ("{project,embed,out}.*", "{projector,feature_extractor,classifier}.*"),
            ("delays.{i}.*", "tdnn.{i}.kernel.*"), ("margin.weight", "objective.weight"),
        ]),
    ),
}  # fmt: skip
