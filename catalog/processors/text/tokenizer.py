"""The face of every tokenizer: text in, published model inputs out, and back.

The algorithm is a ``tokenizers.Tokenizer`` (the engine); which one, and the text's own rules, are decided by the family
(``families.py``). Truncation, padding, pairs and windows are the same for all.
"""

import hashlib
import json
import re
from dataclasses import asdict, fields, replace
from itertools import zip_longest
from threading import RLock

import tokenizers

from catalog.errors import ProcessorError, did_you_mean
from catalog.processors.text.cutting import cutting, explained
from catalog.processors.text.padding import pad, padded_length
from catalog.processors.text.traits import ROLES, Ids, Traits, tidied

EXTRA = ("offset_mapping", "special_tokens_mask", "word_ids")


class Tokenizer:
    """``tokenizer(texts, pairs, max_length=128)`` -> dict of lists named as the model's forward arguments."""

    engine_is_whole = True  # its tokenizer.json alone gives the published ids
    rewrites_text = False  # before the engine sees it, so that offsets would be of another text

    def __init__(self, engine: tokenizers.Tokenizer, traits: Traits, files: dict[str, bytes]):
        self.engine, self.traits, self.files = engine, traits, files
        self._lock = RLock()  # the engine keeps its truncation as state

    def __reduce__(self):
        return type(self), (self.engine, self.traits, self.files)

    def __repr__(self):
        return f"{type(self).__name__}({self.traits.name}, {len(self)} tokens)"

    def having(self, **traits) -> "Tokenizer":
        """The same tokenizer with other traits: ``padding_side``, ``truncation_side``, ``tidy`` ..."""
        if unknown := set(traits) - {f.name for f in fields(Traits)}:
            raise ProcessorError(
                f"a tokenizer has no trait {sorted(unknown)!r}: {', '.join(f.name for f in fields(Traits))}"
            )
        made = type(self)(self.engine, replace(self.traits, **traits), self.files)
        made._lock = self._lock  # one engine, one lock
        return made

    def with_special(self, **roles: str) -> "Tokenizer":
        """The same tokenizer with tokens of its vocabulary in a role: ``with_special(pad_token="<|endoftext|>")``."""
        for role, token in roles.items():
            if role not in ROLES:
                raise ProcessorError(f"no role {role!r}{did_you_mean(role, ROLES) or '.'} One of {', '.join(ROLES)}")
            if self.vocabulary_id(token) is None:
                raise ProcessorError(
                    f"{role}={token!r} is not in the vocabulary; add_tokens([{token!r}], special=True) first"
                )
        return self.having(special=self.traits.special | roles)

    def configured(self, **options) -> "Tokenizer":
        """A copy with other prefix and suffix tokens: ``language``, ``task``, ``src_lang``, ``add_bos_token`` ..."""
        from catalog.processors.text.files import configured

        return configured(self, options)

    # -- encoding

    def __call__(
        self, text, pair=None, *, max_length=None, truncation="longest_first", stride=0, windows=False,
        padding=None, multiple_of=None, special_tokens=True, extra=(),
    ) -> dict:  # fmt: skip
        """One text or a list of texts, each with its pair if any -> ``input_ids``, ``attention_mask`` ...

        text, pair   a string, a list of strings, or a list of lists of words (a text already split). A pair that is
                     empty counts as no pair, as in the published fast tokenizers.
        max_length   longest row, special tokens included. None cuts nothing.
        truncation   longest_first | only_first | only_second: what is shortened. Raises where that cannot reach
                     ``max_length``.
        windows      the rest of a cut text becomes further rows that overlap by ``stride`` tokens;
                     ``overflow_to_sample_mapping`` says which text each row is of.
        padding      None | "longest" | "max_length"; rounded up to a multiple of ``multiple_of``.
                     The sides of padding and cutting are traits: ``having(padding_side="left", truncation_side="left")``.
        extra        of ``offset_mapping`` (start, end in the text, in characters), ``special_tokens_mask``, ``word_ids``.
        """
        alone = isinstance(text, str)
        if unknown := set(extra) - set(EXTRA):
            raise ProcessorError(f"extra={sorted(unknown)!r} is not known; one of {', '.join(EXTRA)}")
        if "offset_mapping" in extra and self.rewrites_text:
            raise ProcessorError(
                f"{self.traits.name} rewrites the text first, so that offsets in the given text are not known"
            )
        encodings = self._encode(
            [text] if alone else text, [pair] if alone and pair is not None else pair,
            max_length=max_length, truncation=truncation, stride=stride, special_tokens=special_tokens,
        )  # fmt: skip
        owners = range(len(encodings))
        if windows:
            owners = [i for i, encoding in enumerate(encodings) for _ in range(1 + len(encoding.overflowing))]
            encodings = [part for encoding in encodings for part in (encoding, *encoding.overflowing)]
        rows = self._columns(encodings, extra)
        if padding is not None or multiple_of is not None:
            width = padded_length(rows["input_ids"], padding, max_length, multiple_of)
            rows = pad(rows, width, self.traits.padding_side, self._pad_values())
        if windows:
            return rows | {"overflow_to_sample_mapping": list(owners)}
        return {name: values[0] for name, values in rows.items()} if alone else rows

    def ids(self, texts, pairs=None, *, max_length=None, truncation="longest_first", special_tokens=True) -> Ids:
        """The bulk path: lists of texts (and pairs) -> unpadded ids and token types, without offsets or masks."""
        encodings = self._encode(
            texts, pairs, max_length=max_length, truncation=truncation, special_tokens=special_tokens, fast=True
        )
        types = [e.type_ids for e in encodings] if "token_type_ids" in self.traits.inputs else None
        return Ids([self._ids_of(e) for e in encodings], types)

    def tokens(self, text, pair=None, *, special_tokens=False) -> list[str]:
        """The pieces of one text, as they stand in the vocabulary."""
        encoding = self._encode([text], None if pair is None else [pair], special_tokens=special_tokens)[0]
        return [self.token_of(i) for i in self._ids_of(encoding)]

    def chat(self, messages, *, answer=True) -> str:
        """A conversation, a list of ``{"role": ..., "content": ...}``, as the published template writes it.

        ``answer``: it ends where the next answer begins. The text holds its special tokens: encode it with
        ``special_tokens=False``. Raises ProcessorError where there is no template, or it refuses the conversation.
        """
        from catalog.processors.text.chat import render

        if self.traits.chat_template is None:
            raise ProcessorError(
                f"this {self.traits.name} has no chat template; give one: having(chat_template=...), or take the tokenizer of "
                "a model that was trained on conversations"
            )
        return render(self.traits.chat_template, messages, self.traits.special, answer=answer)

    def _encode(self, texts, pairs=None, *, fast=False, special_tokens=True, **cut):
        """Encodings of the rows, cut as ``max_length``, ``truncation`` and ``stride`` say."""
        texts, pairs = list(texts), None if pairs is None else list(pairs)
        if pairs is not None and len(pairs) != len(texts):
            raise ProcessorError(f"{len(texts)} texts but {len(pairs)} pairs: each text needs its own pair")
        split = isinstance(next(iter(texts), None), list | tuple)
        if split and self.traits.options.get("add_prefix_space") is False:
            raise ProcessorError(
                f"{self.traits.name} tells words by the blank before them, which a text already split has not; load it with "
                f"options={{'add_prefix_space': True}}"
            )
        texts, pairs = ([self._row(part) for part in parts or ()] for parts in (texts, pairs))
        rows = [(text, pair) if pair else text for text, pair in zip_longest(texts, pairs)]
        encode = self.engine.encode_batch_fast if fast else self.engine.encode_batch
        with self._lock, cutting(self.engine, self.traits.truncation_side, special_tokens, bool(pairs), **cut):
            try:
                return encode(rows, is_pretokenized=split, add_special_tokens=special_tokens)
            except Exception as error:  # the engine raises bare Exception, and does not say which row
                raise explained(self.engine, error, rows, split, special_tokens, **cut) from None

    def _row(self, text):
        if isinstance(text, str):
            return self._prepared(text)
        return list(text) if isinstance(text, tuple) else text  # the engine would take a tuple for a pair

    def _prepared(self, text: str) -> str:
        """A hook for families that rewrite the text before the engine sees it."""
        return text

    def _ids_of(self, encoding) -> list[int]:
        return encoding.ids

    def _columns(self, encodings, extra) -> dict[str, list]:
        read = {
            "input_ids": self._ids_of,
            "token_type_ids": lambda e: e.type_ids,
            "attention_mask": lambda e: e.attention_mask,
            "offset_mapping": lambda e: e.offsets,
            "special_tokens_mask": lambda e: e.special_tokens_mask,
            "word_ids": lambda e: e.word_ids,
        }
        return {name: [read[name](e) for e in encodings] for name in (*self.traits.inputs, *extra)}

    def _pad_values(self) -> dict:
        if self.pad_id is None:
            raise ProcessorError(f"{self.traits.name} has no pad token; give one: with_special(pad_token=...)")
        return {
            "input_ids": self.pad_id, "token_type_ids": self.traits.pad_type, "attention_mask": 0,
            "offset_mapping": (0, 0), "special_tokens_mask": 1, "word_ids": None,
        }  # fmt: skip

    # -- decoding

    def decode(self, ids, *, skip_special_tokens=False, tidy=None) -> str:
        """One row of ids -> text. ``tidy`` removes blanks before punctuation; None is the published setting."""
        ids = [int(i) for i in ids]
        self._check_ids(ids)
        return self._tidied(self._text_of(ids, skip_special_tokens), tidy)

    def batch_decode(self, rows, *, skip_special_tokens=False, tidy=None) -> list[str]:
        return [self.decode(row, skip_special_tokens=skip_special_tokens, tidy=tidy) for row in rows]

    def _text_of(self, ids, skip_special_tokens) -> str:
        return self.engine.decode(ids, skip_special_tokens=skip_special_tokens)

    def _tidied(self, text: str, tidy: bool | None) -> str:
        return tidied(text) if (self.traits.tidy if tidy is None else tidy) else text

    def _check_ids(self, ids):
        for place, i in enumerate(ids):
            if self.engine.id_to_token(i) is None if i >= 0 else True:
                raise ProcessorError(f"id {i} at place {place} is not in the vocabulary of {len(self)} tokens")

    # -- vocabulary

    def __len__(self) -> int:
        return self.engine.get_vocab_size(with_added_tokens=True)

    @property
    def base_size(self) -> int:
        """Tokens of the vocabulary files; what is added comes behind."""
        return self.engine.get_vocab_size(with_added_tokens=False)

    @property
    def vocab_size(self) -> int:
        """Rows an embedding needs: added tokens are counted."""
        return len(self)

    def id_of(self, token: str) -> int:
        """The id of a token; the unknown token's where it is not in the vocabulary."""
        found = self.vocabulary_id(token)
        found = self.unk_id if found is None else found
        if found is None:
            raise ProcessorError(
                f"token {token!r} is not in the vocabulary, and {self.traits.name} has no unknown token"
            )
        return found

    def token_of(self, i: int) -> str:
        self._check_ids([i])
        return self.engine.id_to_token(i)

    def vocabulary(self) -> dict[str, int]:
        """Token -> id, in id order."""
        return dict(sorted(self.engine.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1]))

    def vocabulary_id(self, token: str) -> int | None:
        """The id of a token, or None."""
        return self.engine.token_to_id(token)

    def _role_id(self, role):
        token = self.traits.special.get(role)
        return None if token is None else self.vocabulary_id(token)

    bos_id = property(lambda self: self._role_id("bos_token"))
    eos_id = property(lambda self: self._role_id("eos_token"))
    unk_id = property(lambda self: self._role_id("unk_token"))
    sep_id = property(lambda self: self._role_id("sep_token"))
    pad_id = property(lambda self: self._role_id("pad_token"))
    cls_id = property(lambda self: self._role_id("cls_token"))
    mask_id = property(lambda self: self._role_id("mask_token"))

    @property
    def special_ids(self) -> dict[str, int]:
        """Role -> id, of the roles this tokenizer has."""
        return {role: self._role_id(role) for role in ROLES if role in self.traits.special}

    def add_tokens(self, tokens, *, special=False) -> int:
        """Append tokens that the vocabulary lacks, numbered in the given order; returns how many were new."""
        before = len(self)
        (self.engine.add_special_tokens if special else self.engine.add_tokens)(list(tokens))
        return len(self) - before

    # -- identity and files

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides ids, for caches of tokenised data."""
        digest = hashlib.sha256(json.dumps(asdict(self.traits), sort_keys=True).encode())
        # the library reads its own scores back with another last digit; nine decimals are the same both times
        digest.update(re.sub(r"(\d\.\d{9})\d+", r"\1", self.engine.to_str()).encode())
        return digest.hexdigest()

    def save(self, folder) -> None:
        """Write the published layout: the vocabulary files, tokenizer.json and its companions."""
        from catalog.processors.text.files import save

        save(self, folder)

    @classmethod
    def load(cls, folder, name: str | None = None, options: dict | None = None) -> "Tokenizer":
        """Read a folder in the published layout.

        ``name`` is the published class where no file says it; ``options`` override its constructor arguments.
        """
        from catalog.processors.text.files import load

        return load(folder, name, options)
