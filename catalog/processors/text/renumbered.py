"""Tokenizers whose published ids are not the engine's: a list beside the model file numbers the pieces."""

from catalog.errors import ProcessorError
from catalog.processors.text.tokenizer import Tokenizer
from catalog.processors.text.vocabularies import counted


class RenumberedTokenizer(Tokenizer):
    """fairseq's dictionary numbers the pieces: four special tokens, a piece a line, the mask. What it lacks is unknown."""

    dictionary = "dict.txt"
    engine_is_whole = False

    def __init__(self, engine, traits, files):
        super().__init__(engine, traits, files)
        self.published = self._published()
        for _, token in sorted(engine.get_added_tokens_decoder().items()):  # a copy of one that tokens were added to
            self.published.setdefault(token.content, len(self.published))
        self.token_by_id = {i: token for token, i in self.published.items()}
        self._numbers: list[int] | None = None  # filled at first use

    def _published(self) -> dict[str, int]:
        """Token -> id, of the files."""
        special = self.traits.special
        vocab = {special[role]: i for i, role in enumerate(("bos_token", "pad_token", "eos_token", "unk_token"))}
        for piece in counted(self.files[self.dictionary].decode("utf-8")):
            vocab.setdefault(piece, len(vocab))
        vocab.setdefault(special["mask_token"], len(vocab))
        return vocab

    def _outer(self, token: str) -> str:
        """The engine's spelling of a token -> the published one."""
        return token

    @property
    def numbers(self) -> list[int]:
        """Engine id -> published id."""
        if self._numbers is None:
            added = self.engine.get_added_tokens_decoder()
            tokens = [(i, self.engine.id_to_token(i)) for i in range(self.engine.get_vocab_size())]
            outer = [token if i in added else self._outer(token) for i, token in tokens]
            self._numbers = [self.published.get(token, self.unk_id) for token in outer]
        return self._numbers

    def _ids_of(self, encoding) -> list[int]:
        numbers = self.numbers
        return [numbers[i] for i in encoding.ids]

    def vocabulary_id(self, token: str) -> int | None:
        return self.published.get(token)

    @property
    def base_size(self) -> int:
        return len(self._published())

    def __len__(self) -> int:
        return len(self.published)

    def token_of(self, i: int) -> str:
        self._check_ids([i])
        return self.token_by_id[i]

    def vocabulary(self) -> dict[str, int]:
        return dict(self.published)

    def _check_ids(self, ids):
        for place, i in enumerate(ids):
            if i not in self.token_by_id:
                raise ProcessorError(f"id {i} at place {place} is not in the vocabulary of {len(self)} tokens")

    def add_tokens(self, tokens, *, special=False) -> int:
        before = len(self)
        super().add_tokens(tokens, special=special)
        self._numbers = None
        for token in map(content, tokens):
            if token not in self.published:
                self.token_by_id[len(self.published)] = token
                self.published[token] = len(self.published)
        return len(self) - before


def content(token) -> str:
    return getattr(token, "content", token)
