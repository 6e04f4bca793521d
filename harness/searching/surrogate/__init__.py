"""Surrogate model: predicts errors of a network from earlier trainings."""
