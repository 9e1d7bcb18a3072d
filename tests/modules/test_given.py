"""What a user gives, wrong in kind, shape or range: one line that names it. Certificates of nothing hold nothing."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import (  # noqa: E402
    Criteria,
    Profile,
    certify,
    compress,
    detect,
    expand,
    expansion,
    matched_groups,
    merge,
)
from lop_theory.verdict import Fails, Holds, Undecided  # noqa: E402

X = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    return base, expand(base, 2, example_input=X)


def with_state(clone, name, maps):
    profile = expansion(clone).profiles[False]
    return Profile({**profile.state, name: maps}, profile.values)


PAIRS = np.arange(8) // 2
PROFILES = {
    "a dict": (lambda _: {"a": 1}, "must be a lop_theory Profile"),
    "too short": (lambda c: with_state(c, "0.weight", (PAIRS[:3], np.arange(5))), r"of \(3, 5\) coordinates"),
    "a dimension too few": (lambda c: with_state(c, "0.weight", (PAIRS,)), r"the tensor is \(8, 5\)"),
    "another name": (lambda c: with_state(c, "zz", (PAIRS,)), "is no parameter or buffer"),
}


@pytest.mark.parametrize(("profile", "said"), PROFILES.values(), ids=PROFILES)
def test_profiles_of_other_tensors_are_refused(profile, said, pair):
    with pytest.raises(InvalidInput, match=f"^profile=.*{said}"):
        certify(pair[1], example_input=X, profile=profile(pair[1]))


@pytest.mark.parametrize("tolerance", [math.nan, math.inf, 1.0, -1e-9, True, "a"])
def test_a_tolerance_is_a_number_below_one(tolerance, pair):
    with pytest.raises(InvalidInput, match=r"^tolerance=.*must be a number"):
        certify(pair[1], example_input=X, tolerance=tolerance)
    assert isinstance(certify(pair[1], example_input=X, tolerance=torch.tensor(1e-9)), Holds)


REFUSED = {
    "model": lambda p: certify("m", p[0], example_input=X),
    "base": lambda p: certify(p[1], "b", example_input=X),
    "optimizer": lambda p: certify(p[1], p[0], example_input=X, optimizer=torch.optim.SGD),
    "factor": lambda p: expand(p[0], {0: 2}, example_input=X),
    "factor ": lambda p: expand(p[0], True, example_input=X),
    "redistribute": lambda p: expand(p[0], 2, example_input=X, redistribute="q"),
    "redistribute ": lambda p: expand(p[0], 2, example_input=X, redistribute=-1),
    "input_range": lambda p: detect(p[1], X, criteria=Criteria(input_range="ab")),
    "input_range ": lambda p: detect(p[1], X, criteria=Criteria(input_range=(1, 2, 3))),
    "input_range  ": lambda p: detect(p[1], X, criteria=Criteria(input_range=(math.nan, 1.0))),
    "mask": lambda p: detect(p[1], X, mask=torch.ones(3)),
    "loss": lambda p: detect(p[1], X, loss=lambda y: y),
    "loss ": lambda p: detect(p[1], X, loss=lambda y: float(y.sum())),
    "loss  ": lambda p: detect(p[1], X, loss=lambda y: None if y.sum() else y),
    "detection": lambda p: compress(p[1], None),
    "detection ": lambda p: compress(p[0], detect(p[1], X)),
    "detection  ": lambda p: merge(nn.Linear(3, 3).double(), detect(p[1], X)),
    "step_size": lambda p: matched_groups(p[1], "a"),
    "step_size ": lambda p: matched_groups(p[1], math.nan),
    "decay": lambda p: matched_groups(p[1], 0.1, decay=-1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_in_kind_or_range_is_named(name, pair):
    with pytest.raises(InvalidInput, match=f"^{name.strip()}=") as refused:
        REFUSED[name](pair)
    assert "\n" not in str(refused.value)


def test_a_model_is_a_module():
    for asked in (lambda: expand("m", 2, example_input=X), lambda: detect("m", X), lambda: compress("m", None)):
        with pytest.raises(InvalidInput, match=r"^model='str': must be a torch Module"):
            asked()


def test_whole_numbers_of_numpy_are_factors(pair):
    base, clone = pair
    for factor in (np.int64(2), {"0": np.int64(2)}, {"0": [np.int64(2)] * 4}):
        assert expand(base, factor, example_input=X)[0].weight.shape == clone[0].weight.shape


def test_without_a_clone_nothing_is_certified(pair):
    """MC1–MC3 hold of every model whose units are all alone, also of a broken one."""
    base, clone = pair
    alone = {name: tuple(np.arange(n) for n in t.shape) for name, t in clone.state_dict().items()}
    for model, profile in ((clone, Profile(alone, {})), (clone, Profile({}, {}))):
        verdict = certify(model, example_input=X, profile=profile)
        assert isinstance(verdict, Undecided)
        assert "no unit has a clone" in str(verdict)
    assert isinstance(certify(base, base=base, example_input=X), Undecided)


@pytest.mark.parametrize("example", [0.0, 1.0, 1e200])
def test_examples_that_do_not_vary_hide_no_other_function(example, pair):
    """Zeros see no weight, ones the sums of rows alone, 1e200 saturates: the second batch is of numbers that do."""
    base, clone = pair
    constant = torch.full((6, 5), example, dtype=torch.float64)
    other = expand(base, 2, example_input=X)
    with torch.no_grad():
        other[0].weight += torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0])
    assert isinstance(certify(clone, base=base, example_input=constant), Holds)
    assert isinstance(certify(other, base=base, example_input=constant), Fails)


class Masked(nn.Module):
    """Tokens, and a float mask of which the logarithm is taken."""

    def __init__(self):
        super().__init__()
        self.table, self.o = nn.Embedding(7, 4), nn.Linear(4, 2)

    def forward(self, ids, mask):
        weights = torch.softmax(mask.log(), -1)
        return self.o((torch.tanh(self.table(ids)) * weights[..., None]).sum(1))


@pytest.mark.parametrize("read", [torch.sqrt, torch.log, lambda x: torch.asin(0.5 * x), lambda x: (1 - x * x).sqrt()])
def test_second_batches_stay_where_inputs_may_be(read):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.o = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.o(torch.tanh(self.a(read(x))))

    base, x = Net().double(), torch.rand(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert isinstance(certify(expand(base, 2, example_input=x), base=base, example_input=x), Holds)


def test_a_mask_of_ones_keeps_its_sign():
    base, given = Masked().double(), (torch.randint(0, 7, (3, 4)), torch.ones(3, 4, dtype=torch.float64))
    assert isinstance(certify(expand(base, 2, example_input=given), base=base, example_input=given), Holds)


@pytest.mark.parametrize("name", ["lr", "weight_decay", "momentum"])
def test_steps_that_are_no_numbers_are_undecided(name, pair):
    optimizer = torch.optim.SGD(pair[1].parameters(), 0.1)
    for odd in (math.nan, math.inf, torch.tensor(math.nan)):
        optimizer.param_groups[0][name] = odd
        verdict = certify(pair[1], example_input=X, optimizer=optimizer)
        assert isinstance(verdict, Undecided)
        assert f"{name} is NaN or infinite" in str(verdict)


def test_what_widening_did_is_told_line_by_line():
    from lop_theory.modules.growth import Expansion

    record = Expansion(
        True, "", {}, {}, {"a.weight": ((2, 3), (4, 3)), "a.bias": ((2,), (4,))}, {"o.bias": "the output"}, {"o": 0.5}
    )
    lines = [
        "runs the model's own class; 2 parameters and buffers widened", "  a.weight: (2, 3) -> (4, 3)",
        "  a.bias: (2,) -> (4,)", "  input of o × 0.5 (its weight is shared)", "  o.bias keeps a size: the output",
    ]  # fmt: skip
    assert str(record).splitlines() == lines
    other = record._replace(own_class=False, reason="why", widened={}, narrow={}, scaled={})
    assert str(other) == "runs the rewritten trace (why); 0 parameters and buffers widened"
    with pytest.raises(InvalidInput, match=r"^clone='Linear': was not made by expand"):
        expansion(nn.Linear(2, 2))
