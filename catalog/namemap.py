"""Our parameter names <-> the published ones, declared as a table on the model's page.

A rule is ``(ours, published[, op])``. Both sides are templates that must match the WHOLE name: literal text; ``{i}`` an
integer; ``{a,b,c}`` alternatives, zipped between the sides; ``*`` one leaf word; ``**`` any path (legacy spellings only).
Without an op one published tensor is one of ours. An op (:mod:`catalog.ops`) converts lists: what stands on one side only
(alternatives, or an integer) is the list.

The rest of a map: ``prefix`` (optional on load, written on save), ``drop`` (published tensors that hold no weight),
``legacy`` (old spelling -> new, load only), ``tied`` (published copies of one of our tensors: checked equal, not stored).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from catalog.errors import NameMapError

_TOKEN = re.compile(r"\{([^{}]*)\}|(\*\*?)|([^{}*]+)")


class Template:
    """One side of a rule. ``alternatives`` are the literal words of its ``{a,b}``; ``integers`` the names of its ``{i}``."""

    def __init__(self, text: str):
        self.text, self.alternatives, self.integers, pattern = text, [], [], ""
        for braces, star, literal in _TOKEN.findall(text):
            if star:
                name = "path" if star == "**" else "leaf"
                pattern += rf"(?P<{name}>.+)" if star == "**" else rf"(?P<{name}>[^.]+)"
            elif literal:
                pattern += re.escape(literal)
            elif "," in braces:
                self.alternatives = [word.strip() for word in braces.split(",")]
                pattern += "(?P<word>" + "|".join(map(re.escape, self.alternatives)) + ")"
            else:
                self.integers.append(braces)
                pattern += rf"(?P<{braces}>\d+)"
        self.pattern = re.compile(pattern)

    def match(self, name: str) -> dict[str, str] | None:
        """What the whole ``name`` binds, or ``None``."""
        found = self.pattern.fullmatch(name)
        return found.groupdict() if found else None

    def fill(self, values: Mapping[str, str]) -> str:
        """The name with these values put in."""

        def value(token):
            braces, star, literal = token.groups()
            if star:
                return values["path" if star == "**" else "leaf"]
            return literal if literal else values["word" if "," in braces else braces]

        return _TOKEN.sub(value, self.text)


@dataclass(frozen=True)
class Step:
    """One piece of a conversion: these published tensors are those of ours, through ``op`` (``None``: as they stand)."""

    ours: tuple[str, ...]
    published: tuple[str, ...]
    op: object = None


class Rule:
    """One line of the table; see the module docstring."""

    def __init__(self, ours: str, published: str, op=None):
        self.ours, self.published, self.op = Template(ours), Template(published), op
        many, one = set(self.ours.integers), set(self.published.integers)
        self.listed = (many | one) - (many & one)  # integers on one side only: a list that an op joins or parts
        words, others = self.ours.alternatives, self.published.alternatives
        self.zipped = dict(zip(others, words)) if words and others else None
        if op is None and (self.listed or bool(words) != bool(others)):
            raise NameMapError(f"({ours}, {published}) puts several tensors on one side and names no op")
        if words and others and len(words) != len(others):
            raise NameMapError(f"({ours}, {published}) zips {len(words)} words with {len(others)}")

    def key(self, bound: Mapping[str, str], published: bool) -> tuple:
        """What names of the same conversion share: everything that both sides bind."""
        bound = dict(bound)
        if self.zipped is None:
            bound.pop("word", None)
        elif published:
            bound["word"] = self.zipped[bound["word"]]
        return tuple(sorted((k, v) for k, v in bound.items() if k not in self.listed))

    def step(self, names: Iterable[str], published: bool) -> Step:
        """The conversion that these names (all of one key, of one side) take part in; names of the other side filled in."""
        side, other = (self.published, self.ours) if published else (self.ours, self.published)
        names = sorted(names, key=lambda n: self._rank(side, n))
        bound = side.match(names[0])
        if self.zipped is not None:
            table = self.zipped if published else {ours: theirs for theirs, ours in self.zipped.items()}
            filled = [other.fill({**bound, "word": table[bound["word"]]})]
        elif other.alternatives:
            filled = [other.fill({**bound, "word": word}) for word in other.alternatives]
        elif set(other.integers) - set(side.integers):
            (index,) = set(other.integers) - set(side.integers)
            filled = [other.fill({**bound, index: str(n)}) for n in range(self.op.count)]
        else:
            filled = [other.fill(bound)]
        return Step(tuple(filled), tuple(names), self.op) if published else Step(tuple(names), tuple(filled), self.op)

    def _rank(self, side, name):
        bound = side.match(name)
        word = side.alternatives.index(bound["word"]) if side.alternatives else 0
        return [word, *(int(bound[i]) for i in side.integers)]


class NameMap:
    """The names of one model; see the module docstring. Raises NameMapError where two rules could match one name."""

    def __init__(self, rules, *, prefix: str = "", drop=(), legacy=(), tied: Mapping[str, str] | None = None):
        self.rules = [Rule(*rule) for rule in rules]
        self.prefix, self.tied = prefix, dict(tied or {})
        self.drop = [Template(text) for text in drop]
        self.legacy = [(Template(old), Template(new)) for old, new in legacy]
        self._check()

    def _check(self):
        for side in ("ours", "published"):
            seen = defaultdict(list)
            for number, rule in enumerate(self.rules):
                for name in _examples(getattr(rule, side)):
                    seen[name].append(number)
                    seen[name] += [
                        n for n, r in enumerate(self.rules) if n != number and getattr(r, side).match(name) is not None
                    ]
            for name, numbers in seen.items():
                if len(set(numbers)) > 1:
                    rules = " and ".join(getattr(self.rules[n], side).text for n in sorted(set(numbers)))
                    raise NameMapError(f"two rules match the {side} name '{name}': {rules}")

    def joined(self, head: "NameMap", prefix: str | None = None) -> "NameMap":
        """The map of a head over this backbone: our backbone names gain ``backbone.``, published ones ``prefix``."""
        prefix = self.prefix if prefix is None else prefix
        both = NameMap.__new__(NameMap)
        both.prefix = ""
        both.rules = [Rule(f"backbone.{r.ours.text}", prefix + r.published.text, r.op) for r in self.rules] + head.rules
        both.drop = [Template(prefix + t.text) for t in self.drop] + head.drop
        both.legacy = self.legacy + head.legacy
        both.tied = {prefix + k: f"backbone.{v}" for k, v in self.tied.items()} | head.tied
        both._check()
        return both

    def current(self, name: str) -> str:
        """A published name in today's spelling."""
        for old, new in self.legacy:
            bound = old.match(name)
            if bound is not None:
                return new.fill(bound)
        return name

    def dropped(self, name: str) -> bool:
        """Whether the published tensor of this name holds no weight."""
        return any(template.match(name) is not None for template in self.drop)

    def steps(self, names: Iterable[str], published: bool) -> Iterator[Step]:
        """The conversions that ``names`` (published ones, or ours) take part in; a name no rule matches is left out."""
        groups = defaultdict(list)
        for name in names:
            found = self._rule(name, published)
            if found is not None:
                rule, bound = found
                groups[rule, rule.key(bound, published)].append(name)
        for (rule, _), members in groups.items():
            yield rule.step(members, published)

    def _rule(self, name, published):
        for rule in self.rules:
            bound = (rule.published if published else rule.ours).match(name)
            if bound is not None:
                return rule, bound
        return None

    def knows(self, name: str) -> bool:
        """Whether a rule, ``drop`` or ``tied`` speaks of this published name (today's spelling)."""
        return name in self.tied or self.dropped(name) or self._rule(name, True) is not None

    def explain(self, ours: str) -> str:
        """In words: which published tensors our parameter is, and through which op."""
        for step in self.steps([ours], published=False):
            through = f" through {step.op}" if step.op is not None else ""
            return f"{ours} is {', '.join(step.published)}{through}"
        raise NameMapError(f"no rule speaks of '{ours}'; ours are: {', '.join(r.ours.text for r in self.rules)}")


def _examples(template):
    """One name for each alternative of a template, to find rules that overlap."""
    values = {"leaf": "weight", "path": "some.path", **dict.fromkeys(template.integers, "0")}
    return [template.fill({**values, "word": word}) for word in template.alternatives or [""]]
