#!/usr/bin/env bash
# Optuna's Terminator ignores constraints: after an infeasible best value, better feasible trials do not count.
#
# Versions: Optuna 5.0.0.
# Expected: the improvement is measured on feasible trials, as in study.best_trial and plot_optimization_history.
# Observed: eight feasible trials in turn improve study.best_value; BestValueStagnationEvaluator counts eight
#   trials without an improvement since the infeasible trial, and the Terminator stops the study. RegretBoundEvaluator
#   estimates from infeasible trials, too: with the infeasible trials left out, its bound is larger.
# Matters: a search for the smallest network at a target accuracy ends while it still improves, since the smallest
#   networks are the infeasible ones. Pass only feasible trials to the evaluators (evaluate(trials, direction)).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile optuna==5.0.0 scipy==1.17.1 torch==2.13.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import optuna
from optuna.terminator import BestValueStagnationEvaluator, RegretBoundEvaluator, StaticErrorEvaluator, Terminator

optuna.logging.set_verbosity(optuna.logging.ERROR)


def add(study, size, violation):
    trial = study.ask({"size": optuna.distributions.FloatDistribution(0, 10)})
    trial.set_constraint("accuracy", violation)
    study.tell(trial, size)


study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
terminator = Terminator(BestValueStagnationEvaluator(max_stagnation_trials=7), StaticErrorEvaluator(0), min_n_trials=1)
add(study, 9.0, violation=-1.0)
add(study, 1.0, violation=+1.0)
bests = []
for step in range(8):
    add(study, 8.0 - 0.5 * step, violation=-1.0)
    bests.append(study.best_value)
feasible = [trial for trial in study.trials if all(value <= 0 for value in trial.constraints.values())]
every = BestValueStagnationEvaluator(max_stagnation_trials=7)
left = every.evaluate(study.trials, study.direction), every.evaluate(feasible, study.direction)
stops = terminator.should_terminate(study)
print("best feasible value after each trial:", bests)
print(f"trials left before the stop: {left[0]}, with feasible trials only {left[1]}; should_terminate: {stops}")

wide = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
for _ in range(25):
    trial = wide.ask({"x": optuna.distributions.FloatDistribution(0, 10)})
    trial.set_constraint("c", 5 - trial.params["x"])
    wide.tell(trial, (trial.params["x"] - 2) ** 2)
feasible = [trial for trial in wide.trials if trial.params["x"] >= 5]
regret = [RegretBoundEvaluator(seed=0).evaluate(trials, wide.direction) for trials in (wide.trials, feasible)]
print(f"regret bound with all trials {regret[0]:.2f}, with feasible trials {regret[1]:.2f}")
assert bests == sorted(bests, reverse=True) and len(set(bests)) == 8, bests
assert left == (-1, 7) and stops, (left, stops)
assert regret[0] < 0.5 * regret[1], regret
PYTHON
