"""What encoders of speech share: waveform to frames, frames to states, and what training hides of them."""

import torch
from torch import nn
from torch.nn import functional as F

from catalog.layers import MLP, Attention, PostNorm, PreNorm, Stack, masks
from catalog.layers.audio import ConvFeatures, ConvPositions, Subsample, channel_norms, group_norms
from catalog.layers.augment import random_spans
from catalog.model import Backbone
from catalog.outputs import EncodedAudio


class FrameProjection(nn.Module):
    """Features [B, T, channels] -> (states [B, T, width], the features normalised)."""

    def __init__(self, channels, width, eps, dropout=0.0):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(channels, eps=eps), nn.Linear(channels, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, features):
        features = self.norm(features)
        return self.drop(self.linear(features)), features

    def initialise(self, std):
        """Whatever ``std``: by the number of channels, as published."""
        bound = self.linear.in_features**-0.5
        nn.init.uniform_(self.linear.weight, -bound, bound)
        nn.init.uniform_(self.linear.bias, -bound, bound)


class Shortener(nn.Module):
    """States [B, T, width] -> fewer of them, for a decoder that reads text-like lengths: [B, T', to]."""

    def __init__(self, width, to, *, depth, kernel, stride):
        super().__init__()
        self.linear, self.norm = (nn.Linear(width, to), nn.LayerNorm(to)) if width != to else (nn.Identity(),) * 2
        self.convs = Subsample((to,) * (depth + 1), kernel, stride)

    def forward(self, x):
        return self.convs(self.norm(self.linear(x)))


class Adapter(nn.Module):
    """x + up(relu(down(norm(x)))): a small network a language. Houlsby et al., 2019 (arXiv:1902.00751)."""

    def __init__(self, width, hidden):
        super().__init__()
        self.norm, self.down, self.up = nn.LayerNorm(width), nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return x + self.up(F.relu(self.down(self.norm(x))))


class AdaptedPreNorm(PreNorm):
    """PreNorm with an :class:`Adapter` behind it."""

    def __init__(self, *, adapter, **parts):
        super().__init__(**parts)
        self.adapter = adapter

    def forward(self, x, **context):
        return self.adapter(super().forward(x, **context))


def block(c):
    """One block of a speech encoder: post-norm, or pre-norm where ``c.norm_first``."""
    parts = {
        "attn": Attention(c.width, c.heads, dropout=c.attn_dropout),
        "mlp": MLP(c.width, c.hidden, c.act, dropout=c.mlp_dropout),
        "norm1": nn.LayerNorm(c.width, eps=c.norm_eps),
        "norm2": nn.LayerNorm(c.width, eps=c.norm_eps),
        "dropout": c.dropout,
    }
    if c.language_adapter is not None:
        return AdaptedPreNorm(adapter=Adapter(c.width, c.language_adapter), **parts)
    return PreNorm(**parts) if c.norm_first else PostNorm(**parts)


class SpeechEncoder(Backbone):
    """input_values [B, L] -> last_hidden_state [B, T, width], extract_features [B, T, channels].

    attention_mask [B, L] is 1 at real samples, padding behind them. ``mask_time_indices`` bool [B, T] hides frames; where
    it is not given, training hides random ones as the configuration says. One norm stands before the blocks, or behind
    the last where ``norm_first``.
    """

    def __init__(self, c):
        super().__init__()
        self.config = c
        norms = group_norms if c.conv_norm == "group" else channel_norms
        self.features = ConvFeatures(
            c.conv_sizes, c.conv_kernels, c.conv_strides, norms=norms(c.conv_sizes), act=c.conv_act, bias=c.conv_bias
        )
        self.project = FrameProjection(c.conv_sizes[-1], c.width, c.norm_eps, c.project_dropout)
        hides = c.mask_rate > 0 or c.channel_rate > 0
        self.mask_vector = nn.Parameter(torch.empty(c.width)) if hides else None
        self.positions = ConvPositions(c.width, c.position_kernel, c.position_groups, c.conv_act)
        self.norm, self.drop = nn.LayerNorm(c.width, eps=c.norm_eps), nn.Dropout(c.dropout)
        self.layers = Stack((block(c) for _ in range(c.depth)), skip=c.skip)
        self.adapter = (
            Shortener(c.width, self.width, depth=c.adapter_depth, kernel=c.adapter_kernel, stride=c.adapter_stride)
            if c.adapter
            else None
        )

    @property
    def width(self):
        """Width of the states that ``forward`` returns."""
        return (self.config.adapter_width or self.config.width) if self.config.adapter else self.config.width

    def recorded(self):
        """The last hidden state is that behind the last norm."""
        return {**self.records, "hidden_states": ("layers", "norm" if self.config.norm_first else "layers")}

    def forward(self, input_values, attention_mask=None, mask_time_indices=None):
        x, features, mask, frames = self._frames(input_values, attention_mask, mask_time_indices)
        x = self.layers(x, mask=mask)
        return self._finish(self.norm(x) if self.config.norm_first else x, features, mask, frames)

    encode = forward

    def layerwise(self, input_values, attention_mask=None, mask_time_indices=None):
        """As ``forward``, with the states of all layers (those before an adapter that shortens them)."""
        x, features, mask, frames = self._frames(input_values, attention_mask, mask_time_indices)
        found = self.layers.states(x, mask=mask)
        if self.config.norm_first:
            found[-1] = self.norm(found[-1])
        out = self._finish(found[-1], features, mask, frames)
        out.hidden_states = tuple(found)
        return out

    def _frames(self, waveform, attention_mask, hidden):
        """What the first block receives, the features, the mask, and the number of real frames (``None``: all)."""
        features = self.features(waveform)
        frames = None if attention_mask is None else self.features.lengths(attention_mask.sum(-1))
        mask = masks.padding(_real(frames, features))
        x, features = self.project(features)
        x = mask.rows(self._hide(x, hidden, frames))
        x = x + self.positions(x)
        return self.drop(x if self.config.norm_first else self.norm(x)), features, mask, frames

    def _hide(self, x, hidden, frames):
        c, random = self.config, self.training and self.config.augment
        if hidden is None and random and c.mask_rate > 0:
            hidden = random_spans(
                x.shape[:2], c.mask_rate, c.mask_span, least=c.mask_least, lengths=frames, device=x.device
            )
        if hidden is not None:
            x = torch.where(hidden.bool()[..., None], self.mask_vector.to(x.dtype), x)
        if random and c.channel_rate > 0:
            shape = (x.shape[0], x.shape[2])
            gone = random_spans(shape, c.channel_rate, c.channel_span, least=c.channel_least, device=x.device)
            x = x.masked_fill(gone[:, None], 0.0)
        return x

    def _finish(self, x, features, mask, frames):
        if self.adapter is not None:
            x = self.adapter(x)
            mask = masks.padding(None if frames is None else _real(self.adapter.convs.lengths(frames), x))
        return EncodedAudio(last_hidden_state=x, extract_features=features, mask=mask)

    def initialise(self, std):
        """The hidden frame's vector, as published."""
        if self.mask_vector is not None:
            nn.init.uniform_(self.mask_vector)


def _real(frames, x):
    return None if frames is None else torch.arange(x.shape[1], device=x.device) < frames[:, None]
