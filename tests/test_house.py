"""The house rules that a program can check: arrows between packages, lazy imports, what no tracked file may hold."""

import ast
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGES = ("catalog", "launchers", "recipes", "trainer")
HEAVY = ("torch", "numpy", "datasets", "tokenizers", "pyarrow", "tensorflow", "keras", "jax", "flax", "accelerate")
# Spelt so that this file does not hold what it looks for.
FORBIDDEN = "|".join(
    (
        r"/(work|root|farm|home)/",  # paths of one machine
        r"(python)hosted|pypi[.]org|deb[.]debian|registry[.]npm",  # hosts of registries
        r"^\s*(import|from) (transformers)\b",  # the reference library
    )
)


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def tracked(root):
    """Paths that git tracks or would add, relative to the checkout."""
    if not (root / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-zco", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    return [path for path in listed.split("\0") if path and (root / path).is_file()]


def pinned(root):
    """Distribution -> its requirements in constraints.txt, several where they differ between Python versions."""
    pins = {}
    for line in (root / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            pins.setdefault(canonicalize_name(Requirement(line).name), []).append(Requirement(line))
    return pins


def declared(project):
    """Every requirement of the project, of all extras, except the extras' mentions of the project itself."""
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [need for group in groups for need in map(Requirement, group) if need.name != project["name"]]


def test_packages_import_each_other_only_along_the_arrows(root):
    run = subprocess.run(
        [sys.executable, "-c", "import importlinter.cli as c; c.lint_imports_command()", "--no-logo", "--no-cache"],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


@pytest.mark.parametrize(
    "module", [*PACKAGES, "launchers.config", "launchers.options", "recipes.options", "trainer.options"]
)
def test_importing_a_package_imports_no_framework(root, module):
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}} & set({HEAVY!r})))"
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (run.returncode, run.stdout.split()) == (0, []), run.stderr


def test_every_import_is_a_declared_dependency(root, tracked, project):
    homes = packages_distributions()
    known = {canonicalize_name(need.name) for need in declared(project)}
    strangers = set()
    for path in tracked:
        if path.endswith(".py") and path.split("/")[0] in (*PACKAGES, "train.py"):
            for name in imported(ast.parse((root / path).read_text(encoding="utf-8"))) - set(sys.stdlib_module_names):
                if name not in PACKAGES and not {canonicalize_name(home) for home in homes.get(name, [])} & known:
                    strangers.add(f"{path}: {name}")
    assert not strangers


def imported(tree):
    """Top-level names of the modules that a syntax tree imports, wherever in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


def test_every_dependency_is_pinned_within_its_range(root, project):
    pins = pinned(root)
    for need in declared(project):
        assert canonicalize_name(need.name) in pins, f"{need.name} is not in constraints.txt; run: make lock"
        for pin in pins[canonicalize_name(need.name)]:
            (exact,) = pin.specifier
            assert exact.operator == "==" and need.specifier.contains(exact.version, prereleases=True), (
                f"{pin} is outside {need}"
            )


def test_pins_are_of_public_releases_and_without_the_reference_library(root):
    pins = pinned(root)
    assert "transformers" not in pins
    assert not [str(pin) for group in pins.values() for pin in group if "+" in str(pin.specifier) or pin.url]


def test_all_holds_every_extra(project):
    extras = project["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.extras == set(extras) - {"all"}


def test_no_file_names_a_machine_or_a_registry(root, tracked):
    pattern = re.compile(FORBIDDEN, re.MULTILINE)
    found = []
    for path in tracked:
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # not text
        found += [f"{path}:{text.count(chr(10), 0, hit.start()) + 1}: {hit.group()}" for hit in pattern.finditer(text)]
    assert not found


def test_no_source_file_is_longer_than_400_lines(root, tracked):
    sizes = {path: len((root / path).read_bytes().splitlines()) for path in tracked if path.endswith(".py")}
    assert not {path: size for path, size in sizes.items() if size > 400}


def code_lines(source):
    """Lines of a source that are neither blank, nor comment alone, nor docstring."""
    lines = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            lines |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    kept = enumerate(source.splitlines(), 1)
    return sum(bool(text.strip()) and not text.strip().startswith("#") and number not in lines for number, text in kept)


def test_a_model_is_about_a_page(root, tracked):
    pages = {path: code_lines((root / path).read_text()) for path in tracked if path.startswith("catalog/models/")}
    print(
        f"pages {len(pages)}, median {sorted(pages.values())[len(pages) // 2]}, longest {max(pages.values())} lines of code"
    )
    assert not {path: count for path, count in pages.items() if count > 160}


def test_no_shared_part_takes_more_than_ten_keywords(root, tracked):
    crowded = {}
    for path in tracked:
        if path.startswith(("catalog/layers/", "catalog/heads/")) and path.endswith(".py"):
            for kind in ast.walk(ast.parse((root / path).read_text())):
                if isinstance(kind, ast.ClassDef):
                    for made in kind.body:
                        if isinstance(made, ast.FunctionDef) and made.name == "__init__":
                            keywords = len(made.args.kwonlyargs) + len(made.args.defaults)
                            if keywords > 10:
                                crowded[f"{path}: {kind.name}"] = keywords
    assert not crowded
