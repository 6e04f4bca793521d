from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from reports.html.seed_dots import SeedDots, draw, seed_dots, shared_axis


def centres(drawn: str) -> list[float]:
    return [float(x) for x in re.findall(r'cx="([\d.]+)"', drawn)]


def test_a_row_has_the_errors_of_each_seed_and_those_allowed(synthetic: Any):
    made = seed_dots(synthetic.evidence(synthetic.network(4, 5, 6), [59, 60, 61, 40]))

    assert made == SeedDots(errors=(59, 60, 61, 40), allowed=60)


@pytest.mark.parametrize(("target_pct", "allowed"), [(99.4, 60), (99.45, 55), (98.0, 200), (99.999, 0)])
def test_the_errors_allowed_follow_from_the_target(synthetic: Any, target_pct: float, allowed: int):
    made = seed_dots(synthetic.evidence(synthetic.network(4, 5, 6), [60], target_pct=target_pct))

    assert made is not None
    assert made.allowed == allowed


def test_a_record_without_seeds_has_no_dots(synthetic: Any):
    empty = replace(synthetic.evidence(synthetic.network(4, 5, 6), [60]), seeds=())

    assert seed_dots(empty) is None
    assert shared_axis([]) is None


def test_fewer_errors_lie_further_left_on_the_axis_that_rows_share():
    rows = [SeedDots((50, 70), 60), SeedDots((55,), 60)]
    across = shared_axis(rows)
    assert across is not None

    (few, many), (between,) = centres(draw(rows[0], across)), centres(draw(rows[1], across))

    assert few < between < across.position(60) < many


def test_equal_errors_do_not_hide_each_other():
    row = SeedDots((50, 50), 60)
    across = shared_axis([row])
    assert across is not None

    heights = re.findall(r'cy="([\d.]+)"', draw(row, across))

    assert len(set(heights)) == 2


def test_a_diverged_seed_lies_at_the_end_and_squeezes_nobody():
    row = SeedDots((50, 9_000), 60)
    across = shared_axis([row])
    assert across is not None

    usual, wild = centres(draw(row, across))

    assert usual + 15 < across.position(60)
    assert across.end - 10 < wild <= across.end
