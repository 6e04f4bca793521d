"""Searches with scripted trainings propose, prune, confirm and choose as before: with a prior, with lengths, resumed.

``searches.json`` has, for each search, its last events, counts of all kinds, and a digest of the whole log without
times; figures are rounded. What replays leave out (tests/golden/test_replays.py) is here; ends of whole searches, with
their verification, are among the command lines (tests/golden/test_commands.py).
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.searching.surrogate.past import past_trainings, write_prior
from harness.studies.config import StudyConfig, StudyObjective
from harness.system.files import Workspace
from harness.training.recipe import RECIPES
from search_spaces.catalog import space
from search_spaces.space import Metric
from tests import searches
from tests.fakes import Trainer, without_processes
from tests.golden import rounding

GOLDEN = Path(__file__).with_name("searches.json")
SMALL = RECIPES["small"].recipe
TIMES = ("elapsed", "utc", "command", "train_seconds", "started_utc")
# What is searched, how many networks, and after how many of them the search is left and gone on with.
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
    "multiply-adds": ({"objectives": (StudyObjective(Metric.MACS, 2_000_000),), "space": "card", "seed": 6}, 20, ()),
    "a small budget": ({"budget": 1_500, "space": "tiny", "sampler": "surrogate", "seed": 7}, 14, ()),
    "used up": ({"space_text": "net = conv3x3({4, 24, 40}) relu gap linear(10)", "sampler": "surrogate"}, 20, (2,)),
}


def searched(name: str, folder: Path, trainer: Trainer) -> dict[str, Any]:
    """Return what the log of a search comes to, all its sessions together."""
    changes, trials, breaks = SEARCHES[name]
    changes = dict(changes)
    if "space" in changes:
        changes["space_text"] = space(changes["space"]).text
    if "lengths" in changes or "prior" in changes:
        changes |= {"recipe": SMALL, "recipe_name": "small", "rungs": (8, 15)}
    configured = searches.config(**changes)
    for count in (*breaks, trials):
        run(folder, configured, count)
    events = [{key: value for key, value in event.items() if key not in TIMES} for event in searches.events(folder)]
    return {
        "events": dict(sorted(Counter(event["event"] for event in events).items())),
        "last": rounding.rounded(events[-3:]),
        "jobs": len(trainer.asked),
        "sha256": rounding.digest(events),
    }


def run(folder: Path, configured: StudyConfig, trials: int) -> None:
    """Run one session, to which the earlier trainings of the package are given where it asks for them."""
    if configured.prior != "none" and not folder.exists():
        past, _ = past_trainings(configured.prior, Workspace(folder.parent), "mnist", "")
        write_prior(folder, past)
    searches.run(folder, configured, searches.effort(trials=trials))


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return without_processes(monkeypatch)


# A look through a space with the model takes seconds.
LONG = (
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
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in SEARCHES]
)
def test_a_search_goes_as_before(name: str, tmp_path: Path, trainer: Trainer):
    assert searched(name, tmp_path / "study", trainer) == json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
