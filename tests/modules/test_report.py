# ruff: noqa: ARG005 - functions are looked at, not called
"""What is said of a detection: tables, pages, JSON, counts; criteria and data that are refused."""

import json
import math

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import Criteria, Loader  # noqa: E402
from lop_theory.modules.batches import Batches, kept_rows, mask_of  # noqa: E402
from lop_theory.modules.detection import Detection, Layer, require_criteria  # noqa: E402
from lop_theory.modules.frozen import Interval  # noqa: E402
from lop_theory.modules.gathered import FALSE_ALARMS, SKETCHES  # noqa: E402
from lop_theory.modules.verdicts import KINDS, MEANINGS, Block, Skipped  # noqa: E402

NEAR = Block("near", (0, 1), "0.1 of their spread apart <b>", 0.1, (1.0, 2.0), (-0.5, 3.0), residuals=(0.0, 0.5))
FROZEN = Block("frozen", (3,), "whatever", interval=Interval(-math.inf, -1.0, (-math.inf, 0.0)))
LAYER = Layer(
    "a.b", "relu", 6, (0, 0, 1, 2, 2, 2), (0, 0, 0, 1, 2, 3), 0.25, None, (3,), (3, 4), (), (3, 5, 0, 1), (2, 3),
    (Block("trapped", (0, 1), "equal"), NEAR, FROZEN), "activation",
)  # fmt: skip
PLAIN = Layer("c", "linear", 3, (0, 1, 2), (0, 1, 2), 0.0, 0.125, (), (), (1,), ())
FOUND = Detection((LAYER, PLAIN), 40, 2, (Skipped("d", "has NaN & more"),), ("a <note>",))


def test_counts_of_a_layer():
    assert (LAYER.cloned, LAYER.near, LAYER.moving) == (5, 3, 4)
    assert (PLAIN.cloned, PLAIN.near, PLAIN.moving) == (0, 0, 3)
    assert PLAIN._replace(blocks=(), near_blocks=()).cloned == 0


def test_the_table_has_a_line_a_layer_with_its_counts():
    head, first, second, *rest = FOUND.table().splitlines()
    assert head.split() == "layer units cloned blocks near near d(H) near d(W) dead dorm. sat. frozen".split()
    assert first.split() == ["a.b", "[relu]", "6", "5", "3", "3", "2.50e-01", "-", "1", "2", "0", "4"]
    assert second.split() == ["c", "[linear]", "3", "0", "3", "0", "0.00e+00", "1.25e-01", "0", "0", "1", "0"]
    assert rest[0] == ""
    assert rest[1:4] == ["note: a <note>", "skipped: d: has NaN & more", ""]
    assert rest[4] == "a.b: trapped    2 units (0 1): equal"
    assert rest[6] == "a.b: frozen     1 unit (3): whatever"
    assert rest[7] == ""
    assert str(FOUND) == FOUND.table()
    nothing = FOUND._replace(layers=(PLAIN,), skipped=(), notes=()).table().splitlines()
    assert nothing[3].startswith("cloned: ")
    long = PLAIN._replace(module="x" * 60)
    assert FOUND._replace(layers=(long,)).table().splitlines()[1].startswith("x" * 35 + " [linear]")


def test_the_table_shows_five_verdicts_and_counts_the_rest():
    many = LAYER._replace(verdicts=(*[Block("dead", (k,), "zero") for k in range(4)], NEAR, NEAR, FROZEN))
    lines = FOUND._replace(layers=(many,), skipped=(), notes=()).table().splitlines()
    assert [line.split()[1] for line in lines if line.startswith("a.b: ")] == ["dead"] * 4 + ["near", "and"]
    assert "a.b: and 2 blocks more (2 near, 4 dead, 1 frozen)" in lines
    five = many._replace(verdicts=many.verdicts[:5])
    assert "more (" not in FOUND._replace(layers=(five,)).table()


def test_units_are_listed_up_to_eight():
    assert str(Block("dead", tuple(range(9)), "r")) == "dead       9 units (0 1 2 3 4 5 6 7 …): r"
    assert str(Block("dead", tuple(range(8)), "r")) == "dead       8 units (0 1 2 3 4 5 6 7): r"


def test_json_says_what_is_known_and_has_no_infinity():
    found = json.loads(json.dumps(FOUND.as_json(), allow_nan=False))
    assert (found["samples"], found["batches"], found["notes"]) == (40, 2, ["a <note>"])
    assert found["skipped"] == [{"layer": "d", "reason": "has NaN & more"}]
    first, second = found["layers"]
    assert (first["cloned"], first["near"], second["cloned"]) == (5, 3, 0)
    trapped, near, frozen = first["verdicts"]
    assert trapped == {"kind": "trapped", "units": [0, 1], "reason": "equal"}
    assert near["outgoing"] == [-0.5, 3.0]
    assert (near["distance"], near["residuals"], near["factors"]) == (0.1, [0.0, 0.5], [1.0, 2.0])
    assert frozen["interval"] == {"low": None, "high": -1.0, "flat_region": [None, 0.0]}


def test_verdicts_by_kind():
    assert [b.kind for _, b in FOUND.verdicts()] == ["trapped", "near", "frozen"]
    assert [(x.module, b.kind) for x, b in FOUND.verdicts("near", "dead")] == [("a.b", "near")]
    assert set(KINDS) == set(MEANINGS)


def test_the_page_escapes_names_and_counts_as_the_table_does():
    page = FOUND.html()
    assert page.startswith("<!doctype html>")
    assert "40 samples in 2 batches, 2 layers." in page
    assert "40 samples in 1 batch, " in FOUND._replace(batches=1).html()
    for text in ("a &lt;note&gt;", "skipped: d: has NaN &amp; more", "apart &lt;b&gt;", "<td>0 1</td>"):
        assert text in page
    assert (
        "<td><code>a.b</code></td><td>relu</td>"
        + "".join(f'<td class="n">{n}</td>' for n in (6, 5, 3, 1, 2, 0, 4))
        + "<td>1 trapped, 1 near, 1 frozen</td>"
        in page
    )
    assert page.count("<tr>") == 3 + 4  # a head and two layers, a head and three blocks
    legend = [kind for kind in KINDS if f'<span class="k {kind}">' in page]
    assert legend == ["trapped", "near", "frozen"]
    assert "<td class='k near'>near</td>" in page
    empty = FOUND._replace(layers=(PLAIN,)).html()
    assert "No block of equal, alike or inert units." in empty
    assert "<li>" not in empty


@pytest.mark.parametrize(
    "wrong",
    [
        {"clone": -1e-9}, {"clone": math.nan}, {"dormant": -1.0}, {"slope": math.nan}, {"near": 1.5}, {"near": -0.1},
        {"input_range": (1.0, 0.5)}, {"input_range": (math.nan, 0.5)}, {"slope": -1.0},
    ],
)  # fmt: skip
def test_criteria_that_nothing_meets_are_refused(wrong):
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        require_criteria(Criteria(**wrong))


@pytest.mark.parametrize(
    "right", [{}, {"clone": 0.0}, {"near": 0.0}, {"near": 1.0}, {"input_range": (0.5, 0.5)}, {"slope": 0.0}]
)
def test_criteria_at_their_ends_are_taken(right):
    require_criteria(Criteria(**right))
    assert Criteria() == (1e-6, 0.95, 0.025, 1e-4, None)


# --- data -------------------------------------------------------------------------------------------------------------


class Takes(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.forward = forward
        self.p = nn.Parameter(torch.zeros(1))


TWO = Takes(lambda x, y, z=1, *more, key=2, **rest: x)
X = torch.arange(3.0)


def test_one_batch_is_what_holds_tensors_and_the_rest_is_a_loader():
    for one in (X, (X, 1), [X], {"x": X}):
        batches = Batches(TWO, one)
        assert batches.single
        assert not batches.several
        assert len(list(batches)) == 1
        assert batches.inputs_of(one) is one
    with pytest.raises(InvalidInput, match=r"data.*loader"):
        Batches(TWO, 3)


def test_tuples_of_a_loader_are_cut_to_what_forward_requires():
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, X + 1, X + 2), 2)
    batches = Batches(TWO, loader)
    assert batches.several
    assert [len(batch) for batch in batches] == [3, 3]
    assert [len(batches.inputs_of(batch)) for batch in batches] == [2, 2]
    assert len(Batches(Takes(lambda *x: x), loader).inputs_of((X, X, X))) == 1
    assert len(Batches(Takes(lambda x, /, y: x), loader).inputs_of((X, X, X))) == 2
    assert len(Batches(Takes(print), loader).inputs_of((X, X, X))) == 1
    assert len(Batches(Takes(torch.tanh), loader).inputs_of((X, X, X))) == 1  # says nothing of its inputs
    assert Batches(TWO, loader).inputs_of({"x": X}).keys() == {"x"}
    assert not Batches(TWO, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X), 9)).several


def test_iterators_are_kept_and_streams_may_have_more():
    drawn = Batches(TWO, iter([(X, X), (X, X)]))
    assert [len(list(drawn)) for _ in range(2)] == [2, 2]
    assert drawn.several

    class Stream:
        def __iter__(self):
            return iter([(X, X)])

    assert Batches(TWO, Stream()).several
    chosen = Batches(TWO, Loader([{"image": X}], lambda batch: batch["image"]))
    assert not chosen.single
    assert not chosen.several
    assert torch.equal(chosen.inputs_of({"image": X}), X)
    as_one = Batches(TWO, Loader([X, X], lambda batch: batch))
    assert as_one.several


def test_masks_by_key_tensor_or_function():
    mask = torch.tensor([1, 0, 2])
    right = [True, False, True]
    assert mask_of(None, {}) is None
    assert mask_of(mask, {}).tolist() == right
    assert mask_of("m", {"m": mask}).tolist() == right
    assert mask_of(lambda batch: batch["m"], {"m": mask}).tolist() == right
    assert mask_of(lambda _: None, {}) is None
    for wrong, batch, text in (("m", {}, "no key"), ("m", (X,), "no key"), (lambda _: [1], {}, "must be a tensor")):
        with pytest.raises(InvalidInput, match=text):
            mask_of(wrong, batch)


def test_rows_that_a_mask_keeps():
    mask = torch.tensor([[True, False], [True, True]])
    tokens, images = torch.zeros(2, 2, 5), torch.zeros(2, 5, 3)
    assert kept_rows(None, tokens, -1) is None
    assert kept_rows(mask, tokens, -1).tolist() == [True, False, True, True]
    assert kept_rows(mask, tokens, 2).tolist() == [True, False, True, True]
    assert kept_rows(mask[0], images, 1).tolist() == [True] * 3 + [False] * 3
    assert kept_rows(mask[:, :1, None].expand(2, 2, 1)[:, :, 0], images, 1) is None
    assert kept_rows(mask, torch.zeros(4, 5), -1).tolist() == [True, False, True, True]  # tokens in one row
    assert kept_rows(mask, torch.zeros(3, 5), -1) is None
    assert kept_rows(torch.ones(2, 3, dtype=torch.bool), torch.zeros(6, 5, 4), -1) is None  # six rows of five
    assert kept_rows(mask, torch.zeros(5, 4), 0).tolist() == [True, False, True, True]


def test_what_is_asked_where_nothing_else_is_said():
    """ReDo's τ = 0.025 and the paper's 1e-4 are their defaults."""
    assert tuple(Criteria()) == (1e-6, 0.95, 0.025, 1e-4, None)
    assert Detection((), 5).batches == 1
    assert (FALSE_ALARMS, SKETCHES) == (0.01, 16)
    none = Layer("a", "linear", 0, (), (), 0.0, None, (), (), (), ())
    assert (none.cloned, none.near, none.moving) == (0, 0, 0)
