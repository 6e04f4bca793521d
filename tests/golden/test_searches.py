"""Searches with scripted trainings log the recorded proposals, prunings, confirmations and winners.

``searches.json`` contains, for each search, the last events, the number of events per kind, and a digest of the whole
log without times; figures are rounded. Unlike the replays (tests/golden/test_replays.py), many of these searches have a
prior or training lengths, or are resumed. Whole searches with a verification are in tests/golden/test_commands.py.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.searching.surrogate.prior import prior_trainings, write_prior
from harness.spaces.catalog import space
from harness.spaces.space import Metric
from harness.studies.config import StudyConfig
from harness.system.files import Workspace
from harness.training.recipe import RECIPES
from tests import searches
from tests.fakes import Trainer, without_processes
from tests.golden import rounding

GOLDEN = Path(__file__).with_name("searches.json")
SMALL = RECIPES["small"].recipe
TIMES = ("elapsed", "utc", "command", "train_seconds", "started_utc")
# ``searches.json`` has the words of earlier logs.
EARLIER_WORDS = {"confirmed": "standing", "draws_rejected": "looked", "baseline": "floor", "surrogate": "aim"}
# Changes of the configuration, number of networks, and numbers of networks after which the search is resumed.
SEARCHES: dict[str, tuple[dict[str, Any], int, tuple[int, ...]]] = {
    "plain": ({}, 20, ()),
    "other seed": ({"seed": 5}, 20, ()),
    "resumed": ({}, 20, (7, 13)),
    "random": ({"sampler": "random", "seed": 1}, 20, ()),
    "evolution": ({"sampler": "evolution", "seed": 2}, 20, ()),
    "nsga2": ({"sampler": "nsga2", "seed": 3}, 20, (11,)),
    "surrogate": ({"sampler": "surrogate", "space": "tiny"}, 14, ()),
    "prior": ({"sampler": "surrogate", "space": "tiny", "prior": "shipped"}, 14, ()),
    "prior, resumed": ({"sampler": "surrogate", "space": "tiny", "prior": "shipped"}, 14, (5,)),
    "lengths": ({"sampler": "surrogate", "space": "tiny", "lengths": (5, 12, 30)}, 14, ()),
    "lengths and prior": ({"sampler": "surrogate", "space": "all", "lengths": (5, 12, 30), "prior": "shipped"}, 14, ()),
    "lengths, resumed": (
        {"sampler": "surrogate", "space": "all", "lengths": (5, 12, 30), "prior": "shipped"},
        14,
        (4, 9),
    ),
    "lengths of tpe": ({"sampler": "tpe", "space": "bench", "lengths": (8, 20), "seed": 4}, 20, ()),
    "multiply-adds": ({"minimise": Metric.MACS, "most": 2_000_000, "space": "card", "seed": 6}, 20, ()),
    "a small budget": ({"budget": 1_500, "space": "tiny", "sampler": "surrogate", "seed": 7}, 14, ()),
    "used up": ({"space_text": "net = conv3x3({4, 24, 40}) relu gap linear(10)", "sampler": "surrogate"}, 20, (2,)),
}


def search_summary(name: str, folder: Path, trainer: Trainer) -> dict[str, Any]:
    """Run all sessions of a search, and return a summary of the log in the form of ``searches.json``."""
    changes, trials, breaks = SEARCHES[name]
    changes = dict(changes)
    if "space" in changes:
        changes["space_text"] = space(changes["space"]).text
    if "lengths" in changes or "prior" in changes:
        changes |= {"recipe": SMALL, "recipe_name": "small", "rungs": (8, 15)}
    configuration = searches.config(**changes)
    for count in (*breaks, trials):
        run(folder, configuration, count)
    events = [
        {key: EARLIER_WORDS.get(str(value), value) for key, value in event.items() if key not in TIMES}
        for event in searches.events(folder)
    ]
    return {
        "events": dict(sorted(Counter(event["event"] for event in events).items())),
        "last": rounding.rounded(events[-3:]),
        "jobs": len(trainer.jobs),
        "sha256": rounding.digest(events),
    }


def run(folder: Path, configuration: StudyConfig, trials: int) -> None:
    """Run a session; the first session of a search with a prior writes the shipped trainings to the study."""
    if configuration.prior != "none" and not folder.exists():
        past, _ = prior_trainings(configuration.prior, Workspace(folder.parent), "mnist", "")
        write_prior(folder, past)
    searches.run(folder, configuration, searches.effort(trials=trials))


# Seeds of the trainings of the recorded searches with a prior, by space. ``StudyConfig.run_seed`` is a hash of the
# configuration with the text of the space, and the comments of these texts have changed.
RUN_SEEDS = {"tiny": 76328703020616, "all": 280809263481702}


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return without_processes(monkeypatch)


# Choosing networks of a space with the surrogate takes seconds.
SLOW = (
    "prior",
    "prior, resumed",
    "surrogate",
    "lengths",
    "lengths and prior",
    "lengths, resumed",
    "multiply-adds",
    "a small budget",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SEARCHES]
)
def test_search_logs_recorded_events(name: str, tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch):
    def recorded_seed(config: StudyConfig) -> int:
        return config.seed if config.prior == "none" else RUN_SEEDS[config.space]

    monkeypatch.setattr(StudyConfig, "run_seed", property(recorded_seed))
    assert search_summary(name, tmp_path / "study", trainer) == json.loads(GOLDEN.read_text(encoding="utf-8"))[name]


def test_seed_of_trainings_with_prior_equals_recorded_hash_of_configuration():
    configuration = searches.config(prior="shipped", space_text="net = conv3x3(8) | gap | linear(10);")
    assert configuration.run_seed == 82430215346855
