"""Several jobs trained side by side by the persistent kernel; networks, recipes and seeds may all differ."""

from __future__ import annotations

from collections.abc import Sequence

from harness.device import choose_device
from harness.engine.persistent_kernel import load
from harness.engine.persistent_training import Kernel, train_epoch_side_by_side
from harness.training.result import Result
from harness.training.run import Bench, Job, begun, ended, images_of, looked_at
from harness.training.train import settle, start
from search_spaces.notation import parse_network


def execute_side_by_side(jobs: Sequence[Job], bench: Bench, kernel: Kernel | None = None) -> list[Result]:
    """Train all jobs at once, each to its end, and return their results in their order.

    All train on the same device and images: on all of them, or on the search split. What a job says of rungs,
    checkpoints and engines has no effect here.

    Raises:
        DeviceError: the kernel cannot be made or launched.
    """
    device = choose_device(jobs[0].device)
    kernel = kernel or load(device)
    open_results = [begun(job, bench, device, kernel.name) for job in jobs]
    training, validation = images_of(jobs[0], bench, device)
    trainings = [
        start(parse_network(job.architecture), job.recipe, result.seed, device)
        for job, result in zip(jobs, open_results, strict=True)
    ]
    while going := [each for each in trainings if not each.diverged and len(each.history) < each.recipe.epochs]:
        train_epoch_side_by_side(kernel, going, training)
    results = []
    for job, result, each in zip(jobs, open_results, trainings, strict=True):
        settle(each, training)
        each.history[-1] = looked_at(job, bench, each, each.history[-1], validation, at_end=True)
        results.append(ended(job, bench, result, each, training, validation))
    return results
