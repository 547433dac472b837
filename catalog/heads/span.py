"""The head that marks an answer in a text."""

import torch
from torch import nn

from catalog import losses
from catalog.heads.base import Head, mask_of
from catalog.outputs import Spanned


class AnswerSpan(Head):
    """Encoded states -> start_logits and end_logits, each [B, T].

    Of an unpadded batch the logits come as one row a sequence, minus infinity behind its end. Rajpurkar et al., 2016
    (arXiv:1606.05250).
    """

    targets = ("start_positions", "end_positions")

    def __init__(self, backbone, config, *, transform=None, dropout=0.0):
        super().__init__(backbone, config)
        self.transform, self.drop = transform or nn.Identity(), nn.Dropout(dropout)
        self.out = nn.Linear(backbone.width, 2)

    def forward(self, *inputs, start_positions=None, end_positions=None, **more):
        encoded = self.backbone(*inputs, **more)
        logits = self.out(self.transform(self.drop(encoded.last_hidden_state)))
        if more.get("lengths") is not None:
            logits = mask_of(encoded).rows(logits, torch.finfo(logits.dtype).min)
        start, end = logits.unbind(-1)
        out = Spanned(start_logits=start, end_logits=end)
        out.loss = self.loss(out, start_positions=start_positions, end_positions=end_positions)
        return out

    def terms(self, output, *, start_positions, end_positions):
        """Two terms of half weight, ``start`` and ``end``; a position at or behind the end of the row is no target."""
        return {
            "start": _term(output.start_logits, start_positions),
            "end": _term(output.end_logits, end_positions),
        }

    def counts(self, *, start_positions, end_positions):
        """One target a sequence: positions must lie inside their rows."""
        return {"start": start_positions.numel(), "end": end_positions.numel()}


def _term(logits, positions):
    behind = logits.shape[-1]
    return losses.cross_entropy(logits, positions.flatten().clamp(0, behind), ignore=behind)._replace(weight=0.5)
