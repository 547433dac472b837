"""train.py as a user meets it: what is printed, the exit code, and what is not imported."""

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from launchers import cli
from launchers.config import schema
from launchers.config.tree import Tree

HEAVY = ("torch", "numpy", "datasets", "pyarrow", "tokenizers", "transformers", "rich", "pandas")


@pytest.fixture
def program(root, tmp_path):
    """train.py in a process of its own -> (exit code, stdout, stderr without timings, imported top-level modules)."""

    def run(*argv):
        command = [sys.executable, "-X", "importtime", str(root / "train.py"), *argv]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        timings = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
        stderr = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
        return done.returncode, done.stdout, "\n".join(stderr), {line.split("|")[-1].strip() for line in timings}

    return run


@pytest.fixture
def recipe(monkeypatch, tmp_path):
    """A stand-in for the recipe: collects the configurations it is called with, or raises what it is told to."""
    module = types.ModuleType("recipes.run")
    module.seen, module.error = [], None

    def run(config):
        module.seen.append(config)
        if module.error is not None:
            raise module.error
        return 0.5

    module.run = run
    monkeypatch.setitem(sys.modules, "recipes.run", module)
    monkeypatch.chdir(tmp_path)
    return module


@pytest.mark.parametrize("more", [[], ["--multirun", "seed=1,2"]])
def test_processes_without_a_strategy_are_refused_and_the_other_way_round(more, recipe, monkeypatch, capsys):
    assert cli.main(["recipe=bert_glue", "strategy=ddp"]) == 2
    assert "torchrun --standalone" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["recipe=bert_glue", *more]) == 2
    assert "error: strategy=single and 2 processes" in capsys.readouterr().err
    assert not recipe.seen


@pytest.mark.parametrize("typo", ["train.epohcs=3", "optim.lr=fast", "schedule=cosin", "batch.size=8", "--hlep"])
def test_a_mistake_ends_with_2_and_one_short_message_before_anything_heavy(program, typo):
    code, out, err, imported = program("recipe=bert_glue", typo)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and "argument 2" in err and "Traceback" not in err
    assert re.search(r"\n   nothing was loaded; \d+\.\d s$", err)
    assert len(err.splitlines()) <= 3
    assert "hydra" in imported or typo.startswith("--")
    assert not imported & set(HEAVY)


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["recipe=bert_glue", "--help"]])
def test_help_lists_what_there_is_before_anything_heavy(program, argv):
    code, out, err, imported = program(*argv)
    assert (code, err) == (0, "")
    for name in Tree().options("recipe"):
        assert [f"recipe={name}", *Tree().recipe(name).head.about.split()] in [
            line.split() for line in out.splitlines()
        ]
    assert "optim.lr" in out and "scale=full" in out
    assert not imported & set(HEAVY)


def test_explain_and_print_show_and_do_not_run(program):
    code, out, err, imported = program("recipe=bert_glue", "explain=optim.lr")
    assert (code, err) == (0, "") and out.startswith("optim.lr = ") and not imported & set(HEAVY)
    code, out, _, _ = program("recipe=bert_glue", "print=config")
    assert code == 0 and all(name.rpartition(".")[2] in out for name in schema.table())


def test_a_good_configuration_reaches_the_recipe_with_its_folder(recipe, tmp_path):
    assert cli.main(["recipe=bert_glue", "task=cola", "optim.lr=3e-5"]) == 0
    (config,) = recipe.seen
    assert (config.task, config.optim.lr, config.resume) == ("cola", 3e-5, None)
    assert re.fullmatch(r"runs/bert_glue/cola/[0-9a-f]{6}", config.run_dir)
    assert "lr: 3.0e-05" in (tmp_path / config.run_dir / "config.yaml").read_text()


def test_two_runs_of_one_configuration_have_two_folders(recipe):
    assert [cli.main(["recipe=bert_glue"]) for _ in range(2)] == [0, 0]
    assert recipe.seen[0].run_dir != recipe.seen[1].run_dir


def test_a_run_goes_on_in_its_own_folder_and_keeps_what_is_written_there(recipe, tmp_path):
    cli.main(["recipe=bert_glue", "run_dir=here"])
    before = (tmp_path / "here" / "config.yaml").read_text()
    assert cli.main(["resume=here", "train.epochs=20"]) == 0
    assert (recipe.seen[1].run_dir, recipe.seen[1].resume, recipe.seen[1].train.epochs) == ("here", "here", 20.0)
    assert (tmp_path / "here" / "config.yaml").read_text() == before


def test_a_folder_that_holds_a_run_is_not_overwritten(recipe, capsys):
    cli.main(["recipe=bert_glue", "run_dir=here"])
    Path("here", "log.jsonl").touch()
    assert cli.main(["recipe=bert_glue", "run_dir=here"]) == 2
    assert "run_dir=here holds a run" in capsys.readouterr().err and len(recipe.seen) == 1


def test_a_run_that_was_refused_before_its_first_step_can_be_started_again(recipe):
    recipe.error = type("Known", (Exception,), {"exit_code": 3})("train.tsv:7: no label")
    assert cli.main(["recipe=bert_glue", "run_dir=here"]) == 3
    recipe.error = None
    assert cli.main(["recipe=bert_glue", "run_dir=here", "seed=5"]) == 0
    assert "seed: 5" in Path("here", "config.yaml").read_text()


def test_a_folder_that_cannot_be_made_is_named(recipe, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["recipe=bert_glue", "run_dir=file/x"]) == 2
    assert "run_dir=file/x: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize("code", [2, 3, 4, 5])
def test_an_error_with_an_exit_code_is_printed_without_traceback(recipe, capsys, code):
    recipe.error = type("Known", (Exception,), {"exit_code": code})("train.tsv:7: no label")
    assert cli.main(["recipe=bert_glue"]) == code
    assert capsys.readouterr().err == f"{'stopped' if code == 5 else 'error'}: train.tsv:7: no label\n"


def test_a_reader_that_leaves_early_ends_the_program_quietly(root):
    command = [sys.executable, str(root / "train.py"), "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.close()
        assert (run.stderr.read(), run.wait()) == (b"", 0)


def test_an_error_nobody_foresaw_keeps_its_traceback(recipe, capsys):
    recipe.error = ZeroDivisionError("in the middle")
    assert cli.main(["recipe=bert_glue"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "ZeroDivisionError: in the middle" in err


def test_an_interrupt_before_the_trainer_takes_over_ends_quietly(recipe, capsys):
    recipe.error = KeyboardInterrupt()
    assert cli.main(["recipe=bert_glue"]) == cli.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


class TestSweep:
    def test_every_combination_runs_once_with_what_all_share(self, recipe):
        argv = [
            "--multirun",
            "recipe=bert_glue",
            "seed=5",
            "optim.lr=1e-3,1e-4",
            "model.config.depth=1,2",
            "data.path=a,b",
        ]
        assert cli.main(argv) == 0
        seen = [(c.optim.lr, c.model.config["depth"], c.data.path, c.seed) for c in recipe.seen]
        assert sorted(seen) == [(lr, d, p, 5) for lr in (1e-4, 1e-3) for d in (1, 2) for p in ("a", "b")]
        assert len({c.run_dir for c in recipe.seen}) == 8

    def test_options_and_ranges_and_globs_are_swept(self, recipe):
        assert cli.main(["-m", "recipe=bert_glue", "schedule=glob(*)", "seed=range(0,2)"]) == 0
        seen = [(c.schedule.name, c.seed) for c in recipe.seen]
        assert sorted(seen) == [(name, seed) for name in sorted(Tree().options("schedule")) for seed in (0, 1)]

    @pytest.mark.parametrize(
        ("argv", "said"),
        [
            (["optim.lr=1e-3,fast"], "optim.lr=fast: not a number   (command line, argument 3)"),
            (["seed=1,2", "task=sst2,snli"], "task=snli: not one of its values   (command line, argument 4)"),
            (["optim.rl=1,2"], "did you mean 'optim.lr'?"),
            (["schedule=linear,cosin"], "did you mean 'schedule=cosine'?"),
            (["optim.lr=1,2", "explain=optim.lr"], "explain= shows one run"),
        ],
    )
    def test_a_wrong_value_anywhere_stops_the_sweep_before_its_first_job(self, recipe, capsys, argv, said):
        assert cli.main(["-m", "recipe=bert_glue", *argv]) == 2
        assert said in capsys.readouterr().err and recipe.seen == []

    @pytest.mark.parametrize(
        "argv",
        [["optim.lr=interval(1e-5,1e-3)"], ["seed=1,2", "hydra.swepe.dir=x"], ["seed=1,2", "hydra/launcher=none"]],
    )
    def test_what_hydra_cannot_do_is_said_in_our_words(self, recipe, capsys, argv):
        assert cli.main(["-m", "recipe=bert_glue", *argv]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: Hydra cannot run this sweep") and "Traceback" not in err and recipe.seen == []

    def test_a_job_that_fails_does_not_stop_the_others_but_the_exit_code_tells(self, recipe, capsys):
        recipe.error = type("Known", (Exception,), {"exit_code": 3})("no label")
        assert cli.main(["-m", "recipe=bert_glue", "seed=1,2"]) == 3
        assert len(recipe.seen) == 2 and capsys.readouterr().err.count("error: no label") == 2

    def test_a_job_that_was_asked_to_stop_stops_the_sweep(self, recipe):
        recipe.error = type("Stopped", (Exception,), {"exit_code": 5})("saved step 3")
        with pytest.raises(SystemExit) as caught:
            cli.main(["-m", "recipe=bert_glue", "seed=1,2"])
        assert caught.value.code == 5 and len(recipe.seen) == 1

    def test_optuna_searches_where_it_is_installed(self, recipe):
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
        argv = [
            "optim.lr=interval(1e-5,1e-3)",
            "hydra/sweeper=optuna",
            "hydra.sweeper.n_trials=3",
            "hydra.sweeper.n_jobs=1",
        ]
        assert cli.main(["-m", "recipe=bert_glue", *argv]) == 0
        assert len(recipe.seen) == 3 and all(1e-5 <= c.optim.lr <= 1e-3 for c in recipe.seen)
