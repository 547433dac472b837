"""``python -m catalog run TASK --model FOLDER [INPUT ...]``: pipelines on the command line."""

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalog.errors import ConfigError, ProcessorError
from catalog.pipelines.making import TASKS, pipeline


class Parser(argparse.ArgumentParser):
    """A parser whose ``inputs`` may stand behind options too, as in ``TASK --model FOLDER INPUT``."""

    def parse_known_args(self, args=None, namespace=None):
        """As the base class, which takes ``inputs`` in front of the first option only."""
        found, rest = super().parse_known_args(args, namespace)
        if hasattr(found, "inputs") and not any(word.startswith("-") for word in rest):
            found.inputs, rest = [*found.inputs, *rest], []
        return found, rest


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``run``."""
    parser.description = f"Do a task with a model. Tasks: {', '.join(TASKS)}."
    parser.add_argument("task", metavar="TASK")
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="texts, paths of images or sounds, or JSON objects")
    parser.add_argument("--model", required=True, metavar="FOLDER", help="a model with its processor, or a hub id")
    parser.add_argument(
        "--file", metavar="FILE", help="inputs from a file, one a line; - or no input at all: from stdin"
    )
    parser.add_argument("--pair", help="text-classification: the second text of the one INPUT")
    parser.add_argument("--context", help="question-answering: the text that the questions are about")
    parser.add_argument("--labels", metavar="A,B", help="zero-shot tasks: the labels to choose from")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="an option of the task: top_k=3"
    )
    parser.add_argument("--framework", default="torch", help="torch (the default), flax or tf")
    parser.add_argument("--json", action="store_true", help="one JSON object a line: the input and its answer")
    parser.set_defaults(run=run)


def run(options) -> None:
    """Print the answer to each input."""
    logging.basicConfig(format="note: %(message)s", level=logging.WARNING)
    if options.inputs and options.file:
        raise ConfigError("inputs and --file both say what to work on; give one of them")
    named = dict(_option(text) for text in options.set)
    if options.labels is not None:
        named["candidate_labels"] = options.labels
    do = pipeline(options.task, options.model, framework=options.framework)
    given = [_put(options, one) for one in _inputs(options)]
    try:
        answers = do(given, **named)
    except TypeError as error:
        if "argument" not in str(error) or "__call__" not in str(error):
            raise
        raise ConfigError(f"{options.task}: {str(error).partition('__call__() ')[2]}; see --labels and --set") from None
    for one, answer in zip(given, answers):
        print(json.dumps({"input": one, "output": answer}, ensure_ascii=False) if options.json else _shown(one, answer))


def _option(text: str) -> tuple[str, Any]:
    """``top_k=3`` as a name and a value; what is not JSON is a text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigError(f"--set {text}: give NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _inputs(options) -> Iterator[Any]:
    """The inputs in order; lines of a file or of stdin that are empty are none."""
    if options.inputs:
        yield from (_parsed(text, f"INPUT {number}") for number, text in enumerate(options.inputs, 1))
        return
    name = "stdin" if options.file in (None, "-") else options.file
    try:
        lines = sys.stdin.read() if name == "stdin" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProcessorError(f"{name}: cannot be read as text ({error})") from None
    found = [(number, line) for number, line in enumerate(lines.splitlines(), 1) if line.strip()]
    if not found:
        raise ProcessorError(f"{name}: no input; give one a line")
    yield from (_parsed(line, f"{name}:{number}") for number, line in found)


def _parsed(text: str, where: str) -> Any:
    """An input; what begins with a brace, or is a list of objects, is JSON."""
    if not text.lstrip().startswith(("{", "[{")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ProcessorError(f"{where}: begins as JSON, and is none ({error})") from None


def _put(options, given: Any) -> Any:
    """The input as the task takes it, with what the options say of it."""
    if options.pair is not None:
        return {"text": given, "text_pair": options.pair}
    if options.context is not None:
        return {"question": given, "context": options.context}
    return given


def _shown(given: Any, answer: Any) -> str:
    """A line, or one for each of several answers: what counts in front, the text behind its label."""
    if isinstance(answer, list) and all(isinstance(item, dict) for item in answer):
        return "\n".join(_line(item) for item in answer) or "nothing found"
    if not isinstance(answer, dict):
        return json.dumps(answer)
    if set(answer) <= {"label", "score"}:
        return "\t".join([_line(answer), *([given] if isinstance(given, str) else map(str, given.values()))])
    return _line(answer)


def _line(item: dict) -> str:
    values = (_value(value) for name, value in item.items() if name not in ("sequence", "chunks") or len(item) == 1)
    return "\t".join([*values, *([item["sequence"]] if "sequence" in item and "token_str" in item else [])])


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return ", ".join(f"{k} {_value(v)}" for k, v in value.items()) if isinstance(value, dict) else str(value)
