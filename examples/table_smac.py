"""SMAC3 on a table of recorded trainings: a cost with a penalty is minimised, over the recorded seeds."""

from smac import HyperparameterOptimizationFacade, Scenario

import harness


def optimise(problem, folder="smac3_output", trials=50):
    """Return SMAC with the default settings after ``trials`` trainings; ``folder`` stores the run."""

    def train(config, seed=0):
        # SMAC draws arbitrary seeds and repeats promising configurations with these seeds.
        row = problem.evaluate(config, seed=problem.seeds[seed % len(problem.seeds)])
        return problem.cost(row)

    scenario = Scenario(problem.configuration_space(seed=0), n_trials=trials, output_directory=folder)
    smac = HyperparameterOptimizationFacade(scenario, train, overwrite=True)
    smac.optimize()
    return smac


if __name__ == "__main__":
    print(optimise(harness.bench.problem("mnist-bench")).intensifier.get_incumbent())
