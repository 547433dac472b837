"""Every registered model as a Flax module is the model: numbers, gradients, a training step, files.

A new page is covered the moment its golden files are here.
"""

import numpy as np
import pytest
import torch

import catalog
from catalog.errors import PortError
from catalog.ports import export, parity
from tests.support import golden, ports

pytest.importorskip("flax")

from flax import nnx

from catalog.ports.flax import Port

each = pytest.mark.parametrize("case", ports.CHOSEN.values(), ids=ports.CHOSEN)
every = pytest.mark.parametrize("case", ports.CASES, ids=lambda case: case.name)

FORWARD, GRADIENT = 1e-5, 1e-4  # of the largest value
LOOSE: dict[str, tuple[float, float, str]] = {  # model -> forward, gradient, why
    "resnet": (1e-5, 3e-3, "batch norms over two values: PyTorch's own fp32 gradients are 1.1e-3 from its fp64 ones"),
}

# Models that cannot be carried over, and the words of the refusal.
REFUSED: dict[str, str] = {}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Programs are kept in a folder of this session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIVIUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _port(model):
    return Port(export.blueprint(model), export.values(model))


def _refused(case):
    """Whether the model is one of REFUSED; then the refusal must come, in its words."""
    words = REFUSED.get(case.data["model_type"])
    if words is None:
        return False
    with pytest.raises(PortError, match=words):
        _port(ports.torch_model(case))(**parity.arrays(ports.inputs(case)))
    return True


def _close(found, limit, what):
    worst = max(found, key=found.get)
    assert found[worst] <= limit, (
        f"{what} '{worst}' is off by {found[worst]:.3g} of its largest value, allowed {limit:.3g}"
    )


@each
def test_forward(case):
    if _refused(case):
        return
    model = ports.torch_model(case)
    port = _port(model)
    limit = LOOSE.get(case.data["model_type"], (FORWARD,))[0]
    given = ports.inputs(case)
    _close(parity.forward(model, parity.face(port), given), limit, "output")
    programs = dict(port.blueprint.programs)
    more = ports.larger(given)
    try:
        model(**more)
    except (RuntimeError, ValueError, IndexError):  # sizes that the page itself refuses
        more = ports.larger(given, lengths=False)
    _close(parity.forward(model, parity.face(port), more), limit, "output of other sizes:")
    assert dict(port.blueprint.programs) == programs, "other sizes made another program"


@each
def test_training_step(case):
    if case.data["model_type"] in REFUSED:
        pytest.skip("refused; see test_forward")
    model = ports.torch_model(case)
    port = _port(model)
    given = parity.arrays(ports.inputs(case))
    program = port.prepare(**given, train=True)
    if program.graphs[program.root].random:  # it draws whatever its dropout: nothing to compare, but it runs
        found = parity.flat(port(**given, train=True, rngs=nnx.Rngs(0)))
        assert all(np.isfinite(np.asarray(v)).all() for n, v in found.items() if n == "loss" or n.endswith("logits"))
        return
    frozen = {n: v for n, v in port.values().items() if port.blueprint.leaves[n].kind == "frozen"}
    found = parity.step(model, parity.face(port), ports.inputs(case))
    limits = LOOSE.get(case.data["model_type"], (FORWARD, GRADIENT))
    _close({n: v for n, v in found.items() if n.startswith("gradient")}, limits[1], "")
    _close({n: v for n, v in found.items() if not n.startswith("gradient")}, limits[1], "after a step")
    assert all(np.array_equal(port.values()[n], before) for n, before in frozen.items())


@every
def test_files(case, tmp_path):
    model = ports.torch_model(case)
    port = _port(model)
    folder = catalog.save(port, tmp_path / "flax")
    again = catalog.load(folder, framework="flax")
    assert _same(again.values(), port.values())
    back = catalog.load(folder)
    state, counters = back.state_dict(), ".num_batches_tracked"
    assert all(torch.equal(state[n], t) for n, t in model.state_dict().items() if not n.endswith(counters))
    if "flax_names" in case.data:
        from catalog.checkpoints import msgpack

        got = {name: list(array.shape) for name, array in msgpack.read(folder / msgpack.NAME).items()}
        assert got == dict(map(tuple, case.data["flax_names"]))


def _same(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[n], other[n], equal_nan=one[n].dtype.kind == "f")
        for n in one if not n.endswith(".num_batches_tracked")
    )  # fmt: skip


PUBLISHED = {
    name: case for name, case in ports.CHOSEN.items() if case.data.get("flax", {}).get("agrees") and name not in REFUSED
}


@pytest.mark.parametrize("case", PUBLISHED.values(), ids=PUBLISHED)
def test_published_flax_numbers(case):
    port = _port(ports.torch_model(case))
    given = {n: v for n, v in ports.inputs(case).items() if n in port.blueprint.arguments and "label" not in n}
    got = parity.flat(parity.face(port).forward(parity.arrays(given)))
    for name, expected in case.data["flax"]["outputs"].items():
        # a port of two towers gives what both say, and not the states inside each: those are asked of the tower's own port
        if "_model_output.hidden_states." not in name and "_model_output.attentions." not in name:
            golden.expect(torch.from_numpy(np.array(got[name])), expected, name)
