"""The report: what is on it, that it is text and never markup, that it needs nothing from outside."""

import re
from html.parser import HTMLParser

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory import watch  # noqa: E402
from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.watch.glossary import LAYER, WHOLE  # noqa: E402
from lop_theory.watch.plots import Curve, plot  # noqa: E402
from lop_theory.watch.record import LayerNumbers, WholeNumbers  # noqa: E402
from tests.watch.nets import X, clone, freeze, losses, mlp, silence, train  # noqa: E402


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "plasticity.html"
    model = silence(clone(freeze(mlp())))
    with watch(model, X, every=2, loss=losses) as monitor:
        train(model, torch.optim.Adam(model.parameters()), 4)
    monitor.control(mlp, lambda m: float(losses(m(X)).mean().detach()))
    monitor.report(path)
    return path.read_text()


def test_it_has_the_alarms_with_remedies_the_control_and_every_formula(text):
    for found in (
        "2 units trapped: 0 1",
        "1 unit frozen: 3",
        "1 unit silent: 4",
        "Trained anew",
        "lop_theory.optim.ReDo",
    ):
        assert found in text
    shown = {**LAYER, **WHOLE}
    assert set(shown) == {*LayerNumbers._fields, *WholeNumbers._fields} - {"units", "samples", "effective_rank_error"}
    assert all(title in text for title, _ in shown.values())


def test_it_is_well_formed_and_asks_for_nothing(text):
    class Reader(HTMLParser):
        open_: tuple = ()

        def handle_starttag(self, tag, attrs):
            assert tag not in ("script", "iframe", "object")
            values = dict(attrs)
            assert not values.get("src")
            assert values.get("href", "data:").startswith(("data:", "#"))
            if tag not in ("meta", "link", "br", "path", "circle"):
                self.open_ = (*self.open_, tag)

        def handle_endtag(self, tag):
            if tag in ("path", "circle"):
                return
            assert self.open_[-1] == tag
            self.open_ = self.open_[:-1]

    reader = Reader()
    reader.feed(text)
    assert reader.open_ == ()
    assert "NaN" not in re.sub(r"<[^>]+>", "", text)


def test_names_are_text_and_never_markup(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module("<img src=x onerror=alert(1)>", nn.Linear(6, 4))
            self.add_module("act", nn.ReLU())

        def forward(self, x):
            for part in self.children():
                x = part(x)
            return x

    monitor = watch(Odd(), X, measures=())
    monitor.measure()
    monitor.report(tmp_path / "a.html")
    assert "<img" not in (tmp_path / "a.html").read_text()


def test_a_run_without_a_record_has_a_page(tmp_path):
    watch(mlp(), X).report(tmp_path / "a.html")
    assert "No step was logged" in (tmp_path / "a.html").read_text()


def test_a_line_has_a_gap_where_nothing_was_measured():
    drawn = plot("ranks", [Curve("a", [1, 2, 3, 4], [1.0, float("nan"), 3.0, 4.0])])
    assert re.search(r'<path class="a" d="M[\d.,]+M[\d.,]+L[\d.,]+"/>', drawn)
    assert drawn.count("<circle") == 3
    assert plot("nothing", [Curve("a", [1], [float("nan")])]) == ""
    assert plot("zero on a log scale", [Curve("a", [1], [0.0])], logarithmic=True) == ""


def test_what_was_not_judged_is_no_all_clear(tmp_path):
    model = mlp()
    with torch.no_grad():
        model[0].weight[3, 3] = float("nan")
    monitor = watch(model, X, loss=losses, measures=())
    monitor.measure()
    monitor.report(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "Not judged (the notes say why): 1, 3." in text
    assert "None: no dormant" not in text


SCRIPT = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(step=SCRIPT),
        lambda r: r["alarms"][0].update(units=[SCRIPT]),
        lambda r: r["alarms"][0].update(kind=SCRIPT),
        lambda r: r["alarms"].append(SCRIPT),
        lambda r: r["layers"]["1"].update(dead=SCRIPT),
        lambda r: r["layers"]["1"].update({SCRIPT: 1.0}),
        lambda r: r["whole"].update(loss=[1.0]),
        lambda r: r.update(pairs={"1": [SCRIPT, 1, 0.5]}),
        lambda r: r.pop("layers"),
    ],
)
def test_a_state_that_no_monitor_saved_is_refused_and_changes_nothing(change):
    model = silence(mlp())
    monitor = watch(model, X, loss=losses, measures=())
    monitor.measure()
    state = monitor.state_dict()
    change(state["records"][0])
    before = list(monitor.records)
    with pytest.raises(InvalidInput, match="state_dict"):
        monitor.load_state_dict(state)
    assert monitor.records == before


def test_texts_of_a_saved_state_are_text_on_the_page(tmp_path):
    model = silence(mlp())
    monitor = watch(model, X, loss=losses, measures=())
    monitor.measure()
    state = monitor.state_dict()
    saved = state["records"][0]
    saved["alarms"][0].update(layer=SCRIPT, found=SCRIPT, reason=SCRIPT, remedies=[SCRIPT])
    saved["notes"] = [SCRIPT]
    saved["layers"] = {SCRIPT: saved["layers"]["1"]}
    monitor.load_state_dict(state)
    monitor.report(tmp_path / "page.html")
    assert "<script" not in (tmp_path / "page.html").read_text()
