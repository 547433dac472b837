"""Text as it comes: pieces that are printed at once and add up to the whole, whatever way tokens cut characters."""

from collections.abc import Sequence

CUT = "\ufffd"  # what a decoder writes for the bytes of a character that is not complete


class Pieces:
    """``push(token)`` -> the text that has become certain, possibly none; ``end()`` -> what was still held back.

    ``before`` are the tokens in front, so that the first piece continues them. Only the last few tokens are decoded anew
    each time. Special tokens have no text.
    """

    def __init__(self, tokenizer, before: Sequence[int] = ()):
        self.tokenizer = tokenizer
        self.ids, self.read = list(before), len(before)  # ids up to ``read`` have been printed; they are context
        self.shown = len(self._text(self.ids))  # characters of the text of ``ids`` that need no printing
        self.held = ""

    def _text(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=True, tidy=False)

    def push(self, token: int) -> str:
        self.ids.append(int(token))
        text = self._text(self.ids)
        certain = text.rstrip(CUT)
        piece, self.held = certain[self.shown :], text[max(self.shown, len(certain)) :]
        if self.held:
            self.shown = max(self.shown, len(certain))
        elif piece:  # what was printed before this piece is no context any more
            self.ids, self.read = self.ids[self.read :], len(self.ids) - self.read
            self.shown = len(self._text(self.ids))
        return piece

    def end(self) -> str:
        held, self.held = self.held, ""
        self.shown += len(held)
        return held
