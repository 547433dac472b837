"""The few fields of a SentencePiece ``.model`` file that a tokenizer needs.

The file is a protocol buffer: a run of (field number, wire type, value). Reading it here, in one page, spares users two
compiled dependencies (sentencepiece, protobuf) whose versions collide with those of other tools.
"""

import struct
from dataclasses import dataclass

from catalog.errors import ProcessorError

UNIGRAM, BPE, WORD, CHAR = 1, 2, 3, 4  # model_type
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # type of a piece


@dataclass(frozen=True)
class SpmFile:
    pieces: list[tuple[str, float, int]]  # text, score, type
    model_type: int = UNIGRAM
    unk_id: int = 0
    byte_fallback: bool = False
    charsmap: bytes = b""  # compiled normalisation rules, for normalizers.Precompiled
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True

    @property
    def scores(self) -> list[tuple[str, float]]:
        return [(text, score) for text, score, _ in self.pieces]


def read(content: bytes, path) -> SpmFile:
    """Raises ProcessorError naming ``path`` where the bytes are no complete SentencePiece model."""
    try:
        pieces, trainer, normalizer = [], {}, {}
        for number, value in fields(content):
            if number == 1:
                pieces.append(piece(value))
            elif number == 2:
                trainer = dict(fields(value))
            elif number == 3:
                normalizer = dict(fields(value))
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, struct.error) as error:
        raise ProcessorError(f"{path}: not a SentencePiece model, or truncated ({error})") from None
    if not pieces:
        raise ProcessorError(f"{path}: no pieces in it; expected a SentencePiece model")
    texts = [text for text, _, _ in pieces]
    if len(set(texts)) < len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise ProcessorError(f"{path}: piece {twice!r} stands in it twice; each piece must have one id")
    made = SpmFile(
        pieces=pieces,
        model_type=trainer.get(3, UNIGRAM),
        unk_id=trainer.get(40, 0),
        byte_fallback=bool(trainer.get(35, 0)),
        charsmap=normalizer.get(2, b""),
        add_dummy_prefix=bool(normalizer.get(3, 1)),
        remove_extra_whitespaces=bool(normalizer.get(4, 1)),
    )
    if made.unk_id >= len(pieces) or made.model_type not in (UNIGRAM, BPE, WORD, CHAR):
        raise ProcessorError(
            f"{path}: unknown token {made.unk_id} of {len(pieces)} pieces, model type {made.model_type}: "
            f"the file is damaged or newer than this reader"
        )
    return made


def piece(message: bytes) -> tuple[str, float, int]:
    found = dict(fields(message))
    score = struct.unpack("<f", found[2])[0] if 2 in found else 0.0
    return found[1].decode("utf-8"), score, found.get(3, NORMAL)


def fields(message: bytes):
    """(field number, value): an int for a varint, bytes for everything else."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = varint(message, at)
        else:
            size = {1: 8, 5: 4}.get(kind)
        if size is None or at + size > len(message):
            raise ValueError(f"field {key >> 3} at byte {at} does not fit")
        yield key >> 3, message[at : at + size]
        at += size


def varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError(f"a number at byte {at} does not end")
