"""The shape of every detected object, from its attention over the image and the finer maps under it.

Carion et al., 2020 (arXiv:2005.12872), section 4.4.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catalog.heads.detect import Detect, match
from catalog.layers.masks import Mask
from catalog.losses import Term
from catalog.outputs import EncodedPair, Segmented


class AttentionMaps(nn.Module):
    """Where each query looks: queries [B, Q, width], memory [B, S, width] -> weights [B, Q, heads, S].

    As published one softmax goes over all heads and places together. ``real`` [B, S] is True at the image.
    """

    def __init__(self, width, heads, *, spread=1.0):
        super().__init__()
        self.q, self.k = nn.Linear(width, width), nn.Linear(width, width)
        self.heads, self.scale, self.spread = heads, (width / heads) ** -0.5, spread

    def forward(self, queries, memory, real=None):
        q = self.q(queries).unflatten(-1, (self.heads, -1)) * self.scale
        k = self.k(memory).unflatten(-1, (self.heads, -1))
        scores = torch.einsum("bqhc,bshc->bqhs", q, k)
        if real is not None:
            scores = scores.masked_fill(~real[:, None, None], torch.finfo(scores.dtype).min)
        return scores.flatten(2).softmax(-1).unflatten(2, (self.heads, -1))

    def initialise(self, std):
        """Whatever ``std``, as published."""
        for part in (self.q, self.k):
            nn.init.xavier_uniform_(part.weight, gain=self.spread)
            nn.init.zeros_(part.bias)


class MaskMaps(nn.Module):
    """Coarse maps of B * Q objects -> masks at the resolution of the finest of ``maps``, [B * Q, 1, H, W].

    x [B * Q, inputs, h, w]; ``maps`` are the image's, coarse to fine, ``channels`` each; every step halves the channels.
    """

    def __init__(self, inputs, width, channels):
        super().__init__()
        sizes = [inputs, inputs, width // 2, width // 4, width // 8, width // 16]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.GroupNorm(min(8, size), size) for size in sizes[1:])
        self.lateral = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(channels, sizes[2:]))
        self.out = nn.Conv2d(sizes[-1], 1, 3, padding=1)

    def forward(self, x, maps, queries):
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms)):
            if i >= 2:
                fine = self.lateral[i - 2](maps[i - 2]).repeat_interleave(queries, 0)
                x = fine + F.interpolate(x, size=fine.shape[-2:], mode="nearest")
            x = F.relu(norm(conv(x)))
        return self.out(x)

    def initialise(self, std):
        """Whatever ``std``, as published."""
        for conv in (*self.convs, *self.lateral, self.out):
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)


class Seen(NamedTuple):
    """What a backbone saw: ``maps`` fine to coarse, the last one ``projected`` [B, width, H, W], and where the image is."""

    encoded: EncodedPair
    maps: list[Tensor]
    projected: Tensor
    mask: Mask


class DetectAndSegment(Detect):
    """As :class:`Detect`, and pred_masks [B, queries, H / 4, W / 4] (logits); ``labels`` also hold masks [n, H, W].

    Of a backbone it uses ``look``, which gives a :class:`Seen`. ``channels`` are those of its three finer maps, coarse to fine.
    """

    def __init__(self, backbone, config, *, channels, heads, spread=1.0):
        super().__init__(backbone, config)
        self.attention = AttentionMaps(backbone.width, heads, spread=spread)
        self.masks = MaskMaps(backbone.width + heads, backbone.width, channels)

    def forward(self, pixel_values, pixel_mask=None, *, labels=None):
        seen = self.backbone.look(pixel_values, pixel_mask)
        states, queries = seen.encoded.last_hidden_state, self.config.queries
        weights = self.attention(states, seen.encoded.encoder_last_hidden_state, seen.mask.keys)
        weights = weights.unflatten(-1, seen.projected.shape[-2:]).flatten(0, 1)
        x = torch.cat([seen.projected.repeat_interleave(queries, 0), weights], 1)
        masks = self.masks(x, seen.maps[-2:-5:-1], queries)[:, 0].unflatten(0, (-1, queries))
        return self.answer(Segmented, labels, seen.encoded, pred_masks=masks)

    def terms(self, output, *, labels):
        """As of Detect, and ``loss_mask`` and ``loss_dice`` over objects."""
        pairs = match(output, labels, self.config)
        terms = self.matched_terms(output, labels, pairs)
        count = terms["loss_bbox"].count
        target = _masks(labels, pairs).to(output.pred_masks.dtype)
        image, query, _ = pairs
        logits = F.interpolate(output.pred_masks[image, query][:, None], size=target.shape[-2:], mode="bilinear")
        logits, target = logits.flatten(1), target.flatten(1)
        return {
            **terms,
            "loss_mask": Term(focal(logits, target).mean(1).sum(), count, self.config.mask_weight),
            "loss_dice": Term(dice(logits, target).sum(), count, self.config.dice_weight),
        }

    def counts(self, *, labels):
        """As of Detect."""
        counts = super().counts(labels=labels)
        return {**counts, **dict.fromkeys(("loss_mask", "loss_dice"), counts["loss_bbox"])}


def _masks(labels, pairs):
    """The masks of paired objects [n, H, W], padded at the right and the bottom to the largest image."""
    image, _, thing = pairs
    high, wide = (max(target["masks"].shape[axis] for target in labels) for axis in (1, 2))
    found = []
    for i, target in enumerate(labels):
        own = target["masks"][thing[image == i].to(target["masks"].device)]
        found.append(F.pad(own, (0, wide - own.shape[2], 0, high - own.shape[1])))
    return torch.cat(found)


def focal(logits, target, balance=0.25, focus=2.0):
    """Cross entropy of yes/no decisions where sure ones count less; [...] each. Lin et al., 2017 (arXiv:1708.02002)."""
    right = torch.where(target > 0.5, logits.sigmoid(), 1 - logits.sigmoid())
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return entropy * (1 - right) ** focus * torch.where(target > 0.5, balance, 1 - balance)


def dice(logits, target):
    """One less the overlap of mask and target, both [n, pixels] -> [n]. Milletari et al., 2016 (arXiv:1606.04797)."""
    share = logits.sigmoid()
    return 1 - (2 * (share * target).sum(1) + 1) / (share.sum(1) + target.sum(1) + 1)
