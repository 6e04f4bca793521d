from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from harness.toy.backprop import BACKWARD, FORWARD, LEARNING_RATES, START, UPDATE, losses, passes, train, with_numbers
from reports import toy as toy_page
from tests import axe, browser


def test_every_quantity_is_there_with_its_formula_and_numbers():
    source = toy_page.render()
    numbers = passes(START) | {"learning_rate": 0.5}

    assert {*START, *FORWARD, *BACKWARD} <= {*re.findall(r'data-value="(\w+)"', source)}
    assert re.findall(r'data-next="(\w+)"', source) == [*UPDATE]
    for formula in (FORWARD | BACKWARD | UPDATE).values():
        assert f">{with_numbers(formula, numbers)}<" in source
    assert not re.search(r"https?://|url\(|@import|<link|<img|src=", source)
    assert ">Learning rate 0.5, before the first update: loss 0.24252.<" in source


# From here on in a browser.


@pytest.fixture(scope="module")
def page(opened: browser.Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    path = tmp_path_factory.mktemp("toy") / "toy.html"
    path.write_text(toy_page.render(), encoding="utf-8")
    opened.complaints.clear()
    opened.open(path)
    yield opened
    assert opened.complaints == []


@pytest.fixture
def fresh(page: browser.Page) -> browser.Page:
    """The page as it is when it has loaded: the documents' numbers, rate 0.5, no update."""
    click(page, "documents")
    page.evaluate("document.querySelector('[data-rate=\"0.5\"]').click()")
    return page


def click(page: browser.Page, identifier: str) -> None:
    page.evaluate(f"document.getElementById('{identifier}').click()")


def text_of(page: browser.Page, selector: str) -> str:
    found: str = page.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")
    return found


def status(page: browser.Page) -> str:
    return text_of(page, "#status")


def after(rate: float, updates: int, loss: float) -> str:
    """What the status line must say."""
    return f"Learning rate {rate:g}, after {updates:,} update{'s' * (updates != 1)}: loss {loss:.6g}."


@pytest.mark.browser
@pytest.mark.parametrize("rate", [*LEARNING_RATES, 0.0, -0.3, 30.0, 1000.0])
def test_its_curves_are_those_of_python(page: browser.Page, rate: float):
    found = page.evaluate(f"toy.losses({rate}, 1000)")

    # Engines may round exp in the last place, and 1,000 updates carry that along.
    assert found == pytest.approx(losses(START, rate, 1_000), rel=0, abs=1e-12)


@pytest.mark.browser
@pytest.mark.parametrize(
    "numbers",
    [
        tuple(START.values()),
        (-0.7, 2.0, 0.2, 0.6, 1.5, -2.0, 0.3, 4.0, -1.25, 0.5, 3.0, -0.1),
        (1.0, 1.0, 0.0, 1.0, *[0.0] * 8),
    ],
)
def test_every_quantity_is_that_of_python_after_each_of_20_updates(page: browser.Page, numbers: tuple[float, ...]):
    start = dict(zip(START, numbers, strict=True))
    program = (
        f"(() => {{ let known = toy.passes({json.dumps(start)}); const all = [known]; for (let i = 0; i < 20; i += 1) "
        "{ known = toy.passes(toy.update(known, 0.8)); all.push(known); } return all; })()"
    )

    found: list[dict[str, float]] = page.evaluate(program)

    for there, step in zip(found, islice(train(start, 0.8), 21), strict=True):
        assert there == pytest.approx(step, rel=0, abs=1e-14)


@pytest.mark.browser
def test_what_python_wrote_into_the_page_is_what_the_script_shows(fresh: browser.Page):
    places = re.findall(r'data-value="(\w+)" data-digits="9">([^<]+)<', toy_page.render())

    assert len(places) == len(FORWARD | BACKWARD)
    for name, shown in places:
        assert float(text_of(fresh, f'span[data-value="{name}"]')) == float(shown)


@pytest.mark.browser
def test_step_ten_and_reset_do_what_they_say(fresh: browser.Page):
    expected = losses(START, 0.5, 11)

    assert status(fresh) == "Learning rate 0.5, before the first update: loss 0.24252."
    click(fresh, "step")
    assert status(fresh) == after(0.5, 1, expected[1])
    click(fresh, "ten")
    assert status(fresh) == after(0.5, 11, expected[11])
    assert float(text_of(fresh, 'tspan[data-value="E_total"]')) == float(f"{expected[11]:.6g}")
    assert len(fresh.evaluate("document.querySelector('[data-live]').getAttribute('points')").split()) == 12
    click(fresh, "reset")
    assert status(fresh) == "Learning rate 0.5, before the first update: loss 0.24252."


@pytest.mark.browser
def test_a_run_can_be_paused_and_ends_after_a_thousand_updates(fresh: browser.Page):
    click(fresh, "run")
    assert text_of(fresh, "#run") == "Pause"
    click(fresh, "run")
    assert text_of(fresh, "#run") == "Run"
    click(fresh, "run")
    fresh.evaluate(
        "new Promise((done) => { const look = () => document.getElementById('run').textContent === 'Run' ? done() : "
        "setTimeout(look, 50); look(); })"
    )

    end = losses(START, 0.5, 1_000)[-1]
    assert status(fresh) == f"{after(0.5, 1_000, end)} The end of the picture: Reset begins anew."


@pytest.mark.browser
def test_other_numbers_begin_anew(fresh: browser.Page):
    click(fresh, "ten")
    type_into(fresh, "[data-start=w5]", "-1.5")

    changed = losses(START | {"w5": -1.5}, 0.5, 1)
    assert status(fresh) == f"Learning rate 0.5, before the first update: loss {changed[0]:.6g}."
    click(fresh, "step")
    assert status(fresh) == after(0.5, 1, changed[1])


@pytest.mark.browser
@pytest.mark.parametrize(
    ("typed", "words", "stepped"),
    [
        ("0", "takes no step", "takes no step"),
        ("-1", "walks uphill", "walks uphill"),
        ("0.001", "hardly moves", "hardly moves"),
        ("1", "", ""),
        ("120", "", ""),
        ("200", "", "sigmoids are flat"),
        # A broken box keeps the last rate.
        ("", "still at 0.5", "still at 0.5"),
    ],
)
def test_a_rate_that_does_not_help_is_explained(fresh: browser.Page, typed: str, words: str, stepped: str):
    type_into(fresh, "#rate", typed)

    for said in (words, stepped):
        remark = text_of(fresh, "#remark")
        assert said in remark
        assert bool(remark) == bool(said)
        click(fresh, "step")
    if not typed:
        assert status(fresh) == after(0.5, 2, losses(START, 0.5, 2)[2])


@pytest.mark.browser
def test_a_network_that_has_learned_its_example_is_no_failure(fresh: browser.Page):
    for name in ("t1", "t2"):
        type_into(fresh, f"[data-start={name}]", "0.6")
    type_into(fresh, "#rate", "60")
    for _ in range(50):
        click(fresh, "ten")

    assert text_of(fresh, "#remark") == "The example is learned: hardly any error is left."


@pytest.mark.browser
def test_it_works_by_keyboard_alone(fresh: browser.Page):
    reached = []
    fresh.evaluate("document.activeElement.blur(); document.getElementById('content').focus()")
    for _ in range(5 + 12):  # the contents come first
        fresh.press("Tab")
        reached.append(fresh.evaluate("document.activeElement.id || document.activeElement.dataset.rate"))
    order = ["rate", "slider", "0.1", "0.2", "0.5", "0.8", "1.0", "2.0", "step", "ten", "run", "reset"]
    assert reached[5:] == order

    fresh.evaluate("document.getElementById('slider').focus()")
    fresh.press("ArrowRight")
    assert float(fresh.evaluate("document.getElementById('rate').value")) == 0.513
    fresh.evaluate("document.querySelector('[data-rate=\"2.0\"]').focus()")
    fresh.press("Enter", "\r")
    assert fresh.evaluate("document.getElementById('rate').value") == "2.0"
    fresh.evaluate("document.getElementById('step').focus()")
    fresh.press(" ", " ")
    assert status(fresh) == after(2.0, 1, losses(START, 2.0, 1)[1])


@pytest.mark.browser
def test_both_themes_are_without_violation_and_a_telephone_holds_it(page: browser.Page, tmp_path: Path):
    (path := tmp_path / "toy.html").write_text(toy_page.render(), encoding="utf-8")
    for dark in (False, True):
        page.open(path, dark=dark)
        assert axe.violations(page) == []
    page.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.send("Emulation.clearDeviceMetricsOverride")


def type_into(page: browser.Page, selector: str, typed: str) -> None:
    page.evaluate(
        f"(() => {{ const box = document.querySelector({json.dumps(selector)}); box.value = '{typed}'; "
        "box.dispatchEvent(new Event('input')); })()"
    )
