"""What has a second derivative and what has none: fused attention, shared weights, noise, kinks, losses."""

import math

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lop_theory.errors import InvalidInput
from lop_theory.stability import curvature, objective_of
from lop_theory.stability.attention import math_attention
from lop_theory.stability.pieces import _real, small_step


class Attention(nn.Module):
    """Attention by the fused kernel, chosen by the model's own code or left to PyTorch."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.embed, self.out, self.fused = nn.Linear(4, 8), nn.Linear(8, 2), fused

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.embed(x).reshape(*x.shape[:2], 2, 4).transpose(1, 2)
        if self.fused:
            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                h = nn.functional.scaled_dot_product_attention(h, h, h, is_causal=True)
        else:
            weights = (h @ h.mT / 2).masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
            h = weights.softmax(-1) @ h
        return self.out(h.transpose(1, 2).reshape(*x.shape[:2], 8))


def test_fused_attention_has_the_curvature_of_its_formula() -> None:
    torch.manual_seed(0)
    fused, plain, x = Attention(True).double(), Attention(False).double(), torch.randn(3, 5, 4).double()
    plain.load_state_dict(fused.state_dict())
    found = [curvature(model, x, lambda y: y.square().mean()) for model in (fused, plain)]
    v = torch.randn(found[0].coordinates.dimension).double()
    assert torch.allclose(found[0].gradient, found[1].gradient, atol=1e-12)
    assert torch.allclose(found[0].product(v), found[1].product(v), atol=1e-12)
    assert found[0].product(v).norm() > 1e-3


@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4), (2, 3, 5, 4)])
def test_attention_lies_in_memory_as_its_kernel_leaves_it(shape: tuple[int, ...]) -> None:
    heads = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fused = nn.functional.scaled_dot_product_attention(heads, heads, heads)
    with math_attention():
        found = nn.functional.scaled_dot_product_attention(heads, heads, heads)
    assert torch.allclose(found, fused)
    assert (found.transpose(1, 2) if len(shape) == 4 else found).is_contiguous()


def test_a_trace_with_views_behind_fused_attention() -> None:
    from lop_theory.modules import expand

    torch.manual_seed(0)
    model, x = nn.Sequential(Attention(True)), torch.randn(3, 5, 4)
    clone = expand(model, 2, example_input=x, traced=True)
    at = curvature(clone, x, lambda y: y.square().mean(), dtype=torch.float64)
    assert at.product(torch.ones_like(at.gradient)).isfinite().all()


def test_shared_weights_are_one_parameter() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.read = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
            self.read.weight = self.embed.weight

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.read(torch.tanh(self.embed(ids)))

    model, ids = Tied().double(), torch.arange(5)
    at = curvature(model, ids, lambda y: y.square().mean())
    assert at.coordinates.dimension == 15

    def loss(weight: torch.Tensor) -> torch.Tensor:
        return (torch.tanh(weight[ids]) @ weight.T).square().mean()

    whole = torch.func.hessian(loss)(model.embed.weight.detach()).reshape(15, 15)
    v = torch.randn(15).double()
    assert torch.allclose(at.product(v), whole @ v, atol=1e-12)


def test_noise_is_refused_by_name_and_no_noise_is_not() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.Linear(3, 1))
    with pytest.raises(InvalidInput, match=r"draws random numbers.*model.eval"):
        curvature(model, torch.ones(2, 2), lambda y: y.mean())
    assert curvature(model.eval(), torch.ones(2, 2), lambda y: y.square().mean()).value >= 0
    model[1].p = 0.0
    assert curvature(model.train(), torch.ones(2, 2), lambda y: y.square().mean()).value >= 0


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (lambda y: y, "must be one real number"),
        (lambda y: {"loss": y.mean()}, "must be one real number"),
        (lambda y: y.mean() * torch.inf, "is not finite"),
        (lambda y: y.detach().mean(), "does not depend"),
    ],
)
def test_losses_that_are_none(loss, what) -> None:
    with pytest.raises(InvalidInput, match=what):
        curvature(nn.Linear(2, 3), torch.ones(2, 2), loss)


def test_a_model_without_trained_parameters_has_no_curvature() -> None:
    for model in (nn.Linear(2, 3).requires_grad_(False), nn.ReLU()):
        with pytest.raises(InvalidInput, match=r"has no trained parameter.*requires_grad_"):
            curvature(model, torch.ones(2, 2), lambda y: y.mean())


def test_parameters_that_are_not_trained_are_fixed_and_all_are_copies() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    found = objective_of(model.eval(), torch.ones(4, 2), lambda y: y.square().mean(), dtype=torch.float64)
    assert found.coordinates.names == ("1.weight", "1.bias", "2.weight", "2.bias")
    assert set(found.fixed) == {
        "0.weight", "0.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"
    }  # fmt: skip
    assert found.start.dtype == found.fixed["0.weight"].dtype == found.inputs.dtype == torch.float64
    assert found.fixed["1.num_batches_tracked"].dtype == torch.int64
    expected = model(torch.ones(4, 2)).square().mean()
    assert found.curvature(found.start).value == pytest.approx(float(expected.detach()), rel=1e-5)
    found.start.zero_()
    found.fixed["0.weight"].zero_()
    assert float(model[0].weight.detach().abs().max()) > 0
    assert float(model[1].weight.detach().min()) == 1
    plain = objective_of(model, torch.ones(4, 2), lambda y: y.mean())
    assert plain.start.dtype == torch.float32


def test_a_function_without_second_derivative_is_found() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, slope):
            return slope * 3 * ctx.saved_tensors[0] ** 2

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(2))

        def forward(self, x):
            return Once.apply(self.w * x)

    for loss in (torch.sum, lambda y: y.square().sum()):  # PyTorch says nothing, and H is 0
        with pytest.raises(InvalidInput, match="hides a part"):
            objective_of(Model(), torch.ones(2), loss, dtype=torch.float64).check_second_order()


def test_the_derivative_of_the_gradient_is_checked_and_passes_for_plain_operators() -> None:
    torch.manual_seed(0)
    for activation in (nn.Tanh(), nn.ReLU(), nn.GELU()):
        model = nn.Sequential(nn.Linear(3, 20), activation, nn.Linear(20, 2))
        x = torch.randn(50, 3)
        objective_of(model, x, lambda y: y.square().mean(), dtype=torch.float64).check_second_order()
        hidden = objective_of(model, x, lambda y: (y * y.detach()).mean(), dtype=torch.float64)
        with pytest.raises(InvalidInput, match="hides a part"):
            hidden.check_second_order()


class Layer(nn.Module):
    """y = f(w x) for a function with kinks, w = (0, 1)."""

    def __init__(self, function, weights=(0.0, 1.0)) -> None:
        super().__init__()
        self.w, self.function = nn.Parameter(torch.tensor(weights)), function

    def forward(self, x):
        return self.function(self.w * x)


KINKED = {
    "relu": torch.relu,
    "leaky_relu": nn.functional.leaky_relu,
    "abs": torch.abs,
    "hardtanh": lambda z: nn.functional.hardtanh(z, 0.0, 5.0),
    "clamp": lambda z: z.clamp(min=0.0),
    "where": lambda z: torch.where(z > 0, z, 2 * z),
    "from zero on": lambda z: torch.where(z >= 0, z, 2 * z),
    "up to zero": lambda z: torch.where(z <= 0, z, 2 * z),
    "with a keyword": lambda z: torch.relu(torch.add(z, torch.ones_like(z), alpha=2) - 2),
    "min": lambda z: torch.stack([z, 2 * z]).min(0).values,
    "amin, kept": lambda z: torch.stack([z, -z]).amin(0, keepdim=True),
    "amax of all": lambda z: torch.stack([z[0], -z[0]]).amax() + z.sum(),
    "max of all": lambda z: torch.stack([z[0], -z[0]]).max() + z.sum(),
    "median of all": lambda z: torch.stack([z[0], -z[0], 3 * z[0]]).median() + z.sum(),
    "clamp_max": lambda z: z.clamp(max=0.0),
    "clamp above": lambda z: z.clamp(-5.0, 0.0),
    "hardtanh above": lambda z: nn.functional.hardtanh(z, -5.0, 0.0),
    "hardswish above": lambda z: nn.functional.hardswish(z + 3),
    "hardsigmoid": lambda z: nn.functional.hardsigmoid(z - 3) + z,
    "relu6 above": nn.functional.relu6,
    "softshrink": lambda z: nn.functional.softshrink(2 * z - 0.5) + z,
    "softshrink of one's own": lambda z: nn.functional.softshrink(z + 0.25, 0.25) + z,
    "threshold": lambda z: nn.functional.threshold(z - 2, -2.0, 0.0),
    "elu": lambda z: nn.functional.elu(z, alpha=0.5),
    "sort": lambda z: torch.stack([z, 2 * z]).sort(0).values[0],
    "topk": lambda z: torch.stack([z, 2 * z]).topk(1, 0).values[0],
    "in place, clamped": lambda z: z.clone().clamp_(min=0.0),
    "minimum": lambda z: torch.minimum(z, 3 * z),
    "max": lambda z: torch.stack([z, 2 * z]).max(0).values,
    "amax": lambda z: torch.stack([z, -z]).amax(0),
    "maximum": lambda z: torch.maximum(z, 3 * z),
    "max_pool": lambda z: nn.functional.max_pool1d(torch.stack([z, 2 * z], -1)[None], 2),
    "relu6": lambda z: nn.functional.relu6(z + 6),
    "hardswish": lambda z: nn.functional.hardswish(z - 3),
    "in place": lambda z: torch.relu_(z.clone()),
    "prelu": lambda z: nn.functional.prelu(z, torch.tensor([0.3], dtype=z.dtype)),
    "clamp elsewhere": lambda z: (z + 5).clamp(5.0, 9.0),
    "hardtanh as it comes": lambda z: nn.functional.hardtanh(z + 1),
    "threshold in place": lambda z: nn.functional.threshold_(z.clone(), 0.0, 0.0),
    "threshold in place, to another number": lambda z: nn.functional.threshold_(z.clone(), 0.0, 5.0),
    "amax of rows": lambda z: torch.stack([z, -z, z / 2], 1).amax(1),
    "amax of rows, kept": lambda z: torch.stack([z, -z, z / 2], 1).amax(1, keepdim=True),
    "cummin": lambda z: torch.stack([z, 2 * z]).cummin(0).values,
    "fmod": lambda z: torch.fmod(z + 0.7, 0.7),
    "copysign": lambda z: torch.copysign(z + 1, z),
    "copysign of a number": lambda z: torch.copysign(z, 1.0),
    "heaviside": lambda z: z + torch.heaviside(z, 0 * z),
    "norm of order 1": lambda z: torch.linalg.vector_norm(z, 1) + z.sum(),
    "norm of order 3/2": lambda z: torch.linalg.vector_norm(z, 1.5) + z.sum(),
    "largest entry": lambda z: torch.linalg.vector_norm(torch.stack([z + 1, 1 - z]), math.inf, dim=0),
    "norm of nothing": lambda z: torch.linalg.vector_norm(z[:1]) + z.sum(),
    "norm of nothing, of order 4": lambda z: torch.linalg.vector_norm(z[:1], 4) + z.sum(),
    "huber": lambda z: nn.functional.huber_loss(z, torch.ones_like(z)) + z.sum(),
    "huber, wide": lambda z: nn.functional.huber_loss(z, 2 * torch.ones_like(z), delta=2.0) + z.sum(),
    "smooth_l1": lambda z: nn.functional.smooth_l1_loss(z, 0.25 * torch.ones_like(z), beta=0.25) + z.sum(),
}


@pytest.mark.parametrize("name", KINKED)
def test_kinks_at_the_point_are_found_and_beside_it_not(name: str) -> None:
    x = torch.ones(2)
    at = objective_of(Layer(KINKED[name]), x, lambda y: y.square().sum(), dtype=torch.float64)
    assert at.kinks()
    beside = objective_of(Layer(KINKED[name], (0.3, 1.0)), x, lambda y: y.square().sum(), dtype=torch.float64)
    assert beside.kinks() == ()


def test_zeros_whatever_the_weights_are_no_kinks() -> None:
    """Black pixels, and ties of dead units in a maximum."""
    black = Layer(torch.relu, (1.0, 1.0))
    at = objective_of(black, torch.tensor([0.0, 1.0]), lambda y: y.square().sum(), dtype=torch.float64)
    assert at.kinks() == ()
    dead = Layer(lambda z: nn.functional.max_pool1d(torch.relu(torch.stack([z - 9, 2 * z - 9], -1))[None], 2))
    assert objective_of(dead, torch.ones(2), lambda y: y.sum() + (dead.w * 0).sum(), dtype=torch.float64).kinks() == ()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda z: nn.functional.embedding_bag(torch.tensor([[0, 1]]), z.reshape(2, 1)), "_embedding_bag_backward"),
        (lambda z: torch.cdist(z[None], z[None] + 1, p=3), "_cdist_backward"),
    ],
)
def test_what_has_a_first_derivative_alone_is_said_so(function, name) -> None:
    at = objective_of(Layer(function), torch.ones(2), lambda y: y.square().sum(), dtype=torch.float64)
    with pytest.raises(InvalidInput, match=f"model='{name}': has no second derivative"):
        at.check_second_order()


def test_a_loss_that_is_level_has_no_second_order_to_be_wrong() -> None:
    at = objective_of(Layer(lambda z: 0 * z), torch.ones(2), lambda y: y.sum(), dtype=torch.float64)
    at.check_second_order()


def test_a_loss_is_one_real_number_and_called_by_what_it_is_else() -> None:
    for loss, what in (
        (lambda y: y.sum().long(), r"tensor of shape \(\)"),
        (lambda y: y, r"tensor of shape \(2,\)"),
        (lambda y: [y], "list"),
    ):
        at = objective_of(Layer(torch.sin), torch.ones(2), loss, dtype=torch.float64)
        with pytest.raises(InvalidInput, match=f"loss='{what}': must be one real number"):
            at.curvature(at.start)


def test_operators_without_arguments_are_not_looked_at() -> None:
    assert not _real(())
    assert not _real((3, torch.ones(1)))
    assert _real((torch.ones(1),))


def test_a_parameter_that_nothing_reads_has_neither_slope_nor_curvature() -> None:
    layer = Layer(torch.sin)
    layer.idle = nn.Parameter(torch.ones(3))
    at = objective_of(layer, torch.ones(2), lambda y: y.square().sum(), dtype=torch.float64)
    idle = at.coordinates.flatten({"w": torch.zeros(2), "idle": torch.ones(3)}).double()
    assert float(at.gradient(at.start) @ idle) == 0.0 < float(at.gradient(at.start).norm())
    assert not at.curvature(at.start).product(idle).any()


def test_a_step_to_a_kink_is_a_billionth_of_the_weights() -> None:
    for point in (torch.zeros(5), 7 * torch.ones(5).double(), torch.tensor([1e6])):
        step = small_step(point)
        assert float(step.norm()) == pytest.approx(1e-9 * (float(point.norm()) or 1.0), rel=1e-5)
        assert step.dtype == point.dtype
    assert not torch.equal(small_step(torch.ones(3)), small_step(torch.ones(3), 1))


@pytest.mark.parametrize(
    "function", [torch.tanh, nn.functional.gelu, nn.functional.silu, torch.sin, torch.linalg.vector_norm]
)
def test_smooth_functions_have_none(function) -> None:
    assert objective_of(Layer(function), torch.ones(2), lambda y: y.square().sum(), dtype=torch.float64).kinks() == ()


def test_spectra_have_kinks_where_their_moduli_are_functions_of_kinks_alone() -> None:
    """|Fourier coefficients| are smooth away from 0, and complex numbers have no sign."""
    at = objective_of(Layer(lambda z: torch.fft.rfft(z).abs()), torch.ones(2), lambda y: y.sum(), dtype=torch.float64)
    assert at.kinks() == ()
