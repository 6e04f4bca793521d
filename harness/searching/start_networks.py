"""Networks with which a search starts: confirmed networks of a study, or rows of the leaderboard."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class StartNetworks:
    """Networks of ``--from``.

    Attributes:
        name: ``leaderboard``, or the name of a study.
        networks: Rows of the leaderboard that reached their target, or all networks that the study ever confirmed.
    """

    name: str
    networks: tuple[Architecture, ...]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def read(cls, name: str, workspace: Workspace) -> StartNetworks:
        """Return the networks of the leaderboard or of a study; UsageError for an unknown name."""
        if name == "leaderboard":
            return cls(name, tuple(row.architecture for row in leaderboard_rows(workspace) if row.reached))
        folder = find_study(name, workspace)
        if folder is None:
            hint = nearest(name, ["leaderboard", *studies(workspace)])
            raise UsageError(f"{name[:60]!r} is neither a study nor 'leaderboard'", hint=hint)
        study = read_state(folder)
        confirmations = study.of_kind(Confirmed)
        return cls(name, tuple(study.proposals[each.event.trial].architecture for each in confirmations))

    def suitable(self, space: SearchSpace, budget: int) -> tuple[str, ...]:
        """Return the networks that a space and a budget allow, in alphabetical order; UsageError without any."""
        texts = {str(each) for each in self.networks if judge(space, each, budget).accepted}
        if not texts:
            shape = "x".join(map(str, space.task.input_shape))
            limits = f"images of {shape}, {space.task.classes} classes and the limits"
            raise UsageError(f"networks of {self.name}: no network fits {limits}")
        return tuple(sorted(texts))


def leaderboard_rows(workspace: Workspace) -> list[LeaderboardRow]:
    """Return the rows of the shipped leaderboard and of the leaderboard of the workspace."""
    paths = (leaderboard_table.shipped_table(), workspace.leaderboard)
    return [row for path in paths if path.exists() for row in leaderboard_table.read(path)]
