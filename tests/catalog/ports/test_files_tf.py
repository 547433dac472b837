"""TensorFlow files of every published class have exactly the published names and shapes."""

import numpy as np
import pytest

from catalog.ports import export
from tests.support import ports

pytestmark = pytest.mark.xdist_group("tensorflow")

# Tensors of published files that pages compute or hold once: model -> (the end of their names, why files here lack them).
ABSENT = {
    "albert": ("predictions/decoder/bias", "the same vector as predictions/bias, which is there"),
    "swin": ("relative_position_index", "computed from the window"),
    "whisper": ("encoder/embed_positions/weight", "sines, computed"),
}


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
