"""Heads over an encoder-decoder: writing text, and the two that read the decoder's own view of its input."""

import torch
from torch import nn

from catalog.heads.base import Head, VocabHead
from catalog.heads.classify import Classify, DenseTransform
from catalog.heads.span import AnswerSpan
from catalog.outputs import Scored, ScoredPair, Spanned
from catalog.pair import states


class EncoderOnly(Head):
    """The encoder of an encoder-decoder, published as a model of its own: input_ids [B, S] -> [B, S, width]."""

    targets = ()

    def recorded(self):
        """The encoder's records under the names of a single stack."""
        kept = super().recorded()
        return {"hidden_states": kept["encoder_hidden_states"], "attentions": kept["encoder_attentions"]}

    def forward(self, input_ids, attention_mask=None):
        return self.backbone.encode(input_ids, attention_mask)


class Seq2SeqLM(VocabHead):
    """Decoder states -> logits [B, T, vocab]. With ``labels`` [B, T] and no decoder input, the labels shifted right are it.

    ``scale`` multiplies the states before a tied vocabulary matrix (T5); ``bias`` is a published constant row (BART).
    """

    def __init__(self, backbone, config, *, embedding, scale=1.0, bias=False):
        super().__init__(backbone, config)
        self.scale = scale
        self.out = nn.Linear(config.width, config.vocab, bias=False)
        if config.tied:
            self.out.weight = embedding.weight
        if bias:
            self.register_buffer("bias", torch.zeros(1, config.vocab))
        else:
            self.bias = None

    def forward(self, *inputs, labels=None, decoder_input_ids=None, **more):
        if decoder_input_ids is None and labels is not None:
            decoder_input_ids = self.backbone.shift(labels)
        encoded = self.backbone(*inputs, decoder_input_ids=decoder_input_ids, **more)
        out = ScoredPair(
            logits=self.scored(encoded.last_hidden_state * self.scale, self._project),
            past_key_values=encoded.past_key_values,
            encoder_last_hidden_state=encoded.encoder_last_hidden_state,
        )
        out.loss = self.loss(out, labels=labels)
        return out

    def _project(self, states):
        logits = self.out(states)
        return logits if self.bias is None else logits + self.bias


class DecoderLM(VocabHead):
    """The decoder of an encoder-decoder by itself, or over given ``encoder_outputs``: logits [B, T, vocab].

    As published, a label [B, T] stands beside the logits that predict it: nothing is shifted.
    """

    def __init__(self, backbone, config):
        super().__init__(backbone, config)
        self.out = nn.Linear(config.width, config.vocab, bias=False)
        if config.tied:
            self.out.weight = backbone.embed.weight

    def recorded(self):
        """The decoder's records under the names of a single stack."""
        kept = super().recorded()
        fields = ("decoder_hidden_states", "decoder_attentions", "cross_attentions")
        return {field.removeprefix("decoder_"): kept[field] for field in fields}

    def forward(
        self, input_ids, attention_mask=None, *, encoder_outputs=None, encoder_attention_mask=None, labels=None,
        past_key_values=None, use_cache=False,
    ):  # fmt: skip
        memory = None if encoder_outputs is None else states(encoder_outputs)
        encoded = self.backbone.decode(
            input_ids, memory, encoder_attention_mask, attention_mask, past_key_values, use_cache
        )
        out = Scored(logits=self.scored(encoded.last_hidden_state, self.out), past_key_values=encoded.past_key_values)
        out.loss = self.loss(out, labels=labels)
        return out


class PairClassify(Classify):
    """The decoder reads the input; its state at the input's last end-of-text token -> logits [B, labels]."""

    def __init__(self, backbone, config, *, dropout=0.0):
        transform = DenseTransform(config.width, "tanh", dropout=dropout)
        super().__init__(backbone, config, transform=transform, dropout=dropout)

    def forward(self, input_ids, attention_mask=None, *, labels=None, **more):
        encoded = self.backbone(input_ids, attention_mask, **more)
        ends = (input_ids == self.config.eos_id).long() * torch.arange(
            1, input_ids.shape[1] + 1, device=input_ids.device
        )
        last = ends.argmax(-1)[:, None, None].expand(-1, 1, encoded.last_hidden_state.shape[-1])
        pooled = encoded.last_hidden_state.gather(1, last)[:, 0]
        out = ScoredPair(
            logits=self.out(self.drop(self.transform(pooled))),
            past_key_values=encoded.past_key_values,
            encoder_last_hidden_state=encoded.encoder_last_hidden_state,
        )
        out.loss = self.loss(out, labels=labels)
        return out


class PairAnswerSpan(AnswerSpan):
    """The decoder reads the input; start_logits and end_logits, each [B, T]."""

    def forward(self, *inputs, start_positions=None, end_positions=None, **more):
        encoded = self.backbone(*inputs, **more)
        start, end = self.out(self.drop(encoded.last_hidden_state)).unbind(-1)
        out = Spanned(
            start_logits=start,
            end_logits=end,
            past_key_values=encoded.past_key_values,
            encoder_last_hidden_state=encoded.encoder_last_hidden_state,
        )
        out.loss = self.loss(out, start_positions=start_positions, end_positions=end_positions)
        return out
