"""Tokenizers whose published ids are not the engine's: a list beside the model file numbers the pieces."""

from catalog.errors import ProcessorError
from catalog.processors.text.tokenizer import Tokenizer


class RenumberedTokenizer(Tokenizer):
    """``published(files)`` gives token -> id. A piece that the list lacks is the unknown token."""

    engine_is_whole = False

    def __init__(self, engine, traits, files):
        super().__init__(engine, traits, files)
        self.published = self._published()
        for _, token in sorted(engine.get_added_tokens_decoder().items()):  # a copy of one that tokens were added to
            self.published.setdefault(token.content, len(self.published))
        self.token_by_id = {i: token for token, i in self.published.items()}
        self._numbers = None  # filled at first use, when all special tokens are in the engine

    def _published(self) -> dict[str, int]:
        raise NotImplementedError

    def _outer(self, token: str) -> str:
        """The engine's spelling of a token -> the published one."""
        return token

    @property
    def numbers(self) -> list[int]:
        """Engine id -> published id."""
        if self._numbers is None or len(self._numbers) != self.engine.get_vocab_size():
            tokens = (self.engine.id_to_token(i) for i in range(self.engine.get_vocab_size()))
            self._numbers = [self.published.get(self._outer(token), self.unk_id) for token in tokens]
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
        for token in map(content, tokens):
            if token not in self.published:
                self.token_by_id[len(self.published)] = token
                self.published[token] = len(self.published)
        return len(self) - before


def content(token) -> str:
    return getattr(token, "content", token)
