"""The optimiser table: prediction against observation, and equivariance, the criterion behind the prediction."""

import pytest
import torch

from lop_theory.errors import InvalidInput
from lop_theory.graph.closure import escapes
from lop_theory.graph.optimiser_catalogue import OPTIMISERS
from lop_theory.graph.optimisers import DECAYS, STARTS, equivariant, run, table

KNOWN_DISAGREEMENT = ("Muon (bfloat16)", "coupled", "RE∩CE")  # bfloat16 rounds clones differently


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.claim("optimiser-closure")
@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_cell_is_as_predicted(name):
    cells = table([name])
    assert len(cells) == len(DECAYS) * len(STARTS)
    for cell in cells:
        assert cell.agrees == ((cell.optimiser, cell.decay, cell.start) != KNOWN_DISAGREEMENT), cell


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
@pytest.mark.parametrize("name", ["Adam", "RMSprop", "Adagrad", "Adamax", "NAdam", "Adafactor"])
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
