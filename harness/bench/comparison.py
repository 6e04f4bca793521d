"""Comparison of search methods: design, traces of the repeats, judged answers, statistical evaluation, and ranks.

The same command resumes an interrupted comparison. The files (``comparison.json``, ``traces.jsonl``, ``judged.json``)
contain no dates and no times of answering, so that equal seeds on a table give equal bytes.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from harness.bench.table import Machine, number_text
from harness.data.datasets import Dataset, dataset
from harness.spaces.counting import clopper_pearson
from harness.studies.config import StudyConfig, config_document
from harness.system import files, statistics
from harness.system.document import WrittenNetwork, csv_text, document_of, read_as, strict_json
from harness.system.errors import ContentError
from harness.system.terminal import aligned, counted, duration_text
from harness.training.result import finite

DEFAULT = "default"  # name of the method that a search uses
_DESIGN = "comparison.json"
_TRACES = "traces.jsonl"
_JUDGED = "judged.json"


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTask:
    """Task: find the smallest network of a space that reaches a target within a time limit.

    Attributes:
        study: Configuration of the search; the rungs include the last epoch.
        seconds: Time limit, unknown to the methods.
        networks: Texts of all allowed networks if a table lists the whole space, else None.
    """

    study: StudyConfig
    seconds: float
    workers: int
    networks: tuple[str, ...] | None = None
    own_data: Dataset | None = None

    @property
    def data(self) -> Dataset:
        """Data set of the task, which need not be known to the workspace."""
        return self.own_data or dataset(self.study.dataset)


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class BenchAnswer:
    """Answer of a method from ``seconds`` on; the fields of the network are None if the answer is withdrawn."""

    seconds: float
    hash: str | None
    architecture: WrittenNetwork | None
    parameters: int | None


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Repeat of a method.

    Attributes:
        seed: Seed of the repeat, equal for all methods.
        answers: Changes of the answer in order of time.
        networks: Networks chosen for training.
        runs: Ended runs, fresh seeds and pruned runs included.
        rejected: Proposals that violated the budget or a condition of the space.
        ended: Seconds at the end of the search; equal to the time limit unless the space was exhausted.
    """

    method: str
    repeat: int
    seed: int
    answers: tuple[BenchAnswer, ...]
    networks: int
    runs: int
    rejected: int
    ended: float


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class MethodEntry:
    """Method of a comparison; only user-defined methods have ``command`` and ``source_sha256``."""

    name: str
    says: str
    is_variant: bool
    command: tuple[str, ...] = ()
    source_sha256: str | None = None


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Design of a comparison.

    Attributes:
        answer_seconds: Time limit for an answer of a user-defined method.
        seed: Seed from which the seed of each repeat is derived.
        table_sha256: Of the rows of the table; None, as ``table``, for live runs.
        spread: How runs are drawn from the table (``harness.bench.replay``).
        judge_seeds: Fresh seeds that judge an answer of live runs.
        code_sha256: Of the code that influences a repeat; None in older files.
    """

    task: SearchTask
    methods: tuple[MethodEntry, ...]
    repeats: int
    seed: int
    answer_seconds: float
    table: str | None = None
    table_sha256: str | None = None
    spread: Literal["pooled", "recorded"] | None = None
    judge_seeds: int | None = None
    code_sha256: str | None = None
    machine: Machine | None = None
    schema_version: Literal[1] = 1

    @property
    def document(self) -> dict[str, Any]:
        """Design as plain JSON values."""
        return asdict(self) | {"task": asdict(self.task) | {"study": config_document(self.task.study)}}


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """True accuracies of the answers.

    Attributes:
        accuracies_pct: Mean validation accuracy at the last epoch, by hash.
        smallest: Parameters of the smallest judged network that reaches the target; None without such a network.
    """

    accuracies_pct: dict[str, float]
    smallest: int | None

    @classmethod
    def of(cls, accuracies_pct: dict[str, float], sizes: dict[str, int], target_pct: float) -> Judged:
        """Return the judgement from accuracies and parameters, both by hash."""
        sizes_at_target = [size for key, size in sizes.items() if statistics.reaches(accuracies_pct[key], target_pct)]
        return cls(accuracies_pct=dict(sorted(accuracies_pct.items())), smallest=min(sizes_at_target, default=None))


# On disk ----------------------------------------------------------------------------------------------------


def begin(folder: Path, comparison: Comparison) -> list[Trace]:
    """Write the design of a comparison, or check that the folder has an equal design; return the stored traces.

    Raises:
        ContentError: The folder has a different design, or a file is damaged.
    """
    path = folder / _DESIGN
    log = folder / _TRACES
    if not path.exists():
        files.write_json(path, comparison.document)
        return []
    design = read_as(Comparison, path.read_bytes(), f"the comparison {path}")
    if design != comparison:
        names = [item.name for item in fields(design) if getattr(design, item.name) != getattr(comparison, item.name)]
        raise ContentError(f"{folder} has a comparison that differs in {', '.join(names)}; choose a new folder")
    # A line torn by a kill has no newline, but it may end with the "}" of an answer.
    lines = files.log_text(log).split("\n")[:-1]
    traces = [read_as(Trace, line, f"a line of {log}") for line in lines if line.endswith("}")]
    # Otherwise the next line would be appended to a torn line.
    files.write_text(log, "".join(f"{_line(trace)}\n" for trace in traces))
    return traces


def append_trace(folder: Path, trace: Trace) -> None:
    """Append the trace of a finished repeat."""
    files.append_line(folder / _TRACES, _line(trace))


def write_end(folder: Path, traces: Sequence[Trace], judged: Judged) -> None:
    """Write all traces, by method and repeat instead of time, and the judged answers."""
    files.write_text(folder / _TRACES, "".join(f"{_line(trace)}\n" for trace in traces))
    files.write_json(folder / _JUDGED, asdict(judged))


def _line(trace: Trace) -> str:
    return json.dumps(document_of(trace), separators=(",", ":"), allow_nan=False)


# Evaluation -----------------------------------------------------------------------------------------------------------


OVER_TIME = "over time"  # mean size of the answers over time
AT_THE_END = "at the end"  # size of the last answer
LEVEL = 0.05  # significance level of corrected p-values
_BASELINE = "random"  # method that a search must beat
_STEPS = 60
_DRAWS = 2_000  # bootstrap resamples
_CONFIDENCE = 0.95  # confidence of intervals
_SIZE_FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0)
_DECIMALS = 12  # so that floating-point rounding does not separate equal scores
# Largest number of differences with an exact Wilcoxon p-value; above, the normal approximation is accurate.
_MAX_COUNTED = 50


class _StepFunction(NamedTuple):
    """Size of the answer over time: ``sizes[i]`` parameters from ``starts[i]`` seconds on; ``starts[0]`` is 0.

    The size is infinite without an answer and for an answer that does not reach the target.
    """

    starts: tuple[float, ...]
    sizes: tuple[float, ...]

    @classmethod
    def of(cls, trace: Trace, hashes_at_target: Container[str | None]) -> _StepFunction:
        sizes = [math.inf]
        for answer in trace.answers:
            size = math.inf
            if answer.parameters is not None and answer.hash in hashes_at_target:
                size = float(answer.parameters)
            sizes.append(size)
        return cls((0.0, *(answer.seconds for answer in trace.answers)), tuple(sizes))

    def at(self, seconds: float) -> float:
        return self.sizes[bisect_right(self.starts, seconds) - 1]

    def score(self, largest: float, smallest: float, seconds: float) -> float:
        ends = (*self.starts[1:], seconds)
        areas = []
        for start, end, size in zip(self.starts, ends, self.sizes, strict=True):
            areas.append((min(end, seconds) - min(start, seconds)) * math.log(min(size, largest) / smallest))
        return math.fsum(areas) / seconds


def _interval(statistic: Callable[[Any], Any], count: int, method: Any = "linear") -> Any:
    """Return the ends of a bootstrap interval over ``count`` repeats, (2, ...), the lower ends first.

    ``statistic`` maps resampled indices, (_DRAWS, count), to the statistic of each row, (_DRAWS, ...). scipy's
    bootstrap supports neither infinite values nor a single repeat.
    """
    indices = np.random.default_rng(0).integers(0, count, (_DRAWS, count))
    tail = (1 - _CONFIDENCE) / 2
    return np.quantile(statistic(indices), [tail, 1 - tail], axis=0, method=method)


def _curve(repeats: Sequence[_StepFunction], times: Sequence[float]) -> list[tuple[float, float, float, float]]:
    """Return (time, median size, low end, high end) for each time; the ends are of a bootstrap interval."""
    sizes = np.array([[repeat.at(time) for time in times] for repeat in repeats])  # (repeats, times)

    def median(values: Any) -> Any:
        middle = (len(values) - 1) // 2
        return np.partition(values, middle, axis=0)[middle]

    # "inverted_cdf" returns observed values; interpolation between a number and infinity is undefined.
    ends = _interval(lambda indices: np.array([median(sizes[rows]) for rows in indices]), len(repeats), "inverted_cdf")
    return list(zip(times, *(map(float, line) for line in (median(sizes), *ends)), strict=True))


def _runtime(repeats: Sequence[_StepFunction], size: int, seconds: float) -> dict[str, Any]:
    """Return the expected running time to an answer of at most ``size`` parameters: total time / number of successes.

    ``expected_seconds`` is None without a success; ``share_low`` and ``share_high`` are the interval of the share of
    successful repeats (Clopper and Pearson 1934).
    """
    first_times = []
    for repeat in repeats:
        answers = zip(repeat.starts, repeat.sizes, strict=True)
        first_times.append(next((start for start, answer_size in answers if answer_size <= size), math.inf))
    times = np.array(first_times)
    costs = times.clip(max=seconds)
    hits = times <= seconds
    with np.errstate(divide="ignore"):
        low, high = _interval(lambda rows: costs[rows].sum(axis=1) / hits[rows].sum(axis=1), len(hits), "inverted_cdf")
    successes = int(hits.sum())
    share_low, share_high = clopper_pearson(successes, len(hits), _CONFIDENCE)
    return {
        "size": size,
        "expected_seconds": math.fsum(costs) / successes if successes else None,
        "low": finite(float(low)),
        "high": finite(float(high)),
        "hits": successes,
        "repeats": len(hits),
        "share_low": share_low,
        "share_high": share_high,
    }


def _ranking(scores: Mapping[str, Sequence[float]]) -> tuple[dict[str, float], float]:
    """Return the mean ranks of methods, best first, and Friedman's p-value, NaN for fewer than three methods."""
    from scipy.stats import friedmanchisquare, rankdata

    table = np.array(list(scores.values())).round(_DECIMALS)  # (methods, repeats)
    means = rankdata(table, axis=0).mean(axis=1)
    p = math.nan
    if len(scores) > 2 and bool((table != table[0]).any()):
        p = float(friedmanchisquare(*table).pvalue)
    ranks = dict(zip(scores, means.tolist(), strict=True))
    return dict(sorted(ranks.items(), key=lambda item: item[1])), p


_Scores = Mapping[str, Mapping[str, Sequence[float]]]


class _Pair(NamedTuple):
    """Test of two methods by a score; lower scores are better.

    Attributes:
        difference: Score of the first method minus score of the second, mean over repeats.
        low: Lower end of the bootstrap interval of ``difference``; ``high`` is the upper end.
        p: Two-sided p-value of Wilcoxon's signed-rank test.
        corrected_p: p-value after Holm's correction.
        balance: Rank-biserial correlation: sum of the signed ranks / sum of the ranks, of the repeats with a
            difference. -1 if the first method is better in all of these repeats.
    """

    first: str
    second: str
    when: str
    difference: float
    low: float
    high: float
    p: float
    corrected_p: float
    balance: float

    @property
    def differs(self) -> bool:
        """Whether the difference is significant, and the test and the mean have the same sign.

        The signs can differ: a method may be slightly better in most repeats, but much worse in a few.
        """
        return self.corrected_p < LEVEL and self.balance * self.difference > 0


def _tested_pairs(scores: _Scores, method_pairs: Sequence[tuple[str, str]]) -> list[_Pair]:
    pairs = [_tested_pair(scores[when], when, first, second) for when, (first, second) in product(scores, method_pairs)]
    # Holm's step-down procedure.
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(pairs)), key=lambda index: pairs[index].p)):
        largest = max(largest, min(1.0, (len(pairs) - rank) * pairs[index].p))
        pairs[index] = pairs[index]._replace(corrected_p=largest)
    return pairs


def _tested_pair(scores: Mapping[str, Sequence[float]], when: str, first: str, second: str) -> _Pair:
    differences = np.array(scores[first]) - np.array(scores[second])
    low, high = map(float, _interval(lambda rows: differences[rows].mean(axis=1), len(differences)))
    difference = math.fsum(differences) / len(differences)
    p, balance = _signed_rank_test(differences.round(_DECIMALS))
    return _Pair(first, second, when, difference, low, high, p=p, corrected_p=p, balance=balance)


def _pairs(scores: _Scores, method_pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the tests of the pairs of methods for all scores, which are logarithms of sizes.

    ``ratio`` is the geometric mean over repeats of first size / second size.
    """
    documents: list[dict[str, Any]] = []
    for pair in _tested_pairs(scores, method_pairs):
        names = {"first": pair.first, "second": pair.second, "when": pair.when}
        ratios = {"ratio": math.exp(pair.difference), "low": math.exp(pair.low), "high": math.exp(pair.high)}
        tests = {"p": pair.p, "corrected_p": pair.corrected_p, "balance": pair.balance, "differs": pair.differs}
        documents.append({**names, **ratios, **tests})
    return documents


def _signed_rank_test(differences: Any) -> tuple[float, float]:
    from scipy.stats import rankdata, wilcoxon

    # Ties have half-integer ranks. Pratt (1959): zeros are ranked, and dropped afterwards.
    signed_ranks = (2 * rankdata(np.abs(differences)) * np.sign(differences)).astype(int)
    signed_ranks = signed_ranks[signed_ranks != 0]
    if not signed_ranks.size:
        return 1.0, 0.0
    balance = float(signed_ranks.sum() / np.abs(signed_ranks).sum())
    if signed_ranks.size > _MAX_COUNTED:
        return float(wilcoxon(differences, zero_method="pratt", method="asymptotic", correction=True).pvalue), balance
    # scipy's exact test allows at most 13 values with ties. Exact distribution of the sum of the positive ranks:
    chances = np.ones(1)
    for rank in np.abs(signed_ranks):
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    positive = int(signed_ranks[signed_ranks > 0].sum())
    return min(1.0, 2 * float(min(chances[: positive + 1].sum(), chances[positive:].sum()))), balance


class Findings(NamedTuple):
    """Evaluation of a comparison.

    Attributes:
        document: Output of ``--json``; infinite and undefined numbers are null.
        curves: For each method, (time, median size, low, high).
        scores: log(size / smallest feasible size) of all repeats.
    """

    document: dict[str, Any]
    curves: dict[str, list[tuple[float, float, float, float]]]
    scores: _Scores


def findings(comparison: Comparison, traces: Sequence[Trace], judged: Judged) -> Findings:
    """Return the evaluation of a comparison; all methods have the same repeats.

    The document has for each method ``ratio``, the geometric mean over repeats and time of size / smallest feasible
    size; ``final_size``, the median size at the end; ``answered``, the share of repeats with an answer at the end;
    ``false``, the share of these answers that miss the target; ``networks`` and ``runs``, mean counts per repeat.
    """
    task = comparison.task
    seconds = task.seconds
    target_pct = task.study.target_pct
    accuracies = judged.accuracies_pct.items()
    hashes_at_target = {key for key, accuracy in accuracies if statistics.reaches(accuracy, target_pct)}
    largest = task.study.budget  # without a valid answer
    smallest = largest if judged.smallest is None else min(judged.smallest, largest)
    names = [entry.name for entry in comparison.methods]
    traces_of = {name: [trace for trace in traces if trace.method == name] for name in names}
    steps: dict[str, list[_StepFunction]] = {}
    scores_by_time: dict[str, dict[str, list[float]]] = {OVER_TIME: {}, AT_THE_END: {}}
    for name, own_traces in traces_of.items():
        steps[name] = [_StepFunction.of(trace, hashes_at_target) for trace in own_traces]
        last_sizes = [min(repeat.at(seconds), largest) for repeat in steps[name]]
        scores_by_time[OVER_TIME][name] = [repeat.score(largest, smallest, seconds) for repeat in steps[name]]
        scores_by_time[AT_THE_END][name] = [math.log(size / smallest) for size in last_sizes]
    main_names = [entry.name for entry in comparison.methods if not entry.is_variant]
    ranks, friedman_p = _ranking({name: scores_by_time[OVER_TIME][name] for name in main_names})
    times = [seconds * step / _STEPS for step in range(_STEPS + 1)]
    curves = {name: _curve(repeats, times) for name, repeats in steps.items()}
    methods = []
    for entry in comparison.methods:
        name = entry.name
        method = {
            "name": name,
            "says": entry.says,
            "is_variant": entry.is_variant,
            "mean_rank": ranks.get(name),
            "ratio": None,
            "final_size": finite(curves[name][-1][1]),
        }
        runtimes = []
        if judged.smallest is not None:
            method["ratio"] = math.exp(statistics.mean(scores_by_time[OVER_TIME][name]))
            sizes = [math.floor(judged.smallest * factor) for factor in _SIZE_FACTORS]
            runtimes = [_runtime(steps[name], size, seconds) for size in sizes]
        methods.append(method | _answers(traces_of[name], hashes_at_target) | {"runtimes": runtimes})
    pairs = _pairs(scores_by_time, list(combinations(main_names, 2)))
    variants = _pairs(scores_by_time, [(entry.name, DEFAULT) for entry in comparison.methods if entry.is_variant])
    document = {
        "table": comparison.table,
        "repeats": comparison.repeats,
        "seconds": seconds,
        "workers": task.workers,
        "target_pct": target_pct,
        "smallest": judged.smallest,
        "sentences": _sentences(comparison.repeats, ranks, pairs, variants),
        "friedman_p": finite(friedman_p),
        "methods": methods,
        "pairs": pairs,
        "variants": variants,
    }
    return Findings(document, curves, scores_by_time)


def _answers(traces: Sequence[Trace], hashes_at_target: Container[str]) -> dict[str, Any]:
    hashes = [trace.answers[-1].hash for trace in traces if trace.answers]
    answer_hashes = [network_hash for network_hash in hashes if network_hash is not None]
    return {
        "answered": len(answer_hashes) / len(traces),
        "false": sum(item not in hashes_at_target for item in answer_hashes) / max(1, len(answer_hashes)),
        "networks": statistics.mean([float(trace.networks) for trace in traces]),
        "runs": statistics.mean([float(trace.runs) for trace in traces]),
    }


def _sentences(
    repeats: int, ranks: Mapping[str, float], pairs: Sequence[dict[str, Any]], variants: Sequence[dict[str, Any]]
) -> list[str]:
    def sentence(pair: dict[str, Any], name: str, rival: str) -> str:
        exponent = 1 if pair["first"] == name else -1
        ratio = pair["ratio"] ** exponent
        low, high = sorted((pair["low"] ** exponent, pair["high"] ** exponent))
        relation = "better than" if ratio < 1 else "worse than"
        if not pair["differs"]:
            relation = "not shown to differ from"
        return (
            f"{name} is {relation} {rival}: the size ratio of the answers {pair['when']} is {ratio:.3f} (uncorrected "
            f"interval {low:.3f} to {high:.3f}, corrected p {p_text(pair['corrected_p'])})."
        )

    sentences = _sentences_on_too_few_repeats(repeats, max(len(pairs), len(variants)))
    best_name = next(iter(ranks))
    for rival in dict.fromkeys((_BASELINE, best_name)):
        names = {DEFAULT, rival}
        sentences += [sentence(pair, DEFAULT, rival) for pair in pairs if {pair["first"], pair["second"]} == names]
    if len(ranks) > 1:
        sentences.append(f"Ranked first over time: {best_name}.")
    return sentences + [sentence(pair, pair["first"], DEFAULT) for pair in variants]


def _sentences_on_too_few_repeats(repeats: int, tests: int) -> list[str]:
    # Wilcoxon's p is smallest if all n repeats have the same sign: 2 / 2^n. Holm multiplies by the number of tests.
    if tests and tests * 2 / 2**repeats >= LEVEL:
        return [f"{counted(repeats, 'repeat')} cannot show a difference in {counted(tests, 'test')}."]
    return []


def p_text(p: float) -> str:
    """Return a p-value as text."""
    return "below 0.0001" if p < 0.0001 else f"{p:.2g}"


def write_figures(folder: Path, result: Findings) -> list[Path]:
    """Write the evaluation as CSV files and return the paths."""
    methods = [{"method": method["name"], **method} for method in result.document["methods"]]
    times = []
    for name, points in result.curves.items():
        for point in points:
            sizes = zip(("seconds", "median_size", "low", "high"), map(finite, point), strict=True)
            times.append({"method": name, **dict(sizes)})
    runtimes = [{"method": method["name"], **item} for method in methods for item in method["runtimes"]]
    pairs = result.document["pairs"] + result.document["variants"]
    contents = {}
    for name, rows in (("methods", methods), ("times", times), ("runtimes", runtimes), ("pairs", pairs)):
        if rows:  # a comparison of a single method has no pairs
            columns = [column for column in rows[0] if column not in ("name", "says", "runtimes", "differs")]
            cells = [[row[column] for column in columns] for row in rows]
            contents[folder / f"{name}.csv"] = csv_text(columns, cells).encode()
    files.write_together(contents)
    return list(contents)


def figures_text(comparison: Comparison, document: Mapping[str, Any]) -> str:
    """Return the comparison as a text table."""
    lines = [("method", "over time", "at the end", "false answers", "rank")]
    for method in document["methods"]:
        ratio = number_text(method["ratio"], ".3f")
        final_size = number_text(method["final_size"], ",.0f")
        rank = number_text(method["mean_rank"], ".2f")
        lines.append((method["name"], ratio, final_size, f"{100 * method['false']:.0f} %", rank))
    task = comparison.task
    source = f"table {comparison.table}" if comparison.table else f"live runs in {task.study.space}"
    head = f"{source}: {counted(comparison.repeats, 'repeat')}, {duration_text(task.seconds)} each on "
    head += f"{counted(task.workers, 'worker')}, target {task.study.target_pct:g} % on validation images"
    note = "over time: geometric mean of answer size / smallest size at the target; at the end: median size"
    return "\n".join([head, *aligned(lines), note, *document["sentences"]])


# Several tables ---------------------------------------------------------------------------------------------


def ranks_of(comparisons: Mapping[str, Findings]) -> dict[str, Any]:
    """Return the ranking of methods over several tables, by name; all have the same methods and seeds.

    Methods are ranked in two ways (docs/evidence/bench.md, "Several tables"):

    1. By the mean score over the repeats of a table: ``tables`` has these ranks, ``over_time`` and ``at_the_end`` the
       means over the tables.
    2. Within each repeat of a table, only for the tests in ``pairs``: the means over the tables are compared by repeat,
       the default with each remaining method. A ``difference`` below 0 means that the default is better.
    """
    first, *_ = comparisons.values()
    methods = list(first.scores[OVER_TIME])
    repeats = first.document["repeats"]
    ranks: dict[str, Any] = {}
    within_repeats: dict[str, dict[str, list[float]]] = {}
    for when in (OVER_TIME, AT_THE_END):
        # (tables, methods, repeats)
        scores = np.array([[item.scores[when][name] for name in methods] for item in comparisons.values()])
        ranks[when] = _ranked(scores.mean(axis=2))  # (tables, methods)
        repeat_ranks = _ranked(scores).mean(axis=0)  # (methods, repeats)
        within_repeats[when] = dict(zip(methods, repeat_ranks.tolist(), strict=True))
    rivals = [name for name in methods if name != DEFAULT] if DEFAULT in methods else []
    pairs = _tested_pairs(within_repeats, [(DEFAULT, name) for name in rivals])
    methods_document = []
    for index, name in enumerate(methods):
        over_time = ranks[OVER_TIME][:, index]
        at_the_end = ranks[AT_THE_END][:, index]
        tables = []
        for table, rank, final_rank in zip(comparisons, over_time.tolist(), at_the_end.tolist(), strict=True):
            tables.append({"table": table, "over_time": rank, "at_the_end": final_rank})
        mean_ranks = {"over_time": float(over_time.mean()), "at_the_end": float(at_the_end.mean())}
        methods_document.append({"name": name, **mean_ranks, "tables": tables})
    methods_document.sort(key=lambda method: (method["over_time"], method["at_the_end"]))
    return {
        "tables": list(comparisons),
        "repeats": repeats,
        "sentences": [*_sentences_on_too_few_repeats(repeats, len(pairs)), *_sentences_on_ranks(pairs)],
        "methods": methods_document,
        "pairs": [pair._asdict() | {"differs": pair.differs} for pair in pairs],
    }


def _ranked(scores: Any) -> Any:
    from scipy.stats import rankdata

    return rankdata(scores.round(_DECIMALS), axis=1)


def _sentences_on_ranks(pairs: Sequence[_Pair]) -> list[str]:
    groups: dict[str, list[str]] = {"better than": [], "worse than": [], "not shown to differ from": []}
    for pair in pairs:
        if pair.when == OVER_TIME:
            relation = "better than" if pair.difference < 0 else "worse than"
            if not pair.differs:
                relation = "not shown to differ from"
            groups[relation].append(pair.second)
    return [f"{DEFAULT} is {relation} {', '.join(names)} {OVER_TIME}." for relation, names in groups.items() if names]


def ranks_text(document: Mapping[str, Any]) -> str:
    """Return the ranks as a text table."""
    pairs = {pair["second"]: pair for pair in document["pairs"] if pair["when"] == OVER_TIME}
    lines = [["method", OVER_TIME, AT_THE_END, *document["tables"]]]
    for method in document["methods"]:
        tables = [f"{line['over_time']:g}, {line['at_the_end']:g}" for line in method["tables"]]
        lines.append([method["name"], f"{method['over_time']:.2f}", f"{method['at_the_end']:.2f}", *tables])
    head = f"mean ranks over {counted(len(document['tables']), 'table')} (1 is best), and ranks on each table"
    if not pairs:
        return "\n".join([head, *aligned(lines), *document["sentences"]])
    lines[0] += [f"{DEFAULT} - method", "corrected p"]
    for line in lines[1:]:
        if line[0] in pairs:
            pair = pairs[line[0]]
            line += ["{difference:.2f} ({low:.2f} to {high:.2f})".format(**pair), p_text(pair["corrected_p"])]
        else:
            line += ["-", "-"]
    note = (
        f"{DEFAULT} - method: difference of the ranks {OVER_TIME} within a repeat, mean over "
        f"{counted(document['repeats'], 'repeat')} and uncorrected 95 % interval"
    )
    return "\n".join([head, *aligned(lines), note, *document["sentences"]])
