"""Objects returned by the functions of ``import harness``.

``str`` of an object is text for people, ``document()`` returns JSON values, and notebooks show HTML.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.spaces.catalog import network_name
from harness.spaces.chips import Fit
from harness.spaces.network import Analysis, Architecture
from harness.spaces.ops import Op, Role, Shape, shape_text
from harness.spaces.space import Metric, measured, size_text
from harness.system import statistics
from harness.system.document import document_of
from harness.system.errors import as_command
from harness.system.files import Workspace
from harness.system.terminal import aligned, counted, duration_text

if TYPE_CHECKING:
    from typing import TypeAlias

    from matplotlib.figure import Figure
    from torch import nn

    from harness.evidence.leaderboard_table import Verification
    from harness.evidence.record import Record
    from harness.searching.ending import Ending
    from harness.searching.probes import Curve, ProbeForecast
    from harness.studies.candidate import Candidate
    from harness.studies.config import StudyConfig
    from harness.studies.events import Verified as VerifiedEvent
    from harness.training.crosscheck import Counts
    from harness.training.pixels import RawInputNetwork
    from harness.training.recipe import Recipe
    from harness.training.result import Result
    from harness.training.user_modules.execution import ModulePart

    # A text is read by ``harness.interface.lookup``.
    NetworkLike: TypeAlias = "str | Architecture | Trial | Study | nn.Module | type[nn.Module]"


class _TextResult:
    __slots__ = ()

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


@dataclass(frozen=True, slots=True)
class Explanation(_TextResult):
    """A network with an analysis.

    Attributes:
        checks: Counts of torch, torchsummary and fvcore; None if not requested.
        fit: Flash, RAM and time of the network on a chip; None if no chip was named.
        parts: Layers of a PyTorch module outside of the notation; else empty.
    """

    architecture: Architecture
    analysis: Analysis
    checks: Counts | None = None
    fit: Fit | None = None
    parts: tuple[ModulePart, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the content as plain JSON values.

        Of a PyTorch module only parameters and MACs are known; the remaining metrics and the receptive field are None.
        """
        document: dict[str, Any] = {
            "architecture": str(self.architecture),
            "hash": self.architecture.hash,
            "stored_numbers": self.analysis.stored_numbers,
        }
        layers = [asdict(layer) | {"op": str(layer.op)} for layer in self.analysis.costed_ops]
        if self.architecture.user_module is None:
            document |= {metric.value: measured(self.analysis, metric) for metric in Metric}
        else:
            document |= dict.fromkeys(map(str, Metric))
            document |= {"parameters": self.analysis.parameters, "macs": self.analysis.macs}
            layers = [layer | {"receptive_field": None} for layer in layers]
        document["layers"] = layers
        if self.checks is not None:
            document["checks"] = asdict(self.checks)
        if self.fit is not None:
            document["chip"] = self.fit.document()
        if self.parts:
            document["parts"] = [asdict(part) for part in self.parts]
        return document

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield (op, output shape, parameters, MACs, receptive field) as text for each op, and a row of totals.

        A residual sum has a row of totals, indented rows of the ops and a closing bracket. The parameters of a kernel
        that an earlier op stores are ``shared``. A PyTorch module has a row per layer, without receptive fields.
        """
        total = self.analysis
        if self.architecture.user_module is not None:
            for part in self.parts:
                shape_of_part = shape_text(part.output_shape)
                yield f"{part.name} {part.kind}", shape_of_part, f"{part.parameters:,}", f"{part.macs:,}", ""
            yield "total", "", f"{total.parameters:,}", f"{total.macs:,}", ""
            return
        stored_ties: set[str] = set()
        shape: Shape = total.task.input_shape
        for layer in total.costed_ops:
            op = layer.op
            is_sum = op.role is Role.SUM
            title = "res(" if is_sum else str(op)
            parameters = _parameters_text(op, layer.parameters, stored_ties)
            yield title, shape_text(layer.output_shape), parameters, f"{layer.macs:,}", str(layer.receptive_field)
            if is_sum:
                yield from _rows_of_sum(op, shape, stored_ties, "")
            shape = layer.output_shape
        # The field before global pooling or the classifier.
        yield "total", "", f"{total.parameters:,}", f"{total.macs:,}", str(total.receptive_field)

    def __str__(self) -> str:
        table = [("op", "output", "parameters", "MACs", "receptive field"), *self.rows()]
        lines = aligned(table, "<>")
        stored_count = self.analysis.stored_numbers
        name = network_name(self.architecture, self.analysis.parameters)
        lines.append(f"{name}, hash {self.architecture.hash}; {stored_count:,} numbers with the statistics of BN")
        if self.fit is not None:
            lines.append(str(self.fit))
        if self.checks is not None:
            counts = ", ".join(f"{library} {number:,}" for library, number in asdict(self.checks).items())
            lines.append(f"counted: {counts}")
        return "\n".join(lines)


def _rows_of_sum(residual: Op, shape: Shape, stored_ties: set[str], indent: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the ops inside a residual sum with the input ``shape``, and a closing bracket.

    A sum inside the sum has no figures.
    """
    for op in residual.ops:
        output = op.shape(shape)
        title = f"{indent}  {'res(' if op.role is Role.SUM else op}"
        if op.role is Role.SUM:
            yield title, shape_text(output), "", "", ""
            yield from _rows_of_sum(op, shape, stored_ties, f"{indent}  ")
        else:
            parameters, macs = op.cost(shape)
            if op.tie in stored_ties:
                parameters -= math.prod(op.tied_shape(shape) or (0,))
            yield title, shape_text(output), _parameters_text(op, parameters, stored_ties), f"{macs:,}", ""
        shape = output
    yield f"{indent})", "", "", "", ""


def _parameters_text(op: Op, parameters: int, stored_ties: set[str]) -> str:
    is_shared = op.tie in stored_ties and op.role is Role.CONVOLUTION
    if op.tie is not None:
        stored_ties.add(op.tie)
    return "shared" if is_shared else f"{parameters:,}"


@dataclass(frozen=True, slots=True)
class Trained(_TextResult):
    """A training of a network on the search split.

    Attributes:
        result: Validation accuracy, history, times and weight digest of the run.
        module: The trained network, as returned by ``harness.load``.
    """

    result: Result
    module: RawInputNetwork

    @property
    def accuracy_pct(self) -> float | None:
        """Validation accuracy after the last epoch; None if no validation errors were counted."""
        return self.result.validation_accuracy_pct

    def document(self) -> dict[str, Any]:
        """Return the content as plain JSON values."""
        result = self.result
        fields = (
            *("hash", "parameters", "macs", "recipe_hash", "dataset", "seed", "seed_index", "status", "message"),
            *("validation_accuracy_pct", "validation_errors", "validation_soft_errors", "validation_loss"),
            *("validation_size", "train_seconds", "teacher_seconds"),
            *("images_per_second", "peak_memory_mb", "weights_sha256"),
        )
        return {field: getattr(result, field) for field in fields} | {
            "architecture": str(result.architecture),
            "recipe": result.recipe_name,
            "epochs": result.trained_epochs,
            "history": [asdict(epoch) for epoch in result.history],
            "environment": asdict(result.environment) if result.environment else None,
        }

    def __str__(self) -> str:
        result = self.result
        validation = result.required_validation
        environment = result.environment
        machine = "" if environment is None else f" on {environment.device} ({environment.engine})"
        lines = [
            str(result.architecture),
            f"hash {result.hash}, {result.parameters:,} parameters; {result.dataset}, recipe {result.recipe_name}, "
            f"seed {result.seed_index}",
            f"validation accuracy {validation.accuracy_pct:.2f} % "
            f"({counted(validation.wrong, 'error')} of {validation.images:,}) "
            f"after {counted(result.trained_epochs, 'epoch')}",
            f"{result.train_seconds:.1f} s{machine}, {result.images_per_second:,.0f} images per second",
        ]
        if result.message:
            lines.append(f"{result.status}: {result.message}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Quote(_TextResult):
    """Forecast of a search, from a few networks trained beforehand: ``probed``, with the plan."""

    probed: ProbeForecast

    @property
    def parameters(self) -> tuple[int | None, int | None, int | None]:
        """Parameters of the answer: quantiles of 5, 50 and 95 %; None if no network is expected to reach the target."""
        return self.probed.forecast.parameters

    @property
    def seconds(self) -> tuple[float, float, float]:
        """Seconds of the search, verification included: low, usual and high estimate."""
        return self.probed.forecast.seconds

    def document(self) -> dict[str, Any]:
        """Return the content as plain JSON values."""
        from harness.searching.baselines import linear_document

        probed = self.probed
        config = probed.plan.config
        return {
            **{
                field: getattr(config, field) for field in ("dataset", "budget", "target_pct", "threshold_pct", "space")
            },
            "recipe": config.recipe_name,
            **document_of(probed.forecast),
            "linear": linear_document(probed.linear),
            "curve": None if probed.curve is None else asdict(probed.curve),
            "trained": probed.trained,
            "probe_seconds": round(probed.seconds, 1),
        }

    def __str__(self) -> str:
        from harness.searching.baselines import linear_lines
        from harness.searching.forecast import forecast_lines

        probed = self.probed
        config = probed.plan.config
        low, median, high = probed.forecast.accuracy_pct
        lines = [
            f"target {config.target_pct:g} % on {probed.plan.data.title} ({config.threshold_text} on validation)",
            *forecast_lines(probed.forecast, config.budget),
            f"highest predicted validation accuracy: {median:.2f} % (90 % interval: {low:.2f} to {high:.2f})",
        ]
        lines += [*linear_lines(probed.linear), _curve_line(probed.curve)]
        if sizes := probed.plan.data.validation_group_sizes:
            lines.append(_groups_line(len(sizes), config))
        training_text = f"{counted(probed.trained, 'network')} trained in {duration_text(probed.seconds)}"
        return "\n".join([*lines, f"{training_text}, recipe {config.recipe_name}; the test set was not read"])


def _groups_line(count: int, config: StudyConfig) -> str:
    if config.groups is None:
        return f"{count} validation groups decide; new groups may require larger networks"
    points = (100 - config.target_pct) * config.groups.mean_share
    return (
        f"limit: with {count} groups in {config.group_folds} folds, the mean accuracy over unseen groups is known to "
        f"+-{points:.1f} points at the target (one standard error, usual spread between groups)"
    )


def _curve_line(curve: Curve | None) -> str:
    if curve is None:
        return "more pictures or more parameters: not compared, the time was too short"
    small, large = curve.parameters
    # A change of 0 is printed as +0. Errors may also increase.
    pictures = f"{0 - curve.pictures_fall_pct:+g} % (+-{curve.pictures_deviation_pct:g}) with twice as many pictures"
    parameters = f"{0 - curve.parameters_fall_pct:+g} % (+-{curve.parameters_deviation_pct:g}) with {large:,} "
    parameters += f"instead of {small:,} parameters"
    verdict = {
        "pictures": "more pictures help more than more parameters",
        "parameters": "more parameters help more than more pictures",
        "both": "more pictures and more parameters help equally",
        "chance": "the difference between more pictures and more parameters is within the noise",
    }
    return f"{verdict[curve.more]}: the errors change by {pictures}, and by {parameters}"


@dataclass(frozen=True, slots=True)
class Exported(_TextResult):
    """The files of an exported network.

    Attributes:
        facts: The JSON document that ``harness export --json`` prints.
        texts: The check of each format, such as "3 errors on 100 training images".
    """

    facts: Mapping[str, Any]
    texts: tuple[str, ...]

    def __str__(self) -> str:
        # By the value of ``harness.evidence.record.match``, or ``repeated`` for kept weights of a repeated training.
        facts = self.facts
        comparison = {
            "identical": "identical to the record, bit for bit",
            "repeated": "from a repeated training on a different processor: recorded errors, different last bits",
            "different": "NOT identical to the record, although machine and engine are equal: please report this",
            "made elsewhere": f"not comparable, the recorded weights are from {facts['recorded_engine']}",
            "not on record": "not compared, no record has this seed",
        }
        source = "weights of the record"
        if facts["trained"]:
            source = f"{counted(facts['epochs'], 'epoch')} in {facts['train_seconds']:.0f} s ({facts['engine']})"
        test_set = "not read"
        if any("test_images" in file for file in facts["files"]):
            test_set = "copied, a logged read"
        network = "{hash}, {parameters:,} parameters ({stored_numbers:,} stored numbers)".format(**facts)
        training = "recipe {recipe} on {dataset}, seed {seed_index}".format(**facts)
        lines = [
            f"{network}, {training}: {source}; the test set was {test_set}",
            f"weights {facts['weights_sha256'][:12]}: {comparison[facts['match']]}",
        ]
        for file, text in zip(facts["files"], self.texts, strict=True):
            line = "{file}: {format}, {size_bytes:,} bytes".format(**file)
            lines.append("; ".join(filter(None, [line, text])))
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class VerificationResult(_TextResult):
    """Result of a verification.

    Properties and text cover all recorded seeds of the leaderboard row. Mean, deviation and lists of ``document()`` are
    of the seeds of this call only; the key ``row`` has the leaderboard row.

    Attributes:
        verdict: Record, leaderboard row and runs.
    """

    verdict: Verification

    @property
    def record(self) -> Record:
        """The record with the evidence, as stored in ``records/``."""
        return self.verdict.record

    @property
    def tier(self) -> str:
        """``certified``, ``verified``, ``at the target`` or ``measured``."""
        return self.verdict.row.tier.value

    @property
    def mean_pct(self) -> float | None:
        """Mean test accuracy over all seeds of the row."""
        return self.verdict.row.mean_test_accuracy_pct

    @property
    def lower_bound_pct(self) -> float | None:
        """One-sided lower bound of the mean that decides the tier; None for one seed."""
        return self.verdict.row.lower_bound_pct

    @property
    def passed(self) -> bool:
        """Whether the attempt was certified; without an attempt, whether the target is reached and not contradicted."""
        return self.verdict.passed

    def document(self) -> dict[str, Any]:
        """Return the content as plain JSON values."""
        from harness.training.result import finite

        verdict = self.verdict
        row = verdict.row
        runs = verdict.runs
        accuracies = [run.accuracy_pct for run in runs]
        attempt = verdict.attempt
        fields = ("hash", "parameters", "recipe", "recipe_hash", "dataset", "tier", "reached", "target_pct")
        return {
            "architecture": str(verdict.record.architecture),
            **{field: getattr(row, field) for field in fields},
            "passed": verdict.passed,
            "mean_test_accuracy_pct": finite(statistics.mean(accuracies)),
            "std_test_accuracy_pct": finite(statistics.standard_deviation(accuracies)),
            "lower_bound_pct": row.lower_bound_pct if attempt is None else attempt.lower_bound_pct,
            "confidence": row.confidence if attempt is None else attempt.confidence,
            "test_errors": [run.test_errors for run in runs],
            "seeds": [run.seed for run in runs],
            "teacher_seconds": verdict.record.teacher_seconds,
            "statuses": [run.status for run in runs],
            "weights_sha256": [run.weights_sha256 for run in runs],
            "machines": [{"kind": kind, "seeds": count} for kind, count in verdict.machines],
            "repeats": [asdict(rerun) for rerun in verdict.reruns],
            "contradicted": verdict.is_contradicted,
            "attempt": None if attempt is None else asdict(attempt),
            "row": document_of(row),
        }

    def __str__(self) -> str:
        from harness.evidence.bounds import VERIFIED_SEEDS
        from harness.searching.ending import shortfall_of
        from harness.studies.standing import Standing

        verdict = self.verdict
        row = verdict.row
        attempt = verdict.attempt
        # By ``Rerun.identical``.
        rerun_texts = {True: "; equal to the record", False: "; NOT equal to the record", None: "; different machine"}
        rerun_text_of_seed = {rerun.index: rerun_texts[rerun.identical] for rerun in verdict.reruns}
        lines = []
        for run in verdict.runs:
            errors = counted(run.test_errors, "error")
            line = f"seed {run.index}: {run.accuracy_pct:.2f} % ({errors}), {run.train_seconds:.0f} s"
            lines.append(line + rerun_text_of_seed.get(run.index, ""))
        parts = [
            f"{verdict.outcome} ({row.tier}), target {row.target_pct:g} %: mean {row.mean_test_accuracy_pct:.3f} % "
            f"over all {counted(row.seeds, 'seed')} of the row"
        ]
        if row.tier is not Standing.AT_TARGET:  # then ``tier_words`` states the bound
            parts.append(row.bound_words)
        parts += [row.tier_words, f"{row.parameters:,} parameters (hash {row.hash}), {row.recipe}, {row.dataset}"]
        lines.append("; ".join(filter(None, parts)))
        if verdict.is_contradicted:
            lines.append("these seeds contradict the record: the accuracies are too low")
        if not verdict.passed and not verdict.is_contradicted:
            lines.append(shortfall_of(verdict))
        if verdict.is_open and row.seeds < VERIFIED_SEEDS:
            lines.append(f"next: {as_command(*row.arguments('verify', '--seeds', str(VERIFIED_SEEDS)))}")
        if attempt is not None:
            bound = "none" if attempt.lower_bound_pct is None else f"{attempt.lower_bound_pct:.3f} %"
            confidence = 100 * attempt.confidence
            lines.append(f"attempt {attempt.number}: {attempt.outcome}, {confidence:g} % lower bound {bound}")
        return "\n".join(lines)


_NOTEBOOK_ROWS = 10  # of a study's table in a notebook


@dataclass(frozen=True, slots=True)
class Trial(_TextResult):
    """A network of a study with all runs.

    Attributes:
        number: Number of the trial, counted from 0.
        network: Notation of the network.
        hash: Hash of the network, 12 hexadecimal digits.
        cost: Cost in the first minimised metric.
        costs: Costs in all minimised metrics.
        epochs: Epochs of the recipe.
        status: End of the first run, such as ``complete``, ``pruned`` or ``shortened``; ``running`` before.
        validation_pct: Validation accuracy of the first run; None if unknown.
        validation_soft_errors: Sum of 1 - p(true class) over the validation images, of the first run; None if unknown.
        validation_loss: Mean cross-entropy on the validation images, of the first run; None if unknown.
        fresh_pct: Validation accuracies on fresh seeds; a run without an accuracy counts as chance level.
        confirmed: Whether the network would pass a verification, judged by the fresh seeds.
        target_pct: Test accuracy.
    """

    number: int
    network: str
    architecture: Architecture
    hash: str
    parameters: int
    cost: int
    costs: tuple[int, ...]
    epochs: int
    status: str
    validation_pct: float | None
    validation_soft_errors: float | None
    validation_loss: float | None
    fresh_pct: tuple[float, ...]
    confirmed: bool
    recipe: Recipe
    recipe_name: str
    dataset: str
    target_pct: float

    def __str__(self) -> str:
        first_text = self.status if self.validation_pct is None else f"{self.validation_pct:.2f} % on validation images"
        fresh_text = f", {statistics.mean(self.fresh_pct):.2f} % on fresh seeds" if self.fresh_pct else ""
        return f"trial {self.number}, {self.parameters:,} parameters: {first_text}{fresh_text}"


class Study(_TextResult):
    """A study of a workspace, read from the files in the folder; notebooks show a table and a chart.

    Attributes:
        config: Configuration of the study, which determines the outcome.
    """

    def __init__(self, folder: Path, workspace: Workspace) -> None:
        """Read the study of a folder; ``workspace`` has the records.

        Raises:
            ContentError: A file of the study is damaged.
        """
        from harness.studies.log import read_state

        self._state = read_state(folder)
        self.folder = folder
        self.name = folder.name
        self.config = self._state.config
        self._workspace = workspace

    @cached_property
    def trials(self) -> list[Trial]:
        """All trials, in order."""
        return [self._trial(candidate) for candidate in self._state.candidates.values()]

    @property
    def answer(self) -> Trial | None:
        """Network of the study, to which ``outcome`` refers; None if no network was confirmed or chosen.

        The smallest network that met the target on the test set, else the winner of the last session, else the
        incumbent, else the winner chosen last.
        """
        network = self._state.result
        return None if network is None else self._trial(self._state.candidates[network.trial])

    def verdict_of(self, trial: Trial) -> VerifiedEvent | None:
        """Return the verification event of a trial; None if the trial was not verified."""
        return self._state.verdicts.get(trial.number)

    @property
    def front(self) -> list[Trial]:
        """Confirmed trials that did not miss the target on the test set and are not dominated in the costs."""
        return [self._trial(each) for each in self._state.front]

    @cached_property
    def _ending(self) -> Ending:
        from harness.searching.ending import read_endings

        return read_endings([self._state], self._workspace)[0]

    @property
    def outcome(self) -> str:
        """Verdict: ``proved``, ``probable``, ``not reached``, or ``not reached yet`` before the end."""
        return str(self._ending.outcome)

    @property
    def tier(self) -> str:
        """Standing of the answer: of the verification, ``confirmed`` or ``searched`` before a verification.

        ``missed`` if the target is not reached; empty without a verdict.
        """
        return str(self._ending.standing.tier)

    @property
    def nearest(self) -> Trial | None:
        """Unconfirmed trial with the fewest validation errors, with a complete run if there is any."""
        from harness.studies.candidate import nearest_miss

        miss = nearest_miss(self._state.candidates.values())
        return None if miss is None else self._trial(self._state.candidates[miss.trial])

    @property
    def message(self) -> str:
        """Why the last session found no further network; empty if ended for a different reason."""
        from harness.studies.events import SessionEnded

        ends = self._state.of_kind(SessionEnded)
        return ends[-1].event.message if ends else ""

    @property
    def records(self) -> list[Record]:
        """Records of the networks that the study verified."""
        from harness.evidence.record import read_all

        task = (self.config.dataset, self.config.target_pct)
        keys = {(verdict.hash, verdict.recipe_hash, *task) for verdict in self._state.verdicts.values()}
        return [
            record
            for record in read_all(self._workspace.records)
            if (record.hash, record.recipe_hash, record.dataset, record.target_pct) in keys
            or (record.search_summary is not None and record.search_summary.study == self.name)
        ]

    def _trial(self, candidate: Candidate) -> Trial:
        proposal = candidate.proposal
        first_run = candidate.first_run
        config = self.config
        recipe, recipe_name = config.recipe_of(proposal.epochs)
        return Trial(
            number=proposal.trial,
            network=str(proposal.architecture),
            architecture=proposal.architecture,
            hash=proposal.hash,
            parameters=proposal.parameters,
            cost=candidate.costs[0],
            costs=candidate.costs,
            epochs=recipe.epochs,
            status="running" if first_run is None else str(first_run.status),
            validation_pct=None if first_run is None else first_run.validation_accuracy_pct,
            validation_soft_errors=None if first_run is None else first_run.validation_soft_errors,
            validation_loss=None if first_run is None else first_run.validation_loss,
            fresh_pct=tuple(candidate.fresh_pct),
            confirmed=candidate.is_confirmed,
            recipe=recipe,
            recipe_name=recipe_name,
            dataset=config.dataset,
            target_pct=config.target_pct,
        )

    def to_frame(self) -> Any:
        """Return the trials as a pandas ``DataFrame``, in order."""
        import pandas

        fields = (
            *("number", "hash", "parameters", "cost", "epochs", "status", "validation_pct"),
            *("validation_soft_errors", "validation_loss", "confirmed", "network"),
        )
        rows = [{field: getattr(trial, field) for field in fields} for trial in self.trials]
        fresh_seeds = [len(trial.fresh_pct) for trial in self.trials]
        return pandas.DataFrame(rows, columns=list(fields)).assign(fresh_seeds=fresh_seeds)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Return a matplotlib figure of the networks, accuracy over cost.

        Args:
            path: File to write (.png, .svg or .pdf); None writes no file.

        Returns:
            The figure.

        Raises:
            UsageError: The suffix is unknown, or the folder cannot be written.
        """
        from harness.interface.plots import study_figure, write_figure

        answer = self.answer
        points: dict[str, list[tuple[int, float]]] = {"trained": [], "confirmed": [], "answer": []}
        for trial in self.trials:
            # As on the report page, the mean over fresh seeds, as the first run was selected for a high accuracy.
            accuracy = statistics.mean(trial.fresh_pct) if trial.fresh_pct else trial.validation_pct
            if accuracy is not None:
                kind = "confirmed" if trial.confirmed else "trained"
                if answer is not None and trial.number == answer.number:
                    kind = "answer"
                points[kind].append((trial.cost, accuracy))
        figure = study_figure(self.name, self.config, points)
        if path is not None:
            write_figure(figure, Path(path))
        return figure

    def __str__(self) -> str:
        config = self.config
        answer = self.answer
        outcome = str(self.outcome) if self.nearest is None else f"{self.outcome}; nearest: {self.nearest}"
        if answer is not None:
            size = size_text(answer.parameters, answer.costs, config.minimised)
            outcome = f"{self.outcome} ({self.tier}): {size}, {answer.network}"
        networks = counted(len(self.trials), "network")
        return f"study {self.name}, target {config.target_pct:g} % on {config.dataset}: {networks}; {outcome}"

    def _repr_html_(self) -> str:
        from harness.pages import charts, study_charts
        from harness.pages.study_facts import read_study

        chart = study_charts.accuracy_over_cost(read_study(self.folder, self._workspace))
        best = self.to_frame().sort_values(["confirmed", "cost"], ascending=[False, True]).head(_NOTEBOOK_ROWS)
        picture = "" if chart is None else charts.svg(chart)
        return f"<p>{escape(str(self))}</p>{best.to_html(index=False)}{picture}"
