"""An analysis made by hand, as text, as JSON and as a picture: every number stands where its name says."""

import math

import pytest
import torch
from matplotlib.figure import Figure

from lop_theory.stability import Analysis, Settings
from lop_theory.stability.departure import Departure
from lop_theory.stability.escape import Escape
from lop_theory.stability.inertia import Flat, Inertia
from lop_theory.stability.krylov import Ritz, Spectrum
from lop_theory.stability.plot import draw_spectrum, write_plot
from lop_theory.stability.printout import as_json, printed


def ritz(value: float, residual: float) -> Ritz:
    return Ritz(value, torch.ones(2), residual)


SPECTRUM = Spectrum(
    lowest=(ritz(-2.5, 1e-3), ritz(-1.5, 2e-3)), highest=(ritz(8.0, 3e-3), ritz(7.0, 4e-3)),
    values=torch.tensor([-2.5, -1.5, 0.0, 7.0, 8.0]), complete=True, converged=True, products=1234,
)  # fmt: skip
FOUND = Analysis(
    parameters=12345, normal=5, loss=0.75, gradient=0.125, tangent=2e-9, on_manifold=True, spectrum=SPECTRUM,
    zero=8e-9, inertia=Inertia(2, 1, 3000, exact=True), flat=Flat(1001, 3e-12, 1002, 1003, 1004, 1005), kind="saddle",
    escape=Escape(torch.ones(2), -0.375, 0.625, torch.ones(2)), step_size=0.0625, seeds=(3, 7),
    departures=(
        Departure(11.0, 12.0, 13.0, 14.0, (1e-5, 4e-4, 2e-3), (1e-5, 5e-4)),
        Departure(21.0, 26.0, 17.0, math.inf, (1e-5, 2e-5), (1e-5, 3e-5, 4e-5)),
    ),
    settings=Settings(start=1e-5, radius=1e-3, steps=99),
)  # fmt: skip


def test_the_text_says_each_number_once() -> None:
    assert printed(FOUND).splitlines() == [
        "parameters  12,345, of them normal to the clone manifold 5",
        "loss        0.75, gradient 0.125, normal share 2.0e-09: on the manifold",
        "spectrum    on the normal space (all of it, 1,234 Hessian products); residuals in brackets",
        "  lowest    -2.5 (1e-03)  -1.5 (2e-03)",
        "  highest   8 (3e-03)  7 (4e-03)",
        "inertia     2 negative, 1 zero (at most 8e-09 in size), 3,000 positive",
        "kind        saddle: the loss falls along some normal directions and rises along others",
        "flat        1,001 redistributions change no loss: largest |curvature| on them 3e-12 of the largest in any "
        "direction",
        "  kernel    1,002 directions with Hv = 0: 1,003 of them redistributions, 1,004 on weights that nothing "
        "depends on, 1,005 not explained",
        "escape      curvature -0.375 along the escape direction (mixing |Hv| = 0.625)",
        "steps       of gradient descent from 1e-05 to 0.001 of the weights' norm, step size 0.0625, from escape of "
        "each seed",
        "  seed      at least   curvature here   along the manifold   measured",
        "  3               11               12                   13         14",
        "  7               21               26                   17       > 99",
        "  mean±std      16±5             19±7                 15±2          –",
    ]


def test_the_text_says_what_is_not_known() -> None:
    rough = FOUND._replace(
        spectrum=SPECTRUM._replace(complete=False, converged=False),
        inertia=Inertia(2, 0, 3, exact=False), flat=Flat(4, 0.0), kind=None, on_manifold=False, departures=(), seeds=(),
        escape=FOUND.escape._replace(curvature=0.0, mixing=0.0),
    )  # fmt: skip
    text = printed(rough)
    for words in (
        "BESIDE the manifold", "(Lanczos, 1,234 Hessian products, NOT converged)",
        "inertia     at least 2 negative, at least 3 positive", "kind        undecided: not decided",
        "escape      none to second order", "steps       not measured",
    ):  # fmt: skip
        assert words in text
    assert "kernel" not in text
    assert "zero" not in text
    for escape, words in (
        (FOUND.escape._replace(mixing=8e-9), "no other direction (|Hv| = 8e-09, at most 8e-09)"),
        (FOUND.escape._replace(curvature=-8e-9), "not told from rounding: curvature -8e-09, mixing |Hv| = 0.625"),
        (FOUND.escape._replace(curvature=-9e-9), "curvature -9e-09 along the escape direction"),
    ):
        assert words in printed(FOUND._replace(escape=escape))
    assert "no weight reads the clones" in printed(rough._replace(escape=None))
    assert "none to second order" not in printed(rough._replace(escape=FOUND.escape))


def test_json_has_every_number_and_null_for_what_was_not_reached() -> None:
    found = as_json(FOUND)
    assert found["spectrum"] == {
        "lowest": [{"value": -2.5, "residual": 1e-3}, {"value": -1.5, "residual": 2e-3}],
        "highest": [{"value": 8.0, "residual": 3e-3}, {"value": 7.0, "residual": 4e-3}],
        "complete": True, "converged": True, "products": 1234,
    }  # fmt: skip
    assert found["inertia"] == {"negative": 2, "zero": 1, "positive": 3000, "exact": True}
    assert found["escape"] == {"curvature": -0.375, "mixing": 0.625}
    assert found["departures"] == [
        {"seed": 3, "at_least": 11, "here": 12, "along": 13, "measured": 14, "predictable_until": None},
        {"seed": 7, "at_least": 21, "here": 26, "along": 17, "measured": None, "predictable_until": None},
    ]
    assert found["zero"] == 8e-9
    assert (found["parameters"], found["normal"], found["loss"], found["gradient"]) == (12345, 5, 0.75, 0.125)
    assert (found["normal_share_of_gradient"], found["on_manifold"], found["step_size"]) == (2e-9, True, 0.0625)
    assert (found["kind"], found["flat"]["kernel"]) == ("saddle", 1002)
    assert as_json(FOUND._replace(escape=None))["escape"] is None


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The figure that is saved."""
    saved = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: saved.append(figure))

    def draw(found: Analysis) -> Figure:
        write_plot(found, tmp_path / "out.png")
        return saved[-1]

    return draw


def test_the_picture_has_eigenvalues_by_rank_and_distances_by_step(drawn) -> None:
    left, right = drawn(FOUND).axes
    points, zero = left.lines
    assert points.get_xdata().tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert points.get_ydata().tolist() == [-2.5, -1.5, 0, 7, 8]
    assert zero.get_ydata() == [0, 0]
    assert points.get_label() == "eigenvalues"
    assert left.get_yscale() == "symlog"
    assert left.yaxis.get_transform().linthresh == pytest.approx(1e-2)  # the decade above 8e-3
    assert left.get_title() == "normal space: saddle"
    measured, predicted, other, further, least, radius = right.lines
    assert [line.get_label() for line in (measured, other, least)] == ["seed 3", "seed 7", "at least"]
    assert measured.get_ydata().tolist() == [1e-5, 4e-4, 2e-3]
    assert (predicted.get_xdata().tolist(), predicted.get_ydata().tolist()) == ([0, 1], [1e-5, 5e-4])
    assert other.get_ydata().tolist() == [1e-5, 2e-5]
    assert further.get_ydata().tolist() == [1e-5, 3e-5, 4e-5]
    assert measured.get_color() == predicted.get_color() != other.get_color() == further.get_color()
    assert (list(least.get_xdata()), list(least.get_ydata())) == ([0, 11], [1e-5, 1e-3])
    assert radius.get_ydata() == [1e-3, 1e-3]
    assert not right.get_legend().get_frame_on()
    assert right.get_yscale() == "log"
    said = [(ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) for ax in (left, right)]
    assert said == [
        ("rank, lowest to highest", "curvature", "normal space: saddle"),
        ("step", "distance / ‖weights‖", "leaving the manifold"),
    ]
    assert [line.get_linestyle() for line in (measured, predicted, least)] == ["-", "None", "--"]


def test_the_picture_thins_long_predictions_and_leaves_out_what_is_not_known(drawn) -> None:
    one = FOUND.departures[0]._replace(at_least=math.inf, linear=tuple(1e-5 * (k + 1) for k in range(100)))
    rough = FOUND._replace(spectrum=SPECTRUM._replace(complete=False), kind=None, departures=(one,), seeds=(12,))
    left, right = drawn(rough).axes
    assert left.lines[0].get_label() == "Ritz values"
    assert left.get_title() == "normal space: undecided"
    assert len(right.lines) == 3  # no bound
    assert right.lines[1].get_xdata().tolist() == list(range(0, 100, 4))
    assert right.lines[1].get_ydata().tolist() == pytest.approx([1e-5 * (k + 1) for k in range(0, 100, 4)])
    assert right.lines[0].get_color() == "C2"
    _, right = drawn(FOUND._replace(departures=(), seeds=())).axes
    assert not right.lines
    assert right.get_legend() is None


def test_a_spectrum_of_zeros_can_be_drawn() -> None:
    axes = Figure().subplots()
    draw_spectrum(axes, torch.zeros(3), label="zero")
    assert axes.yaxis.get_transform().linthresh == pytest.approx(1e-3)
