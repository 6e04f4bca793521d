"""Tables of recorded trainings, and search methods that are replayed on tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.bench.table_problem import TableProblem

# Here, because the help of the command must not load the methods.
METHODS = {
    "random": "uniform draws of the space, each trained completely",
    "tpe": "Optuna's TPE (multivariate, grouped), each network trained completely",
    "nsga2": "Optuna's NSGA-II (population 20), each network trained completely",
    "evolution": "aging evolution (Real et al. 2019), each network trained completely",
    "halving": "uniform draws under asynchronous successive halving",
    "random-aided": "random, with the rungs and the falling budget of the default",
    "tpe-aided": "tpe, with the rungs and the falling budget of the default",
    "nsga2-aided": "nsga2, with the rungs and the falling budget of the default",
    "evolution-aided": "evolution, with the rungs and the falling budget of the default",
    "default": "the search of harness, with a prior from different data sets",
}


def problem(name: str) -> TableProblem:
    """Return a table as an optimisation problem for any library.

    Args:
        name: Name of a table with all configurations of a space, or a folder (with a slash).

    Raises:
        UsageError: There is no such table.
        DataError: The table is damaged.
        ContentError: The table lacks configurations of the space, or the space has more than ``MAX_RECORDED``.
    """
    from harness.bench.table import read_table, table_folder
    from harness.bench.table_problem import TableProblem
    from harness.system import files

    return TableProblem(read_table(table_folder(str(name), files.workspace())))
