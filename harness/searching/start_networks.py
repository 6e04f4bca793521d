"""Networks with which a search starts: confirmed networks of a study, or rows of the leaderboard."""

from __future__ import annotations

from harness.evidence import leaderboard_table
from harness.evidence.leaderboard_table import LeaderboardRow
from harness.spaces.network import Architecture
from harness.spaces.space import SearchSpace, judge
from harness.spaces.space_errors import nearest
from harness.studies.events import Confirmed
from harness.studies.log import read_state
from harness.studies.names import find_study, studies
from harness.system.errors import UsageError
from harness.system.files import Workspace


def start_networks(name: str, space: SearchSpace, budget: int, workspace: Workspace) -> tuple[str, ...]:
    """Return the networks of ``--from`` that the space and the budget allow, in alphabetical order.

    Args:
        name: ``leaderboard`` for the rows that reached their target, or the name of a study for all networks that the
            study has confirmed, later refuted networks included.

    Raises:
        UsageError: There is no study of this name, or no network is allowed.
    """
    networks = {str(each) for each in _networks_of(name, workspace) if judge(space, each, budget).accepted}
    if not networks:
        shape = "x".join(map(str, space.task.input_shape))
        limits = f"images of {shape}, {space.task.classes} classes and the limits"
        raise UsageError(f"networks of {name}: no network fits {limits}")
    return tuple(sorted(networks))


def _networks_of(name: str, workspace: Workspace) -> list[Architecture]:
    if name == "leaderboard":
        return [row.architecture for row in leaderboard_rows(workspace) if row.reached]
    folder = find_study(name, workspace)
    if folder is None:
        hint = nearest(name, ["leaderboard", *studies(workspace)])
        raise UsageError(f"{name[:60]!r} is neither a study nor 'leaderboard'", hint=hint)
    study = read_state(folder)
    return [study.proposals[each.event.trial].architecture for each in study.of_kind(Confirmed)]


def leaderboard_rows(workspace: Workspace) -> list[LeaderboardRow]:
    """Return the rows of the shipped leaderboard and of the leaderboard of the workspace."""
    paths = (leaderboard_table.shipped_table(), workspace.leaderboard)
    return [row for path in paths if path.exists() for row in leaderboard_table.read(path)]
