"""Surrogate model: predicts the errors of a network for a training length from earlier trainings."""
