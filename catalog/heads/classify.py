"""Heads that choose among labels: for a sequence, for each token, among several choices."""

import torch
from torch import nn

from catalog import losses
from catalog.heads.base import Head, LabelHead, mask_of
from catalog.layers.mlp import activation
from catalog.outputs import Scored


class DenseTransform(nn.Module):
    """act(dense(drop(x))), [B, width] -> [B, width]: what some checkpoints have between pooling and the last layer."""

    def __init__(self, width, act="tanh", *, dropout=0.0):
        super().__init__()
        self.dense, self.act, self.drop = nn.Linear(width, width), activation(act), nn.Dropout(dropout)

    def forward(self, x):
        return self.act(self.dense(self.drop(x)))


class Classify(Head):
    """Encoded states of any backbone -> logits [B, labels].

    ``pool`` turns states [B, T, width] and the mask into [B, width] (``None``: the backbone's own ``pooler_output``);
    ``transform`` is what the checkpoint has between pooling and the last linear layer, ``width`` what that layer takes
    (``None``: the backbone's). The loss is told by ``config.problem``: squared error, cross entropy, or independent yes/no
    decisions.
    """

    def __init__(self, backbone, config, *, labels=None, pool=None, transform=None, width=None, dropout=0.0, bias=True):
        super().__init__(backbone, config)
        self.pool, self.transform = pool, transform or nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(width or backbone.width, labels or len(config.labels), bias=bias)

    def forward(self, *inputs, labels=None, **more):
        encoded = self.backbone(*inputs, **more)
        states = encoded.last_hidden_state
        pooled = encoded.pooler_output if self.pool is None else self.pool(states, mask_of(encoded))
        out = Scored(logits=self.out(self.drop(self.transform(pooled))), past_key_values=encoded.past_key_values)
        out.loss = self.loss(out, labels=labels)
        return out

    def terms(self, output, *, labels):
        """One term, ``loss``."""
        problem = self._problem(labels)
        if problem == "regression":
            return {"loss": losses.mean_squared(output.logits, labels)}
        if problem == "multi_label_classification":
            return {"loss": losses.binary(output.logits, labels)}
        return {"loss": losses.cross_entropy(output.logits, labels)}

    def counts(self, *, labels):
        """Labels that are not ignored; every number where the labels are numbers."""
        classes = self._problem(labels) == "single_label_classification"
        return {"loss": losses.count(labels) if classes else labels.numel()}

    def _problem(self, labels):
        if self.config.problem is not None and self.out.out_features == len(self.config.labels):
            return self.config.problem
        if self.out.out_features == 1:
            return "regression"
        return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


class ClassifyTokens(LabelHead):
    """Encoded states of any backbone -> logits [B, T, labels], one decision a token."""

    def __init__(self, backbone, config, *, dropout=0.0):
        super().__init__(backbone, config)
        self.drop, self.out = nn.Dropout(dropout), nn.Linear(backbone.width, len(config.labels))

    def forward(self, *inputs, labels=None, **more):
        encoded = self.backbone(*inputs, **more)
        out = Scored(logits=self.out(self.drop(encoded.last_hidden_state)), past_key_values=encoded.past_key_values)
        out.loss = self.loss(out, labels=labels)
        return out


class Choice(LabelHead):
    """Which of several continuations fits: inputs [B, choices, T] -> logits [B, choices].

    An unpadded batch holds the choices of one example next to each other and says how many by ``choices``.
    """

    def __init__(self, backbone, config, *, pool=None, transform=None, dropout=0.0):
        super().__init__(backbone, config)
        self.pool, self.transform = pool, transform or nn.Identity()
        self.drop, self.out = nn.Dropout(dropout), nn.Linear(backbone.width, 1)

    def forward(self, input_ids, *, choices=None, labels=None, **more):
        choices = choices or input_ids.shape[1]
        flat = {k: v.flatten(0, 1) if torch.is_tensor(v) and v.dim() == 3 else v for k, v in more.items()}
        encoded = self.backbone(input_ids.flatten(0, 1) if input_ids.dim() == 3 else input_ids, **flat)
        states = encoded.last_hidden_state
        pooled = encoded.pooler_output if self.pool is None else self.pool(states, mask_of(encoded))
        out = Scored(logits=self.out(self.drop(self.transform(pooled))).view(-1, choices))
        out.loss = self.loss(out, labels=labels)
        return out
