"""What the page of a study gives its script: the filter, and the figures of the networks column by column."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.system import statistics
from harness.system.errors import typed
from reports.html.page import Html, data_block, element, resource, text
from reports.study.course.choices import Choice, Choices
from reports.study.course.learning_curves import curve_points
from reports.study.networks import Network, State, front_of
from reports.study.study_info import StudyInfo
from search_spaces.space import OBJECTIVES, Metric

# More than is shown.
_DIGITS = 4
_FIRST_SIGN = ord("0")


def study_script() -> str:
    """Return the page's script, of which ``study_data`` is the input."""
    names = ("html/page.js", "html/sorting.js", "study/study_counts.js", "study/study.js")
    return "".join(map(resource, names))


def filter_bar(networks: Sequence[Network], minimise: Metric) -> Html:
    """Return the filter, hidden until the script finds it; it needs none to be left out of a printed page."""
    costs = [] if minimise is Metric.PARAMETERS else [_range(OBJECTIVES[minimise], "least_macs", "most_macs")]
    present = {network.state for network in networks}
    states = [element("option", text("any"), value="")]
    states += [element("option", text(state), value=state) for state in State if state in present]
    return element(
        "div",
        element(
            "label", text("search"), element("input", type="search", name="q", placeholder="hash, op, origin", size=14)
        ),
        element("label", text("state"), element("select", *states, name="state")),
        *costs,
        _range("parameters", "smallest", "largest"),
        _range("validation, %", "least", "most"),
        element("label", element("input", type="checkbox", name="front", value="1"), text("on the Pareto front")),
        element("label", element("input", type="checkbox", name="tested", value="1"), text("tested")),
        element("button", text("Reset"), type="button", id="reset"),
        element("output", id="shown", role="status"),
        element("button", text("Show all rows"), type="button", id="all-rows", hidden=""),
        element("button", text("CSV"), type="button", id="save-csv", aria_label="Save the networks shown as CSV"),
        element("button", text("JSON"), type="button", id="save-json", aria_label="Save the networks shown as JSON"),
        id="filter",
        class_="filter",
        role="search",
        aria_label="Filter of networks, for all pictures and tables",
        hidden="",
    )


def study_data(info: StudyInfo) -> Html:
    """Return what the script reads; hashes, names and notations it takes from the table."""
    return data_block(
        "study-data",
        {
            "study": info.name,
            "verify": typed("verify"),
            "networks": _columns(info.networks),
            "tested": _tested(info.networks),
            "deviations": _deviations(info.networks),
            "curves": [
                [[epoch, _number(value)] for epoch, value in curve_points(network.first)] for network in info.networks
            ],
            "choices": _choices(info.choices),
            "spent": {
                item.kind: {str(number): _number(seconds, 2) for number, seconds in item.by_network.items()}
                for item in info.time.spent
            },
            "rest_seconds": _number(info.time.rest_seconds),
        },
    )


def _range(words: str, low: str, high: str) -> Html:
    bounds = [
        element("input", type="number", step="any", name=name, aria_label=f"{words}, {place}", placeholder=place)
        for name, place in ((low, "from"), (high, "to"))
    ]
    return element("span", text(f"{words} "), *bounds)


def _columns(networks: Sequence[Network]) -> dict[str, object]:
    """Return what is known of every network, a list a column; words as places in ``states`` and ``origins``."""
    front = {network.hash for network in front_of(networks)}
    origins = sorted({network.origin for network in networks})
    return {
        "states": list(State),
        "origins": origins,
        "state": [list(State).index(network.state) for network in networks],
        "origin": [origins.index(network.origin) for network in networks],
        "parameters": [network.parameters for network in networks],
        "validation_accuracy_pct": [_number(network.accuracy_pct) for network in networks],
        "validation_seeds": [len(network.validation_accuracies_pct) for network in networks],
        "on_front": [int(network.hash in front) for network in networks],
        "macs": [_macs(network) for network in networks],
        "epochs": [network.epochs for network in networks],
        "trial": [network.trial if isinstance(network.trial, int) else None for network in networks],
    }


def _macs(network: Network) -> int | None:
    """Return the multiply-adds of a network; None where they are not minimised and its run has not ended."""
    if network.minimised is not None:
        return network.minimised
    return network.first.macs if network.first else None


def _tested(networks: Sequence[Network]) -> dict[str, object]:
    """Return tier, mean, deviation and seeds of the networks with a record, by their numbers."""
    return {
        str(number): [
            network.row.tier,
            _number(network.row.mean_test_accuracy_pct),
            _number(network.row.std_test_accuracy_pct),
            network.row.seeds,
        ]
        for number, network in enumerate(networks)
        if network.row is not None
    }


def _deviations(networks: Sequence[Network]) -> dict[str, object]:
    """Return the deviation over the validation seeds of networks that have several, by their numbers."""
    return {
        str(number): _number(statistics.standard_deviation(network.validation_accuracies_pct))
        for number, network in enumerate(networks)
        if len(network.validation_accuracies_pct) > 1
    }


def _choices(facts: Choices | None) -> dict[str, object]:
    if facts is None:
        return {"accuracy_pct": [], "list": []}
    return {
        "accuracy_pct": [_number(value) for value in facts.accuracies_pct],
        "list": [
            {
                "name": choice.name,
                "options": [[option.index, option.name] for option in choice.options],
                # A sign a network: its place among the options, or a point.
                "picked": "".join(_sign(choice, index) for index in choice.picked),
            }
            for choice in facts.choices
        ],
    }


def _sign(choice: Choice, index: int | None) -> str:
    return "." if index is None else chr(_FIRST_SIGN + [option.index for option in choice.options].index(index))


def _number(value: float | None, digits: int = _DIGITS) -> float | None:
    """Return the number with the digits that matter; None where it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    rounded = round(value, digits)
    return int(rounded) if rounded == int(rounded) else rounded
