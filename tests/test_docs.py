"""The README and the documentation say what is so: links, files, command lines, shown output and Python in them."""

import ast
import contextlib
import io
import json
import re
import shlex
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from launchers import cli, local
from launchers.config.load import load

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN, MODEL = "runs/bert_glue/sst2/3f9a21", "runs/bert_glue/sst2/3f9a21/model"  # what the pages call a run and its model
BLOCK = re.compile(r"(?:^<!-- ([a-z ]+): (.*?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("sh", "console", "bash")
ELSEWHERE = {  # pages whose Python is not run here: why
    "load-and-save.md": "tests/docs/test_load_and_save.py runs it",
    "flax.md": "imports JAX, and speaks of arrays that are there; tests/catalog/ports/test_flax.py runs the same",
    "tensorflow.md": "imports TensorFlow, and speaks of arrays that are there; tests/catalog/ports run the same",
    "export.md": "imports onnxruntime; tests/catalog/exporting/test_how_to_export.py runs it",
    "ports.md": "explains with fragments",
}
HARMLESS = ("pip", "git", "kill", "cat", "tail", "export")  # programs of others, not looked into
FOLDERS = r"(?:catalog|trainer|recipes|launchers|conf|docs|tests|\.ci)"

texts = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page):
    """(word of the comment above, rest of the comment, language, text) of every fenced block."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def prose(page):
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def command_lines(page):
    """Command lines of shell blocks without comments, prompts and what ``console`` blocks show as output."""
    for _, _, language, text in blocks(page):
        if language in SHELL:
            lines = text.replace("\\\n", " ").splitlines()
            if language == "console":
                lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
            yield from (words for line in lines if (words := shlex.split(line, comments=True)))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the pages name: a run with its model, and a language model called gpt2."""
    import catalog
    from catalog.processors.text import build, train_wordpiece

    folder = tmp_path_factory.mktemp("docs")
    argv = ["recipe=bert_glue", f"run_dir={RUN}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        local.begin(Path(RUN), local.document(load(argv)))
        tokenizer = train_wordpiece(["a warm and funny film", "a waste of an evening"], 60)
        config = catalog.config("bert", vocab=60, width=16, depth=1, heads=2, hidden=32, positions=64)
        catalog.save(catalog.build("bert", config, head="sequence-classification"), MODEL, processor=tokenizer)
        case = json.loads((ROOT / "tests/golden/tokenizers/GPT2TokenizerFast.json").read_text(encoding="utf-8"))
        vocab = {token: i for i, token in enumerate(case["vocab"])}
        files = {"vocab.json": json.dumps(vocab).encode(), "merges.txt": "\n".join(case["merges"]).encode()}
        config = catalog.config("gpt2", vocab=len(vocab), width=16, depth=1, heads=2, positions=256)
        config = replace(config, bos_id=None, eos_id=None)
        catalog.save(catalog.build("gpt2", config, head="causal-lm"), "gpt2", processor=build("GPT2Tokenizer", files))
    return folder


@texts
def test_links_lead_to_files_and_headings(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        headings = re.findall(r"^#+ .*", prose(file), re.M) if anchor and file.is_file() else []
        if not file.exists() or (anchor and anchor not in map(slug, headings)):
            broken.append(target)
    assert not broken


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).strip().replace(" ", "-")


@texts
def test_files_that_are_named_are_there(page):
    named = re.findall(rf"`({FOLDERS}/[\w./-]*|[A-Za-z_]+\.(?:toml|txt|yml)|Makefile|train\.py)`", prose(page))
    of_models = {"vocab.txt", "merges.txt"}  # published files of a checkpoint
    assert not [name for name in named if name not in of_models and not (ROOT / name).exists()]


def test_the_navigation_holds_every_page():
    def paths(entry):
        if isinstance(entry, str):
            return [entry]
        return [path for part in (entry.values() if isinstance(entry, dict) else entry) for path in paths(part)]

    nav = paths(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(nav) == sorted(str(page.relative_to(ROOT / "docs")) for page in PAGES if "docs" in page.parts)


@texts
def test_command_lines_are_understood(page, place, monkeypatch):
    monkeypatch.chdir(place)
    for words in command_lines(page):
        program, *rest = words
        if "train.py" in rest and program.endswith(("python", "torchrun")):
            with monkeypatch.context() as patch:
                if program.endswith("torchrun"):
                    patch.setenv("WORLD_SIZE", "2")
                cli.prepare(rest[rest.index("train.py") + 1 :])  # composes and checks all of it; raises OptionError
        elif program.endswith("python") and rest[:2] == ["-m", "catalog"]:
            catalog_command(rest[2:])
        elif program.endswith("python") and rest[0] == "-m":
            assert find_spec(rest[1]), words
        elif program == "make":
            targets = [word for word in rest if "=" not in word and word != "-n"]
            assert all(re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M) for target in targets), words
        else:
            assert program in HARMLESS or (ROOT / program).is_file(), f"{page.name}: what is {shlex.join(words)}?"


def catalog_command(words):
    from catalog.__main__ import _parser, main

    assert _parser().parse_args(words)
    if words[0] in ("list", "show"):
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            assert main(words) == 0 and shown.getvalue(), words


@texts
def test_shown_output_is_what_the_program_says(page, place, monkeypatch):
    monkeypatch.chdir(place)
    for word, argument, _, text in blocks(page):
        if word == "output":
            shown = io.StringIO()
            with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
                cli.main(shlex.split(argument))
            assert timeless(shown.getvalue()) == timeless(text), argument


def timeless(text):
    """Without seconds and line numbers, which an edit elsewhere moves."""
    return re.sub(r"\d+\.\d s$|(?<=\.yaml):\d+", "", text.strip())


@texts
def test_python_runs(page, place, monkeypatch, capsys):
    """The blocks of a page, one after the other, in a folder with what they name; ``<!-- not run: why -->`` spares one."""
    monkeypatch.chdir(place)
    names = {}
    for word, why, language, text in blocks(page):
        if language == "python" and word != "not run" and page.name not in ELSEWHERE:
            exec(compile(text, str(page.relative_to(ROOT)), "exec"), names)
        assert word != "not run" or len(why) > 10, "say why it is not run"


@texts
def test_python_that_is_not_run_calls_what_exists(page):
    import catalog

    for _, _, language, text in blocks(page):
        for node in ast.walk(ast.parse(text)) if language == "python" else ():
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "catalog":
                assert node.attr in catalog.__all__ or find_spec(f"catalog.{node.attr}"), f"catalog.{node.attr}"


def test_the_models_that_the_readme_names_are_in_the_catalog():
    from catalog import cards

    count, listed = re.search(r"\| over (\d+) rows \((.*?) \.\.\.\)", (ROOT / "README.md").read_text()).groups()
    rows = cards.rows()
    assert len(rows) > int(count)
    for name in listed.split(", "):
        assert cards.card(name).heads, name
