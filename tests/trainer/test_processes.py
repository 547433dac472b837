"""Strategies and numbers of processes that do not go together, and what is told of them."""

import pytest

from trainer.errors import OptionError
from trainer.strategies import processes


def test_several_processes_without_a_strategy_for_them_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(OptionError, match=r"strategy=single and 4 processes: (.|\n)*add strategy=ddp"):
        processes.check("single")
    processes.check("ddp")


def test_a_strategy_of_processes_needs_them(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(OptionError, match=r"strategy=ddp without processes(.|\n)*torchrun --standalone"):
        processes.check("ddp")
    processes.check("single")


def test_one_process_of_torchrun_may_be_either(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    processes.check("single")
    processes.check("ddp")
    assert processes.gather("x") == ["x"]
