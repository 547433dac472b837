"""mBART: BART with the norms in front, one more at the end, and a language token that opens the decoder's text.

Liu et al., 2020, "Multilingual Denoising Pre-training for Neural Machine Translation" (arXiv:2001.08210). Also BARThez
(Kamal Eddine et al., 2020, arXiv:2010.12321) and BARTpho (Nguyen et al., 2021, arXiv:2109.09701).
"""

import torch
from torch import nn

from catalog.layers import CrossPreNorm, PreNorm
from catalog.models import bart

CONFIG, NAMES, HEADS = bart.CONFIG, bart.NAMES, bart.heads()


class MBart(bart.Bart):
    """As :class:`catalog.models.bart.Bart`."""

    encoder_block, decoder_block = PreNorm, CrossPreNorm

    def last_norm(self, c):
        return nn.LayerNorm(c.width)

    def shift(self, ids):
        """The last real token, which names the language, comes first."""
        ids = ids.masked_fill(ids < 0, self.config.pad_id)
        last = ids.ne(self.config.pad_id).long() * torch.arange(1, ids.shape[1] + 1, device=ids.device)
        start = ids.gather(1, last.argmax(1, keepdim=True))
        return torch.cat([start, ids[:, :-1]], 1)
