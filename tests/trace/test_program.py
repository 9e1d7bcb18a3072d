"""Programs whose graphs are written by hand: what a call may be, and what a run does."""

import pickle
import weakref
from inspect import Parameter, Signature

import pytest

torch = pytest.importorskip("torch")
from torch import fx, nn  # noqa: E402
from torch.utils import _pytree as pytree  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.trace import Deferred, Input, Program, flat_inputs, operator_name, run, state_of  # noqa: E402

aten = torch.ops.aten
ROWS = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.float64)
TABLE = Input("x", "x", ("s0", 2), torch.float64, None)


def written(calls, *names, inputs=(TABLE,), out=None, **fields):
    """The program of ``calls``: operator and arguments, texts being the names of earlier values. It returns the last
    value, or ``out``."""
    graph = fx.Graph()
    values = {name: graph.placeholder(name) for name in names}
    for name, (target, args, kwargs) in calls.items():
        given = [values.get(a, a) if isinstance(a, str) else a for a in args]
        values[name] = graph.create_node("call_function", target, tuple(given), kwargs, name)
    found = tuple(values.get(item, item) for item in (out or [list(values)[-1]]))
    graph.output(found)
    given = {"state": {}, "constants": {}, "modules": {}, "updates": {}, "signature": None, "ranges": {"s0": (2, 5)}}
    spec = pytree.tree_structure([0] * len(found))
    return Program(graph, inputs=inputs, out_spec=spec, **{**given, **fields})


def signature(**defaults):
    return Signature([Parameter(n, Parameter.POSITIONAL_OR_KEYWORD, default=d) for n, d in defaults.items()])


def doubled(**fields):
    fields = {"signature": signature(x=Parameter.empty), **fields}
    return written({"double": (aten.mul.Tensor, ("x", 2.0), {})}, "x", **fields)


def test_a_program_is_kept_in_a_file_and_names_its_places():
    program = doubled(modules={"double": "a.b"})
    again = pickle.loads(pickle.dumps(program))
    assert run(again, {}, [ROWS])[0].tolist() == [[2, 4], [6, 8], [10, 12]]
    assert again._replace(graph=None) == program._replace(graph=None)
    assert again.user_inputs == ("x",)
    node = next(n for n in program.graph.nodes if n.op == "call_function")
    assert program.where(node) == program.where("double") == "a.b:double"
    assert program.where("sum") == "(top):sum"
    assert operator_name(node) == "mul"
    assert operator_name(next(iter(program.graph.nodes))) == ""


@pytest.mark.parametrize("size", [2, 5])
def test_a_call_fits_in_every_size_of_the_range(size):
    x = torch.ones(size, 2)  # of another precision, which is no other call
    assert flat_inputs(doubled(), x)[0] is flat_inputs(doubled(), {"x": x})[0] is x


@pytest.mark.parametrize(
    ("x", "why"),
    [
        (torch.ones(1, 2), r"x=\(1, 2\): .*: x must have the shape \('s0', 2\); pass"),
        (torch.ones(6, 2), r"x=\(6, 2\): .*: x must have the shape"),
        (torch.ones(3, 3), r"x=\(3, 3\): .*: x must have the shape"),
        (torch.ones(3, 1), r"x=\(3, 1\): .*: x must have the shape"),
        (torch.ones(3), r"x='tensor of shape \(3,\)': .*: x must be a tensor of 2 dimensions"),
        (torch.ones(3, 2, 1), "x must be a tensor of 2 dimensions"),
        (7, "x=7: this trace does not describe the call: x must be a tensor"),
        (torch.ones(3, 2).long(), r"x=torch.int64: .*: x must be of dtype torch.float64"),
        (None, "x=None: "),
    ],
)
def test_other_sizes_and_kinds_are_other_calls(x, why):
    with pytest.raises(InvalidInput, match=why):
        doubled().flat((x,), {})


def test_integers_of_another_type_are_another_call():
    """A mask of truth values says something else than one of numbers."""
    program = doubled(inputs=(Input("x", "x", (2,), torch.int64, None),))
    assert program.flat((torch.tensor([0, 1]),), {})
    for other in (torch.bool, torch.int32, torch.float32, torch.complex64):
        with pytest.raises(InvalidInput, match=r"must be of dtype torch\.int64"):
            program.flat((torch.tensor([0, 1]).to(other),), {})


def test_precisions_of_real_and_of_complex_numbers_are_one_call():
    for one, other in ((torch.float32, torch.bfloat16), (torch.complex64, torch.complex128)):
        program = doubled(inputs=(Input("x", "x", (2,), one, None),))
        assert program.flat((torch.ones(2).to(other),), {})
    for one, other in ((torch.float32, torch.complex64), (torch.complex64, torch.float32)):
        with pytest.raises(InvalidInput, match="must be of dtype"):
            doubled(inputs=(Input("x", "x", (2,), one, None),)).flat((torch.ones(2).to(other),), {})


def test_one_symbol_is_one_size():
    inputs = (Input("x", "x", ("s0",), torch.float32, None), Input("y", "y", ("s0", 3), torch.float32, None))
    program = written({"sum": (aten.add.Tensor, ("y", 1.0), {})}, "x", "y", inputs=inputs)
    program = program._replace(signature=signature(x=Parameter.empty, y=Parameter.empty))
    assert len(program.flat((torch.ones(3), torch.ones(3, 3)), {})) == 2
    for n in (2, 4):
        with pytest.raises(InvalidInput, match=rf"^y=\({n}, 3\)"):
            program.flat((torch.ones(3), torch.ones(n, 3)), {})


NAN = float("nan")
LONG = "a text that is made anew, so that it is another object"


def test_python_values_are_those_of_the_trace():
    for value, same, others in (
        (2.0, [2.0, float("2.0")], [2, 3.0, None]),
        (1, [1], [True, 1.0, 2]),
        (NAN, [NAN], [0.0, float("nan")]),
        (LONG, [LONG, "".join(LONG)], ["", torch.ones(())]),
        (None, [None], [False, torch.zeros(1)]),
    ):
        inputs = (TABLE, Input("t", "t", None, None, value))
        program = doubled(inputs=inputs, signature=signature(x=Parameter.empty, t=Parameter.empty))
        assert all(program.flat((ROWS, t), {})[1] is t for t in same)
        for t in others:
            with pytest.raises(InvalidInput, match=r": t was .* when the model was traced"):
                program.flat((ROWS, t), {})


def test_what_was_left_out_is_left_out_again_or_is_the_default():
    one = torch.ones(1)
    program = doubled(signature=signature(x=Parameter.empty, t=0.5, u=one))
    for kwargs in ({}, {"t": 0.5}, {"t": float("0.5"), "u": one}):
        assert program.flat((ROWS,), kwargs) == [ROWS]
    for kwargs in ({"t": 1.5}, {"u": torch.ones(1)}, {"u": None}):
        with pytest.raises(InvalidInput, match="was left out when the model was traced"):
            program.flat((ROWS,), kwargs)
    with pytest.raises(InvalidInput, match=r"^x='\(nothing\)': this trace does not describe the call"):
        doubled(signature=None).flat((), {})


def test_shared_tensors_have_all_their_names():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model[0].register_buffer("count", torch.ones(()))
    model[1].register_buffer("count", model[0].count)
    names = {"0.weight", "0.bias", "1.weight", "1.bias", "0.count", "1.count"}
    assert state_of(model).keys() == names
    assert state_of(model)["1.weight"] is model[0].weight


def counting(**fields):
    calls = {"more": (aten.add.Tensor, ("count", 1.0), {}), "new": (aten.mul.Tensor, ("x", "more"), {})}
    return written(calls, "w", "count", "x", state={"w": "w", "count": "n"}, **fields)


def test_a_run_overwrites_nothing_or_what_the_model_does():
    program = counting(updates={"count": "more", "x": "new"})
    for update, after in ((None, 1.0), (False, 1.0), (True, 2.0)):
        count, x = torch.ones((), dtype=torch.float64), ROWS.clone()
        state = {"w": torch.ones(()), "n": count}
        (found,) = run(program, state, [x]) if update is None else run(program, state, [x], update=update)
        assert found.tolist() == [[2, 4], [6, 8], [10, 12]]
        assert count == after
        assert x.tolist() == (found if update else ROWS).tolist()


def test_updates_leave_what_autograd_needs():
    """The derivative of x(n + 1) in x is n + 1 with the n of the call, though n is overwritten."""
    calls = {"more": (aten.add.Tensor, ("count", 1.0), {}), "new": (aten.mul.Tensor, ("x", "count"), {})}
    program = written(calls, "count", "x", state={"count": "n"}, updates={"count": "more"})
    x = ROWS.clone().requires_grad_()
    count = torch.tensor(3.0, dtype=torch.float64)
    run(program, {"n": count}, [x], update=True)[0].sum().backward()
    assert count == 4
    assert x.grad.tolist() == [[3, 3], [3, 3], [3, 3]]


def test_what_is_not_updated_is_not_copied_and_every_value_is_seen_and_may_be_replaced():
    state, seen = {"w": torch.ones(2), "n": torch.ones(())}, {}

    def observe(node, value):
        seen[node.name] = value
        return value * 10 if node.name == "more" else value

    (found,) = run(counting(updates={"count": "more"}), state, [ROWS], observe)
    assert list(seen) == ["w", "count", "x", "more", "new"]
    assert seen["w"] is state["w"]
    assert seen["x"] is ROWS
    assert seen["count"] is not state["n"]
    assert torch.equal(found, 20 * ROWS)


def test_values_are_let_go_after_their_last_use():
    calls = {name: (aten.sin.default, (given,), {}) for name, given in zip("abcd", "xabc", strict=True)}
    program = written(calls, "x", updates={"x": "b"})
    made, alive = {}, {}

    def observe(node, value):
        made[node.name] = weakref.ref(value)
        alive[node.name] = [name for name, ref in made.items() if ref() is not None]
        return value

    run(program, {}, [ROWS.clone()], observe, update=True)
    assert alive["d"] == ["b", "c", "d"]  # what is written back at the end is kept


def test_state_may_be_made_for_every_use():
    made = []

    def make():
        made.append(1)
        return torch.tensor([2.0, 3.0], dtype=torch.float64)

    calls = {"first": (aten.mul.Tensor, ("x", "w"), {}), "second": (aten.mul.Tensor, ("first", "w"), {})}
    program = written(calls, "w", "x", state={"w": "w"}, out=["second", "w", None, 7])
    second, w, *others = run(program, {"w": Deferred(torch.device("cpu"), make)}, [ROWS])
    assert second.tolist() == [[4, 18], [12, 36], [20, 54]]
    assert w.tolist() == [2, 3]
    assert others == [None, 7]
    assert len(made) == 3


def test_values_are_made_where_the_state_is():
    """The graph says where they were made when it was traced."""
    calls = {
        "there": (aten.ones.default, ([2],), {"device": torch.device("cpu")}),
    }
    given = {"state": {"w": "w"}, "constants": {"constant": torch.ones(2)}, "out": ["there", "constant"]}
    program = written(calls, "w", "constant", inputs=(), **given)
    for device in ("cpu", "meta"):
        found = run(program, {"w": torch.ones(2, device=device)}, [])
        assert [t.device.type for t in found] == [device, device]
    there = written({"there": (aten.ones.default, ([2],), {"device": "meta"})}, inputs=())
    assert run(there, {}, [])[0].device.type == "meta"  # without state as it was


def test_precision_holds_for_all_that_is_floating():
    calls = {
        "low": (aten.to.dtype, ("x", torch.float16), {}),
        "whole": (aten.to.dtype, ("w", torch.int32), {}),
        "plane": (aten.to.dtype, ("w", torch.complex64), {}),
        "more": (aten.ones.default, ([2],), {"dtype": torch.float32}),
        "best": (aten.max.dim, ("x", 1), {}),
        "given": (aten.to.dtype, ("x", "dtype"), {}),
    }
    inputs = (TABLE, Input("dtype", "dtype", None, None, torch.float16))
    out = ["low", "whole", "plane", "more", "best", "given", "x", "w"]
    given = {"inputs": inputs, "state": {"w": "w"}, "out": out}
    program = written(calls, "w", "x", "dtype", **given)
    dtypes, x = {}, (ROWS / 3).float()
    state = {"w": torch.ones(2), "unused": torch.ones(())}
    for precision in (None, torch.float64):
        found = pytree.tree_leaves(run(program, state, [x, torch.float16], precision=precision))
        dtypes[precision] = [t.dtype for t in found]
    f16, f32, f64, i64 = torch.float16, torch.float32, torch.float64, torch.int64
    assert dtypes[None] == [f16, torch.int32, torch.complex64, f32, f32, i64, f16, f32, f32]
    assert dtypes[torch.float64] == [f64, torch.int32, torch.complex128, f64, f64, i64, f64, f64, f64]
    assert torch.equal(found[0], x.double())  # and was not rounded in between
