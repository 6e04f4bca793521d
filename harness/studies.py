"""A study as ``import harness`` shows it: its networks, what stands, what came nearest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.evidence import record
from harness.evidence.record import Record
from harness.search.race import Candidate, Trials, nearest_miss
from harness.system.files import Workspace
from harness.system.terminal import counted
from harness.training.recipe import Recipe
from search_spaces.network import Architecture
from search_spaces.space import size_text

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Trial:
    """One network of a study with its runs; it prints as a line.

    Attributes:
        network: its notation.
        cost: what it has of the metric that the search minimises.
        epochs: of its recipe.
        status: how its first run has ended; ``running`` where it has not.
        validation_pct: validation accuracy of the first run, None where it has none.
        fresh_pct: those of its runs on fresh seeds.
        confirmed: whether it would pass its verification, by its fresh seeds.
        recipe: with what it was trained; ``target_pct`` is the study's, of the test images.
    """

    number: int
    network: str
    architecture: Architecture
    hash: str
    parameters: int
    cost: int
    epochs: int
    status: str
    validation_pct: float | None
    fresh_pct: tuple[float, ...]
    confirmed: bool
    recipe: Recipe
    recipe_name: str
    dataset: str
    target_pct: float

    def __str__(self) -> str:
        first = self.status if self.validation_pct is None else f"{self.validation_pct:.2f} % validation"
        fresh = self.fresh_pct and f", {sum(self.fresh_pct) / len(self.fresh_pct):.2f} % on fresh seeds"
        return f"trial {self.number}, {self.parameters:,} parameters: {first}{fresh or ''}"


class Study:
    """A study of a workspace, as its files tell it; in a notebook a table with its chart.

    Attributes:
        name: of its folder below ``runs/``.
        config: what decides its outcome.
    """

    def __init__(self, folder: Path, place: Workspace) -> None:
        """Read the study.

        Raises:
            ContentError: its files do not hold together.
        """
        self._told = Trials.read(folder)
        self.folder, self.name, self.config, self._place = folder, folder.name, self._told.config, place

    @cached_property
    def trials(self) -> list[Trial]:
        """All networks that were chosen for training, in order."""
        return [self._trial(candidate) for candidate in self._told.candidates.values()]

    @property
    def standing(self) -> Trial | None:
        """The confirmed network of the lowest cost, None while none is confirmed."""
        found = self._told.standing
        return None if found is None else self._trial(found)

    @property
    def nearest(self) -> Trial | None:
        """The network with the fewest errors of those that are not confirmed."""
        found = nearest_miss(self._told.candidates.values())
        return None if found is None else self._trial(self._told.candidates[found.trial])

    @property
    def records(self) -> list[Record]:
        """The evidence of the networks that the study has verified on the test images."""
        found = record.read_all(self._place.records)
        return [each for each in found if each.found is not None and each.found.study == self.name]

    def _trial(self, candidate: Candidate) -> Trial:
        proposal, first, config = candidate.proposal, candidate.first, self.config
        recipe, name = config.recipe_of(proposal.epochs)
        return Trial(
            number=proposal.trial,
            network=str(proposal.architecture),
            architecture=proposal.architecture,
            hash=proposal.hash,
            parameters=proposal.parameters,
            cost=candidate.cost,
            epochs=recipe.epochs,
            status="running" if first is None else str(first.status),
            validation_pct=None if first is None else first.validation_accuracy_pct,
            fresh_pct=tuple(candidate.fresh_pct),
            confirmed=candidate.is_confirmed,
            recipe=recipe,
            recipe_name=name,
            dataset=config.dataset,
            target_pct=config.target_pct,
        )

    def to_frame(self) -> Any:
        """Return the trials as a pandas table, in order."""
        import pandas

        columns = ("number", "hash", "parameters", "cost", "epochs", "status", "validation_pct", "confirmed", "network")
        rows = [{name: getattr(trial, name) for name in columns} for trial in self.trials]
        return pandas.DataFrame(rows, columns=list(columns)).assign(
            fresh_seeds=[len(each.fresh_pct) for each in self.trials]
        )

    def __str__(self) -> str:
        config, standing = self.config, self.standing
        found = (
            f"nearest: {self.nearest}"
            if standing is None
            else (f"confirmed: {size_text(standing.parameters, standing.cost, config.minimise)}, {standing.network}")
        )
        networks = counted(len(self.trials), "network")
        return f"study {self.name}, target {config.target_pct:g} % on {config.dataset}: {networks}; {found}"

    def _repr_html_(self) -> str:
        from html import escape

        from reports import charts
        from reports.study_facts import read_study

        drawn = charts.accuracy_over_cost(read_study(self.folder, self._place))
        best = self.to_frame().sort_values(["confirmed", "cost"], ascending=[False, True]).head(_SHOWN)
        picture = "" if drawn is None else charts.svg(drawn)
        return f"<p>{escape(str(self))}</p>{best.to_html(index=False)}{picture}"
