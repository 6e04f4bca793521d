"""Networks with which a search starts: confirmed networks of a study, or rows of the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from harness.evidence import leaderboard_table
from harness.evidence.leaderboard_table import LeaderboardRow
from harness.spaces.notation import parse_network
from harness.spaces.space import SearchSpace, judge
from harness.spaces.space_errors import SearchSpaceError, nearest
from harness.studies.events import Confirmed
from harness.studies.log import read_state
from harness.studies.names import find_study, studies
from harness.system.errors import UsageError
from harness.system.files import Workspace


def networks_of(name: str, workspace: Workspace) -> tuple[str, ...]:
    """Return the networks of ``--from``, in the notation.

    Args:
        name: ``leaderboard`` for the rows that reached their target, or the name of a study for all networks that the
            study has confirmed, later refuted networks included.
        workspace: Workspace of the study and of the user's leaderboard.

    Raises:
        UsageError: There is no study of this name.
    """
    if name == "leaderboard":
        return tuple(str(row.architecture) for row in leaderboard_rows(workspace) if row.reached)
    folder = find_study(name, workspace)
    if folder is None:
        hint = nearest(name, ["leaderboard", *studies(workspace)])
        raise UsageError(f"{name[:60]!r} is neither a study nor 'leaderboard'", hint=hint)
    study = read_state(folder)
    return tuple(str(study.proposals[each.event.trial].architecture) for each in study.of_kind(Confirmed))


def leaderboard_rows(workspace: Workspace) -> list[LeaderboardRow]:
    """Return the rows of the shipped leaderboard and of the leaderboard of the workspace."""
    paths = (leaderboard_table.shipped_table(), workspace.leaderboard)
    return [row for path in paths if path.exists() for row in leaderboard_table.read(path)]


def suitable(texts: Sequence[str], space: SearchSpace, budget: int, source: str) -> tuple[str, ...]:
    """Return the networks that the images, the conditions of the space and the budget allow, in alphabetical order.

    Args:
        texts: Texts of the networks.
        space: Space of the search.
        budget: Highest allowed number of parameters.
        source: Study or leaderboard that names the networks, for the error message.

    Raises:
        UsageError: No network is allowed.
    """
    networks = set[str]()
    for text in texts:
        with suppress(SearchSpaceError):
            if judge(space, parse_network(text, space.task), budget).accepted:
                networks.add(text)
    if not networks:
        shape = "x".join(map(str, space.task.input_shape))
        raise UsageError(
            f"networks of {source}: no network fits images of {shape}, {space.task.classes} classes and the limits"
        )
    return tuple(sorted(networks))
