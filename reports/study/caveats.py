"""What a reader must know before believing a study: what chose what, reads of the test set, noise, wrong labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.evidence.record import SeedRun
from harness.evidence.study import StudyConfig
from harness.system import statistics
from harness.training.result import Status
from reports.study.study_files import StudyFiles
from reports.study.winner import Winner

# Test images of MNIST whose label most of five raters rejected: Northcutt, Athalye and Mueller 2021 (arXiv 2103.14749),
# data cleanlab/label-errors, mnist_mturk. The corrected labels are not known here, only which labels are wrong.
CONFIRMED_LABEL_ERRORS: dict[str, frozenset[int]] = {
    "mnist": frozenset((947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729))
}


@dataclass(frozen=True, slots=True)
class LabelErrors:
    """The winner's accuracy when images with a confirmed wrong label are left out.

    Attributes:
        images: how many there are.
        errors_among: mean errors among them, ``errors_outside`` among all others.
    """

    images: int
    errors_among: float
    errors_outside: float
    accuracy_outside_pct: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Caveats:
    """The facts behind the caveats box.

    Attributes:
        winner_reads: reads of the test set for this study's answer, whoever made them;
            ``workspace_reads`` for anything.
        seeds: the answer's verification seeds.
        diverged_in_search: runs, counted apart from those in ``seeds``.
    """

    config: StudyConfig
    winner_reads: int
    workspace_reads: int
    seeds: tuple[SeedRun, ...]
    label_errors: LabelErrors | None
    diverged_in_search: int

    @property
    def diverged_seeds(self) -> int:
        """Verification seeds of the answer that diverged; they count with their errors."""
        return sum(seed.status is Status.DIVERGED for seed in self.seeds)


def caveats(files: StudyFiles, answer: Winner | None) -> Caveats:
    """Return what a reader must know before believing a study."""
    suspects = CONFIRMED_LABEL_ERRORS.get(files.config.dataset)
    runs = answer.record.seeds if answer and answer.record else ()
    return Caveats(
        config=files.config,
        winner_reads=sum(answer.hash in purpose.split() for purpose in files.test_reads) if answer else 0,
        workspace_reads=len(files.test_reads),
        seeds=runs,
        label_errors=_label_errors(runs, suspects) if runs and suspects else None,
        diverged_in_search=sum(result.status is Status.DIVERGED for result in files.results),
    )


def binomial_error(accuracy_pct: float, images: int) -> float:
    """Return the standard error, in points, of an accuracy counted on that many images."""
    share = accuracy_pct / 100
    return 100 * math.sqrt(share * (1 - share) / images)


def errors_outside(run: SeedRun, suspects: frozenset[int]) -> int:
    """Return how many images a seed got wrong, other than these suspects."""
    return sum(index not in suspects for index, _ in run.wrong)


def _label_errors(runs: tuple[SeedRun, ...], suspects: frozenset[int]) -> LabelErrors:
    outside = [errors_outside(run, suspects) for run in runs]
    among = [len(run.wrong) - count for run, count in zip(runs, outside, strict=True)]
    others = runs[0].test_size - len(suspects)
    return LabelErrors(
        images=len(suspects),
        errors_among=statistics.mean(among),
        errors_outside=statistics.mean(outside),
        accuracy_outside_pct=100 * (1 - statistics.mean(outside) / others),
    )
