"""A search with progress output, live report and conclusion."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.datasets import DATASETS
from harness.interface import options
from harness.searching.baselines import baseline_networks, trials_beside_baselines
from harness.searching.search_state import Moment, Observer
from harness.searching.time_budget import Effort, least_seconds
from harness.spaces.space import Metric, size_text
from harness.studies import events
from harness.studies.candidate import Candidate, NearestMiss, miss_text
from harness.studies.config import (
    StudyConfig,
    is_locked_by_a_process,
    locked_folder,
    open_study,
    read_config,
    study_exists,
)
from harness.studies.events import Confirmed, Entry, FailedConfirmation, RunEnded, SearchForecast
from harness.studies.log import StudyLog
from harness.studies.study_state import StudyState
from harness.system import clock, doors, statistics
from harness.system.doors import Door
from harness.system.errors import ContentError, HarnessError, UsageError, reason
from harness.system.files import Workspace, check_writable, file_state, held, workspace, write_text
from harness.system.passwords import without_passwords
from harness.system.terminal import DURATION, counted, duration_option, duration_text, say
from harness.system.user_code import Listener
from harness.training.executors.base import WorkerEvent
from harness.training.progress import Progress, seed_line, status_interval_seconds
from harness.training.result import Purpose, Result

if TYPE_CHECKING:
    from harness.evidence.record import Record
    from harness.searching.answer import SearchAnswer
    from harness.searching.plan import SearchPlan
    from harness.searching.request import SearchRequest


# If the start of a user's sampler or of a logger fails, a new study without a log is removed.
_BEFORE_EVENTS = ("config.json", "prior.csv", "tensorboard")

_STORAGE = "storage"  # observer that copies a study to a database


@contextmanager
def planned_search(request: SearchRequest, *, only_plan: bool = False) -> Iterator[SearchPlan]:
    """Plan a search, and print notes and warnings.

    Within the block, idle worker processes and the connection to the cluster of the search are kept.

    Args:
        only_plan: Train nothing, not even to choose a recipe.

    Raises:
        Errors of ``plan_search``; DeviceError if the cluster or the package of a log is not available.
    """
    from harness.searching.plan import on_cluster, plan_search
    from harness.training.executors import clusters
    from harness.training.executors.processes import kept_processes

    for name in request.log:
        if name == _STORAGE:
            raise UsageError("--log storage: a database is chosen by --storage URL")
        _observer(name)
    connect = clusters.connection(request.cluster)
    if request.storage is not None:
        _observer(_STORAGE, "--storage").check(request.storage, with_driver=not only_plan)
    home = workspace()
    # The processes of this machine would compete with the nodes of a cluster.
    with kept_processes() if request.cluster is None else nullcontext(), held(*filter(Path.is_dir, [home.root])):
        plan = plan_search(request, home, recipe_choice="left open" if only_plan else "by training")
        for name in plan.space.unused_names:
            say(f"'net' of the space '{plan.space.name}' does not use {name!r}", "warning")
        shortest_time = least_seconds(plan.data.train_size)
        if request.time < shortest_time:
            warning = f"{duration_text(request.time)} may be too short to train, confirm and verify a network"
            say(f"{warning}; {duration_text(shortest_time)} usually suffice on two cores", "warning")
        integer_metrics = {Metric.WEIGHT_BYTES, Metric.RAM_BYTES, Metric.INSTRUCTIONS_M0, Metric.INSTRUCTIONS_RV32}
        # Metrics of options, chip and space.
        metrics = {*plan.config.minimised, *(condition.metric for condition in plan.space.conditions)}
        if integer_metrics & metrics and plan.training.named_recipe.recipe.precision != "int8":
            recipes = f"recipe {plan.training.named_recipe.name} evaluates floats; recipe small-int8 evaluates integers"
            say(f"bytes and instructions refer to the integer network, but {recipes}")
        cluster_options = clusters.ClusterOptions(request.workers, plan.effort.device, plan.effort.engine)
        with connect(cluster_options) as cluster:
            options.say_training(plan.training.engine, plan.training.named_recipe.recipe, plan.data.train_size)
            yield plan if request.cluster is None else on_cluster(plan, cluster, request.workers)


def run_search_with_progress(
    plan: SearchPlan, request: SearchRequest, *, verbose: bool = False
) -> tuple[SearchAnswer | None, Path]:
    """Run a planned search, verify the winner, and write the report.

    The options of ``request`` are part of the logged command and of the advice. ``verbose`` prints a line for every
    run.

    Returns:
        The answer, None if the search was interrupted, and the path of the report.

    Raises:
        UsageError: A different process works on the study, or a folder cannot be written.
        ContentError: The study exists with a different configuration.
    """
    from harness.evidence.leaderboard_table import collect
    from harness.pages.study_page import write_report
    from harness.searching.answer import SearchAnswer
    from harness.searching.conclude import conclude
    from harness.searching.ending import advise, search_arguments
    from harness.searching.loop import open_search, run_search

    stated_options = _command_options(request)
    # Report damaged evidence and folders that cannot be written before the search.
    collect(plan.workspace)
    for folder in (plan.workspace.root, plan.workspace.records, plan.folder):
        check_writable(folder)
    options.say_left_out(plan.left_out)
    data_folders = filter(Path.is_dir, [plan.workspace.data(plan.config.dataset)])
    with locked_folder(plan.folder, _BEFORE_EVENTS), held(plan.folder, plan.workspace.records, *data_folders):
        state = _opened_state(plan)
        with (
            SearchProgress(plan.config, plan.effort, plan.workspace, verbose=verbose) as progress,
            ExitStack() as stack,
        ):
            observers = [progress, *_listeners(state, request, progress, stack)]
            search = open_search(
                state,
                plan.effort,
                plan.source,
                plan.make_executor,
                baselines=baseline_networks(plan.data.task),
                observers=observers,
                planning_seconds=plan.training.planning_seconds,
                logs_forecast=_is_first_on_user_data(plan),
            )
            # If the sampler or the logger cannot be made, the database gets no study.
            if request.storage is not None:
                progress.show("opening the database")
                make_mirror = _observer(_STORAGE, "--storage")
                search.observe(stack.enter_context(make_mirror(state, progress.say, request.storage)))
            verdict = None
            run_search(search, ["harness", *search_arguments(stated_options)])
            try:
                if not search.interrupted:
                    progress.show("verifying")
                    verdict = conclude(plan, search, progress.on_worker_event, progress.say)
                    if verdict is not None:
                        _write_tryout_page(plan, verdict.record)
            finally:
                if state.ended_runs:
                    # The import of Optuna's storage takes seconds.
                    _observer(_STORAGE, "study.db").write_file(state, plan.folder / "study.db")
            # The advice is an event, too.
            answer = None
            if not search.interrupted:
                obstacle = advise(search, verdict, plan.workspace)
                answer = SearchAnswer(state=state, workspace=plan.workspace, verdict=verdict, obstacle=obstacle)
        return answer, write_report(plan.folder, plan.workspace, state=state)


def _opened_state(plan: SearchPlan) -> StudyState:
    from harness.searching.surrogate.prior import write_prior

    if not study_exists(plan.folder):
        # A study that exists must have a prior, even if the process is killed here.
        write_prior(plan.folder, plan.prior)
    is_new = open_study(plan.folder, plan.config, plan.recorded_origins)
    state = StudyLog(plan.folder).recover_into(StudyState(plan.folder, plan.config))
    _say_begin(plan, None if is_new else state.seconds)
    return state


def _is_first_on_user_data(plan: SearchPlan) -> bool:
    """Return whether this search minimises parameters only and is the first on data of the user.

    Such a user does not know yet which size and time to expect, so the search logs a forecast.
    """
    config = plan.config
    if config.dataset in DATASETS or config.minimised != (Metric.PARAMETERS,):
        return False
    for folder in plan.workspace.studies():
        # Unreadable studies are ignored.
        with suppress(ContentError):
            if folder != plan.folder and read_config(folder).config.dataset == config.dataset:
                return False
    return True


def _write_tryout_page(plan: SearchPlan, record: Record) -> None:
    from harness.data.training_images import load
    from harness.interface.formats import format_of
    from harness.pages.study_page import tryout_page_path

    indices = record.kept_indices(plan.workspace.records)
    if record.recipe.precision != "int8" or not indices or "c" not in doors.names(Door.FORMATS):
        return
    images = load(plan.source.dataset, plan.source.folder)
    page = format_of("c").tryout_page(record, indices[0], plan.workspace, images)
    write_text(tryout_page_path(plan.folder, record), page)


def _observer(name: str, purpose: str = "") -> Any:
    return doors.feature(Door.OBSERVERS, name, purpose or f"the log {name}")


def _listeners(state: StudyState, request: SearchRequest, progress: Progress, stack: ExitStack) -> Iterator[Observer]:
    """Yield the observers of ``--log`` and ``on_event``; closing each waits up to 30 s (``Listener.close``)."""
    for name in dict.fromkeys(request.log):
        progress.show(f"opening the log {name}")
        try:
            observer = _observer(name)(state, progress.say, "")
        except HarnessError:
            raise
        except Exception as error:
            raise UsageError(f"--log {name} failed: {type(error).__name__}: {reason(error)}") from error
        yield stack.enter_context(observer)
    if request.on_event is not None:
        name = getattr(request.on_event, "__name__", type(request.on_event).__name__)
        yield stack.enter_context(Listener(f"on_event {name}", request.on_event, progress.say))


def _command_options(request: SearchRequest) -> dict[str, tuple[str, ...]]:
    """Return the stated arguments of a request: values as text by flag, several values for a repeated option.

    Values of environment variables are left out, because the variables are set for the repeated command too.
    """
    stated_options: dict[str, tuple[str, ...]] = {}
    for option, source in request.sources.items():
        if option.group is None or source not in ("commandline", "call"):
            continue
        flag = option.flags[0]
        value = getattr(request, option.name)
        if value is None:
            value = option.default  # such as ``auto``, which stands for None
        if value is None:
            continue
        if isinstance(value, tuple):
            texts = tuple(map(str, value))
            stated_options[flag] = texts if option.multiple else (",".join(texts),)
        elif option.kind is DURATION:
            stated_options[flag] = (duration_option(value),)
        else:
            text = f"{value:.12g}" if isinstance(value, float) else str(value)
            stated_options[flag] = (without_passwords(text),)
    return stated_options


def _say_begin(plan: SearchPlan, seconds_used: float | None) -> None:
    from harness.evidence.bounds import group_warning

    config = plan.config
    limit = "no time limit" if plan.effort.seconds is None else duration_text(plan.effort.seconds)
    used_text = "" if seconds_used is None else f", {duration_text(seconds_used)} used"
    say(f"{'new' if seconds_used is None else 'resuming'} study {plan.folder.name} in {plan.folder}")
    target = f"target {config.target_pct:g} % on {plan.data.title} ({config.threshold_text} on validation images)"
    say(f"{target}; at most {config.bounds_text}; {limit}{used_text}")
    if warning := group_warning(plan.data):
        say(warning, "warning")


_SEARCH_REPORT_SHARE = 0.02  # of the time of a search for writing reports
_WATCH_REPORT_SHARE = 0.05  # of the time of ``harness report --watch`` for writing reports
_REPORT_INTERVAL_SECONDS = 20.0  # s, between reports, which take 0.5 s (diary 180)
_UNLIMITED_SECONDS = 600.0  # s, age of a session up to which ``_SEARCH_REPORT_SHARE`` is not a limit
_WATCH_INTERVAL_SECONDS = 2.0  # s, pause between two looks of ``harness report --watch`` at the log


class SearchProgress(Progress):
    """Progress output of a search: a status bar, a line per event, and the live report; a context manager.

    The report is written at the first tick, then at most every 20 s, and after ten minutes in at most 2 % of the time.
    """

    def __init__(
        self, config: StudyConfig, effort: Effort, workspace: Workspace | None = None, *, verbose: bool = False
    ) -> None:
        """Create the output before the first event of the search.

        Args:
            workspace: Workspace of the report; None writes no report.
            verbose: Print the end of every run, not only of failed runs.
        """
        super().__init__(effort.seconds, "s")
        self.config = config
        self.effort = effort
        self.verbose = verbose
        self.workspace = workspace
        self._report_due = self._began
        self._report_path = Path()
        self._moment: Moment | None = None
        self._ticked = clock.now()
        self._last_line_seconds = -math.inf
        # (the run completed, -errors): a completed run ranks above a pruned run.
        self._nearest_rank = (False, -math.inf)
        self._last_ended_trial: int | None = None
        # Trials refuted while a further seed, which may still confirm the network, was training.
        self._postponed_refutations: set[int] = set()

    def say(self, line: str, style: str = "") -> None:
        """Print a line that begins with the search time of all sessions, minutes and seconds."""
        elapsed = 0.0 if self._moment is None else self._moment.elapsed
        seconds = max(0, round(elapsed + clock.now() - self._ticked))
        super().say(f"{seconds // 60}:{seconds % 60:02d}  {line}", style)

    def on_tick(self, moment: Moment) -> None:
        """Update the bar, or print a status line at intervals; print each new nearest miss."""
        # An idle worker would wait up to some seconds for the report.
        is_changing = self._moment is None or moment.running != self._moment.running
        has_waiting_worker = is_changing and moment.running < len(moment.jobs)
        self._moment, self._ticked = moment, clock.now()
        limit = math.inf if self.effort.seconds is None else self.effort.seconds
        nearest = moment.state.nearest
        text = self._bar_text(moment, nearest)
        self.show(text, done=min(moment.elapsed, limit))
        is_line_due = moment.elapsed - self._last_line_seconds >= status_interval_seconds(moment.elapsed)
        has_line = is_line_due and not self.is_drawn
        if has_line:
            self._last_line_seconds = moment.elapsed
            self.say(text)
        if nearest is not None:
            rank = (nearest.rung is None, -nearest.errors)
            # Not needed if an incumbent exists, or if the status line has just named this miss.
            if rank > self._nearest_rank and moment.incumbent is None and not has_line:
                self.say(f"nearest: {miss_text(nearest, self.config.minimised[0])}")
            self._nearest_rank = max(rank, self._nearest_rank)
        if not has_waiting_worker:
            self._write_report()

    def _bar_text(self, moment: Moment, nearest: NearestMiss | None) -> str:
        nearest_text = "none" if nearest is None else miss_text(nearest, self.config.minimised[0])
        text = f"nearest: {nearest_text}" if moment.incumbent is None else f"confirmed {self._size(moment.incumbent)}"
        text += f"; {moment.state.trained_count:,} trained, {moment.state.rejected.total():,} rejected"
        if self.effort.trials is not None:
            count = trials_beside_baselines(moment.state.candidates.values())
            text += f", {count:,} of {self.effort.trials:,} trials"
        return f"{text}; {moment.running} running"

    def on_entry(self, state: StudyState, entry: Entry[events.Event]) -> None:
        """Print failed runs (all runs if ``verbose``), confirmations, failed confirmations and the forecast."""
        match event := entry.event:
            case RunEnded(run=run) if run.trial is not None:
                self._last_ended_trial = run.trial
                candidate = state.candidates[run.trial]
                self._say_end(candidate, run)
                if run.trial in self._postponed_refutations:
                    self._postponed_refutations.discard(run.trial)
                    if candidate.is_refuted:
                        self._say_or_postpone_refutation(candidate)
            # An earlier confirmation is logged again if a smaller network was refuted.
            case Confirmed() if event.trial == self._last_ended_trial:
                candidate = state.candidates[event.trial]
                limit = "" if event.budget is None else f"; new budget {event.budget:,}"
                self.say(f"confirmed: {self._size(candidate)}, {_fresh_text(candidate)}{limit}", "green")
            case SearchForecast():
                from harness.searching.forecast import forecast_lines

                self.say("; ".join(forecast_lines(event, self.config.budget)))
            case FailedConfirmation():
                self._say_or_postpone_refutation(state.candidates[event.trial])
            case _:
                pass

    def _size(self, candidate: Candidate) -> str:
        size = size_text(candidate.proposal.parameters, candidate.costs, self.config.minimised)
        return f"{size} ({candidate.proposal.hash[:6]})"

    def _say_end(self, candidate: Candidate, run: Result) -> None:
        if not self.verbose and run.status.ended_without_failure:
            return
        kind = "first run" if run.purpose is Purpose.SEARCH else f"fresh seed {run.seed_index}"
        accuracy = run.validation_accuracy_pct
        accuracy_text = "" if accuracy is None else f"{accuracy:.2f} % on validation images"
        outcome = ", ".join(filter(None, (accuracy_text, run.message)))
        network = f"trial {run.trial}, {self._size(candidate)}, {kind}"
        self.say(f"{network}: {run.status}, {outcome}, {run.train_seconds:.0f} s")

    def _say_or_postpone_refutation(self, candidate: Candidate) -> None:
        """A further seed of the network that is training may still confirm."""
        trial = candidate.proposal.trial
        # As of the last tick, with the job that has just ended.
        jobs = () if self._moment is None else self._moment.jobs
        training_seeds = {job.seed_index for job in jobs if job is not None and job.trial == trial}
        if training_seeds - {run.seed_index for run in candidate.fresh_runs}:
            self._postponed_refutations.add(trial)
            return
        verb = "no longer" if self._moment is not None and candidate is self._moment.incumbent else "not"
        chance = f"passes a verification with a probability of {math.floor(100 * candidate.chance_to_verify)} %"
        seed_text = counted(candidate.confirm_seeds, "seed")
        chance += f", required: {100 * candidate.confidence:.0f} % on at least {seed_text}"
        self.say(f"{verb} confirmed: {self._size(candidate)}, {_fresh_text(candidate)}; {chance}")

    def on_worker_event(self, event: WorkerEvent) -> None:
        """Print an event of the winner's verification, and update the report."""
        self.say(seed_line(event))
        self._write_report()

    def _write_report(self) -> None:
        before = time.monotonic()
        if self.workspace is None or self._moment is None or before < self._report_due:
            return
        from harness.pages.study_page import write_report

        state = self._moment.state
        try:
            path = write_report(state.folder, self.workspace, live=True, state=state)
        except Exception as error:
            # The final report raises the same error.
            self._report_due = math.inf
            reason = error.one_line if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            self.say(f"cannot update the live report: {reason}")
            return
        after = time.monotonic()
        pause = 0.0 if after - self._began < _UNLIMITED_SECONDS else (after - before) / _SEARCH_REPORT_SHARE
        self._report_due = after + max(_REPORT_INTERVAL_SECONDS, pause)
        if path != self._report_path:
            self._report_path = path
            self.say(f"live report: {path}")


def _fresh_text(candidate: Candidate) -> str:
    return f"{statistics.mean(candidate.fresh_pct):.2f} % ({counted(len(candidate.fresh_runs), 'seed')})"


def watch(folder: Path, workspace: Workspace, sleep: Callable[[float], None] = time.sleep) -> None:
    """Keep the report of a study up to date until no search works on the study, or until Ctrl-C; write a last report.

    ``sleep`` waits a number of seconds.
    """
    from harness.pages.study_page import write_report

    log = folder / "log.jsonl"
    reported_state: tuple[int, int] | None = (0, 0)  # of the log in the last report; a study may have no log yet
    with suppress(KeyboardInterrupt):
        while is_locked_by_a_process(folder):
            before = time.perf_counter()
            state = file_state(log)
            if state != reported_state:
                reported_state = state
                write_report(folder, workspace, live=True)
            # Search and watcher may share the cores of a small machine.
            sleep(max(_WATCH_INTERVAL_SECONDS, (time.perf_counter() - before) / _WATCH_REPORT_SHARE))
        write_report(folder, workspace)
