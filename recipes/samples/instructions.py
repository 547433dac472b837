"""Small questions about words, with their answers: ``instructions("train")``. Every word is asked for in training, in the
measured split in other phrasings."""

import random
from collections.abc import Iterator

PLURALS = {
    "mouse": "mice", "foot": "feet", "child": "children", "wolf": "wolves", "box": "boxes", "city": "cities", "tooth": "teeth",
    "leaf": "leaves", "goose": "geese", "man": "men", "baby": "babies", "knife": "knives", "bus": "buses", "dog": "dogs",
}  # fmt: skip
OPPOSITES = {
    "hot": "cold", "big": "small", "early": "late", "open": "closed", "young": "old", "wet": "dry", "fast": "slow",
    "light": "dark", "rich": "poor", "full": "empty", "strong": "weak", "high": "low", "hard": "soft", "near": "far",
}  # fmt: skip
PASTS = {
    "go": "went", "see": "saw", "buy": "bought", "run": "ran", "eat": "ate", "write": "wrote", "sing": "sang", "take": "took",
    "find": "found", "give": "gave", "know": "knew", "swim": "swam", "think": "thought", "fly": "flew",
}  # fmt: skip
ASKED = [  # the words, how they are asked for, and what the answer says around the word
    (PLURALS, ("the plural of", "more than one of", "many, not one:"), "The plural is {}."),
    (OPPOSITES, ("the opposite of", "the contrary of", "not the same but the reverse:"), "The opposite is {}."),
    (PASTS, ("the past of", "yesterday's form of", "the past tense:"), "The past is {}."),
]
OPENINGS = ["What is", "Tell me", "Write", "Please say", "Do you know", "I would like to hear"]


def instructions(split: str) -> Iterator[dict[str, str]]:
    """Pairs of instruction and response; a fifth of the combinations of opening, phrase and word is for measuring."""
    every = [
        {"instruction": f"{opening} {phrase} {word}", "response": answer.format(found)}
        for words, phrases, answer in ASKED
        for word, found in words.items()
        for phrase in phrases
        for opening in OPENINGS
    ]
    random.Random("instructions").shuffle(every)
    measured = len(every) // 5
    yield from every[:measured] if split == "validation" else every[measured:]
