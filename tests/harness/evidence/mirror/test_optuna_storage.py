"""A study in an Optuna storage: what is written, what is refused, and that nothing is lost or written twice."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from harness.evidence import study
from harness.evidence.mirror import optuna_storage
from harness.evidence.mirror.optuna_storage import Away, Mirror, catch_up, close_storage, open_mirror
from harness.evidence.mirror.trials import Story
from harness.evidence.study import StudyConfig
from harness.system.errors import UsageError
from tests.harness import scripted
from tests.harness.loaded_study import loaded

CONFIG = scripted.config()
WRITES = (
    "create_new_study",
    "create_new_trial",
    "set_study_system_attr",
    "set_study_user_attr",
    "set_trial_intermediate_value",
    "set_trial_state_values",
    "set_trial_user_attr",
)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of 12 networks that has come to its end; tests take a copy."""
    folder = tmp_path_factory.mktemp("ended") / "study"
    with pytest.MonkeyPatch.context() as patch:
        scripted.without_processes(patch)
        scripted.run(folder, CONFIG, scripted.effort(trials=12))
    return folder


@pytest.fixture
def folder(ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its copy, in which a search goes on without processes."""
    scripted.without_processes(monkeypatch)
    return shutil.copytree(ended, tmp_path / "study")


def opened(url: str, folder: Path, config: StudyConfig = CONFIG) -> Mirror:
    return open_mirror(url, Story(folder, config))


def mirrored(url: str, folder: Path) -> None:
    """Bring a database up to date, as a process that is started anew."""
    mirror = opened(url, folder)
    try:
        assert catch_up(mirror, is_running=False)
    finally:
        close_storage(mirror.storage)


def held(url: str, name: str = "study") -> list[tuple[Any, ...]]:
    """Return what Optuna itself reads of a study, without times."""
    with loaded(url, name) as found:
        trials = [
            (trial.number, trial.state.name, trial.values, trial.params, trial.user_attrs, trial.intermediate_values)
            for trial in found.trials
        ]
        return [(found.user_attrs, found.metric_names), *trials]


def database(place: Path) -> str:
    return f"sqlite:///{place}/of.db"


def test_optuna_finds_the_networks_of_the_files(folder: Path, tmp_path: Path):
    mirrored(database(tmp_path), folder)

    with loaded(database(tmp_path), "study") as found:
        names, trials, best = found.metric_names, found.trials, found.best_trials
    first = [result for result in study.finished_results(folder) if result.purpose == "search"]
    assert names == ["validation error (%)", "parameters"]
    assert [trial.user_attrs["hash"] for trial in trials] == [result.hash for result in first]
    assert [trial.state.name for trial in trials] == [result.status.name for result in first]
    complete = {result.trial: result for result in first if result.status == "complete"}
    assert {trial.number: trial.values for trial in trials if trial.values} == {
        number: [100 * (result.validation_errors or 0) / scripted.SIZE, result.parameters]
        for number, result in complete.items()
    }
    # The network with the fewest parameters that was trained to the end is on the Pareto front.
    smallest = min(complete.values(), key=lambda result: result.parameters)
    assert smallest.parameters in [trial.values[1] for trial in best]


def test_a_database_that_follows_line_by_line_ends_like_one_that_is_written_at_once(folder: Path, tmp_path: Path):
    mirrored(database(tmp_path), folder)
    growing = tmp_path / "growing" / "study"
    growing.mkdir(parents=True)
    url = database(growing)
    mirror = opened(url, growing)

    for line in (folder / "log.jsonl").read_text().splitlines(keepends=True):
        with (growing / "log.jsonl").open("a") as log:
            log.write(line)
        assert catch_up(mirror, is_running=True)
    assert catch_up(mirror, is_running=False)
    close_storage(mirror.storage)

    assert held(url) == held(database(tmp_path))


def test_a_writer_that_dies_at_any_write_loses_nothing_and_writes_nothing_twice(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    mirrored(database(tmp_path), folder)
    expected, lines = held(database(tmp_path)), (folder / "log.jsonl").read_text().splitlines(keepends=True)
    with monkeypatch.context() as patched:
        left = dies_after(1_000, patched)
        follow(lines, tmp_path / "undisturbed" / "study")
    writes = 1_000 - len(left)
    assert writes > 40

    for fault in range(1, writes, 13):
        growing = tmp_path / f"{fault}" / "study"
        with monkeypatch.context() as patched:
            left = dies_after(fault, patched)
            with pytest.raises(Away):
                follow(lines, growing)
            assert not left
        follow(lines, growing)

        assert held(database(growing)) == expected, f"died after write {fault}"


def follow(lines: list[str], folder: Path) -> None:
    """Write a database while the log grows; the log of an earlier call is not taken back."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    done = len(log.read_text().splitlines()) if log.exists() else 0
    for end in [end for end in range(7, len(lines), 7) if end > done] + [len(lines)]:
        log.write_text("".join(lines[:end]))
        mirrored(database(folder), folder)


def dies_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Let so many writes through, then die after one, which has reached the database all the same."""
    left: list[None] = [None] * writes

    def patched(method: Callable[..., Any]) -> Callable[..., Any]:
        def write(*given: Any, **named: Any) -> Any:
            found = method(*given, **named)
            left.pop()
            if not left:
                raise ConnectionError("the server closed the connection")
            return found

        return write

    for name in WRITES:
        monkeypatch.setattr(RDBStorage, name, patched(getattr(RDBStorage, name)))
    return left


def test_a_database_that_is_behind_is_caught_up_with(folder: Path, tmp_path: Path):
    whole = (folder / "log.jsonl").read_bytes()
    mirrored(database(tmp_path), folder)
    expected = held(database(tmp_path))
    other = tmp_path / "other" / "study"
    other.mkdir(parents=True)
    url = database(other)
    # As searches that were broken off leave it: some trials ended, one open with or without its rungs.
    for share in (0.3, 0.5, 0.7, 0.9, 1.0):
        (other / "log.jsonl").write_bytes(whole[: int(share * len(whole))])
        mirrored(url, other)

    assert held(url) == expected


@pytest.mark.parametrize("what", ["deleted", "dropped"])
def test_a_database_that_is_emptied_while_it_is_written_is_written_anew(what: str, folder: Path, tmp_path: Path):
    mirrored(database(tmp_path), folder)
    expected = held(database(tmp_path))
    growing = tmp_path / "growing" / "study"
    growing.mkdir(parents=True)
    url, lines = database(growing), (folder / "log.jsonl").read_text().splitlines(keepends=True)
    (growing / "log.jsonl").write_text("".join(lines[: len(lines) // 2]))
    mirror = opened(url, growing)
    catch_up(mirror, is_running=True)

    if what == "deleted":
        mirror.storage.delete_study(mirror.study_id)
    else:
        (growing / "of.db").unlink()
    (growing / "log.jsonl").write_text("".join(lines))
    with pytest.raises(Away):
        catch_up(mirror, is_running=True)
    close_storage(mirror.storage)
    mirrored(url, growing)

    assert held(url) == expected


def test_what_is_written_in_one_go_ends_in_time(folder: Path, tmp_path: Path):
    mirror = opened(database(tmp_path), folder)

    assert not catch_up(mirror, is_running=True, seconds=-1.0)
    assert mirror.rows == []
    assert catch_up(mirror, is_running=True)
    close_storage(mirror.storage)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"budget": 5_000}, "budget: 20000 there, 5000 here"), ({"space_text": scripted.ONE_CONVOLUTION}, "space sha256")],
)
def test_a_study_of_another_configuration_is_refused(change: dict[str, Any], named: str, folder: Path, tmp_path: Path):
    mirrored(database(tmp_path), folder)
    before = held(database(tmp_path))

    with pytest.raises(UsageError, match="of another configuration") as caught:
        opened(database(tmp_path), folder, replace(CONFIG, **change))

    assert named in caught.value.message
    assert held(database(tmp_path)) == before


def test_a_study_that_an_earlier_program_has_written_with_fewer_attributes_is_gone_on_with(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patched:
        whole = optuna_storage._known_by
        patched.setattr(optuna_storage, "_known_by", lambda config: dict([*whole(config).items()][:-1]))
        mirrored(database(tmp_path), folder)
    before = held(database(tmp_path))

    mirrored(database(tmp_path), folder)

    assert set(held(database(tmp_path))[0][0]) - set(before[0][0]) == {"prior"}
    assert held(database(tmp_path))[1:] == before[1:]


def test_a_study_of_somebody_else_is_refused(folder: Path, tmp_path: Path):
    storage = RDBStorage(database(tmp_path))
    optuna.create_study(study_name="study", storage=storage).add_trial(optuna.trial.create_trial(value=1.0))
    close_storage(storage)

    with pytest.raises(UsageError, match="that this program has not made"):
        opened(database(tmp_path), folder)


def test_trials_that_the_log_does_not_know_are_refused(folder: Path, tmp_path: Path):
    mirrored(database(tmp_path), folder)
    (folder / "log.jsonl").unlink()

    with pytest.raises(UsageError, match="its trial 0 is not that of"):
        opened(database(tmp_path), folder)


def test_two_who_write_the_same_study_are_found_out(folder: Path, tmp_path: Path):
    url = database(tmp_path)
    one, other = opened(url, folder), opened(url, folder)
    assert catch_up(one, is_running=True)

    with pytest.raises(UsageError, match="another program adds trials to it"):
        catch_up(other, is_running=True)

    for mirror in (one, other):
        close_storage(mirror.storage)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("study.db", "is no URL of a database"),
        ("cassandra://host/name", "is no URL of a database"),
        ("postgresql://ann:o@k@host/name", "written %40"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        ("postgresql://ann:secret@127.0.0.1:1/name", "onnection refused"),
        ("postgresql+psycopg://127.0.0.1:1/name?user=ann&password=secret", "onnection refused"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_in_one_line_without_its_password(url: str, message: str, folder: Path):
    with pytest.raises((UsageError, Away), match=message) as caught:
        opened(url, folder)

    said = str(caught.value)
    assert "\n" not in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("url", "module", "hint"),
    [
        ("postgresql://host/name", "psycopg", "installs psycopg"),
        ("mysql://host/name", "MySQLdb", "install mysqlclient with the pip of this program's environment"),
    ],
)
def test_a_url_without_its_driver_names_the_package(
    url: str, module: str, hint: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("harness.system.errors.install_command", lambda extra: {"postgres": "installs psycopg"}[extra])

    with pytest.raises(UsageError, match=f"needs the driver {module}") as caught:
        opened(url, folder)

    assert caught.value.hint == hint


def test_a_driver_may_quote_the_url_but_not_its_password(folder: Path, monkeypatch: pytest.MonkeyPatch):
    url = "postgresql://ann:s%20ecret@host/name"

    def refuse(given: str) -> RDBStorage:
        raise ConnectionError(f"cannot reach\n{given} with 's ecret'")

    monkeypatch.setattr(optuna_storage, "_storage", refuse)

    with pytest.raises(Away, match=r"^ConnectionError: cannot reach postgresql://ann:\*\*\*@host/name with '\*\*\*'$"):
        opened(url, folder)
