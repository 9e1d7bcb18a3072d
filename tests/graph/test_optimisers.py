"""The optimiser table: prediction against observation, and equivariance, the criterion behind the prediction."""

import pytest
import torch
from torch import nn

from lop_theory.errors import InvalidInput
from lop_theory.graph import remedies
from lop_theory.graph.closure import escapes
from lop_theory.graph.optimiser_catalogue import OPTIMISERS, RATE, ExactMuon, SignDescent
from lop_theory.graph.optimisers import DECAYS, STARTS, equivariant, run, table
from lop_theory.optim import UPGD, Project, dash, parseval, spectral
from lop_theory.optim.isometry import polar

KNOWN_DISAGREEMENT = {
    ("Muon (bfloat16)", "coupled", "RE∩CE"),  # bfloat16 rounds clones differently
    ("DASH", "coupled", "RE∩CE"),  # the decay turns every row against its gradient: all shrink by the floor, alike
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.claim("optimiser-closure")
@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_cell_is_as_predicted(name):
    cells = table([name])
    assert len(cells) == len(DECAYS) * len(STARTS)
    for cell in cells:
        assert cell.agrees == ((cell.optimiser, cell.decay, cell.start) not in KNOWN_DISAGREEMENT), cell


@pytest.mark.claim("optimiser-closure")
def test_every_torch_optimiser_is_in_the_table():
    kinds = {k for k, v in vars(torch.optim).items() if isinstance(v, type) and k != "Optimizer"}
    names = {name.split()[0].rstrip(",") for name in OPTIMISERS}
    assert kinds <= names


@pytest.mark.claim("optimiser-closure")
@pytest.mark.parametrize("name", [name for name, spec in OPTIMISERS.items() if spec.update != "asymmetric"])
def test_symmetric_optimisers_commute_with_permutations_within_blocks(name):
    assert equivariant(name) < (1e-2 if "bfloat16" in name else 1e-10)


@pytest.mark.claim("optimiser-closure")
@pytest.mark.parametrize("name", ["Adam", "RMSprop", "Adagrad", "Adamax", "NAdam", "Adafactor", "UPGD without noise"])
def test_two_by_two_blocks_hide_the_coupled_decay(name):
    small, large = (run(name, "coupled", "RE∩CE", block=block) for block in (2, 3))
    assert (small.observed[0], large.observed[0]) == (True, False)
    assert small.agrees
    assert large.agrees


def test_unknown_optimisers_are_named():
    with pytest.raises(InvalidInput, match="SGDD"):
        run("SGDD", "none", "BC")


@pytest.mark.claim("optimiser-closure")
def test_escapes_name_the_adaptive_optimisers_under_coupled_decay_only():
    found = escapes(block_constant=False)
    assert "Adam" in found["coupled"]
    assert "Muon" not in found["coupled"]
    assert "Adam" not in found["none"] + found["decoupled"]
    assert "Adam" not in escapes(block_constant=True)["coupled"]


def rule_inputs():
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(4, 6, generator=generator, dtype=torch.float64) for _ in range(3)]


@pytest.mark.claim("optimiser-closure")
def test_the_rules_of_remedies_are_those_of_the_remedies_themselves():
    w, g, start = rule_inputs()
    eta, strength = remedies.RATE, remedies.STRENGTH

    def descended(penalty):
        leaf = w.clone().requires_grad_()
        (slope,) = torch.autograd.grad(penalty(leaf), [leaf])
        return w - eta * (g + slope)

    pull = descended(lambda p: 0.5 * strength * (p - start).square().sum())
    torch.testing.assert_close(remedies.l2_init(w, g, start), pull)
    torch.testing.assert_close(remedies.parseval(w, g, start), descended(lambda p: strength * parseval([p])))
    torch.testing.assert_close(remedies.spectral(w, g, start), descended(lambda p: strength * spectral([p])))
    near = polar(w - eta * g, iterations=remedies.ITERATIONS) * (4 / 6) ** 0.5
    torch.testing.assert_close(remedies.polar(w, g, start), near)


@pytest.mark.claim("optimiser-closure")
def test_replaced_units_are_drawn_anew_and_the_others_descend():
    w, g, start = rule_inputs()
    rule, drawn = (torch.Generator().manual_seed(9) for _ in range(2))
    found = remedies.replaced(rule)(w, g, start)
    assert torch.equal(found[1:], (w - remedies.RATE * g)[1:])
    assert torch.equal(found[0], torch.randn(6, generator=drawn, dtype=torch.float64))


@pytest.mark.claim("optimiser-closure")
@pytest.mark.parametrize("name", ["NaP", "DASH", "UPGD"])
def test_rules_with_a_model_are_those_of_the_remedies_themselves(name):
    w, g, start = rule_inputs()
    layer = nn.Linear(6, 4, bias=False, dtype=torch.float64)
    layer.weight = nn.Parameter(start.clone())
    if name == "NaP":
        optimiser = Project(torch.optim.SGD(layer.parameters(), lr=remedies.RATE), layer)
    else:
        optimiser = UPGD(layer.parameters(), lr=remedies.RATE, sigma=0.0)
    layer.weight.data.copy_(w)
    if name == "DASH":
        dash(layer, [(torch.eye(6, dtype=torch.float64), g)], lambda out, y: (out * y.mT).sum(), alpha=1.0)
        torch.testing.assert_close(remedies.dash(w, g, start), layer.weight.detach() - remedies.RATE * g)
        return
    layer.weight.grad = g.clone()
    optimiser.step()
    rule = {"NaP": remedies.projected, "UPGD": remedies.upgd}[name]
    torch.testing.assert_close(rule(w, g, start), layer.weight.detach())


def quintic(x):
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    return x


@pytest.mark.claim("optimiser-closure")
@pytest.mark.parametrize("scale", [1.0, 1e-7, 0.0])
def test_muon_in_full_precision_bends_the_singular_values_of_its_momentum(scale):
    """Five quintic steps of σ/(‖G‖ + 10⁻⁷); the matrix is g + μm with m ← μm + g."""
    generator = torch.Generator().manual_seed(3)
    start, *gradients = (torch.randn(4, 6, generator=generator, dtype=torch.float64) for _ in range(4))
    weight, momentum, right = start.clone().requires_grad_(), torch.zeros(4, 6, dtype=torch.float64), start
    optimiser = ExactMuon([weight], lr=0.1, momentum=0.9)
    for g in gradients:
        weight.grad = scale * g
        optimiser.step(lambda: None)
        momentum = 0.9 * momentum + scale * g
        matrix = scale * g + 0.9 * momentum
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        right = right - 0.1 * (u * quintic(s / (matrix.norm() + 1e-7))) @ v
    torch.testing.assert_close(weight.detach(), right, rtol=1e-9, atol=1e-11)


@pytest.mark.claim("optimiser-closure")
def test_sign_descent_steps_by_the_sign_of_an_average():
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = SignDescent([weight], lr=0.5, beta=0.75)
    average, right = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for g in ([1.0, -4.0, 0.0], [-2.0, 1.0, 0.0], [-2.0, 1.0, 1e-9]):
        weight.grad = torch.tensor(g, dtype=torch.float64)
        assert optimiser.step(lambda: 7.0) == 7.0
        average = 0.75 * average + 0.25 * weight.grad
        right = right - 0.5 * average.sign()
    assert torch.equal(weight.detach(), right)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_parameter_is_moved_by_one_optimiser(name):
    parameters = [torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in ((4, 2), (4,), (1, 4), (1,))]
    made = OPTIMISERS[name].make(parameters)
    groups = [group for optimiser in made for group in optimiser.param_groups]
    assert sorted(id(p) for group in groups for p in group["params"]) == sorted(map(id, parameters))
    rates = {group["lr"] for group in groups if "lr" in group}
    assert rates <= {RATE, 1.0}
