"""Heads over audio: what a recording is, and what each of its frames is.

A backbone gives ``encode(...) -> Encoded`` with the mask of its frames, and ``layerwise(...)``, the same with the states
of all layers as ``hidden_states``: a head may read a learned mean of them instead of the last.
"""

import torch
from torch import nn

from catalog import losses
from catalog.heads.base import Head, mask_of
from catalog.heads.classify import Classify
from catalog.outputs import Scored

MIX_RULES = [("read.mix.weights", "layer_weights")]


class LayerMix(nn.Module):
    """A learned weighted mean of ``count`` layers' states, each [B, T, width] -> [B, T, width].

    Peters et al., 2018 (arXiv:1802.05365).
    """

    def __init__(self, count):
        super().__init__()
        self.weights = nn.Parameter(torch.full((count,), 1.0 / count))

    def forward(self, states):
        weights = self.weights.softmax(-1)
        return sum(weight * state for weight, state in zip(weights, states))

    def initialise(self, std):
        nn.init.constant_(self.weights, 1.0 / len(self.weights))


class FrameReader(nn.Module):
    """The states that a head reads, [B, T, width], and their mask: the last layer's, or a mix of all ``layers`` + 1."""

    def __init__(self, layers, *, mixed):
        super().__init__()
        self.mix = LayerMix(layers + 1) if mixed else None

    def forward(self, backbone, *inputs, **more):
        if self.mix is None:
            encoded = backbone.encode(*inputs, **more)
            return encoded.last_hidden_state, mask_of(encoded)
        encoded = backbone.layerwise(*inputs, **more)
        return self.mix(encoded.hidden_states), mask_of(encoded)


class ClassifyAudio(Classify):
    """A recording -> logits [B, labels]: its frames projected to ``hidden`` channels, averaged, and told apart."""

    def __init__(self, backbone, config, *, hidden, mixed=False):
        super().__init__(backbone, config)
        self.read = FrameReader(config.depth, mixed=mixed)
        self.project = nn.Linear(backbone.width, hidden)
        self.out = nn.Linear(hidden, len(config.labels))

    def forward(self, *inputs, labels=None, **more):
        states, mask = self.read(self.backbone, *inputs, **more)
        out = Scored(logits=self.out(mask.mean(self.project(states))))
        out.loss = self.loss(out, labels=labels)
        return out


class ClassifyFrames(Head):
    """Who speaks, or what sounds, in each frame: logits [B, T, labels]; ``labels`` [B, T, labels] are one-hot."""

    def __init__(self, backbone, config, *, mixed=False):
        super().__init__(backbone, config)
        self.read = FrameReader(config.depth, mixed=mixed)
        self.out = nn.Linear(backbone.width, len(config.labels))

    def forward(self, *inputs, labels=None, **more):
        states, _ = self.read(self.backbone, *inputs, **more)
        out = Scored(logits=self.out(states))
        out.loss = self.loss(out, labels=labels)
        return out

    def terms(self, output, *, labels):
        """One term, ``loss``: as published, the frame's one label is the largest of its row."""
        return {"loss": losses.cross_entropy(output.logits, labels.argmax(-1))}

    def counts(self, *, labels):
        """Every frame."""
        return {"loss": labels.numel() // labels.shape[-1]}
