"""A search with all that people see of it: its progress, its report while it goes on, and its end.

Progress is a line an event, below them a bar; where no bar can be drawn, a line from time to time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.interface import options
from harness.interface.logs import log_of
from harness.interface.lookup import networks_of
from harness.searching.state import Moment, Observer
from harness.searching.time_budget import Effort, least_seconds
from harness.studies import config as study
from harness.studies import events
from harness.studies.candidate import Candidate, miss_text
from harness.studies.config import StudyConfig
from harness.studies.events import Confirmed, Entry, FailedConfirmation, RunEnded
from harness.studies.log import StudyLog
from harness.studies.mirror import check_url, hidden
from harness.studies.state import StudyState
from harness.system import statistics
from harness.system.errors import HarnessError
from harness.system.files import Workspace, check_writable, workspace
from harness.system.terminal import busy, counted, duration_option, duration_text, say
from harness.system.user_code import Listener
from harness.training.executors.base import Event
from harness.training.progress import Reporter, plain_seconds, seed_line
from harness.training.result import Purpose, Result, Status
from search_spaces.space import size_text

if TYPE_CHECKING:
    from harness.searching.advice import Outcome
    from harness.searching.plan import SearchPlan
    from harness.searching.request import SearchRequest
    from harness.studies.mirror import Mirror


# These decide nothing of what a study does, but for a chip, whose limits the text of the space has.
_UNRECORDED = ("storage", "log", "on_event", "chip")


@contextmanager
def planned_search(
    request: SearchRequest, origins: Mapping[str, str], *, only_plan: bool = False
) -> Iterator[SearchPlan]:
    """Plan a search, and be connected to its cluster for the block.

    Args:
        origins: by name of an argument, who has set it.
        only_plan: nothing is trained, not even to choose a recipe.
    """
    from harness.searching.plan import make_plan, on_cluster
    from harness.searching.resolve import choose_recipe, read_data, resolve
    from harness.training.executors.ray import executor_at

    if request.storage is not None:
        check_url(request.storage)
    known = () if request.start_from is None else networks_of(request.start_from, workspace())
    with busy("reading the images"):
        resolved = resolve(request, workspace())
        resolved = read_data(resolved)
    if resolved.recipe is None and not only_plan:
        with busy("choosing an augmentation"):
            resolved = choose_recipe(resolved)
    recorded = {name: origin for name, origin in origins.items() if name not in _UNRECORDED}
    with busy("reading past runs"):
        plan = make_plan(resolved, recorded, known)
    for name in plan.space.unused:
        say(f"'net' of the space '{plan.space.name}' does not use {name!r}", "warning")
    least = least_seconds(plan.data.train_size)
    if request.time < least:
        enough = f"{duration_text(least)} are usually enough on two cores"
        limit = duration_text(request.time)
        say(f"{limit} may be too short to train, confirm and verify a network; {enough}", "warning")
    device, engine = plan.effort.device, plan.effort.engine
    with executor_at(request.cluster, request.workers, device=device, engine=engine) as executor_of:
        options.say_training(plan.engine, plan.recipe.recipe, plan.space.task, plan.workspace.teachers)
        yield plan if request.cluster is None else on_cluster(plan, executor_of, request.workers)


def search_shown(
    plan: SearchPlan,
    chosen: Mapping[str, Any],
    command: Sequence[str] = (),
    *,
    verbose: bool = False,
    on_event: Callable[[events.Event], object] | None = None,
) -> tuple[Outcome | None, Path]:
    """Search as planned, verify the winner, and return the outcome, None where somebody ended it, and the report.

    Args:
        chosen: what ``harness.search`` was given beside its defaults, for what is advised.
        command: as it stands in the log; that which does the same, where there was none.
        on_event: is told each event of the study, on a thread of its own.
    """
    from harness.evidence.leaderboard import collect
    from harness.searching.advice import outcome_of, search_words
    from harness.searching.conclude import conclude
    from harness.searching.loop import open_search, run_search
    from harness.searching.surrogate.past import write_prior
    from reports.study_page import write_report

    typed = _typed(chosen)
    config = plan.config
    # Find out now, not after an hour, that results cannot be written or the standings cannot be read.
    collect(plan.workspace)
    for folder in (plan.workspace.root, plan.workspace.records, plan.folder):
        check_writable(folder)
    options.say_left_out(plan.left_out)
    with study.owned(plan.folder), _mirrored(plan, chosen.get("storage")) as mirror:
        if not (plan.folder / "config.json").exists():
            write_prior(plan.folder, plan.past)
        fresh = study.open_study(plan.folder, config, plan.origins)
        state = StudyLog(plan.folder).take_up(StudyState(plan.folder, config))
        _say_begin(plan, None if fresh else state.seconds)
        with (
            SearchReporter(config, plan.effort, plan.workspace, verbose=verbose) as progress,
            _listening(state, on_event, chosen.get("log"), progress.say) as listeners,
        ):
            observers: list[Observer] = [progress, *listeners]
            if mirror is not None:
                mirror.say = progress.say
                observers.append(mirror)
            search = open_search(
                state,
                plan.effort,
                plan.source,
                plan.executor_of,
                observers=observers,
                planned_seconds=plan.planned_seconds,
            )
            verdict = None
            run_search(search, list(command) or ["harness", *search_words(typed)])
            if not search.interrupted:
                progress.show("verifying")
                verdict = conclude(plan, search, progress.on_event, progress.say)
        end = None if search.interrupted else outcome_of(plan, search, verdict, typed)
        return end, write_report(plan.folder, plan.workspace, state=state)


class _EventListener:
    """Has a person's function, or a log, called with each event of a search, on a thread of its own."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    def on_entry(self, state: StudyState, entry: Entry[events.Event]) -> None:
        self.listener.tell(entry.event)

    def on_tick(self, moment: Moment) -> None:
        pass


@contextmanager
def _listening(
    state: StudyState,
    on_event: Callable[[events.Event], object] | None,
    log_kind: str | None,
    say: Callable[[str], None],
) -> Iterator[list[_EventListener]]:
    """Yield what tells the events of the block, and wait at its end until all of them are told."""
    log = None
    if log_kind is not None:
        log = log_of(log_kind, state.folder, [entry.event for entry in state.entries])
    listeners = [Listener(function, say) for function in (on_event, log) if function is not None]
    try:
        yield [_EventListener(listener) for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()
        if log is not None:
            log.close()


def _typed(chosen: Mapping[str, Any]) -> dict[str, str]:
    """Return arguments as options of the command line, each with its value as it is typed."""
    typed = {}
    for name, value in chosen.items():
        flag = options.flag(name)
        if isinstance(value, tuple):
            between = f" {flag} " if name == "minimise" else ","
            typed[flag] = between.join(map(str, value))
        elif name in ("time", "trial_time"):
            typed[flag] = duration_option(value)
        else:
            typed[flag] = hidden(f"{value:.12g}" if isinstance(value, float) else str(value))
    return typed


def _say_begin(plan: SearchPlan, seconds_used: float | None) -> None:
    """Say what is searched for, and how long a study that is resumed was worked on; None for a new one."""
    config = plan.config
    limit = "no time limit" if plan.effort.seconds is None else duration_text(plan.effort.seconds)
    used = "" if seconds_used is None else f", {duration_text(seconds_used)} used"
    say(f"{'new' if seconds_used is None else 'resuming'} study {plan.folder.name} in {plan.folder}")
    say(
        f"target {config.target_pct:g} % on {plan.data.title} ({config.threshold_pct:.2f} % on "
        f"validation images); at most {config.bounds_text}; {limit}{used}"
    )


def _mirrored(plan: SearchPlan, storage: str | None) -> AbstractContextManager[Mirror | None]:
    if storage is None:
        return nullcontext()
    from harness.studies.mirror import Mirror

    if (plan.folder / "config.json").exists():
        study.check_config(plan.folder, plan.config)
    with busy("opening the database"):
        return Mirror(plan.folder.name, plan.config, storage, say)


# Of the time of a search, and of a watcher's, that goes into the report.
SEARCH_SHARE, _WATCH_SHARE = 0.02, 0.05
# So often the page is written at first, while people watch, whatever its share is.
_SOONEST_SECONDS, _WATCHED_SECONDS = 10.0, 600.0


class SearchReporter(Reporter):
    """Shows a search while it goes on: its time, a line an event, and its report; use it as a context manager.

    The report is written at once, every ten seconds at first, later in a fiftieth of the search's time.
    """

    def __init__(
        self, config: StudyConfig, effort: Effort, workspace: Workspace | None = None, *, verbose: bool = False
    ) -> None:
        """Start at nothing done.

        Args:
            workspace: of the report; None for no report.
            verbose: says how every training ended, not only what changes the answer.
        """
        super().__init__(effort.seconds, "s")
        self.config = config
        self.effort = effort
        self.verbose = verbose
        self.workspace = workspace
        self._due, self._path = self._began, Path()
        # Where the search was when the clock ticked.
        self._at: Moment | None = None
        self._ticked = time.monotonic()
        self._stated = -math.inf
        self._told = (False, -math.inf)
        # The trial whose run ended last.
        self._trial: int | None = None
        # Networks that have failed while another seed of theirs, which may confirm them, is still training.
        self._open: set[int] = set()

    def say(self, line: str, style: str = "") -> None:
        """Print one line with the time of all sessions of the search."""
        elapsed = 0.0 if self._at is None else self._at.elapsed
        seconds = max(0, round(elapsed + time.monotonic() - self._ticked))
        super().say(f"{seconds // 60}:{seconds % 60:02d}  {line}", style)

    def on_tick(self, moment: Moment) -> None:
        """Take note of where the search is; without a bar say it from time to time."""
        self._at, self._ticked = moment, time.monotonic()
        config = self.config
        effort = self.effort
        near = moment.state.nearest
        if moment.standing is not None:
            best = f"confirmed {self._size(moment.standing)}"
        else:
            best = f"nearest {'none yet' if near is None else miss_text(near, config.minimised[0])}"
        trained = f"{moment.state.trained:,}" + ("" if effort.trials is None else f" of {effort.trials:,}")
        running = sum(job is not None for job in moment.jobs)
        words = f"{best}; {trained} trained, {moment.state.rejected.total():,} rejected; {running} running"
        # One that was read to its end is nearer than one that was pruned.
        order = (False, -math.inf) if near is None else (near.pruned_after is None, -near.errors)
        is_news = moment.standing is None and order > self._told
        self._told = max(order, self._told)
        self.show(words, done=moment.elapsed if effort.seconds is None else min(moment.elapsed, effort.seconds))
        if not self.is_drawn and moment.elapsed - self._stated >= plain_seconds(moment.elapsed):
            self._stated, is_news = moment.elapsed, False
            self.say(words)
        if is_news and near is not None:
            self.say(f"nearest: {miss_text(near, config.minimised[0])}")
        self._write_report()

    def on_entry(self, state: StudyState, entry: Entry[events.Event]) -> None:
        """Say how a run has ended, if it decides about its network or went wrong."""
        match event := entry.event:
            case RunEnded(run=run) if run.trial is not None:
                self._trial = run.trial
                candidate = state.candidates[run.trial]
                self._say_end(candidate, run)
                if run.trial in self._open:
                    self._open.discard(run.trial)
                    if candidate.is_refuted:
                        self._say_refuted(candidate)
            case Confirmed() if event.trial == self._trial:
                candidate = state.candidates[event.trial]
                limit = "" if event.budget is None else f"; budget now {event.budget:,}"
                self.say(f"confirmed: {self._size(candidate)}, {_fresh_text(candidate)}{limit}", "green")
            case FailedConfirmation():
                self._say_refuted(state.candidates[event.trial])
            case _:
                pass

    def _size(self, candidate: Candidate) -> str:
        return size_text(candidate.proposal.parameters, candidate.costs, self.config.minimised)

    def _say_end(self, candidate: Candidate, run: Result) -> None:
        if not self.verbose and run.status in (Status.COMPLETE, Status.PRUNED):
            return
        kind = "first run" if run.purpose is Purpose.SEARCH else f"fresh seed {run.seed_index}"
        accuracy = run.validation_accuracy_pct
        reached = "" if accuracy is None else f"{accuracy:.2f} % validation"
        outcome = ", ".join(filter(None, (reached, run.message)))
        network = f"trial {run.trial} ({self._size(candidate)}, {kind})"
        self.say(f"{network}: {run.status}, {outcome}, {run.train_seconds:.0f} s")

    def _say_refuted(self, candidate: Candidate) -> None:
        trial = candidate.proposal.trial
        # The jobs are those of before this run's end, so it is still among them.
        jobs = () if self._at is None else self._at.jobs
        begun = {job.seed_index for job in jobs if job is not None and job.trial == trial}
        if begun - {run.seed_index for run in candidate.fresh}:
            self._open.add(trial)
            return
        has_stood = self._at is not None and candidate is self._at.standing
        fallen = "no longer" if has_stood else "not"
        threshold = f"unlikely to hold {self.config.threshold_pct:.2f} %"
        self.say(f"{fallen} confirmed: {self._size(candidate)}, {_fresh_text(candidate)}; {threshold}")

    def on_event(self, event: Event) -> None:
        """Show what a worker has reported about the verification of the winner."""
        self.say(seed_line(event))
        self._write_report()

    def _write_report(self) -> None:
        before = time.monotonic()
        if self.workspace is None or self._at is None or before < self._due:
            return
        from reports.study_page import write_report

        state = self._at.state
        try:
            path = write_report(state.folder, self.workspace, live=True, state=state)
        except Exception as error:
            # A page is not worth a search: whatever is wrong with it will be met again, and raised, at the end.
            self._due = math.inf
            what = error.told if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            self.say(f"the report cannot be written while the search goes on: {what}")
            return
        after = time.monotonic()
        share = 0.0 if after - self._began < _WATCHED_SECONDS else (after - before) / SEARCH_SHARE
        self._due = after + max(_SOONEST_SECONDS, share)
        if path != self._path:
            self._path = path
            self.say(f"live report: {path}")


def _fresh_text(candidate: Candidate) -> str:
    return f"{statistics.mean(candidate.fresh_pct):.2f} % ({counted(len(candidate.fresh), 'seed')})"


def watch(folder: Path, workspace: Workspace, sleep: Callable[[float], None] = time.sleep) -> None:
    """Keep the report of a study current until no search works on it, or Ctrl-C ends the watching."""
    from reports.study_page import write_report

    log, size_written = folder / "log.jsonl", 0
    with suppress(KeyboardInterrupt):
        while study.is_owned(folder):
            before = time.perf_counter()
            if (size := log.stat().st_size if log.exists() else -1) != size_written:
                size_written = size
                write_report(folder, workspace, live=True)
            # On a small machine the search and its watcher share the cores.
            sleep(max(2.0, (time.perf_counter() - before) / _WATCH_SHARE))
        write_report(folder, workspace)
