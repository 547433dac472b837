"""From a page to a program: what is kept, what is shared, and every refusal."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from catalog.errors import PortError
from catalog.ports.export import export
from catalog.ports.ir import Call, Leaf, Program
from catalog.ports.request import rebuild, request
from catalog.ports.run import run
from tests.support.ports import TYPES


class Toy(nn.Module):
    name, head = "toy", None

    def __init__(self, forward, **parts):
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x):
        return {"y": self.function(self, x)}


def program(forward, given=None, train=False, **parts):
    """The program of a toy on ``given``, and the toy."""
    torch.manual_seed(0)
    toy = Toy(forward, **parts)
    asked, _ = request({"x": torch.randn(3, 4) if given is None else given}, train, TYPES)
    return export(toy, asked), toy


class Place:
    """Leaves by full name, as a port would hold them."""

    def __init__(self, leaves, updates, prefix=""):
        self.leaves, self.updates, self.prefix = leaves, updates, prefix

    def leaf(self, path):
        return self.leaves[self.prefix + path]

    def inside(self, path, number):
        return Place(self.leaves, self.updates, f"{self.prefix}{path}.")

    def update(self, path, value):
        self.updates[self.prefix + path] = value


def in_jax(made, leaves, x, updates=None):
    """The output of a program in JAX."""
    jnp = pytest.importorskip("jax").numpy
    from catalog.ports.lower_jax import TABLE
    from catalog.ports.lower_jax.elementwise import dtype_of

    place = Place(leaves, {} if updates is None else updates)
    constant = lambda name: jnp.asarray(made.constants[name])  # noqa: E731
    return run(made, made.graphs[made.root], [x], TABLE, place, constant, dtype_of)[0]


def leaves_of(toy):
    named = [*toy.named_parameters(remove_duplicate=False), *toy.named_buffers()]
    return {name: tensor.detach().numpy().copy() for name, tensor in named}


def gradients(made, toy, x):
    """Of the sum of the output, by name: (JAX's, PyTorch's)."""
    jax = pytest.importorskip("jax")
    found = jax.grad(lambda leaves: in_jax(made, leaves, x.numpy()).sum())(leaves_of(toy))
    toy(x)["y"].sum().backward()
    return {
        n: (np.asarray(found[n]), np.zeros(p.shape) if p.grad is None else p.grad.numpy())
        for n, p in toy.named_parameters()
    }


def test_detach_keeps_its_stop():
    made, toy = program(lambda m, x: m.a(x) * m.b(x).detach(), a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    x = torch.randn(5, 4)
    for name, (got, wanted) in gradients(made, toy, x).items():
        np.testing.assert_allclose(got, wanted, atol=1e-5, err_msg=name)
        assert np.abs(wanted).max() > 0 or name.startswith("b.")


def test_no_grad_is_refused_by_name():
    def forward(m, x):
        with torch.no_grad():
            return m.a(x)

    with pytest.raises(PortError, match=r"toy \(x\).*torch.no_grad.*use .detach\(\)"):
        program(forward, a=nn.Linear(4, 4))


def test_a_fixed_dimension_is_refused():
    with pytest.raises(PortError, match="toy"):
        program(lambda m, x: x.reshape(3, 2, 2))


def test_a_fixed_length_names_the_module():
    class Fixed(nn.Module):
        def forward(self, x):
            return x + torch.ones(3, 1)

    with pytest.raises(PortError, match="toy") as error:
        program(lambda m, x: m.part(x), part=Fixed())
    assert "3" in str(error.value)


def test_an_unknown_op_names_model_module_and_op():
    class Bessel(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    with pytest.raises(PortError, match=r"toy \(x\): 'part' \(Bessel\) uses aten.special_bessel_j0"):
        program(lambda m, x: m.part(x), part=Bessel())


@pytest.mark.parametrize(
    "forward", [lambda m, x: x[x > 0], lambda m, x: x * x.sum().item(), lambda m, x: x if x.sum() > 0 else -x]
)
def test_sizes_and_branches_that_depend_on_data_are_refused(forward):
    with pytest.raises(PortError, match="toy"):
        program(forward)


def test_writing_into_inputs_is_refused():
    with pytest.raises(PortError, match="writes into its inputs"):
        program(lambda m, x: x.add_(1))


def test_other_outputs_are_refused():
    with pytest.raises(PortError, match="holds a str"):
        program(lambda m, x: "text")


def test_equal_blocks_share_one_graph():
    def blocks(count):
        return program(
            lambda m, x: m.stack(x),
            stack=nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.GELU()) for _ in range(count))),
        )[0]

    few, many = blocks(2), blocks(8)
    assert len(few.graphs) == len(many.graphs)
    calls = [node for graph in many.graphs.values() for node in graph.nodes if isinstance(node, Call)]
    assert [c.path for c in calls if c.path.isdigit()].count("7") == 1
    assert len(json.dumps(many.to_json())) < 2 * len(json.dumps(few.to_json()))


def test_ties_are_one_leaf_in_both_places():
    table = nn.Embedding(9, 4)
    out = nn.Linear(4, 9, bias=False)
    out.weight = table.weight
    made, _ = program(lambda m, x: m.out(m.table(x)), torch.randint(0, 9, (3, 2)), table=table, out=out)
    reading = {
        graph.module for graph in made.graphs.values() if any(Leaf("weight") in node.args for node in graph.nodes)
    }
    assert reading == {"Embedding", "Linear"}
    assert all(graph.inputs == 1 for graph in made.graphs.values()), "the tied matrix travels as an input"


def test_a_module_called_twice_runs_twice():
    made, toy = program(lambda m, x: m.a(m.a(x)), a=nn.Linear(4, 4))
    x = torch.randn(2, 4)
    np.testing.assert_allclose(in_jax(made, leaves_of(toy), x.numpy()), toy(x)["y"].detach(), atol=1e-6)
    for name, (got, wanted) in gradients(made, toy, x).items():
        np.testing.assert_allclose(got, wanted, atol=1e-5, err_msg=name)


def test_parameters_of_another_module_travel():
    made, toy = program(lambda m, x: m.b(x) @ m.a.weight, a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    x = torch.randn(2, 4)
    np.testing.assert_allclose(in_jax(made, leaves_of(toy), x.numpy()), toy(x)["y"].detach(), atol=1e-6)


def test_batch_statistics_are_updated_in_their_module():
    made, toy = program(lambda m, x: m.norm(x), torch.randn(3, 4, 5), train=True, norm=nn.BatchNorm1d(4))
    x, updates = torch.randn(6, 4, 7), {}
    before = leaves_of(toy)
    got = in_jax(made, before, x.numpy(), updates)
    wanted = toy.train()(x)["y"]
    np.testing.assert_allclose(got, wanted.detach(), atol=1e-5)
    assert updates.keys() == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    for name, value in updates.items():
        np.testing.assert_allclose(value, toy.get_buffer(name), atol=1e-6, err_msg=name)


def test_constants_are_kept_by_content():
    made, toy = program(lambda m, x: x * torch.tensor([1.0, 2.0, 3.0, 4.0]) + torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert len(made.constants) == 1
    x = torch.randn(2, 4)
    np.testing.assert_allclose(in_jax(made, {}, x.numpy()), toy(x)["y"], atol=1e-6)


def test_a_program_is_read_back_as_it_was():
    made, _ = program(lambda m, x: m.a(x).masked_fill(x > 0, float("-inf")), a=nn.Linear(4, 4))
    text = json.dumps(made.to_json())
    assert Program.from_json(json.loads(text), made.constants, "here") == made
    other = json.loads(text) | {"version": 99}
    with pytest.raises(PortError, match=r"here: a port program of version 99"):
        Program.from_json(other, {}, "here")
    broken = json.loads(text)
    del broken["graphs"][made.root]["nodes"]
    with pytest.raises(PortError, match="not a whole port program"):
        Program.from_json(broken, {}, "here")


def test_requests_tell_ways_of_calling_apart():
    ids = torch.zeros(2, 7, dtype=torch.int64)
    one, tensors = request({"input_ids": ids, "attention_mask": None, "use_cache": True}, False, TYPES)
    same, _ = request({"input_ids": torch.zeros(5, 3, dtype=torch.int64), "use_cache": True}, False, TYPES)
    assert one.key == same.key and list(tensors) == ["input_ids"]
    past = ((torch.zeros(2, 4, 3, 8), torch.zeros(2, 4, 3, 8)),)
    step, tensors = request({"input_ids": ids[:, :1], "past_key_values": past}, False, TYPES)
    assert {p: d for p, _, d in step.inputs}["input_ids"] == (None, 1)
    assert rebuild(tensors)["past_key_values"][0][1] is past[0][1]
    for other in (
        {"input_ids": ids}, {"input_ids": ids, "use_cache": False}, {"input_ids": ids.bool(), "use_cache": True},
    ):  # fmt: skip
        assert request(other, False, TYPES)[0].key != one.key
    with pytest.raises(PortError, match="lengths"):
        request({"lengths": ids[0]}, False, TYPES)
    with pytest.raises(PortError, match="x: a object is neither"):
        request({"x": object()}, False, TYPES)
