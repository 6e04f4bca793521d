"""Synthetic studies: folders in the state in which a search leaves a study, with plausible figures."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import record
from harness.evidence.leaderboard_table import Survey
from harness.evidence.ledger import Ledger
from harness.evidence.record import Record, SeedRun
from harness.pages.study_facts import StudyFacts, read_study
from harness.pages.study_page import page
from harness.spaces.network import MNIST, Architecture, analyse
from harness.spaces.notation import parse_network
from harness.spaces.space import Decision
from harness.studies import config as study
from harness.studies.config import StudyConfig
from harness.studies.events import Entry, Event
from harness.studies.study_state import StudyState
from harness.system import files
from harness.system.document import document_of
from harness.system.files import Workspace
from harness.training.recipe import Recipe
from harness.training.result import (
    Epoch,
    Inspection,
    Miss,
    Purpose,
    Result,
    Status,
    derive_seed,
    inspection_path,
    pack,
)
from tests.factories import CONFIG, SIZE, make_record, make_result, make_seed_run, make_summary
from tests.study_logs import event_fields

MISLABELLED = (947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937)  # ten of the confirmed label errors


def network(first: int, second: int, third: int) -> Architecture:
    return parse_network(
        f"conv3x3({first}) bn relu conv3x3({first}) bn relu | maxpool | conv3x3({second}) bn relu "
        f"conv3x3({second}) bn relu dropout(0.05) | maxpool | conv3x3({third}) bn relu conv3x3({third}) bn relu "
        "| gap | conv1x1(10)"
    )


def facts_of(*entries: Entry[Event], config: StudyConfig = CONFIG) -> StudyFacts:
    """Return the facts of a study with these log entries."""
    state = StudyState(Path("s"), config)
    for entry in entries:
        state.apply(entry)
    return StudyFacts(state, Survey((), (), (), Ledger()))


@dataclass
class SyntheticStudy:
    """Builder of a synthetic study, with its folder, clock, random draws and log events."""

    home: Workspace
    name: str = "mnist-card-20000-0a1b2c"
    config: StudyConfig = CONFIG
    draw: random.Random = field(default_factory=lambda: random.Random(7))
    events: list[dict[str, Any]] = field(default_factory=list)
    elapsed: float = 0.0
    trial: int = 0

    @property
    def folder(self) -> Path:
        return self.home.runs / self.name

    def log(self, event: str, seconds: float = 0.0, **values: Any) -> None:
        self.elapsed += seconds
        hour, minute, second = int(self.elapsed) // 3600, int(self.elapsed) // 60 % 60, int(self.elapsed) % 60
        utc = f"2026-11-20T{8 + hour % 16:02d}:{minute:02d}:{second:02d}+00:00"
        self.events.append(
            {"event": event, "elapsed": round(self.elapsed, 3), "utc": utc, **event_fields(event, values)}
        )

    def begin(self) -> SyntheticStudy:
        study.open_study(self.folder, self.config, {"budget": "commandline", "target": "default", "space": "default"})
        self.log("session", 1.0, command=["harness", "search", "--budget", "20000"], workers=2, device="cpu")
        return self

    def propose(self, architecture: Architecture, **fields: Any) -> dict[str, Any]:
        values = {
            "trial": self.trial,
            "architecture": str(architecture),
            "hash": architecture.hash,
            "parameters": analyse(architecture, MNIST).parameters,
            "origin": "ladder" if self.trial < 7 else "tpe",
            "decisions": [],
            **fields,
        }
        self.trial += 1
        self.log("proposed", 0.1, **values)
        return values

    def finish(
        self,
        proposal: dict[str, Any],
        errors: int | None,
        *,
        purpose: Purpose = Purpose.SEARCH,
        seed_index: int = 0,
        status: Status = Status.COMPLETE,
        epochs: int | None = None,
        decisions: tuple[Decision, ...] = (),
    ) -> Result:
        recipe, recipe_name = self.config.recipe_of(proposal.get("epochs"))
        epochs = recipe.epochs if epochs is None else epochs
        # Validated at the rungs and after the last epoch, with fewer errors each time.
        rungs = self.config.rungs_of(recipe.epochs)
        curve = {rung: min(SIZE, errors * (1 + (epochs - rung) // 4)) for rung in rungs if errors and rung < epochs}
        curve |= {} if errors is None else {epochs: errors}
        result = make_result(
            proposal["architecture"],
            errors,
            macs=400_000,
            recipe=recipe,
            recipe_name=recipe_name,
            dataset=self.config.dataset,
            purpose=purpose,
            seed_index=seed_index,
            seed=derive_seed(proposal["hash"], recipe.hash, purpose, seed_index),
            status=status,
            history=tuple(
                Epoch(epoch, 0.1, 0.8 / epoch, 3.0 * epoch, curve.get(epoch)) for epoch in range(1, epochs + 1)
            ),
            train_seconds=3.0 * epochs,
            started_utc="2026-11-20T08:10:00+00:00",
            study=self.name,
            trial=proposal["trial"],
            decisions=decisions,
        )
        self.log("finished", 1.5 * epochs, run=document_of(result))
        return result

    def decide(self, event: str, proposal: dict[str, Any], errors: list[int], **fields: Any) -> None:
        self.log(
            event,
            trial=proposal["trial"],
            hash=proposal["hash"],
            parameters=proposal["parameters"],
            validation_accuracy_pct=100 - sum(errors) / len(errors) / SIZE * 100,
            validation_seeds=len(errors),
            **fields,
        )

    def confirm(self, proposal: dict[str, Any], errors: list[int]) -> None:
        for index, count in enumerate(errors):
            self.finish(proposal, count, purpose=Purpose.CONFIRM, seed_index=index)

    def verify(self, proposal: dict[str, Any], errors: list[int], **changes: Any) -> Record:
        proof = evidence(parse_network(proposal["architecture"]), errors, study_name=self.name, **changes)
        record.write(self.home.records, proof)
        self.home.test_log.parent.mkdir(parents=True, exist_ok=True)
        with self.home.test_log.open("a", encoding="utf-8") as log:
            for run in proof.seeds:
                purpose = f"verify {proof.hash} fast seed {run.index}"
                log.write(json.dumps({"date_utc": "", "dataset": "mnist", "data_hash": "", "purpose": purpose}) + "\n")
        return proof

    def inspect(self, proof: Record) -> None:
        """Write the inspections of all seeds of a record, as a verification on this machine does."""
        row = proof.stem
        for run in proof.seeds:
            files.write_json(inspection_path(self.home.runs, row, run.index), document_of(inspection_of(proof, run)))

    def write(self) -> Path:
        lines = "".join(json.dumps(event) + "\n" for event in self.events)
        (self.folder / "log.jsonl").write_text(lines, encoding="utf-8")
        return self.folder


def seed_run(architecture: Architecture, recipe: Recipe, index: int, errors: int) -> SeedRun:
    """Return a seed run whose wrong images are confirmed label errors, and further images beyond ten errors."""
    mislabelled = MISLABELLED[: min(len(MISLABELLED), errors)]
    images = sorted({*mislabelled, *range(10, 10 + errors - len(mislabelled))})
    return replace(
        make_seed_run(architecture.hash, index, errors, recipe),
        wrong=tuple((image, 3) for image in images),
        weights_sha256=f"{index:064x}",
        train_seconds=55.0,
    )


def evidence(architecture: Architecture, errors: list[int], study_name: str = "", **fields: Any) -> Record:
    """Return a record with a seed run per number of errors, of a network of the study if ``study_name`` is given."""
    seeds = tuple(seed_run(architecture, Recipe(), index, count) for index, count in enumerate(errors))
    origin = make_summary(study_name) if study_name else None
    return make_record([], str(architecture), **{"seeds": seeds, "search_summary": origin} | fields)


def realistic(home: Workspace, trials: int = 60) -> SyntheticStudy:
    """Write a successful study: proposals of all outcomes, confirmed and refuted networks, and a verified answer."""
    writer = SyntheticStudy(home).begin()
    draw = writer.draw
    incumbent: dict[str, Any] | None = None
    confirmations = 0
    while writer.trial < trials:
        for _ in range(draw.choice((0, 0, 1, 3))):
            reason = draw.choice(("parameters", "parameters", "parameters", "receptive_field", "shape"))
            writer.log("rejected", 0.01, reason=reason, parameters=21_000, hash="0" * 12, origin="sampler")
        if draw.random() < 0.1:
            writer.log("repeated", trial=0, hash="0" * 12)
        width = draw.uniform(0.35, 1.0)
        widths = (round(width * draw.uniform(low, high)) for low, high in ((5, 14), (7, 22), (8, 26)))
        proposal = writer.propose(network(*widths))
        if any(event.get("hash") == proposal["hash"] for event in writer.events[:-1]):
            writer.events.pop()
            writer.trial -= 1
            continue
        decisions = (
            Decision("width", min(int(width * 5), 4), 5, ordered=True),
            Decision("coin", int(proposal["hash"][0], 16) % 2, 2, ordered=False),
        )
        errors = round(34 + 200_000 / (proposal["parameters"] + 200) ** 1.1 + draw.gauss(0, 5))
        if errors > 75 and draw.random() < 0.8:
            writer.log("rung", 6.0, trial=proposal["trial"], purpose="search", seed_index=0, epoch=4, pruned=True)
            writer.finish(proposal, errors * 3, status=Status.PRUNED, epochs=4, decisions=decisions)
        elif draw.random() < 0.04:
            writer.finish(proposal, SIZE - 1_000, status=Status.DIVERGED, epochs=2, decisions=decisions)
        else:
            writer.finish(proposal, errors, decisions=decisions)
            smaller = incumbent is None or proposal["parameters"] < incumbent["parameters"]
            if errors <= 55 and smaller and confirmations < 8:
                confirmations += 1
                fresh_errors = [round(errors + draw.gauss(1, 4)) for _ in range(3)]
                writer.confirm(proposal, fresh_errors)
                if sum(fresh_errors) / 3 < 52:
                    incumbent = proposal
                    writer.decide("confirmed", proposal, fresh_errors, budget=proposal["parameters"] - 1)
                else:
                    writer.decide("refuted", proposal, fresh_errors)
    writer.propose(network(5, 5, 5))
    assert incumbent is not None, "the draws of this seed lead to an incumbent"
    writer.decide("winner", incumbent, [48, 52, 51])
    writer.log("ended", 60.0, reason="time", message="no other has a chance")
    proof = writer.verify(incumbent, [55, 58, 52, 61, 57, 54])
    writer.inspect(proof)
    writer.log("verified", 180.0, hash=proof.hash, recipe_hash=proof.recipe_hash, tier="verified", seeds=6, passed=True)
    writer.write()
    return writer


def inspection_of(proof: Record, run: SeedRun) -> Inspection:
    size = run.test_size
    return Inspection(
        seed_index=run.index,
        weights_sha256=run.weights_sha256 or "",
        label_counts=(size // 10,) * 10,
        image_shape=(28, 28),
        misses=tuple(
            Miss(image=image, label=label_of(image), prediction=prediction, pixels=pack(ring_pixels(image)))
            for image, prediction in run.wrong
        ),
    )


def label_of(image: int) -> int:
    """Return a true label other than 3, the predicted class of all wrong images."""
    return (4, 5, 8, 9, 2)[image % 5]


def ring_pixels(image: int) -> bytes:
    """Return the pixels of a ring whose radius depends on the image."""
    size = 4 + image % 9
    return bytes(
        255 if abs((row - 14) ** 2 + (column - 14) ** 2 - size**2) < 2 * size else 0
        for row in range(28)
        for column in range(28)
    )


@pytest.fixture
def new_study(home: Workspace) -> Callable[..., SyntheticStudy]:
    """Return a factory of studies in the workspace with a logged session and no proposals."""
    return lambda **values: SyntheticStudy(home, **values).begin()


@pytest.fixture(scope="session")
def realistic_template(tmp_path_factory: pytest.TempPathFactory) -> SyntheticStudy:
    """Return a study of about 60 networks that reached its target; tests must not change the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.system.files.os.fsync", lambda handle: None)
        return realistic(Workspace(tmp_path_factory.mktemp("realistic")))


@pytest.fixture
def realistic_study(realistic_template: SyntheticStudy, home: Workspace) -> SyntheticStudy:
    """Return a copy of the realistic study in the workspace."""
    shutil.copytree(realistic_template.home.root, home.root, dirs_exist_ok=True)
    return replace(realistic_template, home=home, events=list(realistic_template.events))


@pytest.fixture(scope="session")
def realistic_facts(realistic_template: SyntheticStudy) -> StudyFacts:
    return read_study(realistic_template.folder, realistic_template.home)


@pytest.fixture(scope="session")
def realistic_report(realistic_facts: StudyFacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path := tmp_path_factory.mktemp("report") / "report.html").write_text(page(realistic_facts), "utf-8")
    return path
