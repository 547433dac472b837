"""The gates of ports: what holds of a model in Flax or TensorFlow before it counts as carried over.

    gates.results(case, "flax")        # {gate: "passed", or "none: why there is nothing to ask", or what is wrong}

A gate is a function of a :class:`Trial`, so that all gates of a model share what is slow: programs, and a step of training.
"""

import tempfile
from collections import Counter
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch

import catalog
from catalog.errors import PortError
from catalog.ports import parity
from tests.support import draws, golden, ports

FORWARD, GRADIENT = 1e-5, 1e-4  # of the largest value
RATE = 0.25  # of dropout, where it is on
COUNTERS = ".num_batches_tracked"  # no file has them


class Trial:
    """One model in one framework, on trial."""

    def __init__(self, case, framework):
        self.case, self.framework = case, framework
        self.given = ports.inputs(case)

    @cached_property
    def model(self):
        """The PyTorch model, as it was loaded."""
        return ports.torch_model(self.case)

    @cached_property
    def port(self):
        """Its port, as it was loaded."""
        return ports.port(self.model, self.framework)

    @cached_property
    def trained(self):
        """Both after one step of training, and how far apart everything is: see :meth:`step`."""
        model = ports.torch_model(self.case)
        port = ports.port(model, self.framework)
        return model, port, self.step(model, port)

    def step(self, model, port):
        """One step of training of both; what a model draws in training though no dropout is on is drawn alike."""
        given = self.given
        if any(leaf.kind == "statistic" for leaf in port.blueprint.leaves.values()):
            given = ports.images(given, 8)
        arrays = parity.arrays(given)
        port.prepare(**arrays, train=True) if self.framework == "flax" else port.prepare(arrays, training=True)
        with draws.alike(self.framework):
            return parity.step(model, parity.face(port), given)


def forward(trial):
    """Outputs are PyTorch's."""
    _close(parity.forward(trial.model, parity.face(trial.port), trial.given), FORWARD)


def sizes(trial):
    """So they are at another batch and, where it is open, another length, by the same program."""
    programs = dict(trial.port.blueprint.programs)
    more = ports.larger(trial.given)
    try:
        trial.model(**more)
    except (RuntimeError, ValueError, IndexError):  # lengths that the page itself refuses
        more = ports.larger(trial.given, lengths=False)
    _close(parity.forward(trial.model, parity.face(trial.port), more), FORWARD)
    assert dict(trial.port.blueprint.programs) == programs, "other sizes made another program"


def gradients(trial):
    """Those of every parameter are PyTorch's."""
    _close({name: off for name, off in trial.trained[2].items() if name.startswith("gradient of ")}, GRADIENT)


def step(trial):
    """Every leaf is PyTorch's after a step of gradient descent: parameters, batch statistics, buffers."""
    _close({name: off for name, off in trial.trained[2].items() if not name.startswith("gradient of ")}, FORWARD)


def dropout(trial):
    """The page's dropouts are all there, at their rates; each keeps its share, scales what it keeps, and draws for itself."""
    model = ports.torch_model(trial.case, RATE).train()
    with draws.dropouts_of_page() as wanted, torch.no_grad():
        model(**trial.given)
    port = ports.port(model, trial.framework)
    with draws.dropouts_of_port(trial.framework) as found:
        arrays = _watched(trial, port, found)
    if not wanted:
        assert not arrays
        return "no dropout"
    rates = Counter((rate, before.size) for rate, before, _, _ in arrays)
    assert rates == Counter(wanted), f"dropouts (rate, elements): {dict(rates)}, in PyTorch {dict(Counter(wanted))}"
    for rate, before, after, kept in arrays:
        np.testing.assert_allclose(after, np.where(kept, before / (1 - rate), 0), rtol=1e-6)
    for rate in {rate for rate, _, _, _ in arrays}:
        masks = np.concatenate([kept.ravel() for one, _, _, kept in arrays if one == rate])
        share, spread = masks.mean(), (rate * (1 - rate) / masks.size) ** 0.5
        assert abs(share - (1 - rate)) < 5 * spread, f"dropout of {rate} keeps {share:.3f}"
    masks = [kept.tobytes() for _, _, _, kept in arrays if kept.size >= 64]
    assert len(masks) == len(set(masks)), "two dropouts drew the same"


def ties(trial):
    """Tied parameters are one variable wherever the page has them, and PyTorch's after a step."""
    model, port, _ = trial.trained
    tied = {name: leaf.tie for name, leaf in port.blueprint.leaves.items() if leaf.tie}
    if not tied:
        return "no tied parameters"
    words = _words(port)
    for copy, first in tied.items():
        assert _at(port, copy, words[first]) is _at(port, first, words[first]), f"{copy} and {first} are two variables"
        assert model.get_parameter(copy) is model.get_parameter(first)


def frozen(trial):
    """With every second parameter frozen those keep each bit in a step, and the others move as PyTorch's do."""
    model = ports.torch_model(trial.case)
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(parameter.requires_grad and i % 2 == 1)
    port = ports.port(model, trial.framework)
    before = port.values()
    found = trial.step(model, port)
    still = {name for name, leaf in port.blueprint.leaves.items() if leaf.kind == "frozen" and leaf.tie is None}
    assert still and all(np.array_equal(value, before[n]) for n, value in port.values().items() if n in still)
    assert not any(name.removeprefix("gradient of ") in still for name in found if name.startswith("gradient of "))
    _close({name: off for name, off in found.items() if name.startswith("gradient of ")}, GRADIENT)
    _close({name: off for name, off in found.items() if not name.startswith("gradient of ")}, FORWARD)


def stops(trial):
    """The page's detaches are all in the program of training, and no others."""
    model, found, detach = ports.torch_model(trial.case).train(), [], torch.Tensor.detach

    def counted(tensor):
        if tensor.requires_grad:
            found.append(tensor.shape)
        return detach(tensor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "detach", counted)
        model(**trial.given)
    port = trial.trained[1]
    program = next(program for program in port.blueprint.programs.values() if program.train)
    assert _calls(program, program.root, "detach") == len(found)
    return None if found else "nothing detached"


def files(trial):
    """Saved after a step, it is read back bit for bit: by its own framework, and by PyTorch."""
    if trial.framework == "torch":
        return _own_files(trial.model)
    _, port, _ = trial.trained
    with tempfile.TemporaryDirectory() as place:
        folder = catalog.save(port, Path(place) / "saved")
        again, back = catalog.load(folder, framework=trial.framework).values(), catalog.load(folder).state_dict()
        values = port.values()
        assert again.keys() == values.keys()
        for name, value in values.items():
            if not name.endswith(COUNTERS):
                assert np.array_equal(value, again[name]), f"{name} is another after saving and loading"
                assert np.array_equal(value, back[name].numpy()), f"{name} is another in PyTorch"


def numbers(trial):
    """The reference library's own outputs in this framework, where golden files have them and they agree with PyTorch's."""
    if trial.framework == "torch":
        return _own_numbers(trial.case)
    published = trial.case.data.get(trial.framework, {})
    if not published.get("agrees"):
        return "none published that agree with PyTorch's"
    # its loss is one for each example in TensorFlow; inside each of two towers it is the tower's own port that is asked
    inside = ("loss", "_model_output.hidden_states.", "_model_output.attentions.")
    wanted = {name: value for name, value in published["outputs"].items() if not any(part in name for part in inside)}
    asked = {} if not any(name.startswith(("hidden_states", "attentions")) for name in wanted) else trial.case.call
    got = parity.flat(parity.face(trial.port).forward(parity.arrays(trial.given) | asked))
    for name, expected in wanted.items():
        golden.expect(torch.from_numpy(np.array(got[name])), expected, name)


GATES = {
    "forward": forward, "other sizes": sizes, "gradients": gradients, "training step": step, "dropout": dropout,
    "ties": ties, "frozen": frozen, "stops": stops, "files": files, "published numbers": numbers,
}  # fmt: skip


TORCH = ("files", "published numbers")  # what PyTorch, which ports are held to, is itself asked


def results(case, framework) -> dict[str, str]:
    """What came of each gate: ``passed``, ``none: `` and why there is nothing to ask, or the failure in words."""
    trial, found = Trial(case, framework), {}
    for name in TORCH if framework == "torch" else GATES:
        gate = GATES[name]
        try:
            nothing = gate(trial)
            found[name] = f"none: {nothing}" if nothing else "passed"
        except (AssertionError, PortError) as failure:
            found[name] = f"failed: {failure}"
    return found


def _own_files(model):
    with tempfile.TemporaryDirectory() as place:
        state = catalog.load(catalog.save(model, Path(place) / "saved")).state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def _own_numbers(case):
    model = catalog.load(ports.folder(case.path))
    with torch.no_grad():
        got = golden.outputs(model(**case.inputs, **case.call))
    mask = case.inputs.get("attention_mask")
    for name, expected in case.data["outputs"].items():
        value = got[name]
        if case.data.get("mask_outputs") and mask is not None and value.shape[:2] == mask.shape:
            value = value * mask.view(*mask.shape, *[1] * (value.dim() - 2))
        golden.expect(value, expected, name)


def _close(found, limit):
    worst = max(found, key=found.get)
    assert found[worst] <= limit, f"{worst} is off by {found[worst]:.3g} of its largest value, allowed {limit:.3g}"


def _watched(trial, port, found):
    """Run ``port`` in training; what was found meanwhile, as arrays."""
    given = parity.arrays(trial.given)
    if trial.framework == "tf":
        port(given, training=True)
        return [(rate, before.numpy(), after.numpy(), kept.numpy()) for rate, before, after, kept in found]
    from flax import nnx

    fixed, traced = parity.apart(given)

    @nnx.jit
    def run(port, traced):
        port(**traced, **fixed, train=True, rngs=nnx.Rngs(0))
        return [arrays for _, *arrays in found]

    rates = run(port, traced)
    return [(rate, *map(np.asarray, arrays)) for (rate, *_), arrays in zip(found, rates)]


def _words(port):
    """The native word of each leaf, by our name of it: the kernel of a linear layer, the scale of a norm."""
    if port.framework == "tf":
        from catalog.ports.naming_tf import natives

        return {name: native.word for name, native in natives(port.blueprint).items()}
    from catalog.ports import naming

    return {name: naming.flax(name, leaf).name for name, leaf in port.blueprint.leaves.items()}


def _at(port, name, word):
    """The variable that stands in the port's tree where the page has the leaf ``name``."""
    here = port
    for part in name.split(".")[:-1]:
        part = f"{part}_" if hasattr(type(here), part) else part  # Keras keeps some names for itself
        here = here[int(part)] if part.isdigit() else getattr(here, part)
    return getattr(here, word)


def _calls(program, key, op):
    """How often ``op`` runs in a graph and the graphs inside it."""
    from catalog.ports.ir import Call

    return sum(
        _calls(program, node.graph, op) if isinstance(node, Call) else node.op.split(".")[0] == op
        for node in program.graphs[key].nodes
    )
