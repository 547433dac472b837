"""Sentences with people, places and organisations by a small grammar, a tag a word: ``entities`` and ``parts_of_speech``.

A fifth of the names occur in the measured split alone, and some words are a verb here and a noun there, so that the words
around decide.
"""

import random
from collections.abc import Iterator

COUNTS = {"train": 1000, "validation": 150}
FIRST = [
    "Anna", "Boris", "Clara", "David", "Elena", "Frank", "Greta", "Hugo", "Irene", "Jonas", "Karin", "Louis", "Maria", "Nils",
    "Olga", "Peter", "Rosa", "Simon", "Tina", "Viktor",
]  # fmt: skip
LAST = [
    "Alder", "Berg", "Castle", "Dorn", "Ember", "Field", "Gray", "Holm", "Ibsen", "Jarvis", "Keller", "Lane", "Moor", "North",
    "Olsen", "Price", "Rivers", "Stone", "Thorn", "Waters",
]  # fmt: skip
PLACES = [
    "Arden", "Belmont", "Corvale", "Dunmore", "Eastwick", "Farrow", "Glenby", "Harwick", "Ilford", "Kelton", "Lindal",
    "Marston", "Norvik", "Oakham", "Port Alma", "Queensby", "Red Hill", "Saltburn", "Tarnow", "West Haven",
]  # fmt: skip
FIRMS = [
    "Alder Bank", "Bright Systems", "City Museum", "Delta Airlines", "Eagle Press", "First Insurance", "Green Party",
    "Harbour Trust", "Iron Works", "Keller Group", "Lake University", "Metro News", "Nord Bank", "Ocean Institute",
    "Price Group", "River Rovers", "Stone Brothers", "Union Steel", "Water Board", "West Radio",
]  # fmt: skip
NAMES = {"LOC": PLACES, "ORG": FIRMS}
TEMPLATES = [
    "{PER} works/VERB for/ADP {ORG} in/ADP {LOC} ./PUNCT",
    "{ORG} opened/VERB a/DET new/ADJ office/NOUN in/ADP {LOC} ./PUNCT",
    "The/DET works/NOUN of/ADP {PER} are/AUX shown/VERB in/ADP {LOC} ./PUNCT",
    "{PER} visits/VERB {LOC} every/DET summer/NOUN ./PUNCT",
    "Two/NUM visits/NOUN to/ADP {LOC} were/AUX enough/ADJ for/ADP {PER} ./PUNCT",
    "Yesterday/NOUN {PER} met/VERB {PER} near/ADP {LOC} ,/PUNCT said/VERB {ORG} ./PUNCT",
    "She/PRON never/ADV trusted/VERB {ORG} or/CCONJ {PER} ./PUNCT",
    "Shares/NOUN of/ADP {ORG} fell/VERB after/ADP {PER} left/VERB ./PUNCT",
    "{ORG} shares/VERB its/PRON profit/NOUN with/ADP {ORG} ./PUNCT",
    "The/DET train/NOUN from/ADP {LOC} to/ADP {LOC} was/AUX late/ADJ again/ADV ./PUNCT",
    "They/PRON train/VERB young/ADJ people/NOUN in/ADP {LOC} ./PUNCT",
    "Nobody/PRON in/ADP the/DET town/NOUN knew/VERB {PER} ./PUNCT",
    "We/PRON plan/VERB nothing/PRON before/ADP winter/NOUN ,/PUNCT wrote/VERB {PER} ./PUNCT",
    "The/DET plan/NOUN of/ADP the/DET council/NOUN was/AUX good/ADJ ./PUNCT",
    "Does/AUX {PER} still/ADV live/VERB in/ADP {LOC} ?/PUNCT",
]


def entities(split: str) -> Iterator[dict[str, list[str]]]:
    """``tokens`` and their ``tags``: B-PER, I-PER, ... and O."""
    for words in _sentences(split):
        yield {"tokens": [word for word, _, _ in words], "tags": [entity for _, _, entity in words]}


def parts_of_speech(split: str) -> Iterator[dict[str, list[str]]]:
    """``tokens`` and their ``tags``, as Universal Dependencies names them."""
    for words in _sentences(split):
        yield {"tokens": [word for word, _, _ in words], "tags": [part for _, part, _ in words]}


def _sentences(split: str) -> Iterator[list[tuple[str, str, str]]]:
    """(word, part of speech, entity tag) of each sentence."""
    rng = random.Random(f"tagged {split}")
    for _ in range(COUNTS[split]):
        words = []
        for part in rng.choice(TEMPLATES).split():
            if part.startswith("{"):
                kind = part.strip("{}")
                name = _person(split, rng) if kind == "PER" else rng.choice(_known(NAMES[kind], split)).split()
                words += [(word, "PROPN", f"{'I' if i else 'B'}-{kind}") for i, word in enumerate(name)]
            else:
                words.append((*part.rsplit("/", 1), "O"))
        yield words


def _person(split: str, rng: random.Random) -> list[str]:
    last = [rng.choice(_known(LAST, split))]
    return [rng.choice(_known(FIRST, split)), *last] if rng.random() < 0.7 else last


def _known(names: list[str], split: str) -> list[str]:
    return names if split == "validation" else names[: len(names) * 4 // 5]
