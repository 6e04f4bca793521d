"""The collection of past trainings is that of the repository's files, and recordings add to it."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import recording, stratified, trainings
from benchmarks.recording import keep, record
from benchmarks.sources import READERS, recorded, wrong, wrong_in_all
from benchmarks.stratified import Planned, drawn
from benchmarks.trainings import PACKAGED, ROOT, collected, provenance, sources
from harness.evidence.leaderboard import LeaderboardRow, Tier, to_csv
from harness.search.proposals.trainings import text
from harness.system import files
from harness.system.errors import ContentError, HarnessError, UsageError
from harness.training import workers
from harness.training.native.native import TORCH
from harness.training.recipe import RECIPES, Recipe, recipe_document
from harness.training.result import PROTOCOL_VERSION, Purpose, Result, Status, derive_seed
from harness.training.run import Job, TrainingData, execute
from harness.training.workers import Broken, Finished, Limits
from search_spaces.catalog import space
from search_spaces.network import Form, form
from search_spaces.notation import parse_network
from search_spaces.resolve import parse_space
from tests.benchmarks.made_up import ask, small_data, validated

SMALL = RECIPES["small"].recipe
TEXT = "conv3x3(4) bn relu gap linear(10)"
HASH = parse_network(TEXT).hash


def test_what_is_committed_is_what_the_files_give():
    """Where it is not, ``python -m benchmarks.trainings collect`` writes it anew."""
    found = sources(ROOT)
    made = collected(found)

    assert text(made).encode() == (PACKAGED / "trainings-mnist.csv").read_bytes()
    assert files.json_text(provenance(found, made)) == (PACKAGED / "trainings-mnist.json").read_text(encoding="utf-8")
    assert len(text(made)) < 300_000
    assert sum(item.runs for item in made) == sum(told.runs for source in found.values() for told in source.told)


def test_accuracies_are_whole_numbers_of_errors():
    assert [wrong(100 - errors / 100) for errors in range(10_001)] == list(range(10_001))
    assert [wrong(100.0 * (10_000 - errors) / 10_000) for errors in range(10_001)] == list(range(10_001))
    # 65, 67 and 61 errors.
    assert wrong_in_all((99.35 + 99.33 + 99.39) / 3, 3) == 193
    with pytest.raises(ContentError, match=r"^99\.555 % is no accuracy of 10,000 images$"):
        wrong(99.555)


def rows(*runs: tuple[int, float], recipe: Recipe = SMALL) -> dict[str, Any]:
    seeds = [{"seed_index": seed, "validation_accuracy_pct": accuracy, "seconds": 1.0} for seed, accuracy in runs]
    row = {"network": TEXT, "hash": HASH, "parameters": 1, "macs": 1, "recipe_hash": recipe.hash, "runs": seeds}
    return {"protocol": "x", "recipes": {recipe.hash: recipe_document(recipe)}, "rows": [row]}


def line(**changes: Any) -> str:
    plain = {"hash": HASH, "recipe": "small", "epochs": 30, "seed": 0, "parameters": 98, "macs": 28_000}
    return json.dumps({**plain, "errors": 90, "seconds": 21.7, "network": TEXT, **changes}) + "\n"


def searched(accuracy_pct: float, seeds: int, **changes: Any) -> LeaderboardRow:
    row = LeaderboardRow(
        tier=Tier.SEARCHED,
        target_pct=99.4,
        reached=False,
        parameters=98,
        macs=28_000,
        receptive_field=3,
        validation_accuracy_pct=accuracy_pct,
        validation_seeds=seeds,
        epochs=30,
        dataset="mnist",
        recipe="small",
        recipe_hash=SMALL.hash,
        architecture=parse_network(TEXT),
        hash=HASH,
        protocol_version=1,
    )
    return replace(row, **changes)


def test_every_run_counts_once_whatever_file_tells_it(tmp_path: Path):
    results = tmp_path / "benchmarks" / "results"
    other = replace(SMALL, weight_decay=0.0)
    files.write_json(results / "topologies.json", rows((0, 99.0), (1, 99.2)))
    files.write_json(results / "poses.json", rows((0, 98.0), recipe=other))
    recording_text = line(errors=7) + line(seed=3) + line(seed=4, errors=None) + line(epochs=5, errors=200)
    files.write_text(results / "trainings.jsonl", recording_text)
    standings = [
        searched(99.3, 2),
        searched(99.9, 1, recipe_hash="0" * 12),
        searched(99.9, 1, dataset="mnist-5k"),
        searched(99.9, 5, tier=Tier.VERIFIED, mean_test_accuracy_pct=99.9),
    ]
    files.write_text(tmp_path / "leaderboard.csv", to_csv(standings))

    found = sources(tmp_path)
    made = collected(found)

    assert {name: source.left_out for name, source in found.items()} == {
        "benchmarks/results/topologies.json": {},
        "benchmarks/results/poses.json": {"another recipe": 1},
        "benchmarks/results/trainings.jsonl": {"a run that is told already": 1, "a run without validation errors": 1},
        "leaderboard.csv": {"another recipe": 1},
    }
    short, whole = made
    assert (short.epochs, short.errors, short.runs) == (5, 200.0, 1)
    assert (whole.epochs, whole.errors, whole.runs) == (30, (100 + 80 + 90 + 2 * 70) / 5, 5)
    assert "poses" not in whole.source
    assert whole.source.split() == [name for name in READERS if name in whole.source]
    facts = provenance(found, made)
    assert (facts["rows"], facts["runs"]) == (2, 6)
    assert [(source["rows"], source["runs"]) for source in facts["sources"]] == [(1, 2), (0, 0), (2, 2), (1, 2)]


def test_a_new_record_changes_nothing_of_the_leaderboard_as_a_source(tmp_path: Path):
    digests = []
    for more in ([], [searched(99.9, 5, rank=1, tier=Tier.VERIFIED, mean_test_accuracy_pct=99.9)]):
        files.write_text(tmp_path / "leaderboard.csv", to_csv([*more, searched(99.3, 2, rank=1 + len(more))]))
        digests.append(sources(tmp_path)["leaderboard.csv"])
    assert digests[0] == digests[1]


def test_a_damaged_line_of_a_recording_is_named(tmp_path: Path):
    path = tmp_path / "trainings.jsonl"
    path.write_text(line() + '{"hash": 1}\n')
    with pytest.raises(ContentError, match=r"trainings\.jsonl, line 2: "):
        recorded(path)


def test_a_set_has_every_form_small_and_large_short_and_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stratified, "DRAWS", 450)

    made = drawn(space("all"), 24, 3, 120.0)

    assert len(made) == len({item.architecture for item in made}) == 24
    counts = Counter(item.form for item in made)
    assert len(counts) == 7
    assert set(counts.values()) == {3, 4}
    assert len({item.epochs for item in made}) >= 3
    for item in made:
        assert form(parse_network(item.architecture)) == item.form
        assert item.parameters >= stratified.LEAST[item.form]
        # Multiply-adds alone; what the maps take comes on top.
        assert item.epochs * 50_000 * item.macs * 6.4e-11 <= 120
    assert made == drawn(space("all"), 24, 3, 120.0) != drawn(space("all"), 24, 4, 120.0)
    # The order is random, so that what an interrupted recording has is spread over the forms too.
    assert len({item.form for item in made[:8]}) >= 4


def test_sizes_are_even_in_the_logarithm():
    # Nearly all of these are in the upper half of the logarithm.
    networks = [(size, 1, str(size)) for size in range(100, 10_001)]

    chosen = stratified._spread(networks, 8, random.Random(0))

    parts = [8 * math.log(size / 100) / math.log(100) for size, _, _ in chosen]
    assert all(place - 0.05 <= part <= place + 1.05 for place, part in enumerate(parts))


def test_a_space_without_a_quick_network_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stratified, "DRAWS", 20)
    with pytest.raises(UsageError, match=r"^none of 20 draws trains 5 epochs within 0\.001 s$"):
        drawn(space("all"), 5, 0, 0.001)


def test_a_form_of_few_networks_gives_those(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stratified, "DRAWS", 200)
    few = parse_space("net = conv3x3({20, 22, 24}) bn relu conv3x3(24) gap linear(10);", "few")
    assert sorted(item.parameters for item in drawn(few, 9, 0, 150.0)) == [4790, 5244, 5698]


PLANNED = Planned(500, 3_528, "avgpool(4) | linear(10)", Form.PLAIN, 1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Train in this process, by torch, what workers are asked for, and return a list of that."""
    found: list[Job] = []
    bench = TrainingData.of(small_data())

    def poll(pool: list[Any], limits: Limits, timeout: float) -> list[Any]:
        events = []
        for worker in pool:
            if worker.job is not None:
                found.append(worker.job)
                events.append(Finished(worker.job, execute(replace(worker.job, engine=TORCH), bench)))
                worker.job = None
        return events

    monkeypatch.setattr(workers, "start", lambda source, count: [SimpleNamespace(job=None) for _ in range(count)])
    monkeypatch.setattr(workers, "assign", lambda worker, item: setattr(worker, "job", item))
    monkeypatch.setattr(workers, "poll", poll)
    monkeypatch.setattr(workers, "stop", lambda pool: None)
    return found


def test_a_recording_repeats_nothing_and_mends_what_was_torn(asked: list[Job], tmp_path: Path):
    path = tmp_path / "trainings.jsonl"
    record([PLANNED], None, path)
    (first,) = recorded(path)
    # Training images are 320, so the errors are of 80; chance is 72.
    assert (first.recipe, first.epochs, first.seed, first.parameters) == ("small", 1, 0, 500)
    assert first.errors in range(72)
    assert (asked[0].purpose, asked[0].engine, asked[0].recipe) == (
        Purpose.REFERENCE,
        "native",
        replace(SMALL, epochs=1),
    )

    path.write_text(path.read_text() + line()[:40])
    record([PLANNED, replace(PLANNED, epochs=2)], None, path)

    assert [job.recipe.epochs for job in asked] == [1, 2]
    assert recorded(path)[0] == first
    assert [item.epochs for item in recorded(path)] == [1, 2]


def test_a_training_that_breaks_is_named_and_the_first_ends_all(
    asked: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    trains = workers.poll
    broken = [False, True]

    def poll(pool: list[Any], limits: Limits, timeout: float) -> list[Any]:
        events = trains(pool, limits, timeout)
        return [Broken(each.job, Status.CRASHED, "odd") if broken.pop(0) else each for each in events]

    monkeypatch.setattr(workers, "poll", poll)
    record([PLANNED, replace(PLANNED, epochs=2)], None, tmp_path / "one.jsonl")
    assert len(recorded(tmp_path / "one.jsonl")) == 1
    assert capsys.readouterr().err == f"broken: {PLANNED.architecture}: odd\n"

    broken[:] = [True]
    with pytest.raises(HarnessError, match=r": odd$"):
        record([PLANNED], None, tmp_path / "two.jsonl")


def test_a_run_that_diverges_is_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    job = Job(
        architecture=parse_network(TEXT), recipe=SMALL, recipe_name="small", purpose=Purpose.REFERENCE, seed_index=0
    )
    recording._keep(replace(validated(job, 9_000), status=Status.DIVERGED), tmp_path / "x.jsonl")
    assert not (tmp_path / "x.jsonl").exists()
    assert capsys.readouterr().err.startswith("diverged: ")


def config(seed: int, run_seed: int | None = None) -> SimpleNamespace:
    """Return as much of a study's configuration as is read."""
    return SimpleNamespace(
        seed=seed, run_seed=seed if run_seed is None else run_seed, protocol_version=PROTOCOL_VERSION
    )


def test_a_training_is_kept_by_the_number_that_it_was_drawn_by(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def run(study_seed: int, index: int) -> Result:
        job = Job(
            architecture=parse_network(TEXT), recipe=SMALL, recipe_name="x", purpose=Purpose.CONFIRM, seed_index=index
        )
        found = replace(validated(job, 60), dataset="mnist")
        return replace(found, seed=derive_seed(found.hash, found.recipe_hash, Purpose.CONFIRM, index, study_seed))

    monkeypatch.setattr(recording, "finished_results", lambda folder: [run(99, 0), run(3, 1)])
    monkeypatch.setattr(recording, "read_config", lambda folder: config(3, 99))
    path = tmp_path / "trainings.jsonl"
    path.write_text(line())

    keep([tmp_path], path)

    assert [item.drawn_by for item in recorded(path)[1:]] == ["confirm 0, study 99", "confirm 1, study 3"]


def test_the_trainings_of_a_search_are_kept_once_whatever_came_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def run(purpose: Purpose, index: int, errors: int, recipe: Recipe = SMALL) -> Result:
        job = Job(architecture=parse_network(TEXT), recipe=recipe, recipe_name="x", purpose=purpose, seed_index=index)
        return replace(validated(job, errors), dataset="mnist")

    runs = [
        run(Purpose.SEARCH, 0, 60),
        run(Purpose.CONFIRM, 0, 900),
        run(Purpose.CONFIRM, 0, 70, replace(SMALL, epochs=12)),
        run(Purpose.CONFIRM, 1, 61, replace(SMALL, label_smoothing=0.1)),
        run(Purpose.VERIFY, 0, 62),
        replace(run(Purpose.CONFIRM, 2, 63), status=Status.DIVERGED),
        replace(run(Purpose.CONFIRM, 3, 64), dataset="mnist-5k"),
    ]
    studies = {tmp_path / "a": 0, tmp_path / "b": 7}
    monkeypatch.setattr(recording, "finished_results", lambda folder: runs)
    monkeypatch.setattr(recording, "read_config", lambda folder: config(studies[folder]))
    path = tmp_path / "trainings.jsonl"
    path.write_text(line())

    assert [keep(chosen, path) for chosen in ([tmp_path / "a"], studies, studies)] == [3, 3, 0]

    kept = recorded(path)
    assert [(item.errors, item.epochs, item.drawn_by) for item in kept[:4]] == [
        (90, 30, "reference 0"),
        (60, 30, "search 0, study 0"),
        (900, 30, "confirm 0, study 0"),
        (70, 12, "confirm 0, study 0"),
    ]
    assert {item.drawn_by for item in kept[4:]} == {"search 0, study 7", "confirm 0, study 7"}


def test_the_commands_answer_in_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(trainings, "ROOT", tmp_path)
    monkeypatch.setattr(trainings, "PACKAGED", tmp_path)
    files.write_text(tmp_path / "benchmarks" / "results" / "trainings.jsonl", line() + line(seed=1, errors=None))

    ask(monkeypatch, trainings.main, "collect")

    assert "1 rows, 1 runs; 1 left out: a run without" in capsys.readouterr().out
    assert (tmp_path / "trainings-mnist.csv").read_text(encoding="utf-8").count("\n") == 2
    with pytest.raises(SystemExit) as caught:
        ask(monkeypatch, trainings.main, "record", "--space", "crad")
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("trainings: unknown search space 'crad'")
