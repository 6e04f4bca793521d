"""Where a study's proposals went: rejected before anything was built, repeated, or trained, and how that ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.evidence.events import Proposal, Repeated
from harness.evidence.study import rejections
from harness.system import statistics
from harness.training.result import Status
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
        to_train: networks chosen for training, one for each length; ``begun`` have at least one finished run.
        repeated: proposals of a network that was known already.
        outcomes: finished training runs by how they ended.
        steps: what is left of the proposals after each step of the search.
    """

    rejections: tuple[Share, ...]
    rejected: int
    to_train: int
    begun: int
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
    reasons = _shares(words)
    outcomes = Counter(result.status for result in files.results)
    finished = {(result.hash, result.recipe.epochs) for result in files.results}
    proposed = [entry.event for entry in files.entries_of(Proposal)]
    again = len({event.trial for event in proposed}) - len({event.hash for event in proposed})
    to_train, repeated = len(of) + again, len(files.entries_of(Repeated))
    whole = [network for network in of if network.complete]
    confirmed = [network for network in whole if network.state in (State.WINNER, State.CONFIRMED)]
    steps = {
        "proposed": words.total() + to_train + repeated,
        "within the limits": to_train + repeated,
        "trained": len(finished),
        "not stopped early": len(whole),
        "reached the threshold": sum(_passed(network, files.config.threshold_pct) for network in whole),
        "confirmed": len(confirmed),
        "verified": sum(network.row is not None and network.row.reached for network in confirmed),
    }
    return Accounting(
        rejections=_summed_up(reasons),
        rejected=words.total(),
        to_train=to_train,
        begun=len(finished),
        repeated=repeated,
        outcomes=tuple(Share(status.replace("_", " "), outcomes[status]) for status in Status if outcomes[status]),
        runs=len(files.results),
        steps=tuple(Share(name, number) for name, number in steps.items()),
    )


def _passed(network: Network, threshold_pct: float) -> bool:
    """Return whether the first run of a network met the threshold."""
    accuracy = network.first.validation_accuracy_pct if network.first is not None else None
    return accuracy is not None and statistics.reaches(accuracy, threshold_pct)


def _shares(counted: Counter[str]) -> list[Share]:
    return [Share(name, counted[name]) for name in sorted(counted, key=lambda name: (-counted[name], name))]


def _summed_up(shares: list[Share]) -> tuple[Share, ...]:
    if len(shares) <= SHOWN:
        return tuple(shares)
    rest = shares[SHOWN - 1 :]
    return (
        *shares[: SHOWN - 1],
        Share(f"{len(rest)} other reasons", sum(share.count for share in rest)),
    )
