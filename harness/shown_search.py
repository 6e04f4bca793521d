"""A search with all that people see of it: its progress, its report while it goes on, and its end.

On a terminal progress is a panel, in a notebook a bar; elsewhere it is a line an event, and one from time to time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from harness.data.datasets import dataset
from harness.evidence import study
from harness.evidence.events import Confirmed, FailedConfirmation
from harness.evidence.mirror import hidden
from harness.evidence.study import StudyConfig
from harness.search.clock import Effort
from harness.search.race import Candidate, NearestMiss, allowed_errors, miss_text
from harness.search.state import Moment, Watcher
from harness.system import statistics
from harness.system.errors import HarnessError
from harness.system.files import Workspace, check_writable
from harness.system.terminal import busy, console, counted, duration_option, duration_text, printable, say
from harness.training.executor import Broken, Event, Finished
from harness.training.progress import notebook_bar, plain_seconds, test_outcome
from harness.training.result import Purpose, Result, Status
from search_spaces.catalog import network_name
from search_spaces.network import analyse
from search_spaces.space import OBJECTIVES, size_text

if TYPE_CHECKING:
    from harness.evidence.mirror import Mirror
    from harness.search.finish import Outcome
    from harness.search.plan import SearchPlan

# A GPU may train dozens side by side.
_MOST_LINES = 8


def search_shown(
    plan: SearchPlan,
    given: Mapping[str, Any],
    command: Sequence[str],
    *,
    storage: str | None = None,
    verbose: bool = False,
) -> tuple[Outcome | None, Path]:
    """Search as planned, verify the winner, and return the outcome, None where somebody ended it, and the report.

    Args:
        given: options that somebody chose, as ``make_plan`` takes them, for what is advised.
        command: as it stands in the log.
        storage: a database that the study is mirrored in.

    Raises:
        UsageError: another process works on the study, or a folder cannot be written.
        ContentError: the study was begun with another configuration, or what is there does not hold together.
    """
    from harness.evidence.leaderboard import collect
    from harness.search.finish import conclude, outcome_of
    from harness.search.loop import opened, run_search
    from harness.search.surrogate import keep
    from reports.study_page import write_report

    # Find out now, not after an hour, that results cannot be written or the standings cannot be read.
    collect(plan.workspace)
    for folder in (plan.workspace.root, plan.workspace.records, plan.folder):
        check_writable(folder)
    for message in plan.left_out:
        say(f"left out: {message}", "warning")
    config, seconds = plan.config, plan.effort.seconds
    with study.owned(plan.folder), _mirrored(plan, storage) as mirror:
        if not (plan.folder / "config.json").exists():
            keep(plan.folder, plan.past)
        fresh = study.open_study(plan.folder, config, plan.origins)
        search = opened(plan.folder, config, plan.effort, plan.source, plan.executor_of)
        say(f"{'new' if fresh else 'resuming'} study {plan.folder.name} in {plan.folder}")
        limit = "no time limit" if seconds is None else duration_text(seconds)
        say(
            f"target {config.target_pct:g} % on {dataset(config.dataset).title} ({config.threshold_pct:.2f} % on "
            f"validation images); at most {config.ceiling:,} {OBJECTIVES[config.minimise]}; {limit}"
            + ("" if fresh else f", {duration_text(search.seconds)} used")
        )
        with SearchReporter(plan.folder, config, plan.effort, verbose=verbose) as progress:
            progress.heartbeat, search.watcher = LiveReport(search, plan.workspace, progress.say).refresh, progress
            if mirror is not None:
                mirror.say, mirror.entries = progress.say, search.entries
            run_search(search, list(command))
            verdict = None
            if not search.interrupted:
                progress.verifying()
                verdict = conclude(plan, search, progress.on_event, progress.say)
        end = None if search.interrupted else outcome_of(plan, search, verdict, typed_options(given))
        return end, write_report(plan.folder, plan.workspace, study=search)


def typed_options(given: Mapping[str, Any]) -> dict[str, str]:
    """Return options of ``make_plan`` and their values as they are typed, but for passwords, flags and None."""
    words = {"seconds": "time", "folder": "data", "limits": "limit", "name": "study"}
    typed = {}
    for name, value in given.items():
        if value is not None and not isinstance(value, bool):
            text = ",".join(map(str, value)) if isinstance(value, tuple) else hidden(str(value))
            option = f"--{words.get(name, name).replace('_', '-')}"
            typed[option] = duration_option(value) if name in ("seconds", "trial_time") else text
    return typed


def _mirrored(plan: SearchPlan, storage: str | None) -> AbstractContextManager[Mirror | None]:
    if storage is None:
        return nullcontext()
    from harness.evidence.mirror import Mirror

    if (plan.folder / "config.json").exists():
        study.check_config(plan.folder, plan.config)
    with busy("opening the database"):
        return Mirror(plan.folder.name, plan.config, storage, say)


class SearchReporter(Watcher):
    """Shows a search while it goes on; use it as a context manager.

    Attributes:
        heartbeat: called whenever there may be something new to show.
    """

    def __init__(
        self,
        folder: Path,
        config: StudyConfig,
        effort: Effort,
        *,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start at nothing done; ``verbose`` says how every training ended, not only what changes the answer."""
        self.folder, self.config, self.effort, self.verbose, self._clock = folder, config, effort, verbose, clock
        self.heartbeat: Callable[[], None] = lambda: None
        # What another thread draws is replaced, never changed: where the search was when this clock ticked.
        self._at, self._ticked = Moment(0.0, None, None, ()), clock()
        self._is_verifying = False
        self._said = -math.inf
        self._told: NearestMiss | None = None
        # Networks that have failed while another seed of theirs, which may confirm them, is still training.
        self._open: set[int] = set()
        self._where, self._live = console(stderr=True), None
        self._bar = notebook_bar(effort.seconds, "s")
        if self._where.is_terminal and not self._where.is_dumb_terminal:
            from rich.live import Live

            self._live = Live(console=self._where, get_renderable=self.panel, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        """Show the panel, where there is a terminal."""
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the panel away."""
        for shown in filter(None, (self._live and self._live.stop, self._bar and self._bar.close)):
            shown()

    @property
    def elapsed(self) -> float:
        """Seconds of all sessions until now."""
        return self._at.elapsed + self._clock() - self._ticked

    # Lines ----------------------------------------------------------------------------------------------------

    def say(self, words: str, style: str = "") -> None:
        """Print one line with the time of the search, above the panel or the bar where there is one."""
        line = printable(f"{_clock(self.elapsed)}  {words}")
        if self._bar is not None:
            self._bar.write(line)
        elif self._where.is_terminal:
            self._where.print(line, style=style)
        else:
            click.echo(line, file=self._where.file)

    def tick(self, at: Moment) -> None:
        """Take note of where the search is; without a panel say it from time to time."""
        self._at, self._ticked = at, self._clock()
        near = at.nearest
        is_news = at.standing is None and near is not None and (self._told is None or _order(near) > _order(self._told))
        self._told = near if is_news else self._told
        if self._bar is not None:
            self._bar.n = min(at.elapsed, self.effort.seconds or at.elapsed)
            self._bar.set_postfix_str(f"{' '.join(self._best())}; {self._counts()}")
        elif self._live is None and at.elapsed - self._said >= plain_seconds(at.elapsed):
            self._said, is_news = at.elapsed, False
            running = sum(job is not None for job in at.jobs)
            self.say(f"{' '.join(self._best())}; {self._counts()}; {running} running")
        if is_news and near is not None:
            self.say(f"nearest: {miss_text(near, self.config.minimise)}")
        self.heartbeat()

    def verifying(self) -> None:
        """Take note that the search is over and its winner is verified."""
        self._at, self._ticked = replace(self._at, elapsed=self.elapsed, jobs=(), nodes=()), self._clock()
        self._is_verifying = True

    def ended(self, candidate: Candidate, found: Result, decided: Confirmed | FailedConfirmation | None) -> None:
        """Say how a run has ended, if it decides about its network or went wrong."""
        trial = candidate.proposal.trial
        size = size_text(candidate.proposal.parameters, candidate.cost, self.config.minimise)
        if self.verbose or found.status not in (Status.COMPLETE, Status.PRUNED):
            kind = "first run" if found.purpose is Purpose.SEARCH else f"fresh seed {found.seed_index}"
            accuracy = found.validation_accuracy_pct
            reached = "" if accuracy is None else f"{accuracy:.2f} % validation"
            shown = ", ".join(filter(None, (reached, found.message)))
            self.say(f"trial {trial} ({size}, {kind}): {found.status}, {shown}, {found.train_seconds:.0f} s")
        if decided is None and trial not in self._open:
            return
        # The jobs are those of before this run's end, so it is still among them.
        begun = {job.seed_index for job in self._at.jobs if job is not None and job.trial == trial}
        seeds = f"{statistics.mean(candidate.fresh_pct):.2f} % ({counted(len(candidate.fresh), 'seed')})"
        self._open.discard(trial)
        if isinstance(decided, Confirmed):
            self.say(f"confirmed: {size}, {seeds}; budget now {decided.budget:,}", "green")
        elif begun - {run.seed_index for run in candidate.fresh}:
            self._open.add(trial)
        elif not candidate.is_confirmed:
            fallen = "no longer" if candidate is self._at.standing else "not"
            self.say(f"{fallen} confirmed: {size}, {seeds}; unlikely to hold {self.config.threshold_pct:.2f} %")

    def on_event(self, event: Event) -> None:
        """Show what a worker has reported about the verification of the winner."""
        match event:
            case Finished(job, result):
                self.say(f"seed {job.seed_index}: {test_outcome(result)}")
            case Broken(job, status, message):
                self.say(f"seed {job.seed_index}: {status}, {message}; it is run again")
        self.heartbeat()

    def _best(self) -> tuple[str, str]:
        at, minimise = self._at, self.config.minimise
        if at.standing is not None:
            return "confirmed", size_text(at.standing.proposal.parameters, at.standing.cost, minimise)
        return "nearest", "none yet" if at.nearest is None else miss_text(at.nearest, minimise)

    def _counts(self) -> str:
        most = "" if self.effort.trials is None else f" of {self.effort.trials:,}"
        return f"{self._at.trained:,}{most} trained, {self._at.rejected:,} rejected"

    # The panel ------------------------------------------------------------------------------------------------

    def panel(self) -> Any:
        """Return where the search is now as something that rich shows."""
        from rich.table import Table
        from rich.text import Text

        at, config, seconds = self._at, self.config, self.effort.seconds
        data = dataset(config.dataset)
        allowed = allowed_errors(config.threshold_pct, data.validation_size)
        label, best = self._best()
        rows = [
            ("verifying" if self._is_verifying else "searching", _clock(self.elapsed)),
            ("study", self.folder.name),
            ("target", f"{config.target_pct:g} % on {data.title}: at most {allowed:,} errors on validation"),
            (label, best),
            ("networks", self._counts()),
        ]
        rows[0] = (rows[0][0], rows[0][1] + ("" if seconds is None else f" of {_clock(seconds)}"))
        nodes = at.nodes or [""] * len(at.jobs)
        for number, (job, node) in enumerate(zip(at.jobs[:_MOST_LINES], nodes, strict=False), start=1):
            run = "idle"
            if job is not None:
                name = network_name(job.architecture, analyse(job.architecture, data.task).parameters)
                run = f"trial {job.trial}: {name}, to epoch {job.until_epoch or job.recipe.epochs}"
            rows.append((f"worker {number}" + (f" on {node}" if node else ""), run))
        if len(at.jobs) > _MOST_LINES:
            rows.append(("", f"and {len(at.jobs) - _MOST_LINES} more"))
        shown = Table.grid(padding=(0, 2))
        shown.add_column(style="dim", no_wrap=True)
        shown.add_column(overflow="fold")
        for name, fact in [*rows, ("report", str(self.folder / "report.html"))]:
            shown.add_row(printable(name), Text(printable(fact), style="green" if name == "confirmed" else ""))
        return shown


def _order(miss: NearestMiss) -> tuple[bool, float]:
    return (miss.pruned_after is None, -miss.errors)


def _clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


# The report -------------------------------------------------------------------------------------------------------

# Of the time of a search, and of a watcher's, that goes into the report.
SEARCH_SHARE, _WATCH_SHARE = 0.02, 0.05
# So often the page is written at first, while people watch, whatever its share is.
_SOONEST_SECONDS, _WATCHED_SECONDS = 10.0, 600.0


class LiveReport:
    """Writes the report of a search at once, every ten seconds at first, later in a fiftieth of the search's time."""

    def __init__(
        self,
        told: study.Study,
        place: Workspace,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count; ``say`` tells the person something."""
        self._told, self._place, self._say, self._clock = told, place, say, clock
        self._began = self._due = clock()
        self._is_named = False

    def refresh(self) -> None:
        """Write the report if it is time to; what goes wrong is said once and does not end the search."""
        if (before := self._clock()) < self._due:
            return
        from reports.study_page import write_report

        try:
            path = write_report(self._told.folder, self._place, live=True, study=self._told)
        except Exception as error:
            # A page is not worth a search: whatever is wrong with it will be met again, and raised, at the end.
            self._due = math.inf
            what = error.told if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            self._say(f"the report cannot be written while the search goes on: {what}")
            return
        after = self._clock()
        share = 0.0 if after - self._began < _WATCHED_SECONDS else (after - before) / SEARCH_SHARE
        self._due = after + max(_SOONEST_SECONDS, share)
        if not self._is_named:
            self._is_named = True
            self._say(f"live report: {path}")


def watch(folder: Path, place: Workspace, sleep: Callable[[float], None] = time.sleep) -> None:
    """Keep the report of a study current until no search works on it, or Ctrl-C ends the watching.

    Raises:
        ContentError: a file of the study or the workspace does not hold together.
        UsageError: the folder cannot be written.
    """
    from reports.study_page import write_report

    log, shown = folder / "log.jsonl", 0
    with suppress(KeyboardInterrupt):
        while study.is_owned(folder):
            before = time.perf_counter()
            if (size := log.stat().st_size if log.exists() else -1) != shown:
                shown = size
                write_report(folder, place, live=True)
            # On a small machine the search and its watcher share the cores.
            sleep(max(2.0, (time.perf_counter() - before) / _WATCH_SHARE))
        write_report(folder, place)
