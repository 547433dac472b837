"""What models return: one small class a kind, with the published field names.

An output is a dataclass and a PyTree (so that ``torch.export`` and ``torch.compile`` see through it); fields that were
not computed are ``None``. ``output["logits"]``, ``output.keys()`` and ``output.items()`` serve code written for
dictionaries.
"""

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from catalog.layers.masks import Mask


class Output:
    """Base of all outputs; see the module docstring."""

    def keys(self) -> list[str]:
        """Names of the fields that were computed, in declared order."""
        return [f.name for f in fields(self) if f.name != "mask" and getattr(self, f.name) is not None]

    def items(self) -> list[tuple[str, Any]]:
        """Pairs of name and value of the fields that were computed."""
        return [(name, getattr(self, name)) for name in self.keys()]

    def __getitem__(self, name: str) -> Any:
        if name not in self.keys():
            raise KeyError(f"{type(self).__name__} holds no '{name}' here; it has {', '.join(self.keys())}")
        return getattr(self, name)


def output(cls):
    """Make ``cls`` an output: a keyword-only dataclass that PyTorch can flatten.

    ``mask``, which a backbone hands to its head, is for the inside of one forward pass and does not leave it.
    """
    cls = dataclass(kw_only=True)(cls)
    names = [f.name for f in fields(cls)]
    inner = ["mask"] if "mask" in names else []
    pytree.register_dataclass(cls, field_names=[n for n in names if n not in inner], drop_field_names=inner)
    return cls


Tensors = tuple[Tensor, ...]


@output
class Encoded(Output):
    """States of a backbone: ``last_hidden_state`` [B, T, width], ``pooler_output`` [B, width]."""

    last_hidden_state: Tensor
    pooler_output: Tensor | None = None
    past_key_values: tuple | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None
    cross_attentions: Tensors | None = None
    reshaped_hidden_states: Tensors | None = None
    mask: Mask | None = None


@output
class EncodedPair(Output):
    """States of an encoder-decoder: ``last_hidden_state`` [B, T, width] of the decoder, the encoder's beside it."""

    last_hidden_state: Tensor
    past_key_values: tuple | None = None
    decoder_hidden_states: Tensors | None = None
    decoder_attentions: Tensors | None = None
    cross_attentions: Tensors | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: Tensors | None = None
    encoder_attentions: Tensors | None = None
    mask: Mask | None = None


@output
class Scored(Output):
    """``logits`` of a head over one backbone, with the ``loss`` where targets were given."""

    loss: Tensor | None = None
    logits: Tensor
    past_key_values: tuple | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None
    cross_attentions: Tensors | None = None
    reshaped_hidden_states: Tensors | None = None


@output
class ScoredPair(Output):
    """``logits`` of a head over an encoder-decoder."""

    loss: Tensor | None = None
    logits: Tensor
    past_key_values: tuple | None = None
    decoder_hidden_states: Tensors | None = None
    decoder_attentions: Tensors | None = None
    cross_attentions: Tensors | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: Tensors | None = None
    encoder_attentions: Tensors | None = None


@output
class Spanned(Output):
    """Scores [B, T] of each position being the first and the last of the answer."""

    loss: Tensor | None = None
    start_logits: Tensor
    end_logits: Tensor
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None
    past_key_values: tuple | None = None
    encoder_last_hidden_state: Tensor | None = None
    decoder_hidden_states: Tensors | None = None
    decoder_attentions: Tensors | None = None
    cross_attentions: Tensors | None = None
    encoder_hidden_states: Tensors | None = None
    encoder_attentions: Tensors | None = None


@output
class PreTrained(Output):
    """BERT's two pre-training heads: ``prediction_logits`` [B, T, vocab], ``seq_relationship_logits`` [B, 2]."""

    loss: Tensor | None = None
    prediction_logits: Tensor
    seq_relationship_logits: Tensor
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@output
class DoubleScored(Output):
    """Two heads over one decoder: ``logits`` [..., T, vocab] of the next tokens, ``mc_logits`` [...] of whole texts."""

    loss: Tensor | None = None
    mc_loss: Tensor | None = None
    logits: Tensor
    mc_logits: Tensor
    past_key_values: tuple | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@output
class AlbertPreTrained(Output):
    """ALBERT's two pre-training heads: ``prediction_logits`` [B, T, vocab], ``sop_logits`` [B, 2]."""

    loss: Tensor | None = None
    prediction_logits: Tensor
    sop_logits: Tensor
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@output
class Reconstructed(Output):
    """Pixels [B, channels, H, W] that a model gives for an image of which it saw a part."""

    loss: Tensor | None = None
    reconstruction: Tensor
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None
    reshaped_hidden_states: Tensors | None = None


@output
class Mapped(Output):
    """Maps [B, channels, H, W] of chosen stages, finest first."""

    feature_maps: Tensors
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@output
class PixelScored(Output):
    """``logits`` [B, labels, H, W] of each place, and those of a second classifier that training listens to."""

    loss: Tensor | None = None
    logits: Tensor
    auxiliary_logits: Tensor | None = None
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@output
class TaughtScored(Output):
    """DeiT's two classifiers: ``logits`` [B, labels] is the mean of the other two."""

    logits: Tensor
    cls_logits: Tensor
    distillation_logits: Tensor
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@output
class EncodedAudio(Output):
    """States of a recording's frames [B, T, width], and the features [B, T, channels] of the convolutions before them."""

    last_hidden_state: Tensor
    extract_features: Tensor
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None
    mask: Mask | None = None


@output
class Transcribed(Output):
    """``logits`` [B, T, vocab] of letters along the frames; the first ``frames`` [B] of each row are the recording's."""

    loss: Tensor | None = None
    logits: Tensor
    frames: Tensor
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@output
class SpeechPreTrained(Output):
    """wav2vec 2.0's pre-training: states and quantised sounds [B, T, contrast width], and the parts of the loss."""

    loss: Tensor | None = None
    projected_states: Tensor
    projected_quantized_states: Tensor
    codevector_perplexity: Tensor
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None
    contrastive_loss: Tensor | None = None
    diversity_loss: Tensor | None = None


@output
class Embedded(Output):
    """A vector for who speaks: ``embeddings`` [B, width], and ``logits`` [B, width] behind one more layer."""

    loss: Tensor | None = None
    logits: Tensor
    embeddings: Tensor
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@output
class TextProjected(Output):
    """``text_embeds`` [B, projection] of texts, not normalised, and the states behind them."""

    text_embeds: Tensor
    last_hidden_state: Tensor
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@output
class ImageProjected(Output):
    """``image_embeds`` [B, projection] of images, not normalised, and the states behind them."""

    image_embeds: Tensor
    last_hidden_state: Tensor
    hidden_states: Tensors | None = None
    attentions: Tensors | None = None


@output
class Contrasted(Output):
    """How well each of B texts fits each of N images, [B, N] and [N, B], their unit vectors, and the towers' outputs."""

    loss: Tensor | None = None
    logits_per_image: Tensor
    logits_per_text: Tensor
    text_embeds: Tensor
    image_embeds: Tensor
    text_model_output: Encoded
    vision_model_output: Encoded


@output
class Detected(Output):
    """``logits`` [B, queries, labels + 1] and ``pred_boxes`` [B, queries, 4] of the objects in images.

    ``loss_dict`` holds the parts of the loss before they were weighted, and how far the number of objects is off.
    """

    loss: Tensor | None = None
    loss_dict: dict[str, Tensor] | None = None
    logits: Tensor
    pred_boxes: Tensor
    last_hidden_state: Tensor
    decoder_hidden_states: Tensors | None = None
    decoder_attentions: Tensors | None = None
    cross_attentions: Tensors | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: Tensors | None = None
    encoder_attentions: Tensors | None = None


@output
class Segmented(Detected):
    """As Detected, with ``pred_masks`` [B, queries, H / 4, W / 4], the logits of each object's pixels."""

    pred_masks: Tensor
