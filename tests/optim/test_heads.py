"""Whole attention heads as units, fused or apart, and what is refused."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.optim import ContinualBackprop, ReDo, find_units  # noqa: E402
from lop_theory.optim.continual_backprop import Settings  # noqa: E402

WIDTH, HEADS, TOKENS = 12, 3, 5
SIZE = WIDTH // HEADS


class Fused(nn.Module):
    """One projection for queries, keys and values."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def parts(self, x):
        return self.qkv(x).unflatten(-1, (3, HEADS, SIZE)).permute(2, 0, 3, 1, 4)

    def forward(self, x):
        q, k, v = self.parts(x)
        h = nn.functional.scaled_dot_product_attention(q, k, v)
        return x + self.out(h.transpose(1, 2).flatten(2))


class Apart(nn.Module):
    """A projection each; ``groups`` < heads: shared keys and values."""

    def __init__(self, groups=HEADS):
        super().__init__()
        self.groups = groups
        self.q, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.k, self.v = (nn.Linear(WIDTH, groups * SIZE) for _ in range(2))
        self.up, self.down = nn.Linear(WIDTH, 7), nn.Linear(7, WIDTH)

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (-1, SIZE)).transpose(1, 2) for f in (self.q, self.k, self.v))
        if self.groups < HEADS:
            k, v = (t.expand(-1, HEADS, -1, -1) for t in (k, v))
        h = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(h.transpose(1, 2).flatten(2))
        return x + self.down(torch.relu(self.up(x)))


def inputs(seed=0):
    return torch.randn(16, TOKENS, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def made(kind, **options):
    torch.manual_seed(0)
    return kind(**options).double()


def test_a_head_of_a_fused_projection_is_its_queries_keys_and_values():
    (units,) = find_units(made(Fused), inputs(), heads=True).units
    (producer,) = units.producers
    assert (units.size, units.name) == (HEADS, "heads of qkv")
    rows = [part * WIDTH + SIZE + c for part in range(3) for c in range(SIZE)]
    assert producer.rows[1].tolist() == rows
    (reader,) = units.readers
    assert reader.owners.tolist() == [c // SIZE for c in range(WIDTH)]
    (values,) = find_units(made(Fused), inputs()).units  # without ``heads`` single values
    assert values.size == WIDTH


def test_heads_of_separate_projections_stand_beside_the_mlp_in_order():
    found = find_units(made(Apart), inputs(), heads=True)
    assert [(u.name, u.size) for u in found.units] == [("heads of q, k, v", HEADS), ("up", 7)]
    assert {where.partition(":")[0] for where in found.skipped} == {"out", "down"}


def test_shared_keys_and_values_are_refused_with_the_reason():
    found = find_units(made(Apart, groups=1), inputs(), heads=True)
    assert [u.name for u in found.units] == ["up"] or "heads" not in found.units[0].name
    assert any("share" in reason for reason in found.skipped.values())


@pytest.mark.parametrize("kind", [Fused, Apart])
def test_a_replaced_head_is_fresh_unread_and_its_mean_taken_over(kind):
    model, x = made(kind), inputs()
    found = find_units(model, x, heads=True)
    inner = torch.optim.SGD(model.parameters(), lr=0.0)
    method = ContinualBackprop(inner, model, example_input=found, settings=Settings(rate=0.0))
    for _ in range(3):
        model(x)
        method.step()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mean, layer = model(x).mean((0, 1)), method.layers[0]
    with torch.no_grad():
        method._renew(0, layer, torch.tensor([1]))
    after = model.state_dict()
    mine = slice(SIZE, 2 * SIZE)
    assert torch.equal(after["out.weight"][:, mine], torch.zeros(WIDTH, SIZE, dtype=torch.float64))
    for name in ("qkv.weight",) if kind is Fused else ("q.weight", "k.weight", "v.weight"):
        old, new = (s[name].view(-1, HEADS, SIZE, WIDTH) for s in (before, after))
        assert torch.equal(old[:, [0, 2]], new[:, [0, 2]])
        assert not torch.isclose(old[:, 1], new[:, 1]).any()
    if kind is Fused:  # nothing but a residual sum behind it
        torch.testing.assert_close(model(x).mean((0, 1)), mean, rtol=0, atol=1e-12)


def test_a_silent_head_is_reset_and_learns_with_a_clock_of_its_own():
    model, x = made(Apart), inputs()
    with torch.no_grad():
        model.v.weight[SIZE : 2 * SIZE] = model.v.bias[SIZE : 2 * SIZE] = 0
    inner = torch.optim.Adam(model.parameters(), lr=1e-3)
    method = ReDo(inner, model, example_input=find_units(model, x, heads=True), tau=0.05, period=1)
    model(x).square().mean().backward()
    method.step()
    assert method.replaced[0] == [1]
    start = model.out.weight[:, SIZE : 2 * SIZE].detach().clone()
    inner.zero_grad()
    model(x).square().mean().backward()
    method.period = 100
    method.step()
    moved = (model.out.weight[:, SIZE : 2 * SIZE].detach() - start).abs()
    assert float(moved.max()) == pytest.approx(1e-3, rel=1e-3)  # the first step of a new parameter


class Turned(nn.Module):
    """Attention over maps: ``run`` makes queries, keys and values of what the projections give."""

    def __init__(self, run):
        super().__init__()
        self.run = run
        self.q, self.k, self.v, self.out, self.other = (nn.Linear(WIDTH, WIDTH) for _ in range(5))
        self.conv, self.maps = nn.Conv1d(WIDTH, 3 * WIDTH, 1), nn.Conv1d(WIDTH, WIDTH, 1)

    def forward(self, x):
        return self.run(self, x, *(f(x) for f in (self.q, self.k, self.v)))


def heads(t):
    return t.unflatten(-1, (HEADS, SIZE)).transpose(1, 2)


def attended(*parts):
    return nn.functional.scaled_dot_product_attention(*parts)


def through(m, *parts):
    return m.out(attended(*map(heads, parts)).transpose(1, 2).flatten(2))


@pytest.mark.parametrize(
    ("run", "word"),
    [
        (lambda m, _, *qkv: through(m, *qkv), None),
        (lambda m, _, q, k, __: through(m, q, k, k), "share"),
        (lambda m, _, *qkv: m.out(attended(*qkv)), "cannot be followed"),
        (lambda m, x, *_: m.maps(attended(*m.conv(x.mT).chunk(3, 1))).mT, "cannot be followed"),
        (lambda m, x, q, k, _: through(m, q, k, x), "cannot be followed"),
        (lambda m, _, q, k, v: through(m, q, k, v) + m.other(q), "are read elsewhere"),
        (lambda m, _, q, k, v: through(m, q, k, v) + m.other(k), "are read elsewhere"),
        (lambda m, _, q, k, v: through(m, q, k, v) + q, "are added to other values"),
        (lambda m, _, q, k, v: through(m, q, k, v) + v, "are added to other values"),
        (lambda m, _, q, k, v: through(m, q, k, v) + k.cumsum(1), "through cumsum"),
        (lambda m, _, q, k, v: (through(m, q, k, v), v), "are an output of the model"),
    ],
)
def test_heads_are_whole_or_refused_with_the_reason(run, word):
    try:
        found = find_units(made(Turned, run=run), inputs(), heads=True)
        names, said = [u.name for u in found.units], "; ".join(found.skipped.values())
    except InvalidInput as error:
        names, said = [], str(error)
    assert ("heads of q, k, v" in names) == (word is None)
    assert word is None or word in said


def test_values_that_something_else_reads_are_read_there_too():
    """A second reader of the values loses the columns of the head as the first does."""
    model = made(Turned, run=lambda m, _, q, k, v: through(m, q, k, v) + m.other(v))
    (units,) = find_units(model, inputs(), heads=True).units
    assert sorted(reader.module for reader in units.readers) == ["other", "out"]
    for reader in units.readers:
        assert reader.owners.tolist() == [c // SIZE for c in range(WIDTH)]


@pytest.mark.parametrize("whole", [True, False])
def test_a_normalisation_of_queries_mixes_heads_if_it_is_over_all_of_them(whole):
    """The queries of head 1 grow: those of the others move, or nothing is said to mix them."""

    def queries(q):
        return heads(nn.functional.layer_norm(q, (WIDTH,))) if whole else nn.functional.layer_norm(heads(q), (SIZE,))

    def run(m, _, q, k, v):
        return m.out(attended(queries(q), heads(k), heads(v)).transpose(1, 2).flatten(2))

    model, x = made(Turned, run=run), inputs()
    (units,) = find_units(model, x, heads=True).units
    with torch.no_grad():
        before = queries(model.q(x))
        model.q.weight[SIZE : 2 * SIZE] *= 3
        moved = (queries(model.q(x)) - before).abs().amax((0, 2, 3))
    assert float(moved[1]) > 1e-3
    assert (units.coupled is not None) == (float(moved[[0, 2]].max()) > 1e-3) == whole
