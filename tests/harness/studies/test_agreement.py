"""State, commands, API, pages and database of a study show the same verdict, network, tier and front."""

from __future__ import annotations

import html
import json
import random
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.cli import run as cli_run
from harness.data import training_images
from harness.data.datasets import dataset
from harness.evidence import record
from harness.evidence.leaderboard_table import refresh, survey
from harness.interface.results import Study
from harness.pages.study_facts import StudyFacts, read_study
from harness.pages.study_page import _commands, page, study_summary
from harness.searching.ending import Ending, read_endings
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network
from harness.storage.mirror import Mirror
from harness.studies.config import locked_folder, open_study
from harness.studies.log import read_state
from harness.studies.standing import Outcome
from harness.studies.study_state import StudyState
from harness.system.files import Workspace
from harness.training.recipe import Recipe
from harness.training.result import Purpose
from tests import searches
from tests.factories import make_record, make_result
from tests.fakes import Seeds, without_training
from tests.study_logs import write_event, write_runs

WIDTHS = (4, 6, 8, 10)
COUNT = 240  # random endings
SECOND = 0.5  # s between two events


@dataclass(frozen=True)
class Network:
    """A network of a study: errors of 10,000 images in the first run and on fresh seeds; the target allows 100."""

    first: int
    fresh: tuple[int, ...] = ()


SURE = Network(50, (50, 50, 50))
UNSURE = Network(90, (99,))  # below the threshold on a fresh seed, and not confirmed
BAD = Network(300)


@dataclass(frozen=True)
class Step:
    """An event of a study.

    Attributes:
        kind: ``session``, ``winner``, ``ended``, ``verified``, ``postponed`` or ``advised``.
        network: Index of the chosen network.
        reason: Reason of the end.
        passed: Verification.
        test_errors: Test errors of the seeds of the record; empty for a deleted record.
    """

    kind: str
    network: int = 0
    reason: str = ""
    passed: bool | None = None
    test_errors: tuple[int, ...] = ()


def text_of(width: int) -> str:
    return f"conv3x3({width}) bn relu | gap | linear(10)"


def hash_of(index: int) -> str:
    return parse_network(text_of(WIDTHS[index])).hash


def write_study(name: str, networks: Sequence[Network], steps: Sequence[Step], workspace: Workspace, **fields: Any):
    """Write a study with networks, events and records."""
    config = searches.config(**fields)
    folder = workspace.study(name)
    open_study(folder, config, {})
    chosen = 0
    elapsed = 0.0
    for step in steps:
        elapsed += SECOND
        parameters = analyse(parse_network(text_of(WIDTHS[chosen])), MNIST).parameters
        match step.kind:
            case "session":
                command = ["harness", "search", "--budget", "9000", "--target", f"{config.target_pct:.12g}"]
                write_event(folder, "session", elapsed, command=command, workers=1, seconds=60.0)
                is_first = elapsed == SECOND
                for trial, network in enumerate(networks if is_first else ()):
                    text = text_of(WIDTHS[trial])
                    common = {"trial": trial, "recipe": config.recipe, "recipe_name": config.recipe_name}
                    runs = [make_result(text, network.first, purpose=Purpose.SEARCH, **common)]
                    for index, errors in enumerate(network.fresh):
                        runs.append(make_result(text, errors, purpose=Purpose.CONFIRM, seed_index=index, **common))
                    write_runs(folder, *runs)
            case "winner":
                chosen = step.network % len(networks)
                parameters = analyse(parse_network(text_of(WIDTHS[chosen])), MNIST).parameters
                write_event(folder, "winner", elapsed, trial=chosen, hash=hash_of(chosen), parameters=parameters)
            case "ended":
                write_event(folder, "ended", elapsed, reason=step.reason, seconds=60.0)
            case "postponed":
                write_event(folder, "postponed", elapsed, hash=hash_of(chosen), parameters=parameters, seconds=99.0)
            case "verified":
                tier = "verified" if step.passed else "measured"
                mean = 99.5 if step.passed is not False else 98.5
                values = {"passed": step.passed, "tier": tier, "mean_test_accuracy_pct": mean, "seeds": 6}
                values |= {"hash": hash_of(chosen), "recipe_hash": config.recipe.hash}
                write_event(folder, "verified", elapsed, **values)
                if step.test_errors:
                    proof = make_record(
                        [*step.test_errors], text_of(WIDTHS[chosen]), recipe=config.recipe,
                        recipe_name=config.recipe_name, target_pct=config.target_pct,
                    )  # fmt: skip
                    record.write(workspace.records, proof)
    return folder


def random_steps(draw: random.Random, networks: int) -> list[Step]:
    """Return the events of one to three sessions; the last may be killed in any phase."""
    steps = []
    for _ in range(draw.randint(1, 3)):
        session = [Step("session")]
        reason = draw.choice(["time", "trials", "exhausted", "interrupted"])
        for number in range(draw.randint(0, 3)):
            session.append(Step("winner", network=draw.randrange(networks)))
            if number == 0:
                session.append(Step("ended", reason=reason))
            passed = draw.choice([True, None, False])
            level = {True: 50, None: 60, False: 150}[passed]
            errors = tuple(level + draw.randint(-9, 9) for _ in range(draw.choice([0, 2, 5, 6])))
            session.append(draw.choice([Step("postponed"), Step("verified", passed=passed, test_errors=errors)]))
        if len(session) == 1:
            session.append(Step("ended", reason=reason))
        steps += session
    return steps[: draw.randint(1, len(steps))] if draw.random() < 0.4 else steps


@pytest.fixture(scope="module")
def random_studies(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with ``COUNT`` studies that ended in all ways; each has a target of its own."""
    workspace = Workspace(tmp_path_factory.mktemp("endings"))
    draw = random.Random(7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        for number in range(COUNT):
            networks = []
            for _ in range(draw.randint(1, len(WIDTHS))):
                fresh = tuple(draw.randint(40, 130) for _ in range(draw.randint(0, 4)))
                networks.append(draw.choice([SURE, UNSURE, BAD, Network(draw.randint(40, 130), fresh)]))
            target_pct = round(99 + number / 100_000, 5)
            steps = random_steps(draw, len(networks))
            write_study(f"study-{number:03d}", networks, steps, workspace, target_pct=target_pct)
        refresh(workspace)
    return workspace


def run(*arguments: str) -> str:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False).stdout


def check_reader(end: Ending, study: Study, facts: Any, row: dict[str, Any]) -> None:
    """Check that Python, the list of studies and the facts of the pages agree with an ending."""
    standing = end.standing
    network = standing.network
    expected = (standing.outcome, standing.tier, network and network.hash, network and network.parameters)
    answer = study.answer
    assert (study.outcome, study.tier, answer and answer.hash, answer and answer.parameters) == expected
    assert (standing.outcome, row["tier"] or "", row["hash"], row["parameters"]) == expected
    named = facts.answer
    verdict = facts.ending.outcome, facts.ending.standing.tier
    assert (*verdict, named and named.hash, named and named.parameters) == expected
    assert (facts.ending, facts.network and facts.network.hash) == (end, network and network.hash)
    if facts.row is not None:
        assert standing.verdict is not None
        assert facts.row.mean_test_accuracy_pct == standing.verdict.mean_test_accuracy_pct
        assert [each.hash for each in study.records].count(facts.row.hash) == 1
    assert [trial.hash for trial in study.front] == [each.proposal.hash for each in facts.study.front]
    for item in facts.networks:
        assert item.state is facts.study.network_states[item.hash]


def test_all_readers_agree_on_random_endings(random_studies: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HARNESS_WORKSPACE", str(random_studies.root))
    rows = json.loads(run("studies", "--json"))["studies"]
    lines = {line.split()[0]: line for line in run("studies").splitlines() if line.startswith("study-")}
    evidence = survey(random_studies)
    listed = []
    outcomes = set()
    for row in rows:
        study = Study(random_studies.study(row["study"]), random_studies)
        state = read_state(study.folder)
        facts = read_study(study.folder, random_studies, evidence, state)
        listed.append(facts)
        [end] = read_endings([state], random_studies)
        outcomes.add((end.outcome, end.standing.tier))

        check_reader(end, study, facts, row)

        assert str(end.outcome) in lines[study.name]
        assert f"{end.outcome}" in str(study)
        summary = study_summary(facts)
        assert summary.startswith(f"### {end.outcome.capitalize()}: ")
        hashes = {hash_of(number) for number in range(len(WIDTHS))}
        named = {each for each in hashes if each in end.answer}
        assert named == ({end.standing.network.hash} if end.standing.network else set())
    assert len(rows) == COUNT
    assert {outcome for outcome, _ in outcomes} == {*Outcome}
    assert len(outcomes) >= 7
    for facts in listed[::48]:
        content = html.unescape(page(facts)).replace("\N{NO-BREAK SPACE}", " ")
        assert f"<title>{facts.ending.outcome}: study {facts.name}" in content
        assert f">{facts.ending.verdict}</p>" in content
        check_database(facts.study)


def check_database(state: StudyState) -> None:
    """Check that the database has the verdict and network of the log."""
    Mirror.write_file(state, state.folder / "study.db")
    storage = optuna.storages.RDBStorage(f"sqlite:///{state.folder}/study.db")
    attributes = optuna.load_study(study_name=state.folder.name, storage=storage).user_attrs
    storage.remove_session()
    storage.engine.dispose()
    standing = state.standing()
    network = standing.network
    assert attributes["answer"] == {
        "outcome": standing.outcome,
        "hash": network and network.hash,
        "parameters": network and network.parameters,
        "tier": standing.tier,
    }


ENDED = Step("ended", reason="time")
WON = [Step("session"), Step("winner"), ENDED]
MISSED = Step("verified", passed=False, test_errors=(150,) * 6)
PROVED = Step("verified", passed=True, test_errors=(50,) * 6)
# Networks, events, and the expected verdict, tier and index of the network.
ENDINGS: dict[str, tuple[list[Network], list[Step], tuple[Outcome, str, int | None]]] = {
    "nothing confirmed": ([BAD, UNSURE], [Step("session"), ENDED], (Outcome.NOT_REACHED, "missed", None)),
    "proved": ([SURE], [*WON, PROVED], (Outcome.PROVED, "verified", 0)),
    "record deleted": ([SURE], [*WON, replace(PROVED, test_errors=())], (Outcome.PROVED, "verified", 0)),
    "bound below the target": (
        [SURE],
        [*WON, replace(PROVED, test_errors=(70, 125, 80, 120, 75, 90))],
        (Outcome.PROBABLE, "at the target", 0),
    ),
    "few seeds": (
        [SURE],
        [*WON, Step("verified", test_errors=(50, 50))],
        (Outcome.PROBABLE, "measured", 0),
    ),
    "missed": ([SURE], [*WON, MISSED], (Outcome.NOT_REACHED, "missed", 0)),
    "two missed": (
        [SURE, SURE],
        [*WON, MISSED, Step("winner", network=1), MISSED],
        (Outcome.NOT_REACHED, "missed", 1),
    ),
    "missed and postponed": (
        [SURE, SURE],
        [*WON, MISSED, Step("winner", network=1), Step("postponed")],
        (Outcome.PROBABLE, "confirmed", 1),
    ),
    "missed and an unconfirmed network postponed": (
        [SURE, UNSURE],
        [*WON, MISSED, Step("winner", network=1), Step("postponed")],
        (Outcome.NOT_YET, "searched", 1),
    ),
    "missed and killed": ([SURE, BAD], [*WON, MISSED, Step("session")], (Outcome.NOT_YET, "missed", 0)),
    "postponed": ([SURE], [*WON, Step("postponed")], (Outcome.PROBABLE, "confirmed", 0)),
    "chosen, not verified": ([UNSURE], WON, (Outcome.NOT_YET, "searched", 0)),
    "larger network chosen": ([SURE, SURE], [Step("session"), Step("winner", network=1), ENDED],
                              (Outcome.PROBABLE, "confirmed", 1)),
    "interrupted": ([BAD], [Step("session"), Step("ended", reason="interrupted")], (Outcome.NOT_YET, "", None)),
    "interrupted, confirmed": (
        [BAD, SURE],
        [Step("session"), Step("ended", reason="interrupted")],
        (Outcome.PROBABLE, "confirmed", 1),
    ),
    "killed": ([BAD, SURE], [Step("session")], (Outcome.PROBABLE, "confirmed", 1)),
    "killed in the verification": ([SURE], WON, (Outcome.PROBABLE, "confirmed", 0)),
}  # fmt: skip


def agreed(folder: Path, workspace: Workspace) -> tuple[Outcome, str, str | None]:
    """Return verdict, tier and network of a study, after a check that all readers agree."""
    [row] = json.loads(run("studies", "--json"))["studies"]
    [end] = read_endings([read_state(folder)], workspace)
    facts = read_study(folder, workspace)
    # Only the page knows whether a program works on the study.
    check_reader(
        replace(end, reason=facts.ending.reason, advice=facts.ending.advice), Study(folder, workspace), facts, row
    )
    network = end.standing.network
    return end.outcome, end.standing.tier, None if network is None else network.hash


@pytest.mark.parametrize("name", ENDINGS)
def test_ending_has_one_verdict_and_one_network(name: str, home: Workspace):
    networks, steps, (outcome, tier, index) = ENDINGS[name]
    folder = write_study("one", networks, steps, home)

    with locked_folder(folder):  # a program works on the study, so the search may be running
        running = agreed(folder, home)

    assert agreed(folder, home) == running == (outcome, tier, None if index is None else hash_of(index))


# Printed commands -----------------------------------------------------------------------------------------------------


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    """Replace trainings by simulated seeds, and the images of MNIST by their number."""

    def load(name: str, folder: Path | None) -> Any:
        return SimpleNamespace(dataset=dataset(name), train_labels=range(60_000))

    monkeypatch.setattr(training_images, "load", load)
    return without_training(monkeypatch)


def write_rivals(workspace: Workspace) -> None:
    """Write rows of the same networks: with other targets, with another recipe, and on another data set."""
    rivals: dict[str, dict[str, Any]] = {
        "target": {"target_pct": 98.0},
        "recipe": {"recipe": Recipe(epochs=9), "recipe_name": "short"},
        "data": {"dataset": "kmnist"},
    }
    for name, fields in rivals.items():
        config = searches.config(**fields)
        write_study(f"rival-{name}", [SURE] * 2, [Step("session"), ENDED], workspace, **fields)
        for width in WIDTHS[:2]:
            subject: dict[str, Any] = {"dataset": config.dataset, "target_pct": config.target_pct}
            subject["recipe"] = config.recipe
            proof = make_record([50] * 6, text_of(width), recipe_name=config.recipe_name, **subject)
            record.write(workspace.records, proof)


def printed_commands(facts: StudyFacts) -> list[str]:
    """Return the commands of a page: next steps, commands of the study and of each network, and the export."""
    content = page(facts)
    data = json.loads(re.findall(r'"verify":\s*(\{[^}]*\})', content)[0])
    printed = [facts.ending.advice.command if facts.ending.advice else "", facts.ending.export, *_commands(facts)]
    printed += [f"{data[str(network.epochs)]} {network.hash}" for network in facts.networks]
    printed += [html.unescape(each) for each in re.findall(r"<span data-copy><code>([^<]*)</code>", content)]
    return [*dict.fromkeys(filter(None, printed))]


@pytest.mark.parametrize("name", ENDINGS)
def test_each_printed_command_of_an_ending_runs(
    name: str, home: Workspace, seeds: Seeds, capsys: pytest.CaptureFixture[str]
):
    networks, steps, _ = ENDINGS[name]
    write_rivals(home)
    folder = write_study("one", networks, steps, home)
    refresh(home)
    facts = read_study(folder, home)

    printed = printed_commands(facts)

    assert len(printed) >= 2
    for command in printed:
        program, *arguments = shlex.split(command)
        assert program == "harness"
        if arguments[0] == "search":
            continue  # without the images of MNIST, a search cannot be planned
        code = cli_run([*arguments, "--json"] if arguments[0] == "verify" else arguments)
        output, error = capsys.readouterr()
        # The records have no weights, so exports are refused.
        assert code in {"verify": (0, 3), "export": (2, 4), "leaderboard": (0,)}[arguments[0]], (command, error)
        if arguments[0] == "verify" and "--declare-only" not in arguments:
            row = json.loads(output)["row"]
            expected = (facts.config.recipe.hash, facts.config.dataset, facts.config.target_pct)
            assert (row["recipe_hash"], row["dataset"], row["target_pct"]) == expected
        if arguments[0] == "export":
            assert "weights" in error


def test_refusal_of_an_ambiguous_hash_names_the_options_that_choose(
    home: Workspace, seeds: Seeds, capsys: pytest.CaptureFixture[str]
):
    write_rivals(home)

    assert cli_run(["verify", hash_of(0)]) == 4
    error = capsys.readouterr().err
    for words in ("98 %", "99 %", "kmnist", Recipe(epochs=9).hash, "--recipe", "--dataset", "--target"):
        assert words in error
    assert "None" not in error
    options = ["--recipe", Recipe(epochs=9).hash, "--dataset", "mnist", "--target", "99"]
    assert cli_run(["verify", hash_of(0), *options, "--seeds", "6"]) in (0, 3)
