"""All facts of a study's report, computed from what was read; a page only puts them into words and pictures."""

from __future__ import annotations

from dataclasses import dataclass

from harness.leaderboard import LeaderboardRow
from harness.study import StudyConfig
from reports.accounting import Accounting, accounting
from reports.accuracy_picture import AccuracyPicture, accuracy_picture
from reports.effective_budget import EffectiveBudget, effective_budget
from reports.headline import Headline, headline
from reports.honesty import Honesty, honesty
from reports.networks import Network, networks
from reports.provenance import Provenance, provenance
from reports.study_files import StudyFiles
from reports.winner import Winner, winner


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyInfo:
    """The facts of one report.

    Attributes:
        answer: the network that the study answers with, None where it has none.
        networks: all that the study has trained or begun, best first.
        rows: the workspace's standings on this data set.
    """

    name: str
    config: StudyConfig
    headline: Headline
    answer: Winner | None
    honesty: Honesty
    networks: tuple[Network, ...]
    picture: AccuracyPicture
    accounting: Accounting
    budget: EffectiveBudget
    provenance: Provenance
    rows: tuple[LeaderboardRow, ...]


def study_info(files: StudyFiles) -> StudyInfo:
    """Return the facts of a study's report."""
    found = networks(files)
    answer = winner(files)
    return StudyInfo(
        name=files.name,
        config=files.config,
        headline=headline(files, found, answer),
        answer=answer,
        honesty=honesty(files, answer),
        networks=tuple(found),
        picture=accuracy_picture(files, found),
        accounting=accounting(files, found),
        budget=effective_budget(files),
        provenance=provenance(files, answer),
        rows=tuple(row for row in files.rows if row.dataset == files.config.dataset),
    )
