"""A search for the fewest multiply-adds: the same search with another cost, trainings made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.search.session import smallest_standing
from search_spaces.space import Metric
from tests.harness import scripted
from tests.harness.scripted import Trainer

# The fewest parameters: 8 channels, 64,640 multiply-adds or more. The fewest multiply-adds: 16 channels at half the
# rows and columns, 28,384.
SPACE = "net = <conv3x3({8, 12, 16}) / conv3x3({16, 24}, stride=2)> bn relu gap linear(10);"


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    made = scripted.without_processes(monkeypatch)
    made.accuracy_pct = lambda parameters, seed: 99.6
    return made


@pytest.mark.parametrize("sampler", ["surrogate", "evolution", "tpe", "random"])
@pytest.mark.parametrize(
    ("minimise", "most", "parameters"), [(Metric.PARAMETERS, None, 178), (Metric.MACS, 200_000, 346)]
)
def test_the_answer_has_the_fewest_of_what_is_minimised(
    sampler: str, minimise: Metric, most: int | None, parameters: int, trainer: Trainer, tmp_path: Path
):
    configured = scripted.config(space_text=SPACE, sampler=sampler, minimise=minimise, most=most)

    found = scripted.run(tmp_path, configured, scripted.effort(trials=30))

    standing = smallest_standing(found)
    assert standing is not None
    assert standing.proposal.parameters == parameters
    costs = {candidate.proposal.hash: candidate.cost for candidate in found.candidates.values()}
    limits = [event["budget"] for event in scripted.events(tmp_path, "standing")]
    assert limits == sorted(limits, reverse=True)
    assert limits[-1] == costs[standing.proposal.hash] - 1


def test_nothing_over_the_limit_is_trained(trainer: Trainer, tmp_path: Path):
    configured = scripted.config(space_text=SPACE, sampler="random", minimise=Metric.MACS, most=40_000)

    scripted.run(tmp_path, configured, scripted.effort(trials=30))

    assert {str(job.architecture) for job in trainer.asked} == {"conv3x3(16, stride=2) bn relu gap linear(10)"}
    assert {event["reason"] for event in scripted.events(tmp_path, "rejected")} == {"macs"}


@pytest.mark.parametrize("sampler", ["surrogate", "evolution", "tpe", "nsga2", "random"])
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(sampler: str, trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = scripted.by_size
    configured = scripted.config(
        space_text="width = 1..100; net = conv3x3(width, stride={1, 2}) bn relu conv3x3(40) gap linear(10);",
        sampler=sampler,
        minimise=Metric.MACS,
        most=4_000_000,
    )
    whole = scripted.run(tmp_path / "whole", configured, scripted.effort(trials=20))
    for trials in (9, 12, 20):
        parts = scripted.run(tmp_path / "parts", configured, scripted.effort(trials=trials))

    assert [item.proposal.hash for item in whole.candidates.values()] == [
        item.proposal.hash for item in parts.candidates.values()
    ]
    assert [item.cost for item in parts.candidates.values()] == [item.cost for item in whole.candidates.values()]
    # What a sampler was told, of rejections too, is multiply-adds in both.
    values = [
        sorted(trial.values for trial in scripted.proposer_of(found).index.study.get_trials() if trial.values)
        for found in (whole, parts)
    ]
    assert values[0] == values[1]
    told = [event for event in scripted.events(tmp_path / "parts", "rejected") if event["violation"] is not None]
    assert bool(told) is (sampler in ("tpe", "nsga2", "random"))
