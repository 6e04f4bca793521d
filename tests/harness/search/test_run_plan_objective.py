"""What a search minimises and what limits it, as the plan understands the options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.evidence.study import config_document
from harness.system.errors import UsageError
from search_spaces.resolve import parse_space
from search_spaces.space import Condition, Metric
from tests.harness.search.test_run_plan import plan


def test_a_limit_is_a_condition_of_the_space_that_the_study_keeps(tmp_path: Path):
    limits = (Condition(Metric.MACS, "<=", 700_000),)
    made = plan(tmp_path, limits=limits)

    assert parse_space(made.config.space_text).conditions[-1:] == limits
    assert made.config.ceiling == 20_000
    assert made.folder.name != plan(tmp_path).folder.name


def test_what_is_minimised_begins_at_the_least_limit_of_it(tmp_path: Path):
    limits = (Condition(Metric.MACS, "<=", 700_000), Condition(Metric.MACS, "<", 600_000))
    made = plan(tmp_path, minimise="macs", limits=limits)

    assert (made.config.minimise, made.config.ceiling) == (Metric.MACS, 599_999)
    # The budget goes on holding.
    assert Condition(Metric.PARAMETERS, "<=", 20_000) in made.space.conditions


def test_what_is_minimised_needs_a_limit(tmp_path: Path):
    with pytest.raises(UsageError, match=r"^--minimise macs needs an upper limit"):
        plan(tmp_path, minimise="macs")
    assert list(tmp_path.iterdir()) == []


def test_a_study_of_the_fewest_parameters_is_named_as_ever(tmp_path: Path):
    document = config_document(plan(tmp_path).config)

    assert "minimise" not in document
    assert "most" not in document
    assert "minimise" in config_document(replace(plan(tmp_path).config, minimise=Metric.MACS, most=1))
