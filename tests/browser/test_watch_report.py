"""The monitor's report in a real browser: no error, no request, accessible in both themes and on a phone, printable."""

import re

import pytest

playwright = pytest.importorskip("playwright.sync_api")
from axe_playwright_python.sync_playwright import Axe  # noqa: E402

torch = pytest.importorskip("torch")

from lop_theory import watch  # noqa: E402
from tests.watch.nets import X, clone, freeze, losses, mlp, silence, train  # noqa: E402

ALARMS = ("2 units trapped: 0 1", "1 unit frozen: 3", "1 unit silent: 4")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "plasticity.html"
    model = silence(clone(freeze(mlp())))
    with watch(model, X, every=5, loss=losses) as monitor:
        train(model, torch.optim.Adam(model.parameters()), 20)
    monitor.control(mlp)
    monitor.report(path)
    return path


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 375])
def test_it_opens_quietly_and_accessibly(browser, report, theme, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page, problems, requests = context.new_page(), [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:120]) for v in found if v["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert [page.locator(".card .place", has_text=found).count() for found in ALARMS] == [1] * len(ALARMS)
    assert page.locator("figure svg[role=img]").count() > 12
    assert page.locator("figure path.a").first.bounding_box()["width"] > 50
    context.close()
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def test_it_prints(browser, report):
    page = browser.new_page()
    page.goto(report.as_uri())
    page.emulate_media(media="print")
    assert page.locator("article ul").first.is_visible()
    assert re.match(rb"%PDF", page.pdf())
    page.close()
