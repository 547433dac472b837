"""Vocabularies as the models' authors first released them, turned into the published layout (vocab.json, merges.txt)."""

import base64
import binascii
import gzip
import json
import zlib

from catalog.errors import ProcessorError
from catalog.processors.text.vocabularies import Source

OPENAI = ("encoder.json", "vocab.bpe")  # GPT-2: the published files under other names
CLIP = "bpe_simple_vocab_16e6.txt.gz"
WHISPER = "multilingual.tiktoken"
CLIP_MERGES = 49152 - 256 - 2  # the released list is longer than what was trained with


def publish(source: Source) -> None:
    """Where a folder holds only an original vocabulary, add vocab.json and merges.txt to ``source.files``."""
    if source.find("vocab.json"):
        return
    if source.find(OPENAI[0]):
        for original, name in zip(OPENAI, ("vocab.json", "merges.txt")):
            source.files[name] = source.bytes(original)[1]
            del source.files[original]
    elif source.find(CLIP):
        add(source, *from_clip(source))
    elif source.find(WHISPER):
        add(source, *from_tiktoken(source))


def add(source: Source, vocab: dict[str, int], merges: list[tuple[str, str]]) -> None:
    source.files["vocab.json"] = json.dumps(vocab, ensure_ascii=False).encode()
    source.files["merges.txt"] = "\n".join(["#version: 0.2", *map(" ".join, merges), ""]).encode()


def letters_of_bytes() -> dict[int, str]:
    """Byte -> visible letter (Radford et al., 2019): printable Latin-1 stays, the others follow from U+0100 on."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


def from_clip(source: Source) -> tuple[dict[str, int], list[tuple[str, str]]]:
    name, content = source.bytes(CLIP)
    try:
        lines = gzip.decompress(content).decode("utf-8").split("\n")[1 : 1 + CLIP_MERGES]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ProcessorError(f"{source.path(name)}: not a complete gzip of UTF-8 text ({error})") from None
    del source.files[name]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
    letters = list(letters_of_bytes().values())
    pieces = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    return {piece: i for i, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}, merges


def from_tiktoken(source: Source) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Lines of base64 bytes and rank -> vocabulary, and the pair that makes each rank in turn."""
    path, text = source.text(WHISPER)
    del source.files[WHISPER]
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(text.rstrip("\n").split("\n")):
        token, _, rank = line.partition(" ")
        try:
            ranks[base64.b64decode(token)] = int(rank)
        except (binascii.Error, ValueError):
            raise ProcessorError(
                f"{path}:{number + 1}: expected base64 bytes and a rank, found {line[:40]!r}"
            ) from None
    letters = letters_of_bytes()

    def visible(piece: bytes) -> str:
        return "".join(letters[byte] for byte in piece)

    ordered = sorted(ranks.items(), key=lambda item: item[1])
    merges = [halves(piece, rank, ranks) for piece, rank in ordered if len(piece) > 1]
    return {visible(piece): rank for piece, rank in ordered}, [(visible(a), visible(b)) for a, b in merges]


def halves(piece: bytes, rank: int, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two pieces that are joined last on the way to ``piece``: BPE over it with the lower ranks only."""
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 2:
        pairs = [(ranks.get(parts[i] + parts[i + 1], rank), i) for i in range(len(parts) - 1)]
        lowest, i = min(pairs)
        if lowest >= rank:
            raise ProcessorError(
                f"{WHISPER}: rank {rank} ({piece!r}) cannot be made from lower ranks; the file is damaged"
            )
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts[0], parts[1]
