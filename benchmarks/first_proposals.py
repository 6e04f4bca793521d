"""Replay variants of the first proposals on the seven tables, and attribute the loss over time (diary 143)."""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from harness.bench import comparison, replay
from harness.bench.comparison import Judged
from harness.bench.methods import Method, methods_of
from harness.bench.table import read_table, table_folder
from harness.searching import acquisition, finder, proposer
from harness.studies.events import Proposal, RunEnded
from harness.system import files
from harness.training.result import Purpose, Status

TABLES = "satellite-forms steps-forms digits-forms vowels-forms fashion-forms mnist-forms mnist-bench".split()
EARLY = 0.2


def constants(module: Any, **values: Any) -> Callable[[ExitStack], None]:
    def enter(stack: ExitStack) -> None:
        for name, value in values.items():
            stack.enter_context(patch.object(module, name, value))

    return enter


def together(*parts: Callable[[ExitStack], None]) -> Callable[[ExitStack], None]:
    def enter(stack: ExitStack) -> None:
        for part in parts:
            part(stack)

    return enter


def proposing(cls: type) -> Callable[[ExitStack], None]:
    return constants(replay, Proposer=cls)


RULES: dict[str, tuple[str, Callable[[ExitStack], None]]] = {}  # name -> (method, patches)


def requests(seed: int, repeats: int) -> replay.RunRequest:
    return replay.RunRequest(
        repeats=repeats, seed=seed, target=None, budget=None, seconds=None, workers=2, answer_seconds=60, live=False,
        space=None, recipe="fast", judge_seeds=6, dataset="mnist", data=None, device="cpu", engine="auto",
    )  # fmt: skip


def parts_of(trace: Any, judge: Any, seconds: float) -> dict[str, float]:
    """Return the loss over time by cause; the sum is the score."""
    function = comparison._StepFunction.of(trace, judge)
    least = min(judge.smallest, judge.largest)
    bounds = [0.0, *(a.seconds for a in trace.answers), seconds]
    answers = [None, *trace.answers]
    parts = Counter[str]()
    for start, end, answer in zip(bounds[:-1], bounds[1:], answers, strict=True):
        span = (min(end, seconds) - min(start, seconds)) / seconds
        if answer is None or answer.parameters is None:
            parts["none"] += span * math.log(judge.largest / least)
        elif answer.hash not in judge.reaching:
            parts["false"] += span * math.log(judge.largest / least)
        else:
            parts["size"] += span * math.log(answer.parameters / least)
    assert abs(sum(parts.values()) - function.score(judge, seconds)) < 1e-9
    return dict(parts)


def early_work(search: Any, seconds: float) -> dict[str, float]:
    """Return worker seconds by origin and fate of runs that ended in the first part of the time."""
    work = Counter[str]()
    for candidate in search.state.candidates.values():
        for run in candidate.runs:
            kind = candidate.proposal.origin
            if run.purpose is Purpose.CONFIRM:
                fate = "confirmed" if candidate.is_confirmed else "refuted" if candidate.is_refuted else "open"
            elif run.status is Status.PRUNED:
                fate = "pruned"
            else:
                fate = "passed" if candidate.passed_first else "missed"
            work[f"{kind}/{fate}"] += run.train_seconds
            work[f"n {kind}/{fate}"] += 1
    return dict(work)


class Captured:
    search: Any = None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--rules", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=24)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--early", action="store_true")
    options = parser.parse_args()
    original = replay.Search

    def search(*arguments: Any, **named: Any) -> Any:
        Captured.search = original(*arguments, **named)
        return Captured.search

    replay.Search = search  # type: ignore[misc, assignment]
    began = time.process_time()
    with open(options.out, "a") as out:
        for name in options.tables.split(","):
            table = read_table(table_folder(name, files.workspace()))
            judged = None
            for rule in options.rules.split(","):
                base, enter = RULES.get(rule, (rule, constants(replay)))
                if base in ("asha", "ctpe"):
                    command = f"{base}={sys.executable} benchmarks/methods/optuna_peers.py {base}"
                    method = methods_of(["random"], [command], ablations=False)[-1]
                else:
                    (method,) = methods_of([base], (), ablations=False)
                contest = replay.prepare_replay(requests(options.seed, options.repeats), [method], table)
                reads = replay._TableReadings(table, "pooled").read
                design = contest.design
                task = design.task
                sizes = table.sizes
                judged = judged or Judged.of(table.true_accuracies_pct, sizes, task.study.target_pct)
                judge = comparison._Judge.of(task.study, judged)
                start = time.process_time()
                for repeat in range(options.first, options.repeats):
                    with ExitStack() as stack:
                        enter(stack)
                        trace = replay.replay(method, design, reads, repeat)
                    function = comparison._StepFunction.of(trace, judge)
                    line = {
                        "table": name,
                        "rule": rule,
                        "seed": options.seed,
                        "repeat": repeat,
                        "over": function.score(judge, task.seconds),
                        "end": function.score_at(judge, task.seconds),
                        "parts": parts_of(trace, judge, task.seconds),
                        "networks": trace.networks,
                        "answers": [(a.seconds / task.seconds, a.parameters, a.hash in judge.reaching) for a in trace.answers],
                    }
                    if options.early:
                        from dataclasses import replace

                        short = replace(design, task=replace(task, seconds=EARLY * task.seconds))
                        with ExitStack() as stack:
                            enter(stack)
                            line["all"] = early_work(Captured.search, task.seconds)
                            replay.replay(method, short, reads, repeat)
                        line["early"] = early_work(Captured.search, EARLY * task.seconds)
                        line["early_worker_seconds"] = 2 * EARLY * task.seconds
                    out.write(json.dumps(line) + "\n")
                out.flush()
                print(name, rule, f"{time.process_time() - start:.1f} s", flush=True)
    print(f"total {time.process_time() - began:.0f} s")


# Rules ----------------------------------------------------------------------------------------------------------------


def steps(count: int) -> tuple[str, Callable[[ExitStack], None]]:
    return "no-prior", constants(proposer, _LADDER_STEPS=count)


class UntilPass(proposer.Proposer):
    """The ladder ends with the first network that passed."""

    def propose(self, inquiry: Any) -> Any:
        if any(each.passed_first for each in inquiry.candidates.values()):
            self.ladder = []
        return super().propose(inquiry)


class SkipLarger(proposer.Proposer):
    """Networks of the ladder that are larger than a network that passed and is not refuted are left out."""

    def propose(self, inquiry: Any) -> Any:
        passed = [each.cost for each in inquiry.candidates.values() if each.passed_first and not each.is_refuted]
        if passed and self.ladder:
            self.ladder = [each for each in self.ladder if size_of(self, each) < min(passed)]
        return super().propose(inquiry)


def size_of(self: Any, network: Any) -> int:
    from search_spaces.network import analyse

    return analyse(network.architecture, self.space.task).parameters


class Bisect(proposer.Proposer):
    """Each network of the ladder is the middle of the sizes between the largest miss and the smallest pass."""

    def propose(self, inquiry: Any) -> Any:
        if self.ladder:
            if not hasattr(self, "steps"):
                self.steps = sorted(self.ladder, key=lambda each: size_of(self, each))
            trained = [each for each in inquiry.candidates.values()]
            passed = [each.cost for each in trained if each.passed_first]
            missed = [each.cost for each in trained if each.first is not None and not each.passed_first]
            low = max([each for each in missed if not passed or each < min(passed)], default=0)
            high = min(passed, default=math.inf)
            between = [each for each in self.ladder if low < size_of(self, each) < high]
            if not passed and not missed:
                between = self.ladder  # the first networks keep the present order
            elif between:
                between = [between_sorted(self, between)]
            self.ladder = between
        return super().propose(inquiry)


def between_sorted(self: Any, networks: Any) -> Any:
    ordered = sorted(networks, key=lambda each: size_of(self, each))
    return ordered[len(ordered) // 2]


for count in (1, 2, 3, 4, 5):
    RULES[f"ladder-{count}"] = steps(count)
until_pass = proposing(UntilPass)
skip = proposing(SkipLarger)
RULES["until-pass"] = ("no-prior", until_pass)
RULES["skip-larger"] = ("no-prior", skip)
RULES["bisect"] = ("no-prior", proposing(Bisect))
for value in (1.0, 2.0):
    RULES[f"certainty-{value:g}"] = ("no-prior", constants(acquisition, _CERTAINTY=value))
    RULES[f"until-pass certainty-{value:g}"] = ("no-prior", together(until_pass, constants(acquisition, _CERTAINTY=value)))
RULES["no-ladder certainty-1"] = ("no-ladder", constants(acquisition, _CERTAINTY=1.0))
for value in (0.7, 1.0, 2.5):
    RULES[f"until-pass belief-{value:g}"] = ("no-prior", together(until_pass, constants(finder, _PRIOR_ERROR_FACTOR=value)))
RULES["until-pass bias-0"] = ("no-prior", together(until_pass, constants(acquisition, _SELECTION_BIAS_SD=0.0)))

no_bias = constants(acquisition, _SELECTION_BIAS_SD=0.0)
RULES["bias-0"] = ("no-prior", no_bias)
RULES["until-pass bias-0.5"] = ("no-prior", together(until_pass, constants(acquisition, _SELECTION_BIAS_SD=0.5)))
RULES["skip-larger bias-0"] = ("no-prior", together(skip, no_bias))
RULES["ladder-4 bias-0"] = ("no-prior", together(constants(proposer, _LADDER_STEPS=4), no_bias))
for value in (1.0, 2.0):
    RULES[f"until-pass bias-0 certainty-{value:g}"] = (
        "no-prior", together(until_pass, no_bias, constants(acquisition, _CERTAINTY=value)))
RULES["no-ladder bias-0 certainty-1"] = ("no-ladder", together(no_bias, constants(acquisition, _CERTAINTY=1.0)))


class Spread(proposer.Proposer):
    """A design of farthest points in the surrogate's features, from the ladder's first size; ends with the first pass."""

    count = 7

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if not self.ladder:
            return
        import numpy as np

        from harness.searching.surrogate.features import network_row
        from search_spaces.network import analyse
        from search_spaces.space import draw, uniform

        rng = random.Random(self.config.seed)
        draws = {}
        for _ in range(2000):
            each = draw(self.space, uniform(rng))
            analysis = analyse(each.architecture, self.space.task)
            if analysis.parameters <= self.config.budget:
                draws.setdefault(each.architecture.hash, (each, network_row(each.architecture, analysis)))
            if len(draws) >= 300:
                break
        networks = [each for each, _ in draws.values()]
        rows = np.array([row for _, row in draws.values()])
        first = self.ladder[0]
        analysis = analyse(first.architecture, self.space.task)
        chosen = [first]
        distances = ((rows - np.array(network_row(first.architecture, analysis))) ** 2).sum(axis=1)
        while len(chosen) < self.count:
            at = int(distances.argmax())
            chosen.append(networks[at])
            distances = np.minimum(distances, ((rows - rows[at]) ** 2).sum(axis=1))
        self.ladder = chosen


class SpreadUntilPass(Spread, UntilPass):
    pass


class SpreadFour(Spread):
    count = 4


RULES["spread-7"] = ("no-prior", proposing(Spread))
RULES["spread-4"] = ("no-prior", proposing(SpreadFour))
RULES["spread until-pass bias-0"] = ("no-prior", together(proposing(SpreadUntilPass), no_bias))


class Draws(proposer.Proposer):
    """Uniform draws below the incumbent before the surrogate proposes."""

    count = 7

    def propose(self, inquiry: Any) -> Any:
        self.ladder = []
        if len(inquiry.candidates) < self.count:
            found = self.finder(inquiry)
            option = next(found.draw_options(self.sampler_study.generator()), None)
            if option is not None:
                chosen = self._registered(found, option, "draw")
                return proposer.InquiryAnswer(chosen, (), rejected_draws=found.rejected_draws)
        return super().propose(inquiry)


class ManyDraws(Draws):
    count = 14


RULES["draws-7"] = ("no-prior", proposing(Draws))
RULES["draws-7 bias-0"] = ("no-prior", together(proposing(Draws), no_bias))
RULES["draws-14"] = ("no-prior", proposing(ManyDraws))

_ranked = acquisition.Acquisition.ranked


def by_rate(self: Any, forecast: Any) -> Any:
    """Rank by the expected reduction per second also without an incumbent."""
    from dataclasses import replace

    return _ranked(replace(self, has_incumbent=True), forecast)


rate = constants(acquisition.Acquisition, ranked=by_rate)
RULES["no-ladder rate"] = ("no-ladder", rate)
RULES["no-ladder rate bias-0"] = ("no-ladder", together(rate, no_bias))
RULES["until-pass rate bias-0"] = ("no-prior", together(until_pass, rate, no_bias))
for seconds in (0.0,):
    RULES["no-ladder soon bias-0"] = (
        "no-ladder", together(no_bias, constants(acquisition, _MOST_ATTEMPTS=1.0, _CERTAINTY=1.0)))


if __name__ == "__main__":
    main()
