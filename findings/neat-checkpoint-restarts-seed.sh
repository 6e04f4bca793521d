#!/usr/bin/env bash
# neat-python: a restored checkpoint starts the random numbers again from the seed of the configuration file.
#
# Versions: neat-python 2.0.0.
# Expected: a checkpoint contains the state of the random numbers, so a search that is restored at generation 5 or 10
#   has the same generations up to 14 as the search without a break, wherever the seed is stated.
# Observed: restore_checkpoint sets the saved state, and then creates a Population, which calls random.seed with the
#   seed of the configuration. The generation of the checkpoint is equal, and every later generation differs. With
#   Population(config, seed=7) the next generations have equal fitness values. Saving takes a node number and a species
#   number from the running search, so that the first new node after a checkpoint has another number than in the
#   restored search, in both cases.
# Matters: an interrupted search is another search, which begins with the random numbers of its first generation. Pass
#   the seed to Population, and report restored searches as separate runs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile neat-python==2.0.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import contextlib
import io

import neat

GENERATIONS = 15
NUMBERS = "init_mean=0 init_stdev=1 init_type=gaussian max_value=30 min_value=-30 mutate_power=0.5 mutate_rate=0.7"
OPTIONS = {
    "NEAT": "fitness_criterion=max fitness_threshold=99 no_fitness_termination=True pop_size=40"
    " reset_on_extinction=False",
    "DefaultGenome": "num_inputs=2 num_outputs=1 num_hidden=0 feed_forward=True initial_connection=full"
    " compatibility_disjoint_coefficient=1 compatibility_weight_coefficient=0.5 conn_add_prob=0.3 conn_delete_prob=0.1"
    " node_add_prob=0.2 node_delete_prob=0.1 single_structural_mutation=False structural_mutation_surer=default"
    " activation_default=tanh activation_mutate_rate=0 activation_options=tanh aggregation_default=sum"
    " aggregation_mutate_rate=0 aggregation_options=sum enabled_default=True enabled_mutate_rate=0.01"
    " enabled_rate_to_true_add=0 enabled_rate_to_false_add=0 "
    + " ".join(f"{name}_{option}" for name in ("bias", "weight", "response")
               for option in [*NUMBERS.split(), "replace_rate=0.1"]),
    "DefaultSpeciesSet": "compatibility_threshold=3",
    "DefaultStagnation": "species_fitness_func=max max_stagnation=20 species_elitism=2",
    "DefaultReproduction": "elitism=2 survival_threshold=0.2 min_species_size=2",
}
TABLE = [((0, 0), 0), ((0, 1), 1), ((1, 0), 1), ((1, 1), 0)]


def configuration(seed_line):
    """Return a configuration for networks that learn the exclusive or."""
    with open("configuration.ini", "w") as file:
        for section, options in OPTIONS.items():
            file.write(f"[{section}]\n" + "\n".join(options.split()) + "\n")
            file.write(seed_line + "\n" if section == "NEAT" else "")
    return neat.Config(neat.DefaultGenome, neat.DefaultReproduction, neat.DefaultSpeciesSet, neat.DefaultStagnation,
                       "configuration.ini")


def evaluate(genomes, config):
    """Set the fitness of each genome to 4 minus the squared errors."""
    for _, genome in genomes:
        network = neat.nn.FeedForwardNetwork.create(genome, config)
        genome.fitness = 4 - sum((network.activate(inputs)[0] - output) ** 2 for inputs, output in TABLE)


class Record(neat.reporting.BaseReporter):
    """Record the sum of all fitness values and the largest node number of each generation."""

    def __init__(self):
        self.totals = []
        self.nodes = []

    def post_evaluate(self, config, population, species, best_genome):
        self.totals.append(sum(genome.fitness for genome in population.values()))
        self.nodes.append(max(max(genome.nodes) for genome in population.values()))


def run(population, generations, prefix):
    """Run a search that saves a checkpoint every five generations, and return its record."""
    reporter = Record()
    population.add_reporter(reporter)
    population.add_reporter(neat.Checkpointer(5, filename_prefix=prefix))
    with contextlib.redirect_stdout(io.StringIO()):
        population.run(evaluate, generations)
    return reporter


def show(name, first, second):
    """Print and return for each generation whether both sums are equal."""
    same = [one == other for one, other in zip(first, second, strict=True)]
    print(f"{name}:", "".join("=" if equal else "x" for equal in same))
    return same


for seed_line, options in (("seed = 7", {}), ("", {"seed": 7})):
    print(seed_line or "Population(config, seed=7)")
    whole = run(neat.Population(configuration(seed_line), **options), GENERATIONS, "whole-")
    again = run(neat.Population(configuration(seed_line), **options), GENERATIONS, "again-")
    assert all(show("  repeated from generation 0", whole.totals, again.totals))
    for generation in (5, 10):
        rest = run(neat.Checkpointer.restore_checkpoint(f"whole-{generation}"), GENERATIONS - generation, "rest-")
        same = show(f"  restored at generation {generation}", whole.totals[generation:], rest.totals)
        print("    largest node numbers", *rest.nodes, "and without a break", *whole.nodes[generation:])
        assert same[0] and rest.nodes[1:] != whole.nodes[generation + 1 :]
        assert not any(same[1:]) if seed_line else same[1]
PYTHON
