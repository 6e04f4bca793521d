"""All facts of a study's report, computed from what was read; a page only puts them into words and pictures."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evidence.leaderboard import LeaderboardRow
from harness.evidence.study import StudyConfig
from reports.study.caveats import Caveats, caveats
from reports.study.course.accounting import Accounting, accounting
from reports.study.course.accuracy_picture import AccuracyPicture, accuracy_picture
from reports.study.course.choices import Choices, choices
from reports.study.course.effective_budget import EffectiveBudget, Tried, effective_budget, tried
from reports.study.course.learning_curves import LearningCurves, learning_curves
from reports.study.course.rungs import Rungs, rungs_by_length
from reports.study.course.seed_spread import SeedSpread, seed_spread
from reports.study.course.time_spent import TimeSpent, time_spent
from reports.study.course.winners_curse import WinnersCurse, winners_curse
from reports.study.course.worker_lanes import WorkerLanes, worker_lanes
from reports.study.headline import Headline, headline
from reports.study.network.network_info import NetworkInfo, network_infos
from reports.study.networks import Network, named, networks
from reports.study.next_step import NextStep, next_step
from reports.study.progress import Progress, progress
from reports.study.provenance import Provenance, provenance
from reports.study.study_files import StudyFiles
from reports.study.winner import Winner, winner


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyInfo:
    """The facts of one report.

    Attributes:
        answer: the network that the study answers with, None where it has none.
        networks: all that the study has trained or begun, best first.
        closer: those worth a section of their own.
        rungs: what early readings say, for each length of a training.
        rows: the workspace's standings on this data set.
        left_out: what is wrong with files of the workspace that the facts lack.
    """

    name: str
    config: StudyConfig
    headline: Headline
    answer: Winner | None
    next_step: NextStep | None
    caveats: Caveats
    networks: tuple[Network, ...]
    closer: tuple[NetworkInfo, ...]
    picture: AccuracyPicture
    curves: LearningCurves
    rungs: tuple[Rungs, ...]
    seeds: SeedSpread
    curse: WinnersCurse
    choices: Choices | None
    time: TimeSpent
    accounting: Accounting
    progress: Progress
    lanes: WorkerLanes
    budget: EffectiveBudget
    tried: tuple[Tried, ...]
    provenance: Provenance
    rows: tuple[LeaderboardRow, ...]
    left_out: tuple[str, ...]


def study_info(files: StudyFiles) -> StudyInfo:
    """Return the facts of a study's report."""
    found = named(networks(files))
    lanes = worker_lanes(files, found)
    answer = winner(files)
    counts = accounting(files, found)
    config = files.config
    return StudyInfo(
        name=files.name,
        config=config,
        headline=headline(files, found, answer),
        answer=answer,
        next_step=next_step(files, answer),
        caveats=caveats(files, answer),
        networks=tuple(found),
        closer=network_infos(files, found),
        picture=accuracy_picture(files, found),
        curves=learning_curves(found, config),
        rungs=rungs_by_length(files),
        seeds=seed_spread(files, found),
        curse=winners_curse(files, found),
        choices=choices(found, config),
        time=time_spent(files, found),
        accounting=counts,
        progress=progress(files, found, lanes, counts),
        lanes=lanes,
        budget=effective_budget(files, found),
        tried=tried(files, found),
        provenance=provenance(files, answer),
        rows=tuple(row for row in files.rows if row.dataset == config.dataset),
        left_out=files.left_out,
    )
