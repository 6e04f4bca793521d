"""A network's mistakes as people look at them: the confusion matrix and the digits."""

from __future__ import annotations

from reports.html import png
from reports.html.page import Column, Html, element, items, joined, numeric, paragraph, table, text
from reports.numbers import count, decimal, plural
from reports.study.network.mistakes import Mistake, Mistakes

# Of an image with a confirmed label error.
LABEL_WRONG = element("span", text("label wrong"), class_="tag wait")
# An image takes about 400 bytes of the page.
MOST_PICTURES = 60
# Shades of the matrix: a cell's share of the largest count off the diagonal.
_SHADES = 4


def gallery(facts: Mistakes, identifier: str) -> Html:
    """Return the confusion matrix and the digits; ``identifier`` makes the names on the page unique."""
    if not facts.mistakes:
        return paragraph(f"None of {plural(facts.seeds, 'seed')} got any test image wrong.")
    always = sum(mistake.seeds == facts.seeds for mistake in facts.mistakes)
    suspects = sum(mistake.mislabelled for mistake in facts.mistakes)
    words = (
        f"{plural(len(facts.mistakes), 'test image')} wrong with at least one of {plural(facts.seeds, 'seed')}, "
        f"{count(always)} with every seed"
    )
    words += f"; {plural(suspects, 'of them has', 'of them have')} a confirmed wrong label." if suspects else "."
    return joined([paragraph(words), _matrix(facts, identifier), _pictures(facts)])


def _matrix(facts: Mistakes, identifier: str) -> Html:
    if facts.confusion is None:
        return paragraph(
            "No confusion matrix: the labels of these images are not known here. A report reads no test set; a "
            "verification that runs on this machine leaves them for it, and repeating the command at the end of this "
            "section does.",
            class_="note",
        )
    most = max(
        (value for label, row in enumerate(facts.confusion) for said, value in enumerate(row) if said != label),
        default=0,
    )
    classes = range(len(facts.confusion))
    rows = [[text(label), *(_cell(facts, label, said, most) for said in classes)] for label in classes]
    caption = (
        f"Confusion matrix: test images by their label (rows) and what was said (columns), summed over "
        f"{plural(facts.seeds, 'seed')}."
    )
    columns = [Column("label"), *numeric(*map(str, classes))]
    return element("div", table(caption, columns, rows, identifier=f"{identifier}-matrix"), class_="matrix")


def _cell(facts: Mistakes, label: int, said: int, most: int) -> Html:
    assert facts.confusion is not None, "only a known matrix has cells"
    value = facts.confusion[label][said]
    if label == said:
        return element("span", text(count(value)), class_="right")
    if not value:
        return text("\N{MIDDLE DOT}")
    shade = min(_SHADES, 1 + _SHADES * value // (most + 1))
    return element("span", text(count(value)), class_=f"shade-{shade}")


def _pictures(facts: Mistakes) -> Html:
    if facts.image_shape is None:
        wrong = ", ".join(f"{mistake.image} ({_said(mistake)})" for mistake in facts.mistakes[:MOST_PICTURES])
        more = len(facts.mistakes) - MOST_PICTURES
        rest = f", and {count(more)} more" if more > 0 else ""
        return paragraph(f"Images by index, with what was said and by how many seeds: {wrong}{rest}.", class_="note")
    known = [mistake for mistake in facts.mistakes if mistake.pixels is not None]
    shown = [_picture(mistake, facts) for mistake in known[:MOST_PICTURES]]
    words = "The label and what was said instead; by how many seeds, and how sure they were on average; the image."
    parts = [paragraph(words, class_="note"), items(shown, class_="gallery")]
    left = len(facts.mistakes) - len(shown)
    if left:
        parts.append(paragraph(f"{plural(left, 'further image')}, wrong with fewer seeds, not shown.", class_="note"))
    return joined(parts)


def _picture(mistake: Mistake, facts: Mistakes) -> Html:
    assert mistake.pixels is not None, "only known images are shown"
    said = " or ".join(str(answer) for answer, _ in mistake.said)
    sure = f", {decimal(mistake.confidence, 2)}" if mistake.confidence is not None else ""
    lines = [
        element("b", text(f"{mistake.label} \N{RIGHTWARDS ARROW} {said}")),
        text(f"{mistake.seeds} of {facts.seeds}{sure}"),
        text(f"#{mistake.image}"),
        *([LABEL_WRONG] if mistake.mislabelled else []),
    ]
    alt = f"test image {mistake.image}, label {mistake.label}, said {said}"
    caption = element("span", joined(lines, "<br>"))
    return digit(mistake.pixels, facts.image_shape or (28, 28), alt, caption, mislabelled=mistake.mislabelled)


def digit(pixels: bytes, shape: tuple[int, int], alt: str, caption: Html, *, mislabelled: bool) -> Html:
    """Return a test image, twice as large as it is, with what is said of it."""
    rows, columns = shape
    image = element("img", src=png.data_uri(pixels, columns, rows), width=2 * columns, height=2 * rows, alt=alt)
    return element("figure", image, element("figcaption", caption), class_="suspect" if mislabelled else None)


def _said(mistake: Mistake) -> str:
    return ", ".join(f"{answer} by {seeds}" for answer, seeds in mistake.said)
