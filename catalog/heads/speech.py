"""Heads over speech: what was said, letter by letter, and the pre-training task of telling a hidden sound from others."""

import torch
from torch import nn
from torch.nn import functional as F

from catalog import losses
from catalog.errors import ConfigError
from catalog.heads.base import Head, mask_of
from catalog.layers.vq import GumbelQuantizer
from catalog.losses import Term
from catalog.outputs import Scored, SpeechPreTrained, Transcribed


class FrameVocab(Head):
    """The vocabulary at every frame: logits [B, T, vocab]; published without a loss."""

    targets = ()

    def __init__(self, backbone, config, *, dropout=0.0):
        super().__init__(backbone, config)
        self.drop, self.out = nn.Dropout(dropout), nn.Linear(backbone.width, config.vocab)

    def forward(self, *inputs, **more):
        return Scored(logits=self.out(self.drop(self.backbone(*inputs, **more).last_hidden_state)))

    def terms(self, output, **targets):
        """Raises ConfigError: this class has no loss."""
        raise ConfigError("'masked-lm' over speech was published without a loss: train with the head 'ctc'")

    counts = terms


class CTC(FrameVocab):
    """Labels [B, U] (-100: none) in order somewhere along the frames; the blank is ``config.pad_id``.

    Graves et al., 2006. Where ``config.ctc_reduction`` is "sum" the published loss is the sum over recordings; its terms
    are a mean over recordings all the same, as only that can be put together from parts of a batch.
    """

    targets = ("labels",)

    def forward(self, *inputs, labels=None, **more):
        encoded = self.backbone(*inputs, **more)
        logits, keys = self.out(self.drop(encoded.last_hidden_state)), mask_of(encoded).keys
        whole = torch.full((logits.shape[0],), logits.shape[1], device=logits.device)
        out = Transcribed(logits=logits, frames=whole if keys is None else keys.sum(-1))
        if labels is not None:
            (term,) = self.terms(out, labels=labels).values()
            out.loss = term.total if self.config.ctc_reduction == "sum" else term.total / term.count
        return out

    def terms(self, output, *, labels):
        """One term, ``loss``, a target a recording; with the reduction "mean" each is divided by its number of labels."""
        if labels.max() >= self.config.vocab:
            raise ConfigError(
                f"labels go up to {int(labels.max())}, and the vocabulary ends at {self.config.vocab - 1}"
            )
        real = labels >= 0
        lengths = real.sum(-1)
        log_probs = output.logits.float().log_softmax(-1).transpose(0, 1)
        each = F.ctc_loss(
            log_probs, labels.masked_select(real), output.frames, lengths, self.config.pad_id or 0, reduction="none",
            zero_infinity=self.config.ctc_zero_infinity,
        )  # fmt: skip
        if self.config.ctc_reduction == "mean":
            each = each / lengths.clamp_min(1)
        return {"loss": Term(each.sum(), labels.shape[0])}

    def counts(self, *, labels):
        """Recordings."""
        return {"loss": labels.shape[0]}


class FrameContrast(Head):
    """wav2vec 2.0's task: at hidden frames, tell the true quantised sound from sounds of elsewhere, by cosine.

    ``mask_time_indices`` bool [B, T] says which frames are hidden, ``sampled_negative_indices`` [B, T, n] which frames (of
    the flattened batch) are the wrong answers. The published loss is a sum over hidden frames; the terms carry the count.
    ``diversity``, how far the codebooks are from being used evenly, is known of a whole batch only: parts do not add up
    to it exactly. Baevski et al., 2020 (arXiv:2006.11477).
    """

    targets = ("mask_time_indices", "sampled_negative_indices")  # the first is an input too

    def __init__(self, backbone, config, *, features):
        super().__init__(backbone, config)
        c = config
        self.quantize = GumbelQuantizer(features, c.code_width, groups=c.code_groups, entries=c.codes)
        self.project, self.project_code = (
            nn.Linear(c.width, c.contrast_width),
            nn.Linear(c.code_width, c.contrast_width),
        )
        self.drop = nn.Dropout(c.code_dropout)

    def forward(self, *inputs, mask_time_indices=None, sampled_negative_indices=None, **more):
        encoded = self.backbone(*inputs, mask_time_indices=mask_time_indices, **more)
        codes, perplexity = self.quantize(self.drop(encoded.extract_features), mask_time_indices)
        out = SpeechPreTrained(
            projected_states=self.project(encoded.last_hidden_state),
            projected_quantized_states=self.project_code(codes),
            codevector_perplexity=perplexity,
        )
        if sampled_negative_indices is not None:
            terms = self.terms(
                out, mask_time_indices=mask_time_indices, sampled_negative_indices=sampled_negative_indices
            )
            out.contrastive_loss, out.diversity_loss = terms["contrast"].total, terms["diversity"].total
            out.loss = out.contrastive_loss + self.config.diversity * out.diversity_loss
        return out

    def terms(self, output, *, mask_time_indices, sampled_negative_indices):
        """Two terms a hidden frame, ``contrast`` and ``diversity``."""
        logits = self._similarities(output, sampled_negative_indices)
        labels = torch.where(mask_time_indices.bool(), 0, losses.IGNORE)  # the truth stands first
        entries, count = self.config.code_groups * self.config.codes, mask_time_indices.sum()
        spread = (entries - output.codevector_perplexity) / entries * count
        return {
            "contrast": losses.cross_entropy(logits, labels),
            "diversity": Term(spread, count, self.config.diversity),
        }

    def counts(self, *, mask_time_indices, sampled_negative_indices=None):
        """Hidden frames."""
        return dict.fromkeys(("contrast", "diversity"), mask_time_indices.sum())

    def _similarities(self, output, negatives):
        """Cosines over the temperature of each frame with its truth and its negatives: [B, T, 1 + n], fp32."""
        truth = output.projected_quantized_states
        wrong = truth.flatten(0, 1)[negatives.long()]
        cosines = F.cosine_similarity(
            output.projected_states[:, :, None].float(), torch.cat([truth[:, :, None], wrong], 2).float(), dim=-1
        )
        same = F.pad((wrong == truth[:, :, None]).all(-1), (1, 0))  # a negative that is the truth is none
        return (cosines / self.config.temperature).masked_fill(same, -torch.inf)

    def initialise(self, std):
        """The projections as PyTorch starts them, as published."""
        self.project.reset_parameters()
        self.project_code.reset_parameters()
