#!/usr/bin/env bash
# pygad's random mutation never raises a positive integer gene if the range of the mutation is the default, -1 to 1.
#
# Versions: pygad 3.9.2.
# Expected: with gene_type=int a mutation from -1 to 1 makes an integer smaller by one, equal, or larger by one, upwards
#   as often as downwards.
# Observed: the sum of the gene and the random number is truncated to an integer, so a mutated gene stays or falls by
#   one. A search that maximises the sum of four genes ends at the largest initial value, 8, while float genes rise
#   above 20. With a range of -2 to 2 a mutated gene falls twice as often as it rises.
# Matters: depths and widths are integers: the search cannot leave the initial range upwards, and drifts to small
#   networks. Draw new values instead (gene_space, or mutation_by_replacement=True with the range of the gene).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile pygad==3.9.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import pygad


def algorithm(reach, kind, seed):
    return pygad.GA(
        num_generations=50,
        num_parents_mating=5,
        sol_per_pop=20,
        num_genes=4,
        fitness_func=lambda algorithm, genes, index: float(np.sum(genes)),
        gene_type=kind,
        init_range_low=1,
        init_range_high=9,
        random_mutation_min_val=-reach,
        random_mutation_max_val=reach,
        mutation_percent_genes=25,
        random_seed=seed,
    )


changes = {}
for reach in (1, 2):
    start = algorithm(reach, int, 0)
    steps = [start.mutation(start.population.copy()) - start.population for _ in range(200)]
    values, counts = np.unique(np.array(steps, int), return_counts=True)
    changes[reach] = dict(zip(values.tolist(), counts.tolist(), strict=True))
    print(f"mutation from -{reach} to {reach}: changes of integer genes {changes[reach]}")
assert set(changes[1]) == {-1, 0}, changes
falls = changes[2][-2] + changes[2][-1]
assert falls > 2 * changes[2][1], changes
assert 2 not in changes[2], changes

for kind in (int, float):
    for seed in range(3):
        search = algorithm(1, kind, seed)
        first = search.population.max()
        search.run()
        best = search.best_solution()[0]
        print(f"{kind.__name__}, seed {seed}: largest initial gene {first:.1f}, best genes {best.tolist()}")
        assert best.max() <= first if kind is int else best.max() > 20
PYTHON
