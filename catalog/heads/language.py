"""Heads that predict tokens: the masked ones, the next one, and BERT's pair of pre-training tasks."""

from torch import nn

from catalog import losses
from catalog.heads.base import VocabHead
from catalog.layers.mlp import activation
from catalog.outputs import PreTrained, Scored


class VocabTransform(nn.Module):
    """norm(act(dense(x))), [B, T, width] -> [B, T, out]: what BERT-like models have before the vocabulary."""

    def __init__(self, width, act, *, norm, out=None):
        super().__init__()
        self.dense, self.act, self.norm = nn.Linear(width, out or width), activation(act), norm

    def forward(self, x):
        return self.norm(self.act(self.dense(x)))


class MaskedLM(VocabHead):
    """Encoded states -> logits [B, T, vocab]; the last matrix is the token embedding where ``config.tied``."""

    def __init__(self, backbone, config, *, transform=None, bias=True):
        super().__init__(backbone, config)
        self.transform = transform or nn.Identity()
        tokens = backbone.embed.tokens
        self.out = nn.Linear(tokens.embedding_dim, tokens.num_embeddings, bias=bias)
        if config.tied:
            self.out.weight = tokens.weight

    def forward(self, *inputs, labels=None, **more):
        encoded = self.backbone(*inputs, **more)
        logits = self.scored(self.transform(encoded.last_hidden_state), self.out)
        out = Scored(logits=logits, past_key_values=encoded.past_key_values)
        out.loss = self.loss(out, labels=labels)
        return out


class CausalLM(MaskedLM):
    """As MaskedLM, each position predicting the next token; ``labels`` are the inputs themselves, not shifted.

    In an unpadded batch the first label of a sequence is nobody's target: ``lengths`` tells where sequences begin.
    """

    def forward(self, *inputs, labels=None, **more):
        out = super().forward(*inputs, **more)
        if labels is not None:
            out.loss = losses.mean(self.terms(out, labels=labels, lengths=more.get("lengths")))
        return out

    def terms(self, output, *, labels, lengths=None):
        """One term, ``loss``."""
        return {"loss": losses.next_token(output.logits, labels, lengths)}

    def counts(self, *, labels, lengths=None):
        """Labels that are not ignored and have a position before them."""
        return {"loss": losses.count(losses.shifted(labels, lengths))}


class MaskedLMAndRelation(MaskedLM):
    """Masked tokens, and whether the second text follows the first: BERT's pre-training. Needs the backbone's pooler."""

    targets = ("labels", "next_sentence_label")

    def __init__(self, backbone, config, *, transform):
        super().__init__(backbone, config, transform=transform)
        self.relation = nn.Linear(backbone.width, 2)

    def forward(self, *inputs, labels=None, next_sentence_label=None, **more):
        encoded = self.backbone(*inputs, **more)
        out = PreTrained(
            prediction_logits=self.scored(self.transform(encoded.last_hidden_state), self.out),
            seq_relationship_logits=self.relation(encoded.pooler_output),
        )
        out.loss = self.loss(out, labels=labels, next_sentence_label=next_sentence_label)
        return out

    def terms(self, output, *, labels, next_sentence_label):
        """Two terms: ``masked_lm`` and ``next_sentence``."""
        return {
            "masked_lm": losses.cross_entropy(output.prediction_logits, labels),
            "next_sentence": losses.cross_entropy(output.seq_relationship_logits, next_sentence_label),
        }

    def counts(self, *, labels, next_sentence_label):
        """Labels of both kinds that are not ignored."""
        return {"masked_lm": losses.count(labels), "next_sentence": losses.count(next_sentence_label)}
