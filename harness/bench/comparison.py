"""A comparison: its design, every repeat's answers, what the judge said of them, and all that this shows.

``comparison.json`` is the design, ``traces.jsonl`` has a line a repeat, ``judged.json`` the true accuracy of
every network that was an answer. The same command goes on with what is missing. Times of asking and dates are nowhere,
so the same seeds on a table give the same bytes.
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

from harness.bench.table import Machine
from harness.data.datasets import Dataset, dataset
from harness.studies.config import StudyConfig, WrittenConfig, config_document
from harness.system import files, statistics
from harness.system.document import WrittenNetwork, csv_text, document_of, documented, read_as
from harness.system.errors import ContentError
from harness.system.terminal import aligned, counted, duration_text
from harness.training.result import finite
from search_spaces.space import clopper_pearson

# The method that a search uses.
DEFAULT = "default"
_DESIGN = "comparison.json"
_TRACES = "traces.jsonl"
_JUDGED = "judged.json"


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTask:
    """One task: the smallest network of a space that reaches a target, in a given time.

    Attributes:
        study: what a search is asked; runs may be looked at after its rungs, the last one is the recipe's last epoch.
        seconds: after which nobody trains any more. No method is told.
        networks: all that may be proposed, where a table lists them; else None.
        own_data: the data set, where it is a person's own; None for one that the harness knows.
    """

    study: WrittenConfig
    seconds: float
    workers: int
    networks: tuple[str, ...] | None = None
    own_data: Dataset | None = None

    @property
    def data(self) -> Dataset:
        """The data set, which the workspace need not know."""
        return self.own_data or dataset(self.study.dataset)


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The network that a method would return from a moment on; None in all fields where it would return none."""

    seconds: float
    hash: str | None
    architecture: WrittenNetwork | None
    parameters: int | None


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One repeat of one method.

    Attributes:
        seed: of the repeat, the same for all methods.
        answers: one a change, in order; before the first there is none.
        networks: proposed and trained; ``runs`` of them, fresh seeds included.
        rejected: proposals that were over the budget or known conditions.
        ended: seconds at which nothing more was done; the end of the task, unless the space was searched through.
    """

    method: str
    repeat: int
    seed: int
    answers: tuple[Answer, ...]
    networks: int
    runs: int
    rejected: int
    ended: float


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A method as it was asked for; ``command`` and ``source_sha256`` are of somebody's own."""

    name: str
    says: str
    is_variant: bool
    command: tuple[str, ...] = ()
    source_sha256: str | None = None


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was asked.

    Attributes:
        table: its name; None for real trainings, and so are ``spread`` and ``table_sha256``, which is of its rows.
        spread: where runs get theirs: those of similar networks, or the network's own; ``replay`` explains both.
        seed: of the comparison; repeat i of every method has a seed made of it and i.
        code_sha256: of the code that decides a repeat; None in comparisons that are older than it.
        machine: of real trainings; ``judge_seeds``: fresh seeds that judge an answer of theirs.
    """

    task: SearchTask
    methods: tuple[Named, ...]
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
        """What was asked as plain JSON values."""
        return asdict(self) | {"task": asdict(self.task) | {"study": config_document(self.task.study)}}


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the judge knows: mean validation accuracies at the last epoch of all answers, by hash.

    ``smallest`` is the size of the smallest network that reaches the target, of all that were looked at; None for none.
    """

    accuracies_pct: dict[str, float]
    smallest: int | None

    @classmethod
    def of(cls, accuracies_pct: dict[str, float], sizes: dict[str, int], target_pct: float) -> Judged:
        """Return what accuracies say of networks of these sizes, both by hash."""
        reaching = [size for key, size in sizes.items() if statistics.reaches(accuracies_pct[key], target_pct)]
        return cls(accuracies_pct=dict(sorted(accuracies_pct.items())), smallest=min(reaching, default=None))


# On disk ----------------------------------------------------------------------------------------------------


def begin(folder: Path, design: Comparison) -> list[Trace]:
    """Write the design of a comparison, or check that its folder has the same one; return the folder's traces."""
    path = folder / _DESIGN
    log = folder / _TRACES
    if not path.exists():
        files.write_json(path, design.document)
        return []
    earlier = read_as(Comparison, path.read_bytes(), f"the comparison {path}")
    if earlier != design:
        names = [item.name for item in fields(Comparison) if getattr(earlier, item.name) != getattr(design, item.name)]
        raise ContentError(f"{folder} holds a comparison with another {', '.join(names)}; give --out another folder")
    # A line that a kill has torn has no end of line; it may well end with the brace of an answer.
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1] if log.exists() else []
    traces = [read_as(Trace, line, f"a line of {log}") for line in lines if line.endswith("}")]
    # A torn line must not run into the next one.
    files.write_text(log, "".join(f"{_line(trace)}\n" for trace in traces))
    return traces


def append_trace(folder: Path, trace: Trace) -> None:
    """Append a repeat that has ended."""
    files.append_line(folder / _TRACES, _line(trace))


def write_end(folder: Path, traces: Sequence[Trace], judged: Judged) -> None:
    """Write all repeats in their order, not that in which they ended, and what the judge said."""
    files.write_text(folder / _TRACES, "".join(f"{_line(trace)}\n" for trace in traces))
    files.write_json(folder / _JUDGED, asdict(judged))


def _line(trace: Trace) -> str:
    return json.dumps(document_of(trace), separators=(",", ":"), allow_nan=False)


# What it shows --------------------------------------------------------------------------------------------------------


# The two scores that methods are compared by.
OVER_TIME, AT_THE_END = "over time", "at the end"
LEVEL = 0.05
# What a search must beat.
_BASELINE = "random"
# Marks of the time axis, besides its beginning.
_STEPS = 60
_DRAWS, _CONFIDENCE = 2_000, 0.95
# How long it takes to get to these multiples of the smallest size that reaches.
_SIZE_FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0)
# Decimals of a score: sums of the same spans of time in other pieces differ by what floats round.
DECIMALS = 12
# Up to so many repeats that are not alike, Wilcoxon's p is counted out; with more the normal approximation is good.
_MOST_COUNTED = 50


class _Judge(NamedTuple):
    """Who reaches the target, by hash; the budget, which counts for no answer; the smallest that reaches, else inf."""

    reaching: Container[str | None]
    largest: int
    smallest: float

    @classmethod
    def of(cls, study: StudyConfig, judged: Judged) -> _Judge:
        accuracies = judged.accuracies_pct.items()
        reaching = {key for key, accuracy in accuracies if statistics.reaches(accuracy, study.target_pct)}
        return cls(reaching, study.budget, math.inf if judged.smallest is None else judged.smallest)


class _Steps(NamedTuple):
    """The size of a trace's answer over time: from ``starts[i]`` on it is ``sizes[i]``; the first start is 0.

    Infinite is the size of no answer, and of one that does not reach the target.
    """

    starts: tuple[float, ...]
    sizes: tuple[float, ...]

    @classmethod
    def of(cls, trace: Trace, judge: _Judge) -> _Steps:
        reached = [float(each.parameters or 0) if each.hash in judge.reaching else math.inf for each in trace.answers]
        return cls((0.0, *(each.seconds for each in trace.answers)), (math.inf, *reached))

    def at(self, seconds: float) -> float:
        """Return the size at a time."""
        return self.sizes[bisect_right(self.starts, seconds) - 1]

    def score(self, judge: _Judge, seconds: float) -> float:
        """Return the mean over time of the logarithm of size over the smallest possible; the lower the better.

        Before there is an answer that reaches, and while there is none, the budget counts. Where nothing reaches, all
        methods have the score 0.
        """
        least = min(judge.smallest, judge.largest)
        spans = zip(self.starts, (*self.starts[1:], seconds), self.sizes, strict=True)
        parts = (
            (min(end, seconds) - min(start, seconds)) * math.log(min(size, judge.largest) / least)
            for start, end, size in spans
        )
        return math.fsum(parts) / seconds

    def score_at(self, judge: _Judge, seconds: float) -> float:
        """Return the logarithm of the size at a time over the smallest possible."""
        return math.log(min(self.at(seconds), judge.largest) / min(judge.smallest, judge.largest))


def _interval(drawn: Callable[[Any], Any], count: int, method: Any = "linear") -> Any:
    """Return the ends of a bootstrap interval of what is drawn of repeats, for each row of (_DRAWS, count) numbers.

    scipy's bootstrap knows neither infinities nor a single repeat.
    """
    chosen = np.random.default_rng(0).integers(0, count, (_DRAWS, count))
    tail = (1 - _CONFIDENCE) / 2
    return np.quantile(drawn(chosen), [tail, 1 - tail], axis=0, method=method)


def _curve(repeats: Sequence[_Steps], times: Sequence[float]) -> list[tuple[float, float, float, float]]:
    """Return times with the median size of at least one repeat and the ends of its bootstrap band.

    A size is infinite where the median repeat has no answer that reaches.
    """
    sizes = np.array([[repeat.at(time) for time in times] for repeat in repeats])  # (repeats, times)

    def median(of: Any) -> Any:
        middle = (len(of) - 1) // 2
        return np.partition(of, middle, axis=0)[middle]

    # Between a number and infinity nothing can be interpolated, so ends are values that were seen.
    ends = _interval(lambda chosen: np.array([median(sizes[rows]) for rows in chosen]), len(repeats), "inverted_cdf")
    return list(zip(times, *(map(float, line) for line in (median(sizes), *ends)), strict=True))


def _runtime(repeats: Sequence[_Steps], size: int, seconds: float) -> dict[str, Any]:
    """Return the expected running time to an answer of at most that size, misses counted, of at least one repeat.

    ``expected_seconds`` is None where no repeat got there; ``low`` and ``high`` are its bootstrap interval,
    ``share_low`` and ``share_high`` that of the share of repeats that got there (Clopper and Pearson 1934).
    """
    starts = [[start for start, answer in zip(*repeat, strict=True) if answer <= size] for repeat in repeats]
    times = np.array([min(group, default=math.inf) for group in starts])
    costs = times.clip(max=seconds)
    hits = times <= seconds
    with np.errstate(divide="ignore"):
        low, high = _interval(lambda rows: costs[rows].sum(axis=1) / hits[rows].sum(axis=1), len(hits), "inverted_cdf")
    count = int(hits.sum())
    share_low, share_high = clopper_pearson(count, len(hits), _CONFIDENCE)
    return {
        "size": size,
        "expected_seconds": math.fsum(costs) / count if count else None,
        "low": finite(float(low)),
        "high": finite(float(high)),
        "hits": count,
        "repeats": len(hits),
        "share_low": share_low,
        "share_high": share_high,
    }


def _runtimes(repeats: Sequence[_Steps], smallest: int | None, seconds: float) -> list[dict[str, Any]]:
    if smallest is None:
        return []
    return [_runtime(repeats, math.floor(smallest * each), seconds) for each in _SIZE_FACTORS]


def _ranking(scores: Mapping[str, Sequence[float]]) -> tuple[dict[str, float], float]:
    """Return the mean ranks of methods, best first, and Friedman's p, NaN for fewer than three methods.

    The lowest score of a repeat is best, equal ones share a rank.
    """
    from scipy.stats import friedmanchisquare, rankdata

    table = np.array(list(scores.values())).round(DECIMALS)  # (methods, repeats)
    means = rankdata(table, axis=0).mean(axis=1)
    differ = len(scores) > 2 and bool((table != table[0]).any())
    p = float(friedmanchisquare(*table).pvalue) if differ else math.nan
    return dict(sorted(zip(scores, map(float, means), strict=True), key=lambda pair: pair[1])), p


# The numbers of methods by which they are compared: for each score, for each method, one a repeat.
Scores = Mapping[str, Mapping[str, Sequence[float]]]


class Pair(NamedTuple):
    """Two methods by one score, of which less is better.

    Attributes:
        difference: of the first's numbers less the second's, the mean over repeats; ``low`` and ``high`` its bootstrap
            interval.
        p: Wilcoxon's, two-sided; ``corrected_p`` is Holm's.
        balance: what the test goes by, the sum of the signed ranks over that of the ranks: -1 where the first is better
            in every repeat that is not alike.
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
        """Whether the difference holds among all pairs, and test and mean say the same of which is better.

        Who is a little better mostly and far worse at times may be worse in the mean.
        """
        return self.corrected_p < LEVEL and self.balance * self.difference > 0


def tested_pairs(scored: Scores, compared: Sequence[tuple[str, str]]) -> list[Pair]:
    """Return these pairs of methods by every score, their p values corrected for all of them together."""
    pairs: list[Pair] = []
    for when, (first, second) in product(scored, compared):
        differences = np.array(scored[when][first]) - np.array(scored[when][second])
        ends = _interval(lambda rows, of=differences: of[rows].mean(axis=1), len(differences))  # type: ignore[misc]
        low, high = map(float, ends)
        p, balance = _tested(differences.round(DECIMALS))
        difference = math.fsum(differences) / len(differences)
        pairs.append(Pair(first, second, when, difference, low, high, p, p, balance))
    # Holm's step-down procedure.
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(pairs)), key=lambda index: pairs[index].p)):
        largest = max(largest, min(1.0, (len(pairs) - rank) * pairs[index].p))
        pairs[index] = pairs[index]._replace(corrected_p=largest)
    return pairs


def _pairs(scored: Scores, compared: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return these pairs of methods by every score, which are logarithms of sizes.

    ``ratio`` are sizes of the first as a multiple of those of the second, the geometric mean over repeats, ``low`` and
    ``high`` its interval.
    """
    return [
        {
            "first": pair.first,
            "second": pair.second,
            "when": pair.when,
            "ratio": math.exp(pair.difference),
            "low": math.exp(pair.low),
            "high": math.exp(pair.high),
            "p": pair.p,
            "corrected_p": pair.corrected_p,
            "balance": pair.balance,
            "differs": pair.differs,
        }
        for pair in tested_pairs(scored, compared)
    ]


def _tested(differences: Any) -> tuple[float, float]:
    from scipy.stats import rankdata, wilcoxon

    # Twice the ranks: shared ones are halves. Those of Pratt (1959), who ranks the alike too and then leaves them out.
    signed = (2 * rankdata(np.abs(differences)) * np.sign(differences)).astype(int)
    signed = signed[signed != 0]
    if not signed.size:
        return 1.0, 0.0
    balance = float(signed.sum() / np.abs(signed).sum())
    if signed.size > _MOST_COUNTED:
        return float(wilcoxon(differences, zero_method="pratt", method="asymptotic", correction=True).pvalue), balance
    # scipy counts out no more than 13 where ranks are shared: the chance of each sum, one rank after the other.
    chances = np.ones(1)
    for rank in np.abs(signed):
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    positive = int(signed[signed > 0].sum())
    return min(1.0, 2 * float(min(chances[: positive + 1].sum(), chances[positive:].sum()))), balance


class Findings(NamedTuple):
    """The whole comparison: the document that ``--json`` prints, null for what is infinite or undefined; the curves.

    ``scores`` are logarithms of sizes over the smallest that reaches, those of all repeats.
    """

    document: dict[str, Any]
    curves: dict[str, list[tuple[float, float, float, float]]]
    scores: Scores


def findings(design: Comparison, traces: Sequence[Trace], judged: Judged) -> Findings:
    """Return what the repeats of a comparison show; every method has the same repeats.

    Of a method ``ratio`` are its sizes over the smallest that reaches, the geometric mean over repeats and time;
    ``final_size`` the median size at the end; ``answered`` the share of the repeats with an answer at the end, and
    ``false`` of those whose answer does not reach; ``networks`` and ``runs`` their mean numbers in a repeat.
    """
    task = design.task
    seconds = task.seconds
    judge = _Judge.of(task.study, judged)
    grouped = {named.name: [trace for trace in traces if trace.method == named.name] for named in design.methods}
    steps = {name: [_Steps.of(trace, judge) for trace in group] for name, group in grouped.items()}
    scored = {
        OVER_TIME: _scores(steps, lambda repeat: repeat.score(judge, seconds)),
        AT_THE_END: _scores(steps, lambda repeat: repeat.score_at(judge, seconds)),
    }
    whole = [named.name for named in design.methods if not named.is_variant]
    ranks, friedman_p = _ranking({name: scored[OVER_TIME][name] for name in whole})
    marks = [seconds * step / _STEPS for step in range(_STEPS + 1)]
    curves = {name: _curve(repeats, marks) for name, repeats in steps.items()}
    methods = []
    for named in design.methods:
        name = named.name
        method = {
            "name": name,
            "says": named.says,
            "is_variant": named.is_variant,
            "mean_rank": ranks.get(name),
            "ratio": None if judged.smallest is None else math.exp(statistics.mean(scored[OVER_TIME][name])),
            "final_size": finite(curves[name][-1][1]),
        }
        runtimes = _runtimes(steps[name], judged.smallest, seconds)
        methods.append(method | _answers(grouped[name], judge) | {"runtimes": runtimes})
    compared = _pairs(scored, list(combinations(whole, 2)))
    varied = _pairs(scored, [(named.name, DEFAULT) for named in design.methods if named.is_variant])
    document = {
        "table": design.table,
        "repeats": design.repeats,
        "seconds": seconds,
        "workers": task.workers,
        "target_pct": task.study.target_pct,
        "smallest": judged.smallest,
        "sentences": _sentences(design.repeats, ranks, compared, varied),
        "friedman_p": finite(friedman_p),
        "methods": methods,
        "pairs": compared,
        "variants": varied,
    }
    return Findings(document, curves, scored)


def _scores(steps: Mapping[str, Sequence[_Steps]], score: Callable[[_Steps], float]) -> dict[str, list[float]]:
    return {name: list(map(score, repeats)) for name, repeats in steps.items()}


def _answers(traces: Sequence[Trace], judge: _Judge) -> dict[str, Any]:
    answered = [trace.answers[-1].hash for trace in traces if trace.answers and trace.answers[-1].hash]
    return {
        "answered": len(answered) / len(traces),
        "false": sum(each not in judge.reaching for each in answered) / len(answered) if answered else 0.0,
        "networks": statistics.mean([float(trace.networks) for trace in traces]),
        "runs": statistics.mean([float(trace.runs) for trace in traces]),
    }


def _sentences(
    repeats: int, ranks: Mapping[str, float], compared: Sequence[dict[str, Any]], varied: Sequence[dict[str, Any]]
) -> list[str]:
    """Return the result in sentences: the default against random, against the best, and each variant against it."""

    def sentence(pair: dict[str, Any], name: str, other: str) -> str:
        ratio, low, high = (pair[key] for key in ("ratio", "low", "high"))
        if pair["first"] != name:
            ratio, low, high = (1 / value for value in (ratio, high, low))
        relation = "better than" if ratio < 1 else "worse than"
        if not pair["differs"]:
            relation = "not shown to differ from"
        return (
            f"{name} is {relation} {other}: its answers {pair['when']} are {ratio:.3f} times as large (uncorrected "
            f"interval {low:.3f} to {high:.3f}, corrected p {p_text(pair['corrected_p'])})."
        )

    sentences = too_few(repeats, max(len(compared), len(varied)))
    best = next(iter(ranks))
    for rival in dict.fromkeys((_BASELINE, best)):
        both = {DEFAULT, rival}
        sentences += [sentence(pair, DEFAULT, rival) for pair in compared if {pair["first"], pair["second"]} == both]
    if len(ranks) > 1:
        sentences.append(f"Ranked first over time: {best}.")
    return sentences + [sentence(pair, pair["first"], DEFAULT) for pair in varied]


def too_few(repeats: int, tests: int) -> list[str]:
    """Return a sentence where so many repeats can show nothing by so many tests; else none."""
    # Wilcoxon's p is least where all n repeats have one sign, 2 / 2^n, and Holm multiplies it by the number of tests.
    if tests and tests * 2 / 2**repeats >= LEVEL:
        return [f"{repeats} repeats are too few to show any difference by {tests} tests."]
    return []


def p_text(p: float) -> str:
    """Return a p value as people read it."""
    return "below 0.0001" if p < 0.0001 else f"{p:.2g}"


def write_figures(folder: Path, result: Findings) -> list[Path]:
    """Write the CSV files and return their paths."""
    methods = result.document["methods"]
    times = [
        {"method": name, **dict(zip(("seconds", "median_size", "low", "high"), map(finite, line), strict=True))}
        for name, lines in result.curves.items()
        for line in lines
    ]
    tables = {
        "methods.csv": [{"method": each["name"], **each} for each in methods],
        "times.csv": times,
        "runtimes.csv": [{"method": each["name"], **item} for each in methods for item in each["runtimes"]],
        "pairs.csv": result.document["pairs"] + result.document["variants"],
    }
    contents = {}
    # A method alone has no pairs.
    for name, rows in ((name, rows) for name, rows in tables.items() if rows):
        columns = [column for column in rows[0] if column not in ("name", "says", "runtimes", "differs")]
        contents[folder / name] = csv_text(columns, [[row[column] for column in columns] for row in rows]).encode()
    files.write_together(contents)
    return list(contents)


def figures_text(design: Comparison, document: Mapping[str, Any]) -> str:
    """Return the comparison for people."""
    lines = [("method", "over time", "at the end", "false answers", "rank")]
    for method in document["methods"]:
        figures = zip(("ratio", "final_size", "mean_rank"), (".3f", ",.0f", ".2f"), strict=True)
        texts = ["-" if method[name] is None else format(method[name], digits) for name, digits in figures]
        lines.append((method["name"], texts[0], texts[1], f"{100 * method['false']:.0f} %", texts[2]))
    task = design.task
    source = f"table {design.table}" if design.table else f"trainings in {task.study.space}"
    head = f"{source}: {counted(design.repeats, 'repeat')}, {duration_text(task.seconds)} each on "
    head += f"{counted(task.workers, 'worker')}, target {task.study.target_pct:g} % validation"
    note = "over time: geometric mean of the answers' sizes over the smallest that reaches; at the end: median size"
    return "\n".join([head, *aligned(lines), note, *document["sentences"]])
