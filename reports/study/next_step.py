"""What to do next with a study: one command, and what it does."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evidence.events import Advised, SessionBegan, SessionEnded
from harness.evidence.leaderboard import Tier
from harness.system.invocation import typed
from reports.html.dataset_tag import MNIST
from reports.study.headline import is_over
from reports.study.study_files import StudyFiles
from reports.study.winner import Winner
from search_spaces.spaces.space import Metric


@dataclass(frozen=True, slots=True)
class NextStep:
    """A command, and what it does; the words go on from the command."""

    command: str
    words: str


def next_step(files: StudyFiles, answer: Winner | None) -> NextStep | None:
    """Return what brings a study on, None while a search is at work or where the journal names no command."""
    row = answer.row if answer is not None else None
    if not is_over(files):
        return None if files.searching else _search(files, "goes on with the search where it stopped")
    advised = files.entries_of(Advised)
    is_latest = advised and advised[-1].elapsed >= files.entries_of(SessionEnded)[-1].elapsed
    if is_latest and (row is None or advised[-1].utc >= row.date_utc):
        # What the search itself said at its end.
        return NextStep(typed(*advised[-1].event.arguments), advised[-1].event.advice)
    if row is not None and not row.reached and (row.mean_test_accuracy_pct or 0.0) >= row.target_pct:
        return NextStep(typed("verify", row.hash, "--seeds", "10"), "adds the seeds that a verdict needs")
    if row is not None and row.reached and row.tier is not Tier.CERTIFIED and row.dataset == MNIST:
        words = (
            "declares 30 further seeds; commit the ledger, and the same command without --declare-only trains them and "
            "demands that their lower bound reaches the target"
        )
        return NextStep(typed("verify", row.hash, "--certify", "--declare-only"), words)
    if row is not None and row.reached:
        asked = ["--dataset", row.dataset, "--space", files.config.space, "--target", f"{row.target_pct:g}"]
        smaller = typed("search", "--budget", str(row.parameters - 1), *asked)
        if files.config.minimise is not Metric.PARAMETERS:
            limit = ["--minimise", files.config.minimise, "--limit", f"{files.config.minimise}<={row.macs - 1}"]
            smaller = typed("search", "--budget", str(files.config.budget), *limit, *asked)
        return NextStep(smaller, "looks for a smaller network still")
    if answer is not None and row is None:
        return NextStep(typed("verify", answer.hash), "trains it on fresh seeds and reads the test set")
    return _search(files, "goes on with the search where it ended")


def _search(files: StudyFiles, words: str) -> NextStep | None:
    commands = [entry.event.command for entry in files.entries_of(SessionBegan)]
    if not commands or not commands[-1]:
        return None
    # The first word is the program, however it was called then.
    return NextStep(typed(*commands[-1][1:]), words)
