"""What to do next with a study: one command, and what it does."""

from __future__ import annotations

from dataclasses import dataclass

from harness.evidence.events import Advised, SessionBegan, SessionEnded
from harness.evidence.leaderboard import LeaderboardRow, Tier
from harness.system.errors import typed
from reports.html.dataset_tag import MNIST
from reports.study.headline import is_over
from reports.study.study_files import StudyFiles
from reports.study.winner import Winner
from search_spaces.space import Metric


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
        return _smaller(files, row)
    if answer is not None and row is None:
        return NextStep(typed("verify", answer.hash), "trains it on fresh seeds and reads the test set")
    return _search(files, "goes on with the search where it ended")


def _search(files: StudyFiles, words: str) -> NextStep | None:
    given = _given(files)
    return NextStep(typed(*given), words) if given else None


def _smaller(files: StudyFiles, row: LeaderboardRow) -> NextStep | None:
    """Return the command of a search below its answer: the one that was given, but for what it must stay below."""
    given, minimise = _given(files), files.config.minimise
    if not given:
        return None
    if minimise is Metric.PARAMETERS:
        option, bound = "--budget", str(row.parameters - 1)
    else:
        limits = [word for place, word in enumerate(given[1:]) if given[place] == "--limit"]
        kept = [each for limit in limits for each in limit.split(",") if not each.strip().startswith(minimise)]
        option, bound = "--limit", ",".join([*kept, f"{minimise}<={row.macs - 1}"])
    # With another bound it is another study.
    left_out = (option, "--study")
    pairs = zip(given, ("", *given), strict=False)
    words = [word for word, last in pairs if last not in left_out and word.partition("=")[0] not in left_out]
    return NextStep(typed(*words, option, bound), "looks for a smaller network still")


def _given(files: StudyFiles) -> tuple[str, ...]:
    """Return the arguments of the last session's command; its first word is the program, however it was called then."""
    commands = [entry.event.command for entry in files.entries_of(SessionBegan)]
    return tuple(commands[-1][1:]) if commands else ()
