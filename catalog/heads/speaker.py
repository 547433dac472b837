"""A vector that says who speaks."""

import torch
from torch import nn
from torch.nn import functional as F

from catalog import losses
from catalog.heads.audio import FrameReader
from catalog.heads.base import Head
from catalog.outputs import Embedded


class TimeDelay(nn.Linear):
    """relu(a linear layer over ``kernel`` frames, ``dilation`` apart); x [B, T, inputs] -> [B, T', outputs].

    Waibel et al., 1989. The weight is published flat, frame by frame.
    """

    def __init__(self, inputs, outputs, kernel, dilation):
        super().__init__(kernel * inputs, outputs)
        self.kernel, self.dilation = kernel, dilation

    def forward(self, x):
        weight = self.weight.unflatten(1, (self.kernel, -1)).transpose(1, 2)
        return F.relu(F.conv1d(x.transpose(1, 2), weight, self.bias, dilation=self.dilation).transpose(1, 2))

    @property
    def lost(self):
        """By how many frames the output is shorter."""
        return (self.kernel - 1) * self.dilation


class AngularMargin(nn.Module):
    """scale * cosine to each label's direction, less ``margin`` at the true one; x [B, width], labels [B] -> [B, labels].

    Wang et al., 2018 (arXiv:1801.05599).
    """

    def __init__(self, width, labels, scale=30.0, margin=0.4):
        super().__init__()
        self.weight, self.scale, self.margin = nn.Parameter(torch.empty(width, labels)), scale, margin

    def forward(self, x, labels):
        cosines = F.normalize(x, dim=1) @ F.normalize(self.weight, dim=0)
        return self.scale * (cosines - self.margin * F.one_hot(labels, self.weight.shape[1]))

    def initialise(self, std):
        nn.init.normal_(self.weight)


class XVector(Head):
    """Frames -> time-delay layers ``delays`` (outputs, kernel, dilation each) -> mean and deviation -> a vector.

    Snyder et al., 2018, x-vectors; trained with an angular margin against ``labels`` [B].
    """

    def __init__(self, backbone, config, *, delays, width, mixed=False):
        super().__init__(backbone, config)
        sizes = [delays[0][0], *(size for size, _, _ in delays)]  # the frames are first brought to the first size
        self.read = FrameReader(config.depth, mixed=mixed)
        self.project = nn.Linear(backbone.width, sizes[0])
        self.delays = nn.ModuleList(TimeDelay(a, b, k, d) for a, (b, k, d) in zip(sizes, delays))
        self.embed, self.out = nn.Linear(2 * sizes[-1], width), nn.Linear(width, width)
        self.margin = AngularMargin(width, len(config.labels))

    def forward(self, *inputs, labels=None, **more):
        states, mask = self.read(self.backbone, *inputs, **more)
        x = self.project(states)
        for delay in self.delays:
            x = delay(x)
        embeddings = self.embed(self._statistics(x, mask))
        out = Embedded(logits=self.out(embeddings), embeddings=embeddings)
        out.loss = self.loss(out, labels=labels)
        return out

    def _statistics(self, x, mask):
        """Mean and standard deviation over the frames that saw no padding: [B, 2 size]."""
        if mask.keys is None:
            return torch.cat([x.mean(1), x.std(1)], -1)
        count = mask.keys.sum(-1) - sum(delay.lost for delay in self.delays)
        real = (torch.arange(x.shape[1], device=x.device) < count[:, None])[..., None].to(x.dtype)
        mean = (x * real).sum(1) / real.sum(1)
        squares = ((x - mean[:, None]).square() * real).sum(1) / (real.sum(1) - 1)
        return torch.cat([mean, squares.sqrt()], -1)

    def terms(self, output, *, labels):
        """One term, ``loss``."""
        return {"loss": losses.cross_entropy(self.margin(output.logits, labels.flatten()), labels.flatten())}

    def counts(self, *, labels):
        """Recordings."""
        return {"loss": labels.numel()}
