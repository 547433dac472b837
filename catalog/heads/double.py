"""The pair of tasks that dialogue decoders are trained on: the next token, and which continuation was the real one."""

import torch
from torch import nn

from catalog import losses
from catalog.heads.base import mask_of
from catalog.heads.language import CausalLM
from catalog.outputs import DoubleScored


class CausalLMAndChoice(CausalLM):
    """Inputs [B, choices, T] (or [B, T]) -> logits [..., T, vocab] and mc_logits [...], one score a text.

    The score is read at ``mc_token_ids`` [...], else at the last position of each row, padding or not, as published; of an
    unpadded batch at each sequence's last token. ``labels`` are as for CausalLM; ``mc_labels`` [B] name the real one of the
    choices. Wolf et al., 2019 (arXiv:1901.08149).
    """

    targets = ("labels", "mc_labels")

    def __init__(self, backbone, config, *, dropout=0.0):
        super().__init__(backbone, config, bias=False)
        self.drop, self.choice = nn.Dropout(dropout), nn.Linear(backbone.width, 1)

    def forward(self, input_ids, *, mc_token_ids=None, labels=None, mc_labels=None, **more):
        shape = input_ids.shape[:-1]
        flat = {k: v.flatten(0, 1) if torch.is_tensor(v) and v.dim() == 3 else v for k, v in more.items()}
        encoded = self.backbone(input_ids.flatten(0, 1) if input_ids.dim() == 3 else input_ids, **flat)
        states, lengths = encoded.last_hidden_state, more.get("lengths")
        if mc_token_ids is not None:
            at = mc_token_ids.reshape(-1, 1, 1).expand(-1, 1, states.shape[-1])
            chosen = states.gather(1, at)[:, 0].unflatten(0, shape)
        elif lengths is not None:
            chosen = mask_of(encoded).last(states)
        else:
            chosen = states[:, -1].unflatten(0, shape)
        out = DoubleScored(
            logits=self.scored(states.unflatten(0, shape), self.out),
            mc_logits=self.choice(self.drop(chosen)).squeeze(-1),
            past_key_values=encoded.past_key_values,
        )
        if labels is not None:
            out.loss = losses.mean(self.terms(out, labels=labels, lengths=lengths))
        if mc_labels is not None:
            out.mc_loss = losses.mean(self.terms(out, mc_labels=mc_labels))
        return out

    def terms(self, output, *, labels=None, mc_labels=None, lengths=None):
        """``loss`` for the tokens where ``labels`` are given, ``mc_loss`` for the choices where ``mc_labels`` are."""
        terms = {}
        if labels is not None:
            terms["loss"] = losses.next_token(output.logits, labels, lengths)
        if mc_labels is not None:
            terms["mc_loss"] = losses.cross_entropy(output.mc_logits, mc_labels)
        return terms

    def counts(self, *, labels=None, mc_labels=None, lengths=None):
        """Labels of both kinds that are not ignored; of the tokens those that have a position before them."""
        counts = {} if labels is None else super().counts(labels=labels, lengths=lengths)
        return counts if mc_labels is None else counts | {"mc_loss": losses.count(mc_labels)}
