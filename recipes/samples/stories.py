"""Short stories by a small grammar, for language models: ``stories("train")`` gives rows of one text each."""

import random
from collections.abc import Iterator

COUNTS = {"train": 1500, "validation": 100}
NAMES = [
    ("Ann", "she", "her"),
    ("Tom", "he", "his"),
    ("Mary", "she", "her"),
    ("Paul", "he", "his"),
    ("Eva", "she", "her"),
]
JOBS = {
    "baker": ("flour", "oven", "a loaf of bread"), "farmer": ("seeds", "field", "a basket of corn"),
    "tailor": ("cloth", "workshop", "a warm coat"), "painter": ("colours", "studio", "a picture of the sea"),
    "carpenter": ("wood", "shed", "a small boat"), "cook": ("fish", "kitchen", "a pot of soup"),
}  # fmt: skip
TOWNS = ["by the river", "on the hill", "near the harbour", "at the edge of the forest"]
DAYS = ["One morning", "On a cold day", "Last spring", "Late in the evening"]
FRIENDS = ["neighbour", "brother", "sister", "teacher", "friend"]
TROUBLES = {
    "was tired and slept until noon": "rested well", "had lost the key": "found the key under a stone",
    "was ill and stayed in bed": "felt better", "had no money left": "earned some coins",
}  # fmt: skip


def stories(split: str) -> Iterator[dict[str, str]]:
    """The stories of a split: who someone is, a trouble, how it ends. What comes later follows from what came before."""
    rng = random.Random(f"stories {split}")
    for _ in range(COUNTS[split]):
        name, he, his = rng.choice(NAMES)
        job, (stuff, place, work) = rng.choice(list(JOBS.items()))
        trouble, end = rng.choice(list(TROUBLES.items()))
        friend = rng.choice(FRIENDS)
        lines = [
            f"{name} was a {job} who lived {rng.choice(TOWNS)}.",
            f"Every day {name} carried {stuff} to the {place} and made {work}.",
            f"{rng.choice(DAYS)} {he} {trouble}, so nobody worked in the {place}.",
            f'"I need {work}," said {his} {friend}.',
            f"Soon {he} {end} and went back to the {place}.",
            f"In the end {name} made {work}, and {his} {friend} was glad.",
        ]
        yield {"text": " ".join(lines)}
