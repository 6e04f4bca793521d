from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import study
from harness.evidence.events import Proposal, RungReached, SessionBegan, SessionEnded
from harness.system.errors import ContentError, UsageError
from harness.training import result
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result
from search_spaces.draw import Decision
from search_spaces.notation import parse_network
from tests.harness import logged, some_study

CONFIG = replace(some_study.CONFIG, space_text="net = gap | linear(10);", rungs=(4, 8))
ORIGINS = {"budget": "commandline"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "a-study"


def test_a_configuration_is_read_as_it_was_written(folder: Path):
    assert study.open_study(folder, CONFIG, ORIGINS)

    assert study.read_config(folder) == CONFIG
    assert study.read_origins(folder) == ORIGINS


def test_lengths_and_prior_are_read_as_they_were_written(folder: Path):
    config = replace(CONFIG, lengths=(5, 8, 30), prior="own", prior_sha256="cd" * 32)
    study.open_study(folder, config, ORIGINS)

    assert study.read_config(folder) == config


def test_a_search_with_a_prior_trains_by_other_seeds_than_the_searches_that_the_prior_knows():
    plain = replace(CONFIG, prior="none", seed=7)
    with_prior = replace(plain, prior="shipped", prior_sha256="ab")
    others = [
        replace(with_prior, prior_sha256="cd"),
        replace(with_prior, seed=8),
        replace(with_prior, budget=plain.budget + 1),
        replace(with_prior, prior="own"),
    ]

    assert plain.run_seed == 7
    assert with_prior.run_seed == replace(with_prior).run_seed
    assert len({each.run_seed for each in (plain, with_prior, *others)}) == 6


def test_a_configuration_of_the_time_before_lengths_and_priors_is_read(folder: Path):
    study.open_study(folder, CONFIG, ORIGINS)
    path = folder / "config.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for name in ("lengths", "prior", "prior_sha256"):
        del document["config"][name]
    path.write_text(json.dumps(document), encoding="utf-8")

    read = study.read_config(folder)

    assert (read.lengths, read.prior, read.prior_sha256) == ((), "none", "")
    assert read == CONFIG
    assert not study.open_study(folder, CONFIG, ORIGINS)


# Lengths ----------------------------------------------------------------------------------------------------


def test_a_training_of_the_recipe_s_own_length_is_the_recipe():
    assert CONFIG.recipe_of(None) == (CONFIG.recipe, "fast")
    assert CONFIG.recipe_of(CONFIG.recipe.epochs) == (CONFIG.recipe, "fast")


def test_a_training_of_another_length_is_the_recipe_but_for_that_and_says_so_in_its_name():
    recipe, name = CONFIG.recipe_of(30)

    assert recipe == replace(CONFIG.recipe, epochs=30)
    assert recipe.hash != CONFIG.recipe.hash
    assert name == "fast-30ep"


# Journal and files ------------------------------------------------------------------------------------------


def test_the_same_configuration_opens_a_study_again(folder: Path):
    study.open_study(folder, CONFIG, ORIGINS)
    before = (folder / "config.json").read_bytes()

    assert not study.open_study(folder, CONFIG, {})
    assert (folder / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 900}, r"begun with another budget \(20000 there, 900 here\)"),
        ({"sampler": "random"}, r"another sampler \('tpe' there, 'random' here\)"),
        ({"recipe": Recipe(epochs=3)}, "another recipe;"),
        ({"space_text": "x"}, "another space_text;"),
        ({"seed": 1}, "another seed"),
        ({"lengths": (5, 8)}, r"another lengths \(\(\) there, \(5, 8\) here\)"),
        ({"prior": "shipped"}, r"another prior \('none' there, 'shipped' here\)"),
        ({"prior_sha256": "ab"}, "another prior_sha256"),
    ],
)
def test_another_configuration_is_refused(folder: Path, change: dict[str, Any], message: str):
    study.open_study(folder, CONFIG, ORIGINS)

    with pytest.raises(ContentError, match=message) as caught:
        study.open_study(folder, replace(CONFIG, **change), ORIGINS)
    assert caught.value.hint == "give --study another name, or repeat the command that began it"
    assert study.read_config(folder) == CONFIG


def test_a_study_of_another_offset_is_not_said_to_go_on_by_the_same_command(folder: Path):
    study.open_study(folder, CONFIG, ORIGINS)

    with pytest.raises(ContentError, match="begun with another threshold_pct") as caught:
        study.open_study(folder, replace(CONFIG, threshold_pct=90.0), ORIGINS)
    assert caught.value.hint == (
        "the offset between validation and test has been measured anew since: give --study another name"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the study .*: "),
        ("[]", "the study .*: "),
        ("{}", "config: Field required"),
        ('{"schema_version": 9}', "schema_version is 9: Input should be 1"),
        ('{"schema_version": 1, "config": {}, "origins": {}}', "config.dataset: Field required"),
    ],
)
def test_a_damaged_configuration_is_refused(folder: Path, content: str, message: str):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(content, encoding="utf-8")

    with pytest.raises(ContentError, match=message):
        study.read_config(folder)


def test_a_configuration_with_an_unknown_field_is_refused(folder: Path):
    study.open_study(folder, CONFIG, ORIGINS)
    path = folder / "config.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["config"]["colour"] = "blue"
    path.write_text(json.dumps(document), encoding="utf-8")

    with pytest.raises(ContentError, match="colour"):
        study.read_config(folder)


def test_a_study_has_one_coordinator_at_a_time(folder: Path):
    refused = pytest.raises(UsageError, match=r"another process is working in .*a-study; wait for it or stop it")

    with study.owned(folder), refused, study.owned(folder):
        pass
    with study.owned(folder):
        pass


def test_results_come_in_the_order_of_trial_purpose_and_seed(folder: Path, new_result: Callable[..., Result]):
    written = [
        new_result(trial=trial, purpose=purpose, seed_index=index)
        for trial in (100_001, 3, 12)
        for purpose, index in ((Purpose.SEARCH, 0), (Purpose.CONFIRM, 10), (Purpose.CONFIRM, 2))
    ]
    for item in written:
        result.write(study.result_path(folder, item.trial or 0, item.purpose, item.seed_index), item)
    (folder / "results" / ".trial-00001-search-0.json.tmp").write_text("torn", encoding="utf-8")

    found = study.finished_results(folder)

    assert [(item.trial, item.purpose.value, item.seed_index) for item in found] == [
        (trial, purpose, index)
        for trial in (3, 12, 100_001)
        for purpose, index in (("confirm", 2), ("confirm", 10), ("search", 0))
    ]
    assert set(found) == set(written)


def test_a_damaged_result_is_refused_by_name(folder: Path):
    path = study.result_path(folder, 3, "search", 0)
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")

    with pytest.raises(ContentError, match=r"the result .*trial-00003-search-0\.json: "):
        study.finished_results(folder)


def test_a_study_without_results_has_none(folder: Path):
    assert study.finished_results(folder) == []
    assert study.read_events(folder) == []
    assert study.elapsed_seconds([]) == 0.0


def test_events_are_kept_in_order_with_their_time(folder: Path):
    logged.note(folder, "session", 0.0004, command=["harness", "\u05d0\u2028"])
    logged.note(folder, "ended", 61.25, reason="time")

    events = study.read_events(folder)

    assert [(entry.event, entry.elapsed) for entry in events] == [
        (SessionBegan(command=("harness", "\u05d0\u2028")), 0.0),
        (SessionEnded(reason="time"), 61.25),
    ]
    assert study.elapsed_seconds(events) == 61.25
    assert all(entry.utc.endswith("+00:00") for entry in events)


def test_what_a_kill_left_half_written_is_cleared_away_and_checkpoints_of_what_has_ended(tmp_path: Path):
    for name in ("results/.a-0.json.x1", "checkpoints/.a-0.pt.x2", "checkpoints/b-0.pt", "checkpoints/c-0.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "results" / "b-0.json").touch()

    study.mend(tmp_path)

    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["checkpoints/c-0.pt", "results/b-0.json"]


def test_mending_a_whole_journal_changes_nothing(folder: Path):
    logged.note(folder, "session", 0.0)
    before = (folder / "log.jsonl").read_bytes()

    study.mend(folder)

    assert (folder / "log.jsonl").read_bytes() == before


def test_a_figure_that_is_not_finite_is_our_mistake(folder: Path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        study.note(folder, RungReached(trial=0, epoch=1, predicted_pct=float("nan")), 0.0)


def test_proposals_are_read_as_they_were_noted(folder: Path):
    proposal = Proposal(
        trial=3,
        architecture=parse_network("gap | linear(10)"),
        hash="0123456789ab",
        parameters=20,
        origin="ladder",
        decisions=(Decision("net.0", 1, 3, True), Decision("net.1", 0, 2, False)),
    )
    longer = replace(proposal, trial=4, epochs=30, chance=0.75)
    logged.note(folder, "session", 0.0)
    study.note(folder, proposal, 1.0)
    study.note(folder, longer, 2.0)

    assert study.proposals(study.read_events(folder)) == [proposal, longer]


def test_a_proposal_of_the_time_before_lengths_is_of_the_recipe_s(folder: Path):
    old = {
        "trial": 3,
        "architecture": "gap | linear(10)",
        "hash": "0123456789ab",
        "parameters": 20,
        "origin": "tpe",
        "decisions": [],
    }
    logged.note(folder, "proposed", 1.0, **old)

    [proposal] = study.proposals(study.read_events(folder))

    assert (proposal.trial, proposal.epochs, proposal.chance) == (3, None, None)


def test_rejections_are_those_of_proposals_and_of_what_was_only_looked_at():
    events = [
        logged.entry("rejected", reason="parameters"),
        logged.entry("looked", rejected={"parameters": 3, "macs": 2}),
        logged.entry("proposed"),
        logged.entry("rejected"),
        logged.entry("looked", rejected={"macs": 1}),
    ]

    assert study.rejections(events) == {"parameters": 4, "macs": 3, "no reason given": 1}
    assert study.rejections(events[2:3]) == {}


def test_whether_somebody_works_on_a_study_can_be_asked_without_being_in_the_way(folder: Path):
    assert not study.is_owned(folder)
    with study.owned(folder):
        assert study.is_owned(folder)
        assert study.is_owned(folder)
    assert not study.is_owned(folder)


def test_one_that_only_asks_does_not_keep_a_coordinator_away(folder: Path):
    folder.mkdir(parents=True)
    handle = os.open(folder / ".lock", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_SH)
    asker = threading.Timer(0.1, os.close, [handle])
    asker.start()

    with study.owned(folder):
        pass
    asker.join()
