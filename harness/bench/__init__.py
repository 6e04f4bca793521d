"""Tables of recorded trainings, and search methods that are replayed on tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.bench.table_problem import TableProblem


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
