"""Rank gain on samples: theory's own numbers as oracles, planted violations fail, non-Gaussian layers are out."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402

from empirical.theory.gain import check_gain, linearity, measurable, non_gaussian, rank_gain  # noqa: E402
from empirical.theory.probe import Sampled, measured_pass  # noqa: E402
from lop_theory.activations.catalogue import activation  # noqa: E402
from lop_theory.balls import arb  # noqa: E402
from lop_theory.gap import rank  # noqa: E402
from lop_theory.gap.kernel import correlation_kernel, standard_kernel, value  # noqa: E402

torch.set_num_threads(1)
SAMPLES = 500


def correlated(seed, units, samples=SAMPLES):
    """Gaussian units with equal variances and strong correlations."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((units, units)) * np.arange(1, units + 1) ** -0.5
    mixing /= np.linalg.norm(mixing, axis=1, keepdims=True)
    return rng.standard_normal((samples, units)) @ mixing.T, mixing @ mixing.T


def sampled(name, before, after=None):
    phi = activation(name)
    after = phi.numpy()(before) if after is None else after
    return Sampled(phi, torch.from_numpy(before), torch.from_numpy(after))


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "gelu", "hardtanh", "silu"])
def test_linearity_of_modulated_units_against_balls(name):
    cases = [(0.0, 1.0), (0.5, 0.25), (-1.0, 2.0), (-2.0, 0.75)]
    found = linearity(activation(name), *(np.array(x) for x in zip(*cases, strict=True)))
    for c, (mean, deviation) in zip(found, cases, strict=True):
        exact = correlation_kernel(activation(name, scale=str(deviation), bias=str(mean)).expr, 2, 10).c
        assert abs(c - float(exact)) < 1e-6


@pytest.mark.claim("rank-gain-units")
@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=6),
    st.lists(st.floats(-1, 1), min_size=2, max_size=6),
    st.floats(-1, 1),
)
def test_the_gap_bound_of_two_different_units(first, second, rho):
    """ρ² − (Σ a_k b_k ρ^k)² ≥ (1 − |a_1 b_1|)ρ²(1 − ρ²) for unit vectors a and b: the extension to unequal units."""
    size = max(len(first), len(second))
    a, b = (np.pad(x, (0, size - len(x))) for x in (first, second))
    if min(np.abs(a).max(), np.abs(b).max()) < 1e-3:
        return
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    k = float(sum(a * b * rho ** np.arange(1, size + 1)))
    assert rho**2 - k**2 >= (1 - abs(a[0] * b[0])) * rho**2 * (1 - rho**2) - 1e-12


@pytest.mark.claim("rank-gain")
@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_the_measured_gain_is_the_kernels_up_to_sampling(name):
    """[entrywise]: with the true C known, lop_theory's K(C) and bound are what the sample estimates estimate."""
    kern = standard_kernel(activation(name).expr, 6)
    gains, bounds = [], []
    _, truth = correlated(0, 12)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        before = rng.standard_normal((SAMPLES, 12)) @ np.linalg.cholesky(truth).T
        after = activation(name).numpy()(before)
        found = rank_gain(before, after, linearity(activation(name), before.mean(0), before.std(0)))
        gains.append(found.measured)
        bounds.append(found.bound)
    matrix = np.clip(truth, -1, 1)
    np.fill_diagonal(matrix, 1.0)
    expected = rank.rank_gain(matrix, lambda rho: float(value(kern, arb(rho))))
    bound = rank.gain_bound(matrix, float(kern.strength))
    assert np.mean(gains) == pytest.approx(expected, abs=4 * np.std(gains) / 6**0.5)
    assert np.mean(bounds) == pytest.approx(bound, abs=4 * np.std(bounds) / 6**0.5)


@pytest.mark.claim("rank-gain-units")
def test_gaussian_layers_never_fail_and_nearly_always_pass():
    verdicts = []
    for seed in range(24):
        before, _ = correlated(seed, [6, 24, 48][seed % 3])
        name = ["relu", "tanh", "gelu", "leaky_relu"][seed % 4]
        shifted = before * (0.5 + seed % 2) + 0.3 * (seed % 5 - 2)  # gains and biases are within the hypothesis
        verdicts.append(check_gain("h", sampled(name, shifted)).verdict)
    assert verdicts.count("fail") == 0
    assert verdicts.count("pass") >= 22


@pytest.mark.claim("rank-gain")
@pytest.mark.parametrize("tampering", ["none at all", "one direction", "collapse"])
def test_planted_violations_fail(tampering):
    before, _ = correlated(3, 24)
    after = np.maximum(before, 0)
    common = np.random.default_rng(0).standard_normal((SAMPLES, 1))
    tampered = {"none at all": before, "one direction": after + 0.5 * common, "collapse": after[:, :3].repeat(8, 1)}
    assert check_gain("h", sampled("relu", before)).verdict == "pass"
    check = check_gain("h", sampled("relu", before, tampered[tampering]))
    assert check.verdict == "fail"
    assert check.measured < check.bound


@pytest.mark.claim("rank-gain")
@pytest.mark.parametrize("kind", ["skewed", "heavy tails", "copula", "two clusters"])
def test_non_gaussian_layers_are_out_of_hypothesis(kind):
    before, _ = correlated(5, 24)
    rng = np.random.default_rng(1)
    signs = rng.choice([-1.0, 1.0], (SAMPLES, 24))
    other = {
        "skewed": np.exp(0.5 * before),
        "heavy tails": before / np.sqrt(rng.chisquare(4, (SAMPLES, 1)) / 4),
        "copula": np.abs(before[:, :1]) * signs,  # every unit is Gaussian, no pair is
        "two clusters": before + 2.5 * signs[:, :1],
    }
    check = check_gain("h", sampled("relu", other[kind]))
    assert check.verdict == "out of hypothesis"
    assert "not Gaussian" in check.reason
    assert np.isfinite(check.measured)


def test_clones_are_gaussian_still():
    before, _ = correlated(5, 8)
    assert non_gaussian(np.concatenate([before, before], 1)) == ""


def test_too_little_to_measure_is_out_of_hypothesis():
    before, _ = correlated(0, 8)
    assert "too few" in check_gain("h", sampled("relu", before[:40])).reason
    assert "fewer than two units" in check_gain("h", sampled("relu", before - 100.0)).reason
    unknown = check_gain("h", Sampled(None, torch.from_numpy(before), torch.from_numpy(before)))
    assert (unknown.verdict, "catalogue" in unknown.reason) == ("out of hypothesis", True)
    rare = before.copy()
    rare[:, 0] -= rare[:, 0].max() - 1e-3  # active on one sample
    assert 0 not in measurable(rare, np.maximum(rare, 0))


@pytest.mark.parametrize("inplace", [False, True])
def test_the_probe_samples_around_activations_and_leaves_no_trace(inplace):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace), nn.Flatten(), nn.Dropout(0.3))
    model.extend([nn.Linear(64, 200), nn.Tanh(), nn.Linear(200, 3)])
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    seen = measured_pass(model, torch.randn(100, 1, 6, 6, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert [tuple(s.before.shape) for s in seen.samples.values()] == [(100, 4), (100, 128)]
    for s in seen.samples.values():
        torch.testing.assert_close(s.activation.torch()(s.before), s.after, rtol=1e-5, atol=1e-6)
    assert set(seen.gradients) == {name for name, _ in model.named_parameters()}


@pytest.mark.claim("rank-gain")
def test_a_network_on_gaussian_data_passes_fails_when_tampered_and_is_out_once_it_is_deep():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 2), nn.ReLU(), nn.Linear(2, 40), nn.ReLU())
    inputs = torch.randn(SAMPLES, 20)
    first, _, third = (check_gain(name, s) for name, s in measured_pass(model, inputs).samples.items())
    assert first.verdict == "pass"
    assert third.verdict == "out of hypothesis"  # of two rectified units, every pre-activation is far from Gaussian
    handle = model[1].register_forward_hook(lambda _module, args, _output: args[0] + args[0][:, :1])
    tampered = check_gain("1", measured_pass(model, inputs).samples["1"])
    handle.remove()
    assert tampered.verdict == "fail"
