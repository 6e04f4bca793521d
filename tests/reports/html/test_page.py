from __future__ import annotations

import re

import pytest

from reports.html import page
from reports.html.page import Column, Html, Section

HOSTILE = "<script>alert('x')</script> & \"quotes\" \0\x07\ud800"


def test_text_is_escaped_and_what_html_forbids_is_replaced():
    assert page.text(HOSTILE) == (
        "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; &quot;quotes&quot; \ufffd\ufffd\ufffd"
    )


def test_no_line_ends_between_a_number_and_its_per_cent_sign():
    made = page.element("p", page.text("99.4 % of 5 %, in %"), page.foreign("a 5 % study"), data_key="a 5 % study")

    assert made == (
        '<p data-key="a 5 % study">99.4\N{NO-BREAK SPACE}% of 5\N{NO-BREAK SPACE}%, in %<bdi>a 5 % study</bdi></p>'
    )


def test_attributes_are_escaped_and_left_out_when_none():
    made = page.element("a", page.text("x"), href='"><script>', class_=None, aria_label="<b>", tabindex=0)

    assert made == '<a href="&quot;&gt;&lt;script&gt;" aria-label="&lt;b&gt;" tabindex="0">x</a>'


@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (1.25, "1.25"), (1.005, "1"), (0.0, "0"), (100.0, "100")])
def test_numbers_in_attributes_are_short(value: float, text: str):
    assert page.element("rect", x=value) == f'<rect x="{text}"/>'


def test_a_foreign_text_is_kept_apart_for_its_writing_direction():
    assert page.foreign("\u05d0<") == "<bdi>\u05d0&lt;</bdi>"


def test_a_table_names_its_columns_and_rows():
    made = page.table(
        "Of <all>",
        [Column("name"), Column("count", numeric=True)],
        [[page.text("a"), page.text(1)]],
        identifier="all",
        row_identifiers=["row-a"],
    )

    assert '<caption id="all">Of &lt;all&gt;</caption>' in made
    assert '<th scope="col">name</th><th scope="col" class="number">count</th>' in made
    assert '<tr id="row-a"><th scope="row">a</th><td class="number">1</td></tr>' in made
    assert made.startswith('<div class="scroll" role="region" aria-labelledby="all" tabindex="0">')


def test_a_row_with_a_cell_too_few_is_our_mistake():
    with pytest.raises(ValueError, match="zip"):
        page.table("t", [Column("a"), Column("b")], [[page.text("x")]], identifier="t")


def test_sections_of_a_group_stand_under_its_heading_and_its_entry_in_the_contents():
    sections = [
        page.Section("one", "One", page.text("x"), "First"),
        page.Section("two", "Two", page.text("y"), "Second"),
        page.Section("three", "Three", page.text("z"), "Second", folded=True),
    ]

    made = page.page(
        "title", page.text("intro"), sections, page.text("end"), toolbar=page.text("TOOLS"), toolbar_group="Second"
    )

    assert re.findall(r"<h2>(\w+)</h2>", made) == ["First", "Second"]
    assert re.findall(r'<a href="#part-(\w+)">', made) == ["first", "second"]
    assert made.index("<h2>Second</h2>") < made.index("TOOLS") < made.index('<section id="two"')
    assert '<details class="folded"><summary><h3 id="three-heading">Three</h3></summary>z</details>' in made
    assert made.count("<details") == 1


def test_the_document_has_a_language_a_title_a_skip_link_and_a_policy():
    made = page.page("T < 1", Html(""), [Section("one", "One", page.text("x"))], Html(""))

    assert made.startswith('<!doctype html>\n<html lang="en">')
    assert "<title>T &lt; 1</title>" in made
    assert '<a href="#content" class="skip">' in made
    assert '<section id="one" aria-labelledby="one-heading"><h2 id="one-heading">One</h2>x</section>' in made
    assert "default-src &#x27;none&#x27;" in made


def variables(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block))


def themes() -> dict[str, dict[str, str]]:
    style = page.style()
    light = variables(style[: style.index("@media")])
    dark = variables(style[style.index("prefers-color-scheme: dark") : style.index("* {")])
    return {"light": light, "dark": dark}


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_formula_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["page", "panel"])
@pytest.mark.parametrize("ink", ["text", "muted", "link", "good", "bad", "wait"])
def test_text_stands_out_from_every_ground(theme: str, ground: str, ink: str):
    colours = themes()[theme]

    assert contrast(colours[ink], colours[ground]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("ink", ["trained", "good", "budget"])
def test_words_in_pictures_stand_out(theme: str, ink: str):
    colours = themes()[theme]

    assert contrast(colours[ink], colours["page"]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("ink", ["trained", "front", "pruned", "tested", "budget", "bad"])
def test_marks_in_pictures_stand_out(theme: str, ink: str):
    colours = themes()[theme]

    assert contrast(colours[ink], colours["page"]) >= 3


def test_both_themes_set_the_same_colours_and_every_colour_used_is_set():
    style = page.style()
    light, dark = themes().values()

    assert light.keys() == dark.keys()
    assert set(re.findall(r"var\(--([a-z]+)\)", style)) == set(light)


def test_the_style_sheet_fetches_nothing():
    assert not re.search(r"url\(|@import|https?:|//", page.style())
