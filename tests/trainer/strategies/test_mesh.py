"""Sizes of meshes, without a process."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.training import spread
from trainer.errors import OptionError
from trainer.strategies import mesh

ONE = [name for name, dimensions in mesh.DIMENSIONS.items() if len(dimensions) == 1]
TWO = [name for name, dimensions in mesh.DIMENSIONS.items() if len(dimensions) == 2]
CHOSEN = {"hsdp": "replicas", "fsdp_tp": "tp", "cp": "cp", "pp_fsdp": "pp"}


@given(name=st.sampled_from(ONE), world=st.integers(1, 4096))
def test_one_dimension_takes_all_processes(name, world):
    assert mesh.sizes(spread(name), world) == {mesh.DIMENSIONS[name][0]: world}


@given(name=st.sampled_from(TWO), world=st.integers(1, 600), size=st.integers(1, 64))
def test_a_given_size_decides_the_other_or_is_refused_with_those_that_fit(name, world, size):
    chosen = CHOSEN[name]
    if world % size == 0:
        found = mesh.sizes(spread(name, **{chosen: size}), world)
        assert tuple(found) == mesh.DIMENSIONS[name] and math.prod(found.values()) == world and found[chosen] == size
        return
    with pytest.raises(OptionError) as refused:
        mesh.sizes(spread(name, **{chosen: size}), world)
    said = str(refused.value)
    legal = [int(n) for n in said.split(f"legal: {chosen}=")[1].split("\n")[0].split(",")]
    assert legal == [d for d in range(1, world + 1) if world % d == 0]
    for other in said.split("or start ")[1].split(" processes")[0].split(" or "):
        assert mesh.sizes(spread(name, **{chosen: size}), int(other))[chosen] == size and abs(int(other) - world) < size


@given(name=st.sampled_from(TWO), world=st.integers(1, 600))
def test_an_inferred_size_divides_twice_or_the_nearest_worlds_are_told(name, world):
    try:
        found = mesh.sizes(spread(name), world)
    except OptionError as refused:
        assert all(world % d for d in range(2, world)), "only primes and 1 cannot be divided"
        near = [int(n) for n in str(refused).split("start ")[1].split(" of them")[0].split(" or ")]
        assert all(math.prod(mesh.sizes(spread(name), n).values()) == n for n in near)
        return
    assert math.prod(found.values()) == world
    assert name == "cp" or min(found.values()) > 1


def test_the_message_of_the_readme():
    with pytest.raises(OptionError, match=r"strategy.tp=4 does not divide 6 processes; legal: tp=1,2,3,6\n.*4 or 8"):
        mesh.sizes(spread("fsdp_tp", tp=4), 6)


def test_replicas_are_machines_where_there_are_several():
    assert mesh.sizes(spread("hsdp"), 32, 8) == {"replicas": 4, "shard": 8}
    assert mesh.sizes(spread("hsdp"), 8, 8) == {"replicas": 2, "shard": 4}
    assert mesh.sizes(spread("hsdp", replicas=8), 32, 8) == {"replicas": 8, "shard": 4}


@pytest.mark.parametrize(("name", "size", "users"), [("fsdp", "tp", "tp or strategy=fsdp_tp"), ("tp", "pp", "pp or")])
def test_a_size_that_a_strategy_does_not_have_is_refused(name, size, users):
    with pytest.raises(OptionError, match=f"strategy.{size}=2 means nothing to strategy={name}: .*\n.*{users}"):
        mesh.sizes(spread(name, **{size: 2}), 4)


@pytest.mark.parametrize(("name", "more"), [("tp", "fsdp_tp"), ("pp", "pp_fsdp")])
def test_less_than_all_processes_is_another_strategy(name, more):
    assert mesh.sizes(spread(name, **{name: 4}), 4) == {name: 4}
    with pytest.raises(OptionError, match=f"legal: {name}=4\n.*strategy={more}"):
        mesh.sizes(spread(name, **{name: 2}), 4)


def test_what_is_said_of_a_pipeline_needs_one():
    assert mesh.sizes(spread("pp_fsdp", schedule="interleaved", chunks=3), 4) == {"pp": 2, "shard": 2}
    with pytest.raises(OptionError, match=r"strategy.schedule=gpipe means nothing to strategy=fsdp: .*\n.*pp_fsdp"):
        mesh.sizes(spread("fsdp", schedule="gpipe"), 4)
    with pytest.raises(OptionError, match=r"strategy.chunks=2: .* need strategy.schedule=interleaved"):
        mesh.sizes(spread("pp", schedule="1f1b", chunks=2), 4)


@pytest.mark.parametrize("name", ["single", "ddp", "fsdp"])
def test_strategies_without_sizes_take_none(name):
    with pytest.raises(OptionError, match=r"strategy.replicas=2 means nothing"):
        mesh.sizes(spread(name, replicas=2), 2)
