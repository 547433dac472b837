"""Which of the known names a misspelt one was meant to be."""

from collections.abc import Iterable


def distance(a: str, b: str) -> int:
    """Edits from ``a`` to ``b``, each an insertion, a deletion, a substitution or a swap of neighbours."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` most likely stands for, or None when nothing is near.

    A right last word counts as one edit without its section (``lr`` for ``optim.lr``), as two in a wrong one.
    """
    scored = sorted((_score(name, candidate), i, candidate) for i, candidate in enumerate(known))
    if not scored:
        return None
    score, _, best = scored[0]
    return best if score <= max(1, min(len(name), len(best)) // 3) else None


def _score(name: str, candidate: str) -> int:
    score = distance(name.lower(), candidate.lower())
    leaf, other = name.rpartition(".")[2], candidate.rpartition(".")[2]
    if "." in candidate and len(leaf) > 1:
        apart = distance(leaf, other)
        if apart <= len(leaf) // 4:
            score = min(score, apart + (2 if "." in name else 1))
    return score
