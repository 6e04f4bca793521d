"""Ranks over several tables, against an example by hand and against scipy."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import product

import pytest
from scipy.stats import PermutationMethod, rankdata, wilcoxon

from harness.bench.comparison import AT_THE_END, OVER_TIME, Findings, ranks_of, ranks_text


def findings(
    over_time: Mapping[str, Sequence[float]], at_the_end: Mapping[str, Sequence[float]] | None = None
) -> Findings:
    """Return the findings of a comparison, with scores and number of repeats only."""
    scores = {OVER_TIME: over_time, AT_THE_END: at_the_end or over_time}
    return Findings({"repeats": len(next(iter(over_time.values())))}, {}, scores)


def test_ranks_and_differences_equal_values_by_hand():
    """Means are 2, 2 and 6 on the first table, ranks 1.5, 1.5 and 3; on the second the ranks are 3, 1.5 and 1.5."""
    first = findings({"default": [1.0, 3.0], "x": [2.0, 2.0], "y": [9.0, 3.0]})
    # Scores that differ by rounding of floats are equal.
    second = findings({"default": [0.7, 0.9], "x": [0.1 + 0.2, 0.1], "y": [0.3, 0.1]})

    document = ranks_of({"one": first, "two": second})

    methods = [(method["name"], method["over_time"]) for method in document["methods"]]
    assert methods == [("x", 1.5), ("default", 2.25), ("y", 2.25)]
    assert [line["over_time"] for line in document["methods"][0]["tables"]] == [1.5, 1.5]
    # In the repeats the default is 1 and 2.5 on the first table, x 2 and 1, y 3 and 2.5; on the second as above.
    differences = {pair["second"]: pair["difference"] for pair in document["pairs"] if pair["when"] == OVER_TIME}
    assert differences == {"x": (2 + 2.75) / 2 - (1.75 + 1.25) / 2, "y": (2 + 2.75) / 2 - (2.25 + 2) / 2}
    assert not any(pair["differs"] for pair in document["pairs"])
    assert "y" in ranks_text(document)


@pytest.mark.parametrize("seed", range(2))
def test_ranks_tests_and_correction_equal_scipy_and_holm(seed: int):
    rng = random.Random(seed)
    methods = ("a", "default", "b", "c")
    repeats = range(11)
    # Few values, so that ties occur; the default is better over time, but not at the end.
    tables = [
        {
            when: {
                name: [float(rng.randrange(6) - 4 * (name == "default" and when == OVER_TIME)) for _ in repeats]
                for name in methods
            }
            for when in (OVER_TIME, AT_THE_END)
        }
        for _ in range(3)
    ]

    document = ranks_of({str(index): findings(each[OVER_TIME], each[AT_THE_END]) for index, each in enumerate(tables)})

    expected = []
    for when, rival in product((OVER_TIME, AT_THE_END), ("a", "b", "c")):
        numbers = {name: [0.0 for _ in repeats] for name in methods}
        for table, repeat in product(tables, repeats):
            ranks = rankdata([table[when][name][repeat] for name in methods])
            for name, rank in zip(methods, ranks, strict=True):
                numbers[name][repeat] += rank / len(tables)
        differences = [round(left - right, 9) for left, right in zip(numbers["default"], numbers[rival], strict=True)]
        test = wilcoxon(differences, zero_method="pratt", method=PermutationMethod(n_resamples=10_000))
        expected.append((rival, when, sum(differences) / len(differences), test.pvalue))
    assert [(pair["second"], pair["when"]) for pair in document["pairs"]] == [line[:2] for line in expected]
    assert [pair["difference"] for pair in document["pairs"]] == pytest.approx([line[2] for line in expected])
    assert [pair["p"] for pair in document["pairs"]] == pytest.approx([line[3] for line in expected])
    # Holm: of m ascending p values, the k-th is multiplied by m - k, counted from 0; corrected values never decrease.
    largest = 0.0
    for index, pair in enumerate(sorted(document["pairs"], key=lambda pair: pair["p"])):
        largest = max(largest, min(1.0, (6 - index) * pair["p"]))
        assert pair["corrected_p"] == pytest.approx(largest)
        assert pair["low"] <= pair["difference"] <= pair["high"]
    assert {pair["differs"] for pair in document["pairs"] if pair["when"] == OVER_TIME} == {True}
    for when, key in ((OVER_TIME, "over_time"), (AT_THE_END, "at_the_end")):
        sums = [rankdata([sum(each[when][name]) for name in methods]) for each in tables]
        means = dict(zip(methods, sum(sums) / 3, strict=True))
        assert {method["name"]: method[key] for method in document["methods"]} == pytest.approx(means)


def test_comparison_without_default_has_ranks_but_no_tests():
    document = ranks_of({"one": findings({"x": [1.0], "y": [2.0]}), "two": findings({"x": [1.0], "y": [2.0]})})

    assert [method["over_time"] for method in document["methods"]] == [1.0, 2.0]
    assert (document["pairs"], document["sentences"]) == ([], [])
    assert ranks_text(document)
