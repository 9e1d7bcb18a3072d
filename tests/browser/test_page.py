"""The page in a real browser: no error, no request, filters, deep links, explorer and networks work, accessible.

Run by ``make docs`` (it needs Debian's chromium); ``make test`` leaves this folder out.
"""

import json
import re
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api")
from axe_playwright_python.sync_playwright import Axe  # noqa: E402

from lop_theory.balls import fmpq  # noqa: E402
from lop_theory.graph.counterexamples import CYCLIC_QUOTIENT  # noqa: E402
from lop_theory.graph.io import network_to_json  # noqa: E402
from lop_theory.report.__main__ import main  # noqa: E402
from lop_theory.report.ledger import load  # noqa: E402
from lop_theory.tension import strength_at  # noqa: E402

ROOT = Path(__file__).parents[2]
CLAIMS = load(ROOT / "claims.toml")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """The page with one finding a claim, so that nothing else has to be recomputed here."""
    folder = tmp_path_factory.mktemp("page")
    finding = {"about": "paper", "holds": True, "evidence": "tested", "detail": "a <b>finding</b> & its number"}
    rows = [{"claim": c.id, "findings": [finding], "not_checked_here": [], "state": "agrees"} for c in CLAIMS]
    (folder / "found.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["--html", str(folder / "index.html"), "--findings", str(folder / "found.jsonl")]) == 0
    return folder / "index.html"


@pytest.fixture
def page(browser, page_file):
    """The opened page; at the end it has shown no error and asked for nothing but itself."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    opened, problems, requests = context.new_page(), [], []
    opened.on(
        "console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None
    )
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(page_file.as_uri())
    yield opened
    context.close()
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def test_every_claim_has_a_card(page):
    assert page.locator(".card").count() == len(CLAIMS)
    assert page.locator(".card b").count() == 0  # what a finding says is text, never markup
    assert page.locator(".formula math").count() > 30


def test_filters_and_deep_links(page):
    page.select_option("#verdict", "false")
    assert page.locator(".card:visible").count() == sum(c.verdict == "false" for c in CLAIMS)
    page.fill("#search", "no such word")
    assert page.locator(".card:visible").count() == 0
    page.evaluate("location.hash = 'gap'")
    page.wait_for_function("document.activeElement.id === 'gap'")
    assert page.locator(".card:visible").count() == len(CLAIMS)


def test_the_explorer_follows_its_fields(page):
    page.select_option("#activation", label="tanh")
    assert page.locator("#out-lambda").text_content() == "0.06953"
    page.fill("#scale", "3")
    exact = float(strength_at("tanh", fmpq(3), fmpq(0)))
    assert float(page.locator("#out-lambda").text_content()) == pytest.approx(exact, abs=1e-4)
    page.fill("#formula", "max(x, 0)")
    page.fill("#scale", "1")
    assert page.locator("#out-lambda").text_content() == "0.26653"
    page.fill("#formula", "window.alert(1)")
    assert "unknown" in page.locator("#numbers [role=alert]").text_content()


def test_a_network_is_read(page):
    assert "Clones that SGD keeps: a1 a2; b1 b2" in page.locator("#diagnosis").inner_text()
    page.fill("#network", json.dumps(network_to_json(CYCLIC_QUOTIENT.network())))
    page.click("#diagnose")
    assert "biregular support" in page.locator("#diagnosis").inner_text()
    page.fill("#network", '{"inputs": ["<img src=x onerror=alert(1)>"]}')
    page.click("#diagnose")
    assert page.locator("#diagnosis [role=alert]").count() == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 390])
def test_no_serious_accessibility_fault(page, theme, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:120]) for v in found if v["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_keyboard_reaches_the_claims(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#claims"


def test_print_shows_the_cards_and_not_the_controls(page):
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator(".card").first.is_visible()
    assert page.locator(".card summary + *").first.is_visible()  # closed details are printed
    sizes = page.evaluate(
        "[...document.querySelectorAll('.card dl, .card pre, .card p')].map(e => getComputedStyle(e).fontSize)"
    )
    assert {float(size.removesuffix("px")) for size in sizes} <= {9.35, 9.9, 11.0}
    assert re.match(rb"%PDF", page.pdf())
