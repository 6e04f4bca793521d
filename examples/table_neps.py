"""NePS on a table of recorded trainings: the default Hyperband minimises a cost with a penalty over the epochs."""

import neps

import harness


def optimise(problem, folder="neps_results", evaluations=50):
    """Return all evaluations as a pandas table; NePS creates ``folder``, which must not exist."""
    space = neps.PipelineSpace()
    for name, each in problem.options.items():
        setattr(space, name, neps.Integer(0, each.size - 1) if each.ordered else neps.Categorical(range(each.size)))
    # Rungs are about evenly spaced in the logarithm of the epochs; the fidelity is the number of the rung.
    space.rung = neps.IntegerFidelity(1, len(problem.rungs))

    def train(rung, **config):
        row = problem.evaluate(config, epochs=problem.rungs[rung - 1])
        return {"objective_to_minimize": problem.cost(row), "cost": row.seconds}

    neps.run(train, space, root_directory=folder, total_evaluations_to_spend=evaluations)
    return neps.status(folder)[0]


if __name__ == "__main__":
    print(optimise(harness.bench.problem("mnist-bench")))
