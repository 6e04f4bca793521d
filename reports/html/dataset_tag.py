"""What is said beside a data set that is not MNIST, so that nobody takes its figures for MNIST's."""

from __future__ import annotations

from reports.html.page import Html, element, foreign, joined, text

MNIST = "mnist"


def shown_name(dataset: str) -> str:
    """Return a data set's name as people write it."""
    return "MNIST" if dataset == MNIST else dataset


def dataset_tag(dataset: str) -> Html:
    """Return the name of a data set, with an amber tag where it is not MNIST."""
    if dataset == MNIST:
        return text(shown_name(dataset))
    return joined([foreign(dataset), element("span", text("Not MNIST"), class_="tag wait")], " ")


def dataset_banner(dataset: str) -> Html:
    """Return an amber banner over figures that are not about MNIST, nothing over others."""
    if dataset == MNIST:
        return Html("")
    words = text(". It has other test images, so these figures cannot be compared with figures on MNIST.")
    return element("p", element("strong", text("Not MNIST: "), foreign(dataset)), words, class_="banner")
