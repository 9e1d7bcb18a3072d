"""A clone is an instance of the model's own class and is called, saved and trained as the model is."""

import copy
import enum
import io
from itertools import product

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import Clone, certify, compress, detect, expand, expansion  # noqa: E402
from lop_theory.modules.own_class import _agrees, _same  # noqa: E402
from lop_theory.trace.comparison import Pass, model_pass  # noqa: E402
from lop_theory.verdict import Fails, Holds  # noqa: E402
from tests.modules.nets import Model, X, gap, tanh  # noqa: E402


def test_the_clone_is_an_instance_of_the_models_own_class_and_carries_its_record():
    base = Model(tanh).double()
    clone = expand(base, 2, example_input=X)
    assert type(clone) is Model
    assert clone.a.out_features == 8
    assert list(clone.state_dict()) == list(base.state_dict())
    record = expansion(clone)
    assert record.own_class
    assert record.widened["a.weight"] == ((4, 5), (8, 5))
    assert record.narrow["o.bias"] == "the output"
    assert "own class" in str(record)
    for other in (copy.deepcopy(clone), saved_and_loaded(clone)):
        assert expansion(other).widened == record.widened
        assert isinstance(certify(other, base=base, example_input=X), Holds)
    with pytest.raises(InvalidInput, match="was not made by expand"):
        expansion(base)


def test_twice_as_wide_is_the_default():
    assert expand(Model(tanh), example_input=X.float()).a.out_features == 8


def test_keywords_in_any_order_and_other_python_arguments():
    def two(s, image, meta, t=1.0, skip=True):
        h = torch.tanh(s.a(image)) + torch.sin(s.a(meta))
        return s.o(2 * h if skip else h) / t

    base = Model(two).double()
    example = {"image": X, "meta": 2 * X, "t": 2.0}
    clone = expand(base, 2, example_input=example)
    assert gap(clone, base, meta=2 * X, image=X) < 1e-14
    assert gap(clone, base, meta=2 * X, image=X, t=3.0, skip=False) < 1e-14
    traced = expand(base, 2, example_input=example, traced=True)
    assert isinstance(traced, Clone)
    assert gap(traced, base, meta=2 * X, t=2.0, image=X) < 1e-14
    for other in ({"t": 3.0}, {"t": 2.0, "skip": False}, {}):
        with pytest.raises(InvalidInput, match="does not describe the call"):
            traced(image=X, meta=2 * X, **other)


def test_attributes_whose_class_allows_no_subclass_are_left_alone():
    class Format(enum.Enum):
        ROWS = "rows"

    class Final:
        def __init_subclass__(cls, **_):
            raise RuntimeError("no subclass of Final")

    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.format, self.options, self.width = Format.ROWS, Final(), 4
            self.options.size = 4
            self.a, self.o = nn.Linear(5, 4), nn.Linear(4, 2)

        def forward(self, x):
            h = torch.relu(self.a(x)).view(-1, self.width)
            return self.o(h) if self.format is Format.ROWS else h

    x = torch.randn(6, 5, dtype=torch.float64)
    model = Patches().double()
    clone = expand(model, 2, example_input=x)
    assert type(clone) is Patches
    assert clone.format is Format.ROWS
    assert clone.width == 8
    assert type(Format.ROWS) is Format
    assert certify(clone, base=model, example_input=x)


def test_a_model_with_its_width_as_a_number_runs_the_trace_and_says_so():
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x)).reshape(-1, 4))).double()
    clone = expand(base, 2, example_input=X)
    assert isinstance(clone, Clone)
    assert "widths as numbers" in expansion(clone).reason
    assert isinstance(certify(clone, base=base, example_input=X), Holds)
    assert gap(clone, base, X[:7]) < 1e-14


def test_what_the_model_itself_sums_over_is_corrected_in_the_trace_alone():
    """Its own input is not what its weight multiplies, though it has one."""
    base = Model(lambda s, x: nn.functional.linear(h := torch.tanh(s.a(x)), s.weight) + (h[:, None] * s.weight).sum(-1))
    base.weight = nn.Parameter(torch.randn(3, 4))
    base.double()
    clone = expand(base, 3, example_input=X)
    assert isinstance(clone, Clone)
    assert expansion(clone).reason == "a sum of activations needs a correction at (top):linear_1"
    assert gap(clone, base, X) < 1e-13


def saved_and_loaded(module):
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


def test_a_rewritten_trace_can_be_saved_and_still_refuses_other_calls():
    base = Model(lambda s, x, t=1.0: s.o(torch.tanh(s.a(x)).split(2, -1)[0].repeat(1, 2)) / (t * x.shape[0])).double()
    clone = expand(base, 2, example_input=X, traced=True)
    for other in (saved_and_loaded(clone), copy.deepcopy(saved_and_loaded(copy.deepcopy(clone)))):
        assert gap(other, base, X) < 1e-14
        assert gap(other, base, X[:7]) < 1e-14
        assert isinstance(certify(other, base=base, example_input=X), Holds)
        assert expansion(other).widened == expansion(clone).widened
        with pytest.raises(InvalidInput, match="does not describe the call"):
            other(X, t=2.0)
        with torch.no_grad():
            other.state()["a.weight"][0] *= 1.01
        assert isinstance(certify(other, example_input=X), Fails)


@pytest.mark.parametrize("traced", [False, True])
def test_clones_train_under_compile_and_distributed_data_parallel(traced, tmp_path):
    base = Model(tanh).double()
    clone = expand(base, 2, example_input=X, traced=traced)
    compiled = torch.compile(clone, backend="eager")
    assert gap(compiled, base, X) < 1e-14
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(clone)
        optimizer = torch.optim.Adam(parallel.parameters(), 1e-2)
        for model in (parallel, compiled):
            optimizer.zero_grad()
            model(X).square().mean().backward()
            optimizer.step()
    finally:
        torch.distributed.destroy_process_group()
    assert gap(clone, base, X) > 1e-3
    assert isinstance(certify(clone, example_input=X, optimizer=optimizer), Holds)


def asks_for_a_gradient(s, x):
    if s.training:
        x.requires_grad = True
    return tanh(s, x)


def empty_slice(s, x):
    h = torch.tanh(s.a(x)).reshape(-1, 2, 2)
    return s.o(torch.cat([h[..., :2], h[..., 2:]], -1).flatten(1))


def sizes_in_a_list(s, x):
    return s.o(torch.tanh(s.a(x)).reshape(-1, *s.sizes))


@pytest.mark.parametrize("function", [asks_for_a_gradient, empty_slice, sizes_in_a_list])
def test_what_wav2vec_phi_and_segformer_do(function):
    base = Model(function).double()
    base.sizes = [4]
    clone = expand(base, 2, example_input=X)
    assert expansion(clone).widened["a.weight"] == ((4, 5), (8, 5))
    assert expansion(clone).own_class == (function is not empty_slice)
    assert isinstance(certify(clone, base=base, example_input=X), Holds)


@pytest.mark.parametrize(
    ("scale", "share", "same"), [(1.012, 0.01, True), (1.012, 1.0, True), (1.05, 1.0, False), (3.0, 0.01, False)]
)
def test_few_gradients_behind_a_kink_may_differ_but_not_the_gradient_as_a_whole(scale, share, same):
    """What a wide model in float32 must answer to be taken for the base: as a whole, within 3 %."""
    theirs = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    mine = torch.where(torch.arange(1000) < 1000 * share, scale * theirs, theirs)
    outputs = [torch.ones(3)]
    seen = [Pass(outputs, {}, {}, [gradient]) for gradient in (mine, theirs)]
    assert _same(*seen, 1e-3) == same
    assert not _same(seen[0]._replace(outputs=[torch.ones(3) * 1.002]), seen[1], 1e-3)


BRANCHES = {
    "one size": lambda n: n == 6,
    "not one size": lambda n: n != 6,
    "a remainder": lambda n: n % 3 == 0,
    "a bit": lambda n: n & 1,
    "a square": lambda n: n * n < 100,
    "a root": lambda n: int(n**0.5) == 2,
    "the larger": lambda n: max(n, 10) == 10,
    "a distance": lambda n: abs(n - 6) < 3,
    "a rounded quotient": lambda n: round(n / 10) == 1,
}


@pytest.mark.parametrize("branch", BRANCHES.values(), ids=BRANCHES)
def test_a_branch_on_a_size_is_not_taken_for_all_sizes(branch):
    base = Model(lambda s, x: tanh(s, x) * (2.0 if s.branch(x.shape[0]) else 1.0)).double()
    base.branch = branch  # no closure: its trace is kept
    clone = expand(base, 2, example_input=X, traced=True)
    torch.testing.assert_close(clone(X), base(X), rtol=0, atol=1e-12)
    with pytest.raises(InvalidInput):
        clone(X[:6])
    own = expand(base, 2, example_input=X)
    torch.testing.assert_close(own(X[:6]), base(X[:6]), rtol=0, atol=1e-12)


def test_a_branch_on_a_range_of_sizes_is_taken_for_that_range():
    base = Model(lambda s, x: tanh(s, x) * (2.0 if x.shape[0] > 10 else 1.0)).double()
    clone = expand(base, 2, example_input=X, traced=True)
    torch.testing.assert_close(clone(X[:11]), base(X[:11]), rtol=0, atol=1e-12)
    with pytest.raises(InvalidInput):
        clone(X[:10])


@pytest.mark.parametrize(
    "compared", [lambda n, m: n + m > 20, lambda n, m: n < m, lambda n, m: n == 2 * m, lambda n, m: n * m < 130]
)
def test_two_batch_sizes_that_are_compared_are_not_taken_for_others(compared):
    base = Model(lambda s, x, y: tanh(s, x) * (2.0 if compared(x.shape[0], y.shape[0]) else 1.0) + y.sum()).double()
    clone = expand(base, 2, example_input=(X, X[:8]), traced=True)
    torch.testing.assert_close(clone(X, X[:8]), base(X, X[:8]), rtol=0, atol=1e-12)
    for other in ((X[:9], X[:8]), (X, X[:4]), (X[:4], X)):
        with pytest.raises(InvalidInput):
            clone(*other)


def positions_of(kind):
    """A table of 10 positions, of which a call uses the first."""

    class Positioned(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.c, self.o = nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 3)
            table = torch.randn(1, 10, 4, generator=torch.Generator().manual_seed(0))
            if kind == "buffer":
                self.register_buffer("table", table)
            else:
                self.table = nn.Parameter(table)

        def forward(self, x):
            count = x.shape[1]
            h = self.a(x)
            rows = {
                "scaled": lambda: (2 * self.table)[:, :count],
                "computed": lambda: self.c(torch.tanh(self.table).exp())[:, :count],
                "of every picture": lambda: self.table.expand(len(x), -1, -1)[:, :count],
                "cast": lambda: self.table.float().to(x.dtype)[:, :count],
                "narrow": lambda: self.table.narrow(1, 0, count),
                "last": lambda: self.table[:, -count:],
                "split": lambda: self.table.split(count, 1)[0],
                "transposed": lambda: self.table.transpose(1, 2)[..., :count].transpose(1, 2),
            }.get(kind, lambda: self.table[:, :count])()
            return self.o(torch.tanh(h + rows))

    torch.manual_seed(0)
    return Positioned().double()


KINDS = "parameter", "buffer", "narrow", "last", "split", "transposed", "scaled", "computed", "of every picture", "cast"


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_table_that_the_example_does_not_use_stay_as_they_are(kind):
    """They are no units: a longer call uses them, each once."""
    base, x = positions_of(kind), torch.randn(2, 4, 5, dtype=torch.float64)
    clone = expand(base, 2, example_input=x)
    assert clone.table.shape == (1, 10, 8)
    for count in range(2, 11):
        longer = torch.randn(2, count, 5, dtype=torch.float64)
        torch.testing.assert_close(clone(longer), base(longer), rtol=0, atol=1e-12)
    assert isinstance(certify(clone, base=base, example_input=x), Holds)


ROWS_OF_A_TABLE = {
    "as many as pictures": lambda s, x: s.table[: len(x)],
    "the last": lambda s, x: s.table[-len(x) :],
    "after a view": lambda s, x: s.table.view(20, -1)[: len(x)].view(len(x), -1),
    "one by the number of pictures": lambda s, x: s.table[len(x)],
    "one by a buffer": lambda s, _: s.table[s.place % 6],
}


@pytest.mark.parametrize("rows", ROWS_OF_A_TABLE.values(), ids=ROWS_OF_A_TABLE)
def test_rows_that_data_or_their_number_choose(rows):
    base = Model(lambda s, x: s.o(torch.tanh(s.a(x) + s.rows(s, x))))
    base.rows = rows  # no closure: its trace is kept
    base.table = nn.Parameter(torch.randn(20, 4))
    base.register_buffer("place", torch.tensor(9))
    base = base.double()
    own, rewritten = (expand(base, 2, example_input=X, traced=traced) for traced in (False, True))
    for clone in (own, rewritten):
        assert isinstance(certify(clone, base=base, example_input=X), Holds)
        torch.testing.assert_close(clone(X), base(X), rtol=0, atol=1e-12)
    assert own.table.shape == (20, 8)
    torch.testing.assert_close(own(X[:7]), base(X[:7]), rtol=0, atol=1e-12)
    smaller = compress(own, detect(own, X)).model
    assert smaller.table.shape == (20, 4)
    torch.testing.assert_close(smaller(X[:7]), base(X[:7]), rtol=0, atol=1e-12)


def test_what_this_call_does_not_use_stays_as_it_is_and_that_is_said():
    """A token that is not asked for; of a table, a slice that is empty in the example and not in longer calls."""

    def forward(s, x, masked=False):
        h = torch.cat([torch.tanh(s.a(x)), s.table[:, : x.shape[1] - 4].expand(len(x), -1, -1)], 1)
        return s.o(h + s.token if masked else h)

    base = Model(forward).double()
    base.table, base.token = nn.Parameter(torch.randn(1, 7, 4)), nn.Parameter(torch.randn(4))
    base = base.double()
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    clone = expand(base, 2, example_input=x)
    assert clone.token.shape == (4,)
    assert expansion(clone).narrow["token"] == "nothing in this call uses it"
    assert isinstance(certify(clone, base=base, example_input=x), Holds)
    longer = torch.randn(2, 9, 5, dtype=torch.float64)
    torch.testing.assert_close(clone(longer), base(longer), rtol=0, atol=1e-12)


def test_a_number_that_equals_a_width_by_chance_is_no_width():
    """As ``sliding_window`` of Mistral, which equals its hidden size; one that is a width must grow."""

    class Windowed(Model):
        def __init__(self):
            super().__init__(tanh)
            self.window, self.inner_units = 4, 4

        def forward(self, x):
            h = torch.tanh(self.a(x.clamp(-self.window, self.window)))
            return self.o(h.view(-1, self.inner_units))

    base = Windowed().double()
    clone = expand(base, 2, example_input=X)
    assert (clone.window, clone.inner_units) == (4, 8)
    assert expansion(clone).own_class
    torch.testing.assert_close(clone(20 * X), base(20 * X), rtol=0, atol=1e-12)


NAMES = "hidden", "hidden_span", "head_window", "image_width", "feature_clip", "filter_length"
NO_WIDTHS = {
    "a window": lambda span, h, x: h * (torch.arange(x.shape[1]) < span)[:, None],
    "a branch": lambda span, h, x: 2 * h if x.shape[1] > span else h,
    "rows": lambda span, h, x: h * (torch.arange(len(x)) < span)[:, None, None],
    "a bound": lambda span, h, x: h + x[..., :1].clamp(-span, span),
}


@pytest.mark.parametrize(("name", "use"), [*product(NAMES, ["a window"]), *product(NAMES[:1], NO_WIDTHS)])
def test_a_number_called_like_a_width_that_is_none_stays(name, use):
    """It equals the width, and changes nothing of the example or of calls a little larger."""

    class Cropped(Model):
        def __init__(self):
            super().__init__(tanh, width=16)
            setattr(self, name, 16)

        def forward(self, x):
            return self.o(NO_WIDTHS[use](getattr(self, name), torch.tanh(self.a(x)), x))

    base = Cropped().double()
    clone = expand(base, 2, example_input=torch.randn(2, 2, 5, dtype=torch.float64))
    assert clone.a.out_features == 32
    for rows, count in ((2, 2), (2, 17), (2, 40), (17, 2), (40, 2)):
        x = 30 * torch.randn(rows, count, 5, dtype=torch.float64)
        torch.testing.assert_close(clone(x), base(x), rtol=0, atol=1e-12)


def test_a_number_of_heads_is_not_put_back_where_they_have_little_to_say():
    """The scale is a float32 number, so that answers are compared coarsely; half as many heads are nearly as good."""

    class Attention(Model):
        def __init__(self):
            super().__init__(tanh)
            self.heads, self.q, self.k = 2, nn.Linear(5, 4), nn.Linear(5, 4)

        def forward(self, x):
            q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.a))
            scores = q @ k.mT / torch.tensor(q.shape[-1], dtype=torch.float32).sqrt()
            return self.o((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    base, x = Attention().double(), 0.03 * torch.randn(2, 6, 5, dtype=torch.float64)
    clone = expand(base, 2, example_input=x)
    assert clone.heads == 4
    assert isinstance(certify(clone, base=base, example_input=x), Holds)
    torch.testing.assert_close(clone(99 * x), base(99 * x), rtol=0, atol=1e-12)
    assert compress(clone, detect(clone, x)).model.heads == 2
    for heads in (1, 2, 8):
        clone.heads = heads
        assert isinstance(certify(clone, base=base, example_input=x), Fails)


def test_the_sliding_window_of_a_mistral_stays():
    transformers = pytest.importorskip("transformers")
    config = transformers.MistralConfig(
        num_hidden_layers=1, hidden_size=16, sliding_window=16, intermediate_size=20, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=23, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    base = transformers.MistralForCausalLM(config).double().eval()
    clone = expand(base, 2, example_input={"input_ids": torch.randint(0, 23, (2, 6))})
    longer = torch.randint(0, 23, (2, 40))
    assert expansion(clone).own_class
    torch.testing.assert_close(clone(longer).logits, base(longer).logits, rtol=0, atol=1e-6)  # norms in float32
    base.config.sliding_window = 32
    assert float((clone(longer).logits - base(longer).logits).detach().abs().max()) > 1e-4


def test_a_module_that_raises_agrees_with_no_answer():
    class Refusing(nn.Linear):
        def forward(self, _):
            raise RuntimeError("a width that was written as a number")

    base, given = nn.Linear(2, 2), ((torch.ones(1, 2),), {})
    expected = model_pass(base, given, parameters=False)
    assert _agrees(base, (False, given), expected, 1e-6)
    assert not _agrees(Refusing(2, 2), (False, given), expected, 1e-6)
