"""Every registered model as a Keras model is the model: numbers, gradients, a training step, files.

A new page is covered the moment its golden files are here. Programs come from the cache that the Flax tests fill too.
"""

import numpy as np
import pytest
import torch

import catalog
from catalog.ports import export, parity
from tests.support import golden, ports

pytest.importorskip("tensorflow")

from catalog.ports.keras import Port

pytestmark = pytest.mark.xdist_group("tensorflow")
each = pytest.mark.parametrize("case", ports.CHOSEN.values(), ids=ports.CHOSEN)

FORWARD, GRADIENT = 1e-5, 1e-4  # of the largest value

# model -> gradient allowed, why
LOOSE = {"resnet": (3e-3, "batch norms over two values: PyTorch's own fp32 gradients are 1.1e-3 from its fp64 ones")}

# Tensors of published files that pages compute or hold once: model -> (the end of their names, why files here lack them).
ABSENT = {
    "albert": ("predictions/decoder/bias", "the same vector as predictions/bias, which is there"),
    "swin": ("relative_position_index", "computed from the window"),
    "whisper": ("encoder/embed_positions/weight", "sines, computed"),
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Programs are kept in a folder of this session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIVIUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _port(model):
    return Port(export.blueprint(model), export.values(model))


def _close(found, limit, what):
    worst = max(found, key=found.get)
    assert found[worst] <= limit, (
        f"{what} '{worst}' is off by {found[worst]:.3g} of its largest value, allowed {limit:.3g}"
    )


@each
def test_forward_and_files(case, tmp_path):
    model = ports.torch_model(case)
    port = _port(model)
    given = ports.inputs(case)
    _close(parity.forward(model, parity.face(port), given), FORWARD, "output")
    programs = dict(port.blueprint.programs)
    more = ports.larger(given)
    try:
        model(**more)
    except (RuntimeError, ValueError, IndexError):  # sizes that the page itself refuses
        more = ports.larger(given, lengths=False)
    _close(parity.forward(model, parity.face(port), more), FORWARD, "output of other sizes:")
    assert dict(port.blueprint.programs) == programs, "other sizes made another program"

    if case.data.get("tf", {}).get("agrees"):
        shown = {n: v for n, v in given.items() if n in port.blueprint.arguments and "label" not in n}
        got = parity.flat(parity.face(port).forward(parity.arrays(shown)))
        for name, expected in case.data["tf"]["outputs"].items():
            if name in got and name != "loss":  # theirs is one for each example
                golden.expect(torch.from_numpy(np.array(got[name])), expected, name)

    folder = catalog.save(port, tmp_path / "tf")
    again = catalog.load(folder, framework="tf")
    counters = ".num_batches_tracked"
    one, other = again.values(), port.values()
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[n], other[n]) for n in one if not n.endswith(counters))
    state = catalog.load(folder).state_dict()
    assert all(torch.equal(state[n], t) for n, t in model.state_dict().items() if not n.endswith(counters))


@each
def test_training_step(case):
    model = ports.torch_model(case)
    port = _port(model)
    frozen = {n: v for n, v in port.values().items() if port.blueprint.leaves[n].kind == "frozen"}
    found = parity.step(model, parity.face(port), ports.inputs(case))
    if any(program.train and program.graphs[program.root].random for program in port.blueprint.programs.values()):
        assert all(
            np.isfinite(v).all() for v in port.values().values()
        )  # it draws whatever its dropout: no answer to compare
        return
    limit = LOOSE.get(case.data["model_type"], (GRADIENT,))[0]
    _close({n: v for n, v in found.items() if n.startswith("gradient")}, limit, "")
    _close({n: v for n, v in found.items() if not n.startswith("gradient")}, limit, "after a step")
    assert all(np.array_equal(port.values()[n], before) for n, before in frozen.items())
    ties = {name: leaf.tie for name, leaf in port.blueprint.leaves.items() if leaf.tie}
    assert all(port.leaf(copy) is port.leaf(first) or np.array_equal(port.leaf(copy), port.leaf(first))
               for copy, first in ties.items())  # fmt: skip
    assert len(port.variables) == len({id(v) for v in port.variables})


PUBLISHED = [case for case in ports.CASES if "tf_names" in case.data]


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case.name)
def test_published_names_and_shapes(case):
    from catalog import building
    from catalog.checkpoints import layout, tf_names

    name, head, config = building.from_published(case.config() | {"architectures": [case.data["class"]]})
    blueprint = export.blueprint(building.skeleton(name, config, head))
    shapes = {n: tuple(s) for step in blueprint.published for n, s in zip(step.published, step.shapes)}
    roles = {n: blueprint.leaves[step.ours[0]].role for step in blueprint.published for n in step.published}
    places = tf_names.paths(shapes, roles, name, case.data["class"])
    ours = {f"{path}:0": list(layout.shape(shapes[n], axes)) for n, (path, axes) in places.items()}
    wanted = dict(map(tuple, case.data["tf_names"]))
    absent = ABSENT.get(case.data["model_type"], (None,))[0]
    missing = {n: s for n, s in wanted.items() if n not in ours}
    assert all(absent and n.removesuffix(":0").endswith(absent) for n in missing), sorted(missing)
    assert ours == {n: s for n, s in wanted.items() if n not in missing}
    for n, (path, axes) in places.items():  # reading is the inverse of writing, family or not
        torch_name, order = tf_names.to_torch(path, len(layout.shape(shapes[n], axes)))
        bare = tf_names.RECORD[name].main + "." if name in tf_names.RECORD else ""
        assert n in (torch_name, torch_name.removeprefix(bare)), (n, torch_name)
        array = np.arange(np.prod(shapes[n], dtype=int)).reshape(shapes[n])
        assert np.array_equal(layout.turned(layout.turned(array, axes), order), array) or tf_names.RECORD[name].rows
