"""What to do next with a study: one command, and what it does."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from harness.evidence.events import Proposal, SessionBegan, SessionEnded
from harness.evidence.leaderboard import Tier
from harness.system.duration import LONGEST, duration_option
from harness.system.invocation import typed
from reports.html.dataset_tag import MNIST
from reports.study.headline import is_over
from reports.study.study_files import StudyFiles
from reports.study.winner import Winner
from search_spaces.spaces.space import Metric

_GOES_ON = "goes on with the search where it ended"


@dataclass(frozen=True, slots=True)
class NextStep:
    """A command, and what it does; the words go on from the command."""

    command: str
    words: str


def next_step(files: StudyFiles, answer: Winner | None) -> NextStep | None:
    """Return what brings a study on, None while a search is at work or where the journal names no command."""
    row = answer.row if answer is not None else None
    if not is_over(files):
        return None if files.searching else _search(files, {}, "goes on with the search where it stopped")
    if answer is not None and row is None:
        return NextStep(typed("verify", answer.hash), "trains it on fresh seeds and reads the test set")
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
    return _further(files, files.entries_of(SessionEnded)[-1].event)


def _further(files: StudyFiles, ended: SessionEnded) -> NextStep | None:
    """Return the command of a search that has ended, with more of what it lacked."""
    seconds = ended.seconds or 0.0
    # An earlier session may have been allowed more.
    more_time = {"--time": duration_option(min(60 * math.ceil(max(seconds, files.elapsed) / 30), LONGEST))}
    match ended.reason:
        case "time" if seconds > 0:
            return _search(files, more_time, f"{_GOES_ON}, with more time")
        case "trials" if ended.trials:
            trials = {"--trials": str(2 * max(ended.trials, len(files.entries_of(Proposal))))}
            is_short = 0 < seconds < 2 * files.elapsed
            return _search(files, trials | (more_time if is_short else {}), f"{_GOES_ON}, with more trials")
        case "exhausted":
            return _search(files, {}, "with another --space or a larger --budget has more to try")
        case _:
            return _search(files, {}, _GOES_ON)


def _search(files: StudyFiles, changes: Mapping[str, str], words: str) -> NextStep | None:
    commands = [entry.event.command for entry in files.entries_of(SessionBegan)]
    if not commands or not commands[-1]:
        return None
    # The first word is the program, however it was called then.
    kept = _without(commands[-1][1:], changes)
    return NextStep(typed(*kept, *(word for option in changes.items() for word in option)), words)


def _without(words: Sequence[str], options: Container[str]) -> list[str]:
    """Return the words of a command but for some options and their values, ``--time 1m`` as well as ``--time=1m``."""
    before = ("", *words)
    return [
        word
        for word, last in zip(words, before, strict=False)
        if last not in options and word.partition("=")[0] not in options
    ]
