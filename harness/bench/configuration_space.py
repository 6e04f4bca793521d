"""Decisions of a search space as a configuration space of ConfigSpace, with conditions that are inferred from draws."""

from __future__ import annotations

from collections.abc import Sequence

from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, InCondition, UniformIntegerHyperparameter

from search_spaces.space import Decision, Draw


def configuration_space(draws: Sequence[Draw], seed: int | None = None) -> ConfigurationSpace:
    """Return the decisions of ``draws``, which should be all draws of a space; values are indices of options."""
    space = ConfigurationSpace(seed=seed)
    parameters = {}
    decisions: list[Decision] = []
    for decision in {each.name: each for draw in draws for each in draw.decisions}.values():
        if decision.ordered:
            parameter = UniformIntegerHyperparameter(decision.name, 0, decision.size - 1)
        else:
            parameter = CategoricalHyperparameter(decision.name, list(range(decision.size)))
        parameters[decision.name] = parameter
        space.add(parameter)
        if condition := _condition(decision, decisions, draws):
            parent, options = condition
            space.add(InCondition(parameter, parameters[parent], sorted(options)))
        decisions.append(decision)
    return space


def _condition(decision: Decision, decisions: Sequence[Decision], draws: Sequence[Draw]) -> tuple[str, set[int]] | None:
    """Return the latest decision, and the options, on which ``decision`` depends; None if there is no condition."""
    indices = [draw.indices for draw in draws]
    for parent in reversed(decisions):
        occurrences = [each for each in indices if parent.name in each]
        with_it = {each[parent.name] for each in occurrences if decision.name in each}
        without = {each[parent.name] for each in occurrences if decision.name not in each}
        occurs_elsewhere = any(decision.name in each for each in indices if parent.name not in each)
        if with_it and without and not with_it & without and not occurs_elsewhere:
            return parent.name, with_it
    return None
