"""Tables of recorded trainings of small networks as a problem of OptunaHub."""

from __future__ import annotations

import json

import optuna
from optunahub.benchmarks import BaseProblem

from .load import FOLDER, read, rows_of, space


class Problem(BaseProblem):  # type: ignore[misc]  # optunahub is not installed during type checks
    """Minimise the parameters of a network under a constraint on the validation accuracy, for a recorded seed."""

    def __init__(self, table: str = "mnist-bench", seed: int = 0) -> None:
        """Read a table; raise ValueError for an unknown table, or a seed that some network was not trained with."""
        tables = sorted(json.loads((FOLDER / "spaces.json").read_text(encoding="utf-8")))
        if table not in tables:
            raise ValueError(f"table must be one of {', '.join(tables)}, got {table!r}")
        rows = read(table)
        finals = rows[rows.rung == rows.rung.max()]
        counts = finals.seed.value_counts()
        seeds = sorted(counts[counts == finals.hash.nunique()].index)
        if seed not in seeds:
            raise ValueError(f"seed must be one of {', '.join(map(str, seeds))}, got {seed!r}")
        self._finals = finals[finals.seed == seed]
        self._target_pct = space(table)["target_pct"]
        self._decisions = space(table)["decisions"]

    @property
    def search_space(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Index of the option of each decision: an integer for ordered options, else a choice."""
        return {
            name: optuna.distributions.IntDistribution(0, len(each["options"]) - 1)
            if each["ordered"]
            else optuna.distributions.CategoricalDistribution(range(len(each["options"])))
            for name, each in self._decisions.items()
        }

    @property
    def directions(self) -> list[optuna.study.StudyDirection]:
        """The parameters are minimised."""
        return [optuna.study.StudyDirection.MINIMIZE]

    def evaluate(self, params: dict[str, int]) -> float:
        """Return the number of parameters of a network."""
        return float(rows_of(self._finals, params).parameters.item())

    def evaluate_constraints(self, params: dict[str, int]) -> dict[str, float]:
        """Return the accuracy that is missing to the target, in percentage points; at most 0 if feasible."""
        return {"accuracy": self._target_pct - rows_of(self._finals, params).validation_accuracy_pct.item()}
