"""Checkpoints come back as they were, the newest and the best stay, and one save is one rename."""

import random
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.checkpoint import files
from trainer.checkpoint.files import DTYPES
from trainer.checkpoint.store import Checkpoints
from trainer.checkpoint.tree import flatten, restore
from trainer.errors import DataError, DiskError


def same(a, b) -> bool:
    """Equal in type, key order and every bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.numpy(force=True).tobytes() == b.numpy().tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same, a, b)) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return a == b or (a != a and b != b)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=8)
keys = st.text(max_size=4) | st.sampled_from(["$tensor", "a", "a.b", "b"]) | st.integers()
tensors = st.builds(
    lambda shape, dtype: torch.arange(int(np.prod(shape))).reshape(shape).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool, torch.float16]),
)
states = st.recursive(
    leaves | tensors,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=12,
)


@given(states)
def test_tree_round_trip(state):
    nodes, table = flatten(state)
    assert same(restore(nodes, table), state)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states)
def test_disk_round_trip(tmp_path_factory, state):
    store = Checkpoints(tmp_path_factory.mktemp("run"))
    assert same(Checkpoints(store.folder).load(store.save(1, state)).values(), state)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_is_filled_in(tmp_path, dtype):
    bits = torch.randint(0, 2 if dtype is torch.bool else 256, (5, dtype.itemsize), dtype=torch.uint8)
    tensor = bits.view(dtype) if dtype.itemsize > 1 else bits.reshape(5).view(dtype)
    store = Checkpoints(tmp_path)
    found = store.load(store.save(0, {}, {"x": tensor})).whole("x")
    assert found.dtype == dtype and torch.equal(found.view(torch.uint8), tensor.view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_keeps_its_bits(tmp_path, dtype):
    bits = torch.randint(0, 2 if dtype is torch.bool else 256, (5, dtype.itemsize), dtype=torch.uint8)
    tensor = bits.view(dtype) if dtype.itemsize > 1 else bits.reshape(5).view(dtype)
    store = Checkpoints(tmp_path)
    loaded = store.load(store.save(0, {"x": tensor, "empty": tensor[:0]})).values()
    assert loaded["x"].dtype == dtype and torch.equal(loaded["x"].view(torch.uint8), tensor.view(torch.uint8))
    assert loaded["empty"].shape == tensor[:0].shape


def trained():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_the_state_of_a_run(tmp_path):
    model, optimizer = trained()
    state = {
        "model": dict(model.state_dict()),
        "optimizer": optimizer.state_dict(),
        "random": (torch.get_rng_state(), np.random.get_state(), random.getstate()),
    }
    store = Checkpoints(tmp_path)
    loaded = store.load(store.save(1, state)).values()
    assert same(loaded, state)
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(tmp_path) not in maps.read_text()  # a retired file takes nothing with it
    optimizer.load_state_dict(loaded["optimizer"])
    random.setstate(loaded["random"][2])
    np.random.set_state(loaded["random"][1])


def test_views_slices_and_ties(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    state = {"base": base, "tied": base, "column": base[:, 1], "row": base[1], "turned": base.T}
    store = Checkpoints(tmp_path)
    path = store.save(1, state)
    loaded = store.load(path).values()
    assert same(loaded, {name: tensor.contiguous() for name, tensor in state.items()})
    assert loaded["tied"] is loaded["base"]


@pytest.mark.parametrize("value", [{1, 2}, object(), torch.zeros(2, device="meta"), np.array(["a"]), {(1,): 2}])
def test_what_cannot_be_kept_is_named(tmp_path, value):
    with pytest.raises(TypeError, match=r"cannot keep loop\.thing"):
        Checkpoints(tmp_path).save(1, {"loop": {"thing": value}})
    assert not list(tmp_path.iterdir())


def steps(folder):
    return sorted(int(path.name.removeprefix("step_")) for path in folder.glob("step_*"))


def test_retention_keeps_the_newest_and_the_best(tmp_path):
    store = Checkpoints(tmp_path, keep=2)
    for step in range(1, 7):
        store.save(step, {"step": step}, pin=step in (1, 3))
    assert steps(tmp_path) == [3, 5, 6]
    assert store.best == tmp_path / "step_3" and (tmp_path / "latest").resolve() == tmp_path / "step_6"
    store.pin(tmp_path / "step_5")
    store.save(7, {})
    assert steps(tmp_path) == [5, 6, 7]
    with pytest.raises(DataError, match="step_1 is not a checkpoint"):
        store.pin(tmp_path / "step_1")


def test_newest_means_saved_last_after_a_run_went_back(tmp_path):
    """A run that resumed from an earlier step must not find its abandoned future later, nor delete its own save."""
    store = Checkpoints(tmp_path, keep=1)
    store.save(300, {"run": "first"})
    store.save(200, {"run": "second"})
    assert steps(tmp_path) == [200]
    store.save(200, {"run": "third"})
    path, refused = store.newest_valid()
    assert store.load(path).values() == {"run": "third"} and refused == [] and steps(tmp_path) == [200]


def test_left_overs_are_told_then_removed(tmp_path):
    store = Checkpoints(tmp_path)
    good = store.save(1, {"a": 1})
    (tmp_path / "step_2.tmp").mkdir()
    (tmp_path / "step_2.tmp" / "rank_0.json").write_text("{}")
    path, refused = store.newest_valid()
    assert path == good and refused == [(tmp_path / "step_2.tmp", "the save was cut short")]
    store.save(2, {"a": 2})
    assert not list(tmp_path.glob("*.tmp")) and store.load(tmp_path / "step_2").values() == {"a": 2}


def test_killed_between_the_two_renames_of_a_replacement(tmp_path):
    store = Checkpoints(tmp_path)
    store.save(4, {"a": 1}).rename(tmp_path / "step_4.old")
    path, _ = store.newest_valid()
    assert store.load(path).values() == {"a": 1}
    store.save(5, {"a": 2})
    assert steps(tmp_path) == [4, 5] and store.load(tmp_path / "step_4").values() == {"a": 1}


def test_an_empty_folder(tmp_path):
    assert Checkpoints(tmp_path / "none").newest_valid() == (None, [])
    assert Checkpoints(tmp_path / "none").best is None


class Ranks:
    """Threads in the place of processes; ``gather`` is an all-gather over them."""

    def __init__(self, world):
        self.given, self.barrier = [None] * world, threading.Barrier(world)

    def gather(self, rank):
        def exchange(value):
            self.given[rank] = value
            self.barrier.wait(timeout=30)
            result = list(self.given)
            self.barrier.wait(timeout=30)
            return result

        return exchange

    def run(self, action):
        results = [None] * len(self.given)

        def guarded(rank):
            try:
                results[rank] = action(rank)
            except Exception as error:
                results[rank] = error

        threads = [threading.Thread(target=guarded, args=(rank,)) for rank in range(len(self.given))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        return results


def test_each_rank_has_its_part(tmp_path):
    ranks = Ranks(3)
    stores = [Checkpoints(tmp_path, rank=rank, gather=ranks.gather(rank)) for rank in range(3)]
    paths = ranks.run(lambda rank: stores[rank].save(1, {"rank": rank, "x": torch.full((2,), rank)}))
    assert paths == [tmp_path / "step_1"] * 3
    saved = Checkpoints(tmp_path).load(paths[0])
    assert [saved.values(rank)["rank"] for rank in range(3)] == [0, 1, 2]
    assert saved.values(2)["x"].tolist() == [2, 2]
    with pytest.raises(DataError, match="saved by 3 processes and has no part for rank 3"):
        saved.values(3)


def test_one_rank_that_cannot_write_stops_all(tmp_path, monkeypatch):
    ranks = Ranks(2)
    stores = [Checkpoints(tmp_path, rank=rank, gather=ranks.gather(rank)) for rank in range(2)]
    ranks.run(lambda rank: stores[rank].save(1, {"rank": rank}))
    real = files.write

    def full(path, chunks):
        if path.name == "rank_1.safetensors":
            raise OSError(28, "No space left on device", str(path))
        return real(path, chunks)

    monkeypatch.setattr(files, "write", full)
    errors = ranks.run(lambda rank: stores[rank].save(2, {"rank": rank}))
    assert all(isinstance(error, DiskError) for error in errors)
    assert "another rank" in str(errors[0]) and "No space left on device" in str(errors[1])
    assert steps(tmp_path) == [1] and not list(tmp_path.glob("*.tmp"))


def slowed(monkeypatch, gate, fails=()):
    """Writing waits for ``gate``; of the steps in ``fails`` the disk is full."""
    real = files.write

    def write(path, chunks):
        assert gate.wait(30)
        if path.parent.stem in fails and path.name == "rank_0.safetensors":
            raise OSError(28, "No space left on device", str(path))
        return real(path, chunks)

    monkeypatch.setattr(files, "write", write)


def test_what_is_saved_in_the_background_is_what_stood_there_at_the_call(tmp_path, monkeypatch):
    gate = threading.Event()
    slowed(monkeypatch, gate)
    store, weights, own = Checkpoints(tmp_path), {"model.w": torch.arange(4.0)}, torch.zeros(3)
    path = store.save(1, {"draws": own}, weights, wait=False)
    weights["model.w"].mul_(-1)
    own.add_(1)
    assert not path.exists(), "it is not written yet"
    gate.set()
    store.finish()
    saved = store.load(path)
    assert saved.whole("model.w").tolist() == [0, 1, 2, 3] and saved.values()["draws"].tolist() == [0, 0, 0]
    second = store.save(2, {}, weights, wait=False)  # the memory of the first copy, used again
    weights["model.w"].zero_()
    store.finish()
    assert store.load(second).whole("model.w").tolist() == [0, -1, -2, -3]


def test_one_save_is_under_way_at_most(tmp_path, monkeypatch):
    gate = threading.Event()
    slowed(monkeypatch, gate)
    store = Checkpoints(tmp_path)
    store.save(1, {}, {"model.w": torch.zeros(2)}, wait=False)
    threading.Timer(0.2, gate.set).start()
    store.save(2, {}, {"model.w": torch.zeros(2)})
    assert steps(tmp_path) == [1, 2]


@pytest.mark.parametrize("ask", ["save", "finish", "load", "newest_valid"])
def test_a_failure_in_the_background_is_raised_once_at_the_next_call(tmp_path, monkeypatch, ask):
    gate = threading.Event()
    gate.set()
    slowed(monkeypatch, gate, fails=["step_2"])
    store = Checkpoints(tmp_path)
    good = store.save(1, {"step": 1})
    store.save(2, {"step": 2}, pin=True, wait=False)
    calls = {
        "save": lambda: store.save(3, {}), "finish": store.finish,
        "load": lambda: store.load(good), "newest_valid": store.newest_valid,
    }  # fmt: skip
    with pytest.raises(DiskError, match=r"cannot save step_2: .*No space left on device.*The last good.*step_1"):
        calls[ask]()
    store.finish()
    assert store.newest_valid() == (good, []) and store.best is None
    assert store.save(3, {}).exists()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text("abc.", min_size=1), tensors, max_size=5))
def test_tensors_round_trip(tmp_path_factory, table):
    """Those that processes divide; one has them whole."""
    store = Checkpoints(tmp_path_factory.mktemp("run"))
    saved = store.load(store.save(1, {}, table))
    assert {name: (t.dtype, t.shape) for name, t in table.items()} == dict(saved.shapes)
    assert all(same(saved.whole(name), tensor) for name, tensor in table.items())
