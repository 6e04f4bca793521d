"""Decisions of a search space as a configuration space of ConfigSpace, with conditions that are inferred from draws."""

from __future__ import annotations

from collections.abc import Sequence

from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, InCondition, UniformIntegerHyperparameter

from harness.spaces.space import Decision, Draw


def configuration_space(draws: Sequence[Draw], seed: int | None = None) -> ConfigurationSpace:
    """Return the decisions and conditions of a space; values are indices of options.

    ``draws`` are all draws of the space: a condition is inferred from the draws in which a decision occurs. ``seed`` is
    the seed of the samples of ConfigSpace; None for a random seed.
    """
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
    """Return the latest earlier decision, and its options, that alone decide whether ``decision`` occurs."""
    configurations = [draw.indices for draw in draws]
    for parent in reversed(decisions):
        of_parent = [each for each in configurations if parent.name in each]
        options_with = {each[parent.name] for each in of_parent if decision.name in each}
        options_without = {each[parent.name] for each in of_parent if decision.name not in each}
        occurs_elsewhere = any(decision.name in each for each in configurations if parent.name not in each)
        if options_with and options_without and options_with.isdisjoint(options_without) and not occurs_elsewhere:
            return parent.name, options_with
    return None
