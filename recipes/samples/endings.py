"""How a small scene goes on: ``endings("train")`` gives a context, four endings and which of them fits."""

import random
from collections.abc import Iterator

COUNTS = {"train": 1200, "validation": 150}
NAMES = ["Ann", "Tom", "Mary", "Paul", "Eva", "Max", "Ida", "Ben"]
WHEN = ["In the morning", "After work", "On Sunday", "Late at night", "Before lunch"]
SCENES = [  # what happens, and what one does then
    (("is hungry", "has eaten nothing today"), "eats a plate of soup"),
    (("is thirsty", "has walked through the desert"), "drinks a glass of water"),
    (("is tired", "has not slept for two days"), "goes to bed"),
    (("feels cold", "stands in the snow"), "puts on a warm coat"),
    (("sees that it rains", "looks at the dark clouds"), "opens an umbrella"),
    (("has a headache", "feels ill"), "calls a doctor"),
    (("is late", "hears that the bus leaves"), "runs to the station"),
    (("has dirty hands", "has worked in the garden"), "takes some soap"),
    (("hears the phone", "waits for a call"), "picks up the phone"),
    (("cannot read the letter", "sits in the dark"), "turns on the lamp"),
    (("has lost the key", "stands before a closed door"), "rings the bell"),
    (("has a birthday", "turns twenty today"), "invites all friends"),
]


def endings(split: str) -> Iterator[dict]:
    """Rows of ``context``, ``endings`` and ``label``, the number of the ending that fits."""
    rng = random.Random(f"endings {split}")
    for _ in range(COUNTS[split]):
        chosen = rng.sample(range(len(SCENES)), 4)
        label, name = rng.randrange(4), rng.choice(NAMES)
        happens = rng.choice(SCENES[chosen[label]][0])
        yield {
            "context": f"{rng.choice(WHEN)} {name} {happens}.",
            "endings": [f"{name} {SCENES[i][1]}." for i in chosen],
            "label": label,
        }
