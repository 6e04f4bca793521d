from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import islice
from typing import Any

import pytest

from harness.toy.backprop import EXAMPLE, LEARNING_RATES, WEIGHTS, Example, Weights, losses, train
from harness.toy.formulas import BACKWARD, FORWARD, UPDATE, values, with_numbers
from reports.toy import toy_page
from tests import browser


class Parsed(HTMLParser):
    """A page taken apart: its elements with their attributes, and whether every element is closed."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "input", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def parsed() -> Parsed:
    return Parsed(toy_page.render())


def test_the_page_is_one_file_that_fetches_nothing(parsed: Parsed):
    source = toy_page.render()

    assert len(source) < 200_000
    assert not re.search(r"https?://|url\(|@import|<link|<img", source)
    assert not [name for _, attributes in parsed.elements for name in attributes if name in ("src", "href")]
    (policy,) = [found["content"] for _, found in parsed.elements if "http-equiv" in found]
    assert policy.startswith("default-src 'none'; ")
    assert "script-src 'sha256-" in policy


def test_identifiers_are_unique_and_references_are_met(parsed: Parsed):
    ids = Counter(found["id"] for _, found in parsed.elements if "id" in found)

    assert max(ids.values()) == 1
    for _, found in parsed.elements:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert set(found.get(name, "").split()) <= set(ids)


def test_every_control_has_a_name(parsed: Parsed):
    source = toy_page.render()

    for tag, found in parsed.elements:
        if tag == "input":
            labelled = "aria-label" in found or f'for="{found.get("id")}"' in source or "data-start" in found
            assert labelled, found


def test_every_quantity_is_there_with_its_formula_and_numbers(parsed: Parsed):
    source = toy_page.render()
    numbers = values(EXAMPLE, next(train(WEIGHTS, EXAMPLE, 0.5))) | {"learning_rate": 0.5}
    shown = {found["data-value"] for _, found in parsed.elements if "data-value" in found}

    assert {*FORWARD, *BACKWARD, "w1", "w8", "i1", "t2"} <= shown
    assert {found["data-next"] for _, found in parsed.elements if "data-next" in found} == set(UPDATE)
    for formula in (FORWARD | BACKWARD | UPDATE).values():
        assert f">{with_numbers(formula, numbers)}<" in source


def test_without_scripts_the_status_names_the_learning_rate():
    assert ">Learning rate 0.5, before the first update: loss 0.24252.<" in toy_page.render()


def test_the_same_code_gives_the_same_bytes():
    assert toy_page.contents() == {"toy.html": toy_page.render().encode()}


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
    assert found == pytest.approx(losses(WEIGHTS, EXAMPLE, rate, 1_000), rel=0, abs=1e-12)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("weights", "example"),
    [
        (WEIGHTS, EXAMPLE),
        (Weights(1.5, -2.0, 0.3, 4.0, -1.25, 0.5, 3.0, -0.1), Example(-0.7, 2.0, 0.2, 0.6)),
        (Weights(*[0.0] * 8), Example(1.0, 1.0, 0.0, 1.0)),
    ],
)
def test_every_quantity_is_that_of_python_after_each_of_20_updates(
    page: browser.Page, weights: Weights, example: Example
):
    start = json.dumps(dataclasses.asdict(weights) | dataclasses.asdict(example))
    program = (
        f"(() => {{ let known = toy.passes({start}); const all = [known]; for (let i = 0; i < 20; i += 1) "
        "{ known = toy.passes(toy.update(known, 0.8)); all.push(known); } return all; })()"
    )

    found: list[dict[str, float]] = page.evaluate(program)

    for there, step in zip(found, islice(train(weights, example, 0.8), 21), strict=True):
        assert there == pytest.approx(values(example, step), rel=0, abs=1e-14)


@pytest.mark.browser
def test_what_python_wrote_into_the_page_is_what_the_script_shows(fresh: browser.Page):
    places = re.findall(r'data-value="(\w+)" data-digits="9">([^<]+)<', toy_page.render())

    assert len(places) == len(FORWARD | BACKWARD)
    for name, shown in places:
        assert float(text_of(fresh, f'span[data-value="{name}"]')) == float(shown)


@pytest.mark.browser
def test_step_ten_and_reset_do_what_they_say(fresh: browser.Page):
    expected = losses(WEIGHTS, EXAMPLE, 0.5, 11)

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

    end = losses(WEIGHTS, EXAMPLE, 0.5, 1_000)[-1]
    assert status(fresh) == f"{after(0.5, 1_000, end)} The end of the picture: Reset begins anew."


@pytest.mark.browser
def test_other_numbers_begin_anew(fresh: browser.Page):
    click(fresh, "ten")
    type_into(fresh, "[data-start=w5]", "-1.5")

    changed = losses(dataclasses.replace(WEIGHTS, w5=-1.5), EXAMPLE, 0.5, 1)
    assert status(fresh) == f"Learning rate 0.5, before the first update: loss {changed[0]:.6g}."
    click(fresh, "step")
    assert status(fresh) == after(0.5, 1, changed[1])


@pytest.mark.browser
@pytest.mark.parametrize(
    ("typed", "words"),
    [("0", "takes no step"), ("-1", "walks uphill"), ("500", ""), ("0.001", "hardly moves"), ("1", "")],
)
def test_a_rate_that_does_not_help_is_explained(fresh: browser.Page, typed: str, words: str):
    type_rate(fresh, typed)

    remark = text_of(fresh, "#remark")
    assert words in remark
    assert bool(remark) == bool(words)


@pytest.mark.browser
@pytest.mark.parametrize(("rate", "flat"), [("89", False), ("95", False), ("120", False), ("200", True), ("1e6", True)])
def test_it_says_when_an_error_is_left_but_no_slope(rate: str, flat: bool, fresh: browser.Page):
    type_rate(fresh, rate)
    assert text_of(fresh, "#remark") == ""

    click(fresh, "step")
    flat_words = "The sigmoids are flat here: an error is left, but no slope to follow."
    assert text_of(fresh, "#remark") == flat_words * flat


@pytest.mark.browser
def test_a_network_that_has_learned_its_example_is_no_failure(fresh: browser.Page):
    for name in ("t1", "t2"):
        type_into(fresh, f"[data-start={name}]", "0.6")
    type_rate(fresh, "60")
    for _ in range(50):
        click(fresh, "ten")

    assert text_of(fresh, "#remark") == "The example is learned: hardly any error is left."


@pytest.mark.browser
def test_a_broken_rate_is_marked_and_the_last_one_kept(fresh: browser.Page):
    type_rate(fresh, "")

    assert fresh.evaluate("document.getElementById('rate').validity.valid") is False
    assert text_of(fresh, "#remark") == "Learning rate: not a number; still at 0.5."
    click(fresh, "step")
    assert status(fresh) == after(0.5, 1, losses(WEIGHTS, EXAMPLE, 0.5, 1)[1])
    assert text_of(fresh, "#remark") == "Learning rate: not a number; still at 0.5."
    type_rate(fresh, "0.8")
    assert text_of(fresh, "#remark") == ""


@pytest.mark.browser
def test_a_broken_weight_is_named_and_the_last_one_kept(fresh: browser.Page):
    type_into(fresh, "[data-start=w5]", "-1.5")
    type_into(fresh, "[data-start=w5]", "")

    assert text_of(fresh, "#remark") == "w5: not a number; still at -1.5."
    click(fresh, "documents")
    assert text_of(fresh, "#remark") == ""


@pytest.mark.browser
def test_it_works_by_keyboard_alone(fresh: browser.Page):
    reached = []
    fresh.evaluate("document.activeElement.blur(); document.getElementById('content').focus()")
    for _ in range(12):
        fresh.press("Tab")
        reached.append(fresh.evaluate("document.activeElement.id || document.activeElement.dataset.rate"))
    order = ["rate", "slider", "0.1", "0.2", "0.5", "0.8", "1.0", "2.0", "step", "ten", "run", "reset"]
    assert reached == order

    fresh.evaluate("document.getElementById('slider').focus()")
    fresh.press("ArrowRight")
    assert float(fresh.evaluate("document.getElementById('rate').value")) == 0.513
    fresh.evaluate("document.querySelector('[data-rate=\"2.0\"]').focus()")
    fresh.press("Enter", "\r")
    assert fresh.evaluate("document.getElementById('rate').value") == "2.0"
    fresh.evaluate("document.getElementById('step').focus()")
    fresh.press(" ", " ")
    assert status(fresh) == after(2.0, 1, losses(WEIGHTS, EXAMPLE, 2.0, 1)[1])


@pytest.mark.browser
def test_dark_and_light_differ_and_text_stays_readable(page: browser.Page):
    colours: dict[str, Any] = {}
    for scheme in ("light", "dark"):
        page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        colours[scheme] = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )

    assert colours == {
        "light": ["rgb(255, 255, 255)", "rgb(27, 33, 39)"],
        "dark": ["rgb(20, 24, 28)", "rgb(230, 234, 238)"],
    }


@pytest.mark.browser
def test_it_prints_the_learning_rate_without_its_buttons(fresh: browser.Page):
    page = fresh
    type_rate(page, "1.5")
    page.send("Emulation.setEmulatedMedia", media="print")
    hidden = page.evaluate("getComputedStyle(document.querySelector('.controls .row')).display")
    shown = page.evaluate("document.body.innerText")
    printed = page.send("Page.printToPDF")["data"]
    page.send("Emulation.setEmulatedMedia", media="")

    assert hidden == "none"
    assert "Learning rate 1.5, before the first update: loss 0.24252." in shown
    assert len(printed) > 10_000


def type_rate(page: browser.Page, typed: str) -> None:
    type_into(page, "#rate", typed)


def type_into(page: browser.Page, selector: str, typed: str) -> None:
    page.evaluate(
        f"(() => {{ const box = document.querySelector({json.dumps(selector)}); box.value = '{typed}'; "
        "box.dispatchEvent(new Event('input')); })()"
    )
