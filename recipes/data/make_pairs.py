"""Write the demonstration samples of the GLUE tasks whose rows follow a small grammar: ``python recipes/data/make_pairs.py``.

Each folder beside this file gets a train and a dev table in that task's own GLUE columns. The sentences are made up by the
grammar below and only show that a task runs and learns; a score on them says nothing about the benchmark. The hand-written
sentences of ``sentiment/`` are not touched.
"""

import random
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
TRAIN, DEV = 1000, 200

PEOPLE = ["teacher", "nurse", "farmer", "pilot", "cook", "painter", "singer", "tailor"]
PLACES = ["in the village", "at the station", "near the bridge", "behind the school", "at the market", "by the river"]
OFFICE_PEOPLE = ["manager", "lawyer", "clerk", "engineer", "editor", "banker"]  # another genre: MNLI's mismatched part
OFFICE_PLACES = ["in the office", "at the court", "in the archive", "at the bank"]
TIMES = ["on Monday", "on Friday", "in the morning", "at midnight", "last week", "in April"]
EVENTS = [  # what was done in two ways, the same as infinitives, and to which thing
    (("bought", "purchased"), ("buy", "purchase"), "bicycle"),
    (("repaired", "fixed"), ("repair", "fix"), "radio"),
    (("cleaned", "washed"), ("clean", "wash"), "window"),
    (("found", "discovered"), ("find", "discover"), "key"),
    (("closed", "shut"), ("close", "shut"), "gate"),
    (("began", "started"), ("begin", "start"), "lesson"),
    (("sent", "mailed"), ("send", "mail"), "parcel"),
    (("built", "constructed"), ("build", "construct"), "shed"),
]
ADDED = ["because it was cheap", "with a friend", "for the first time", "without any help", "to please the children"]
TOO = [("big", "small"), ("long", "short"), ("wide", "narrow")]
CONTAINERS = ["bag", "box", "drawer", "car", "basket", "case"]
CONTENTS = ["cup", "book", "ladder", "violin", "lamp", "chair"]


class Scene(NamedTuple):
    """One event: who did what (an index into EVENTS), where and when."""

    person: str
    event: int
    place: str
    time: str


def scene(rng, people=PEOPLE, places=PLACES):
    """A scene drawn at random."""
    return Scene(rng.choice(people), rng.randrange(len(EVENTS)), rng.choice(places), rng.choice(TIMES))


def changed(rng, old, count):
    """``old`` with ``count`` of its four fields set to something else."""
    values = {"person": PEOPLE, "event": range(len(EVENTS)), "place": PLACES, "time": TIMES}
    chosen = rng.sample(sorted(values), count)
    return old._replace(**{name: rng.choice([v for v in values[name] if v != getattr(old, name)]) for name in chosen})


def told(rng, s):
    """The scene as a sentence, in one of several wordings with the same meaning."""
    verb, thing = rng.choice(EVENTS[s.event][0]), EVENTS[s.event][2]
    return rng.choice(
        [
            f"The {s.person} {verb} the {thing} {s.place} {s.time}.",
            f"{s.time[0].upper()}{s.time[1:]}, the {s.person} {verb} the {thing} {s.place}.",
            f"It was the {s.person} who {verb} the {thing} {s.place} {s.time}.",
        ]
    )


def asked(rng, s):
    """A question about how the scene's act is done, in one of several wordings."""
    verb, thing = rng.choice(EVENTS[s.event][1]), EVENTS[s.event][2]
    return rng.choice(
        [
            f"How can a {s.person} {verb} a {thing} {s.place}?",
            f"What is the best way for a {s.person} to {verb} a {thing} {s.place}?",
            f"How does a {s.person} {verb} a {thing} {s.place}?",
        ]
    )


def paraphrase(rng, wording):
    """Two wordings and whether they say the same: (sentence, sentence, 0 or 1)."""
    first, same = scene(rng), rng.randrange(2)
    second = first if same else changed(rng, first, rng.choice([2, 3, 4]))
    return wording(rng, first), wording(rng, second), same


def similarity(rng):
    """Two sentences and how alike they are, from 0 to 5: five less one and a quarter for every fact that differs."""
    first, differ = scene(rng), rng.randrange(5)
    return told(rng, first), told(rng, changed(rng, first, differ)), f"{5 - 1.25 * differ:.3f}"


def inference(rng, people=PEOPLE, places=PLACES):
    """Premise, hypothesis and relation: told or generalised, a fact added, or a fact denied or swapped for another."""
    s = scene(rng, people, places)
    verbs, bases, thing = EVENTS[s.event]
    verb, base, relation = rng.choice(verbs), rng.choice(bases), rng.choice(["entailment", "neutral", "contradiction"])
    elsewhere = rng.choice([place for place in places if place != s.place])
    hypothesis = {
        "entailment": [f"The {s.person} {verb} the {thing} {s.place}.", f"Somebody {verb} the {thing} {s.place}."],
        "neutral": [f"The {s.person} {verb} the {thing} {rng.choice(ADDED)}."],
        "contradiction": [
            f"The {s.person} {verb} the {thing} {elsewhere}.",
            f"The {s.person} did not {base} the {thing}.",
        ],
    }[relation]
    return told(rng, s), rng.choice(hypothesis), relation


def answered(rng):
    """A question, a sentence, and whether the sentence answers it: it leaves the place or the time out."""
    s = scene(rng)
    verb, thing = rng.choice(EVENTS[s.event][0]), EVENTS[s.event][2]
    wanted, given = rng.choice(["place", "time"]), rng.choice(["place", "time"])
    question = (
        f"{'Where' if wanted == 'place' else 'When'} did the {s.person} {rng.choice(EVENTS[s.event][1])} the {thing}?"
    )
    sentence = f"The {s.person} {verb} the {thing} {getattr(s, given)}."
    return question, sentence, "entailment" if wanted == given else "not_entailment"


def reference(rng):
    """A sentence with a pronoun, the sentence with a noun in its place, and whether that noun is the right one."""
    large, small = rng.choice(TOO)
    inner, outer, too = rng.choice(CONTENTS), rng.choice(CONTAINERS), rng.choice([large, small])
    right = inner if too == large else outer
    named = rng.choice([inner, outer])
    return (
        f"The {inner} does not fit into the {outer} because it is too {too}.",
        f"The {named} is too {too}.",
        int(named == right),
    )


def acceptable(rng):
    """A sentence and whether it is well formed: a broken one has two words swapped, a wrong verb form or a lost word."""
    s = scene(rng)
    base, thing = rng.choice(EVENTS[s.event][1]), EVENTS[s.event][2]
    subject, verb = rng.choice([(f"the {s.person}", f"has to {base}"), (f"the {s.person}s", f"have to {base}")])
    good = f"{subject} {verb} the {thing} {s.place}"
    if rng.randrange(2):
        return good.capitalize() + ".", 1
    words = good.split()
    at = rng.randrange(len(words) - 1)
    bad = [
        " ".join([*words[:at], words[at + 1], words[at], *words[at + 2 :]]),
        good.replace(" has ", " have ") if " has " in good else good.replace(" have ", " has "),
        good.replace(" to ", " "),
        good.replace(f"the {thing}", f"{thing} the"),
    ]
    return rng.choice(bad).capitalize() + ".", 0


def distinct(rng, make, count):
    """``count`` different rows of ``make(rng)``, or all that a thousand draws in a row can find."""
    rows, misses = {}, 0
    while len(rows) < count and misses < 1000:
        row = make(rng)
        misses = misses + 1 if row in rows else 0
        rows[row] = None
    return list(rows)


def write(path, header, rows):
    """One GLUE table; ``header`` is empty where the task's files have none."""
    path.parent.mkdir(exist_ok=True)
    lines = ["\t".join(map(str, row)) for row in ([header] if header else []) + rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sample(name, header, make, arrange, dev=("dev",), elsewhere=None):
    """Write one task's folder. ``arrange(index, row)`` puts a row into the task's columns."""
    rng = random.Random(name)
    rows = distinct(rng, make, TRAIN + DEV)
    held = min(DEV, len(rows) // 5)
    parts = {"train": rows[held:], dev[0]: rows[:held]}
    if elsewhere:
        parts[dev[1]] = distinct(rng, elsewhere, held)
    for part, found in parts.items():
        write(HERE / name / f"{part}.tsv", header, [arrange(i, row) for i, row in enumerate(found)])


def main():
    """Write every folder."""

    def indexed(i, row):
        return (i, *row)

    def office(rng):
        return inference(rng, OFFICE_PEOPLE, OFFICE_PLACES)

    sample("cola", (), acceptable, lambda i, row: ("demo", row[1], "" if row[1] else "*", row[0]))
    sample(
        "mrpc",
        ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
        lambda rng: paraphrase(rng, told),
        lambda i, row: (row[2], 2 * i, 2 * i + 1, row[0], row[1]),
    )
    sample(
        "qqp",
        ("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
        lambda rng: paraphrase(rng, asked),
        lambda i, row: (i, 2 * i, 2 * i + 1, *row),
    )
    stsb = ("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score")
    sample("stsb", stsb, similarity, lambda i, row: (i, "demo", "grammar", 2026, i, "none", "none", *row))
    sample(
        "mnli",
        ("index", "promptID", "pairID", "genre", "sentence1", "sentence2", "gold_label"),
        inference,
        lambda i, row: (i, i, i, "demo", *row),
        dev=("dev_matched", "dev_mismatched"),
        elsewhere=office,
    )
    sample("qnli", ("index", "question", "sentence", "label"), answered, indexed)
    two = {"entailment": "entailment", "neutral": "not_entailment", "contradiction": "not_entailment"}
    sample(
        "rte",
        ("index", "sentence1", "sentence2", "label"),
        inference,
        lambda i, row: (i, row[0], row[1], two[row[2]]),
    )
    sample("wnli", ("index", "sentence1", "sentence2", "label"), reference, indexed)


if __name__ == "__main__":
    main()
