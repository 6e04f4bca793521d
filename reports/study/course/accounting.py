"""Where a study's proposals went: rejected before anything was built, repeated, or trained, and how that ended.

A proposal is a network with one length of its training.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.evidence.events import Proposal, Repeated
from harness.evidence.study import rejections
from harness.system import statistics
from harness.training.result import Purpose, Status
from reports.html.shares import Share
from reports.study.networks import Network, State
from reports.study.study_files import StudyFiles

SHOWN = 12
# The words of the journal, for people; others are shown as they are.
_REASONS = {
    "parameters": "too many parameters",
    "macs": "too many multiply-adds",
    "receptive_field": "receptive field outside the condition of the space",
    "shape": "ops that do not fit together",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """Every proposal, counted once.

    Attributes:
        rejections: by reason, most frequent first; rare ones beyond the first dozen are summed up in the last.
        to_train: proposals chosen for training; ``trained`` have a first run that has ended with an accuracy.
        repeated: proposals of a network that was known already.
        outcomes: finished training runs by how they ended.
        steps: how many proposals are left after each step of the search.
    """

    rejections: tuple[Share, ...]
    rejected: int
    to_train: int
    trained: int
    repeated: int
    outcomes: tuple[Share, ...]
    runs: int
    steps: tuple[Share, ...]

    @property
    def proposed(self) -> int:
        """All proposals."""
        return self.rejected + self.to_train + self.repeated


def accounting(files: StudyFiles, of: list[Network]) -> Accounting:
    """Return where the proposals of a study went."""
    words = Counter[str]()
    for word, number in rejections(files.events).items():
        words[_REASONS.get(word, word)] += number
    reasons = [Share(name, words[name]) for name in sorted(words, key=lambda name: (-words[name], name))]
    outcomes = Counter(result.status for result in files.results)
    first = [result for result in files.results if result.purpose is Purpose.SEARCH]
    trained = [result for result in first if result.validation_errors is not None]
    whole = [result for result in trained if result.status is Status.COMPLETE]
    # A result whose entry in the log is lost was proposed all the same.
    to_train = len({entry.event.trial for entry in files.entries_of(Proposal)} | {run.trial for run in files.results})
    repeated = len(files.entries_of(Repeated))
    confirmed = [network for network in of if network.state in (State.WINNER, State.CONFIRMED)]
    steps = {
        "proposed": words.total() + to_train + repeated,
        "within the limits": to_train + repeated,
        "trained": len(trained),
        "not stopped early": len(whole),
        "reached the threshold": sum(
            statistics.reaches(result.validation_accuracy_pct or 0.0, files.config.threshold_pct) for result in whole
        ),
        "confirmed": len(confirmed),
        "verified": sum(network.row is not None and network.row.reached for network in confirmed),
    }
    return Accounting(
        rejections=_summed_up(reasons),
        rejected=words.total(),
        to_train=to_train,
        trained=len(trained),
        repeated=repeated,
        outcomes=tuple(Share(status.replace("_", " "), outcomes[status]) for status in Status if outcomes[status]),
        runs=len(files.results),
        steps=tuple(Share(name, number) for name, number in steps.items()),
    )


def _summed_up(shares: list[Share]) -> tuple[Share, ...]:
    if len(shares) <= SHOWN:
        return tuple(shares)
    rest = shares[SHOWN - 1 :]
    return (
        *shares[: SHOWN - 1],
        Share(f"{len(rest)} other reasons", sum(share.count for share in rest)),
    )
