"""DETR: a convolutional network's last map read by a transformer, whose decoder's queries are the objects.

Carion et al., 2020, "End-to-End Object Detection with Transformers" (arXiv:2005.12872).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from catalog.backbones import TIMM, cnn_rules, dilate
from catalog.configs import Config, ConfigMap, nested
from catalog.errors import ConfigError
from catalog.heads import HeadSpec
from catalog.heads.detect import Detect
from catalog.heads.shapes import DetectAndSegment, Seen
from catalog.layers import MLP, FrozenBatchNorm2d, PostNorm, SinusoidGrid, masks
from catalog.layers.placed import PlacedAttention, PlacedCrossPostNorm, Side
from catalog.model import Backbone
from catalog.models import resnet
from catalog.models.resnet import Resnet, ResnetConfig
from catalog.namemap import NameMap
from catalog.outputs import EncodedPair


@dataclass(frozen=True, kw_only=True)
class DetrConfig(Config):
    """Sizes of detr-resnet-50. The network under it is ``backbone``, by name, where ``timm``, else ``cnn``.

    ``dilation`` keeps the last map at 1/16 of the image instead of 1/32. Costs are those of matching, weights of the loss;
    ``empty_weight`` is that of a query that should see nothing.
    """

    timm: bool = True
    backbone: str | None = "resnet50"
    cnn: ResnetConfig | None = None
    channels: int = 3
    dilation: bool | None = False
    queries: int = 100
    width: int = 256
    depth: int = 6
    decoder_depth: int = 6
    heads: int = 8
    decoder_heads: int = 8
    hidden: int = 2048
    decoder_hidden: int = 2048
    act: str = "relu"
    dropout: float = 0.1
    attn_dropout: float = 0.0
    mlp_dropout: float = 0.0
    skip: float = 0.0
    decoder_skip: float = 0.0
    spread: float = 1.0
    class_cost: float = 1.0
    box_cost: float = 5.0
    giou_cost: float = 2.0
    box_weight: float = 5.0
    giou_weight: float = 2.0
    mask_weight: float = 1.0
    dice_weight: float = 1.0
    empty_weight: float = 0.1

    def check(self):
        for heads in (self.heads, self.decoder_heads):
            if self.width % heads:
                raise ConfigError(f"width {self.width} does not divide into {heads} heads")
        if self.timm and self.backbone not in TIMM:
            raise ConfigError(f"no backbone '{self.backbone}'; backbones by name: {', '.join(TIMM)}")
        if not self.timm and self.cnn is None:
            raise ConfigError("without a backbone by name (use_timm_backbone), backbone_config must say what it is")

    @property
    def network(self) -> ResnetConfig:
        """The configuration of the network under the transformer."""
        return TIMM[self.backbone] if self.timm else self.cnn


CONFIG = ConfigMap(
    timm="use_timm_backbone", backbone="backbone",
    cnn=nested("backbone_config", ResnetConfig, resnet.CONFIG, "resnet"), channels="num_channels",
    dilation="dilation", queries="num_queries", width="d_model", depth="encoder_layers",
    decoder_depth="decoder_layers", heads="encoder_attention_heads", decoder_heads="decoder_attention_heads",
    hidden="encoder_ffn_dim", decoder_hidden="decoder_ffn_dim", act="activation_function", dropout="dropout",
    attn_dropout="attention_dropout", mlp_dropout="activation_dropout", skip="encoder_layerdrop",
    decoder_skip="decoder_layerdrop", spread="init_xavier_std", class_cost="class_cost", box_cost="bbox_cost",
    giou_cost="giou_cost", box_weight="bbox_loss_coefficient", giou_weight="giou_loss_coefficient",
    mask_weight="mask_loss_coefficient", dice_weight="dice_loss_coefficient", empty_weight="eos_coefficient",
    init_std="init_std", fixed={"position_embedding_type": "sine", "auxiliary_loss": False, "scale_embedding": False},
    kept=("num_hidden_layers", "use_pretrained_backbone", "max_position_embeddings", "classifier_dropout",
          "backbone_kwargs"),
)  # fmt: skip


def _side(side, norms):
    layer = f"{side}.layers.{{i}}"
    return [
        (f"{layer}.attn.{{q,k,v,out}}.*", f"{layer}.self_attn.{{q,k,v,out}}_proj.*"),
        (f"{layer}.{{{norms}}}.*", f"{layer}.{{self_attn_layer_norm,final_layer_norm}}.*"),
        (f"{layer}.mlp.{{up,down}}.*", f"{layer}.{{fc1,fc2}}.*"),
    ]


CNN = "backbone.conv_encoder.model"
BODY = [
    ("{project,queries}.*", "{input_projection,query_position_embeddings}.*"),
    *_side("encoder", "norm1,norm2"),
    *_side("decoder", "norm1,norm3"),
    ("decoder.layers.{i}.cross.{q,k,v,out}.*", "decoder.layers.{i}.encoder_attn.{q,k,v,out}_proj.*"),
    ("decoder.layers.{i}.norm2.*", "decoder.layers.{i}.encoder_attn_layer_norm.*"),
    ("decoder.norm.*", "decoder.layernorm.*"),
]


def names(c: DetrConfig) -> NameMap:
    """The network under the transformer keeps the names of where it came from."""
    return NameMap(
        [*BODY, *cnn_rules("cnn", CNN, by_name=c.timm)], prefix="model.", drop=[CNN + ".**.num_batches_tracked"]
    )


class Detr(Backbone):
    """pixel_values [B, channels, H, W] -> last_hidden_state [B, queries, width], and the image's own, [B, S, width].

    pixel_mask [B, H, W] is 1 at the image and 0 at what pads it. The stem and the first stage are not trained, nor is any
    batch norm.
    """

    config_class = DetrConfig
    records: ClassVar = {
        "decoder_hidden_states": ("decoder.layers", "decoder.norm"),
        "decoder_attentions": "decoder.layers.*.attn",
        "cross_attentions": "decoder.layers.*.cross",
        "encoder_hidden_states": ("encoder.layers", "encoder.layers"),
        "encoder_attentions": "encoder.layers.*.attn",
    }

    def __init__(self, c: DetrConfig):
        super().__init__()
        self.config = c
        self.cnn = Resnet(c.network, norm=FrozenBatchNorm2d)
        if c.dilation:
            dilate(self.cnn.stages[-1])
        for part in (self.cnn.embed, self.cnn.stages[0]):
            part.requires_grad_(False)
        self.project = nn.Conv2d(self.cnn.width, c.width, 1)
        self.places, self.queries = SinusoidGrid(c.width), nn.Embedding(c.queries, c.width)
        self.drop = nn.Dropout(c.dropout)
        self.encoder = Side((_encoder_block(c) for _ in range(c.depth)), skip=c.skip)
        blocks = (_decoder_block(c) for _ in range(c.decoder_depth))
        self.decoder = Side(blocks, skip=c.decoder_skip, norm=nn.LayerNorm(c.width))

    def forward(self, pixel_values, pixel_mask=None):
        return self.look(pixel_values, pixel_mask).encoded

    def look(self, pixel_values, pixel_mask=None) -> Seen:
        """As ``forward``, with what segmentation needs beside it."""
        maps = self.cnn.maps(pixel_values, range(1, len(self.cnn.widths)))
        projected = self.project(maps[-1])
        size = projected.shape[-2:]
        if pixel_mask is None:
            real, mask = torch.ones(1, *size, dtype=torch.bool, device=projected.device), masks.padding()
        else:
            real = F.interpolate(pixel_mask[:, None].float(), size=size)[:, 0].bool()
            mask = masks.padding(real.flatten(1))
        places = self.places(real).to(projected.dtype)
        memory = self.encoder(self.drop(projected.flatten(2).transpose(1, 2)), mask=mask, positions=places)
        queries = self.queries.weight[None].expand(memory.shape[0], -1, -1)
        states = self.decoder(
            torch.zeros_like(queries), memory, memory_mask=mask, positions=queries, memory_positions=places
        )
        encoded = EncodedPair(last_hidden_state=states, encoder_last_hidden_state=memory)
        return Seen(encoded, maps, projected, mask)


def _parts(c, hidden, norms):
    mlp = MLP(c.width, hidden, c.act, dropout=c.mlp_dropout)
    return {"mlp": mlp, "dropout": c.dropout, **{f"norm{i + 1}": nn.LayerNorm(c.width) for i in range(norms)}}


def _encoder_block(c):
    return PostNorm(attn=PlacedAttention(c.width, c.heads, dropout=c.attn_dropout), **_parts(c, c.hidden, 2))


def _decoder_block(c):
    attn, cross = (PlacedAttention(c.width, c.decoder_heads, dropout=c.attn_dropout) for _ in range(2))
    return PlacedCrossPostNorm(attn=attn, cross=cross, **_parts(c, c.decoder_hidden, 3))


def _segment(b, c):
    return DetectAndSegment(b, c, channels=b.cnn.widths[-2:-5:-1], heads=c.heads, spread=c.spread)


DETECT = [("out.*", "class_labels_classifier.*"), ("boxes.layers.{i}.*", "bbox_predictor.layers.{i}.*")]
SEGMENT = [
    *((ours, f"detr.{published}") for ours, published in DETECT),
    ("attention.{q,k}.*", "bbox_attention.{q_linear,k_linear}.*"),
    ("masks.convs.{0,1,2,3,4}.*", "mask_head.{lay1,lay2,lay3,lay4,lay5}.*"),
    ("masks.norms.{0,1,2,3,4}.*", "mask_head.{gn1,gn2,gn3,gn4,gn5}.*"),
    ("masks.lateral.{0,1,2}.*", "mask_head.{adapter1,adapter2,adapter3}.*"),
    ("masks.out.*", "mask_head.out_lay.*"),
]
HEADS = {
    "object-detection": HeadSpec(Detect, NameMap(DETECT)),
    "image-segmentation": HeadSpec(_segment, NameMap(SEGMENT), prefix="detr.model."),
}
