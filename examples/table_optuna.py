"""Optuna on a table of recorded trainings: parameters are minimised, and the accuracy is a constraint."""

import optuna

import harness


def study(problem, trials=50):
    """Return a study with the default sampler; each trial trains the proposed network to the last epoch."""

    def objective(trial):
        config = {
            name: trial.suggest_int(name, 0, each.size - 1)
            if each.ordered
            else trial.suggest_categorical(name, range(each.size))
            for name, each in problem.options.items()
        }
        row = problem.evaluate(config)
        trial.set_constraint("accuracy", problem.target_pct - row.validation_accuracy_pct)
        return row.parameters

    result = optuna.create_study()
    result.optimize(objective, n_trials=trials)
    return result


if __name__ == "__main__":
    print(study(harness.bench.problem("mnist-bench")).best_trial)
