"""One model written with, step by step: what it was told once, and the keys and values it keeps between steps."""

import torch
from torch import Tensor


class Steps:
    """``steps(ids)`` -> logits [R, vocab], fp32, of the token behind ids [R, T]; only what is new is computed.

    model    a head that scores the next token
    fixed    forward arguments that stay: the encoder's states [B, S, width] and its mask; empty for a lone decoder
    copies   rows a text. The first call computes each text once and shares it among its rows
    keep     keep keys and values; False: every call computes the whole text
    watch    also leave the decoder's last states of the new tokens [R, T', width] in ``states``

    Ids of -1 are padding: nothing attends to them.
    """

    def __init__(self, model, fixed: dict[str, Tensor], *, copies=1, keep=True, watch=False):
        self.model, self.fixed, self.copies, self.keep, self.watch = model, fixed, copies, keep, watch
        self.ids_name = "decoder_input_ids" if fixed else "input_ids"
        self.past: tuple | None = None
        self.seen, self.rows, self.padded = 0, 0, False
        self.states: Tensor | None = None

    def __call__(self, ids: Tensor) -> Tensor:
        if self.rows:
            return self._compute(ids)
        # padding stands in front of a prompt; what comes later does not need the mask
        self.padded = not self.fixed and bool((ids < 0).any())
        logits = self._compute(ids[:: self.copies])
        if self.copies > 1:
            repeated = torch.arange(self.rows, device=ids.device).repeat_interleave(self.copies)
            self.select(repeated)
            logits, self.states = logits[repeated], None if self.states is None else self.states[repeated]
        return logits

    def _compute(self, ids):
        inputs = {self.ids_name: ids[:, self.seen :].clamp_min(0), **self.fixed}
        if self.padded:
            inputs["attention_mask"] = ids >= 0
        if self.watch:
            inputs["output_hidden_states"] = True
        out = self.model(**inputs, past_key_values=self.past, use_cache=self.keep)
        if self.watch:
            self.states = (out.decoder_hidden_states if self.fixed else out.hidden_states)[-1]
        if self.keep:
            self.past, self.seen = out.past_key_values, ids.shape[1]
        self.rows = len(ids)
        return out.logits[:, -1].float()

    def select(self, rows: Tensor) -> None:
        """Continue from these rows [R'] instead; a row may be taken several times.

        With as many rows as before each text keeps its places, so that what is the same for all of a text's rows (the
        encoder's states, and the keys and values made of them) stays where it is.
        """
        same = len(rows) == self.rows
        if self.past is not None:
            self.past = tuple(
                tuple(t if same and i >= 2 else t.index_select(0, rows) for i, t in enumerate(layer))
                for layer in self.past
            )
        if not same:
            self.fixed = {name: tensor.index_select(0, rows) for name, tensor in self.fixed.items()}
        self.rows = len(rows)
