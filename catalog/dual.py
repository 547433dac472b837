"""What pairs of towers share: texts and images as vectors of one space, matched by cosine."""

import torch
from torch import nn
from torch.nn import functional as F

from catalog import losses
from catalog.model import Backbone
from catalog.outputs import Contrasted


class DualEncoder(Backbone):
    """input_ids [B, T], pixel_values [N, channels, H, W] -> logits_per_text [B, N], logits_per_image [N, B].

    ``text`` and ``vision`` are backbones with a ``pooler_output``; ``scale`` is the logarithm of the learned temperature's
    inverse. With return_loss=True the i-th text belongs to the i-th image and to no other: as every example is a wrong
    answer for every other, the loss of a batch is not that of its parts. Radford et al., 2021 (arXiv:2103.00020).
    """

    # each tower records its own states, so that asking for them is passed on, not answered here
    __call__ = nn.Module.__call__
    targets = ()

    def __init__(self, config, text, vision, *, width, scale):
        super().__init__()
        self.config, self.start = config, scale
        self.text, self.vision = text, vision
        self.text_out = nn.Linear(text.width, width, bias=False)
        self.vision_out = nn.Linear(vision.width, width, bias=False)
        self.scale = nn.Parameter(torch.tensor(scale))

    @property
    def width(self):
        """Width of the common space."""
        return self.text_out.out_features

    def forward(
        self, input_ids, pixel_values, attention_mask=None, position_ids=None, return_loss=False, *,
        output_hidden_states=False, output_attentions=False,
    ):  # fmt: skip
        asked = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        text = self.text(input_ids, attention_mask, position_ids, **asked)
        vision = self.vision(pixel_values, **asked)
        texts = F.normalize(self.text_out(text.pooler_output), dim=-1)
        images = F.normalize(self.vision_out(vision.pooler_output), dim=-1)
        logits = texts @ images.t() * self.scale.exp()
        out = Contrasted(
            logits_per_image=logits.t(), logits_per_text=logits, text_embeds=texts, image_embeds=images,
            text_model_output=text, vision_model_output=vision,
        )  # fmt: skip
        if return_loss:
            out.loss = losses.mean(self.terms(out))
        return out

    def terms(self, output):
        """Two terms of half weight: the image of each ``text``, and the text of each ``image``."""
        own = torch.arange(len(output.logits_per_text), device=output.logits_per_text.device)
        return {
            "text": losses.cross_entropy(output.logits_per_text, own)._replace(weight=0.5),
            "image": losses.cross_entropy(output.logits_per_image, own)._replace(weight=0.5),
        }

    def initialise(self, std):
        """The temperature as configured."""
        nn.init.constant_(self.scale, self.start)
