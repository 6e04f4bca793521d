"""Values for many tests, from the facts that a test states; further fields are set by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional

# Tests replace ``training_images.load``; a first import of these modules would keep the replacement.
from harness.data.datasets import DATASETS, dataset
from harness.data.training_images import ImageData
from harness.evidence.record import Record, SearchSummary, SeedRun
from harness.spaces.network import MNIST, Analysis, Architecture, analyse
from harness.spaces.notation import parse_network
from harness.studies.candidate import Candidate
from harness.studies.config import StudyConfig
from harness.studies.events import Proposal
from harness.training.recipe import Recipe
from harness.training.result import Environment, Epoch, Purpose, Result, Status, derive_seed
from harness.training.run import Job
from harness.training.torch_network import Images

NETWORK = "conv3x3(8) bn relu | maxpool | conv3x3(8) bn relu | gap | conv1x1(10)"
# Number of images on which errors are counted.
SIZE = 10_000
ENVIRONMENT = Environment(
    commit="0" * 40,
    dirty=False,
    python="3.11.7",
    torch="2.13.0+cpu",
    device="cpu: Some Processor",
    instructions="x86_64 AVX2",
    threads=1,
    data_hash=DATASETS["mnist"].data_hash,
)
CONFIG = StudyConfig(
    dataset="mnist", data_hash="ab" * 32, budget=20_000, target_pct=99.4, threshold_pct=99.45, space="card",
    space_text="net = conv3x3(8) | gap | linear(10);  # not the real one\n", sampler="tpe", recipe=Recipe(),
    recipe_name="fast", rungs=(4, 8), seed=0,
)  # fmt: skip


def network_of_width(width: int) -> str:
    return f"conv3x3({width}) bn relu | maxpool | conv3x3(8) bn relu | gap | conv1x1(10)"


@cache
def analysed(network: str) -> tuple[Architecture, Analysis]:
    architecture = parse_network(network)
    return architecture, analyse(architecture, MNIST)


def make_result(network: str = NETWORK, errors: int | None = 60, **fields: Any) -> Result:
    """Return a complete run of a search with this number of validation errors of 10,000."""
    architecture, analysis = analysed(network)
    recipe = fields.get("recipe", Recipe())
    result = Result(
        architecture=architecture,
        hash=architecture.hash,
        parameters=analysis.parameters,
        macs=analysis.macs,
        recipe=recipe,
        recipe_name="fast",
        recipe_hash=recipe.hash,
        dataset="mnist",
        purpose=Purpose.SEARCH,
        seed_index=0,
        seed=1,
        status=Status.COMPLETE,
        validation_errors=errors,
        validation_size=None if errors is None else SIZE,
        environment=ENVIRONMENT,
        started_utc="2026-11-20T08:00:00+00:00",
        study="a-study",
        trial=0,
    )
    return replace(result, **fields)


# Kill tests ask for the same jobs thousands of times.
_initial_result = cache(Job.initial_result)


def make_job_result(job: Job, accuracy_pct: Callable[[int, int], float], epoch: int) -> Result:
    """Return the result of a job at an epoch, with errors that decrease as in real runs.

    ``accuracy_pct`` gives the accuracy at the end for parameters and a seed. At a quarter of the epochs, the
    errors are 2.9 times the final errors, at half of the epochs 1.66 times.
    """
    start = _initial_result(job, dataset("mnist"))
    final = round(SIZE * (1 - accuracy_pct(start.parameters, start.seed) / 100))
    history = tuple(
        Epoch(number, 0.1, 0.1, float(number), round(final * (1 + 4 * (1 - number / job.recipe.epochs) ** 2.6)))
        for number in range(1, epoch + 1)
    )
    return replace(
        start,
        status=Status.COMPLETE if epoch == job.recipe.epochs else Status.RUNNING,
        history=history,
        validation_errors=history[-1].validation_errors,
        validation_size=SIZE,
        train_seconds=float(epoch),
    )


def make_proposal(trial: int = 0, network: str = NETWORK, **fields: Any) -> Proposal:
    architecture, analysis = analysed(network)
    proposal = Proposal(
        trial=trial,
        architecture=architecture,
        hash=architecture.hash,
        parameters=analysis.parameters,
        origin="tpe",
        decisions=(),
    )
    return replace(proposal, **fields)


def make_candidate(*fresh: int | None, first: int | None = 100, trial: int = 0, parameters: int = 1000) -> Candidate:
    """Return a network with these errors in the first run and on the fresh seeds; 100 errors are the threshold."""
    proposal = make_proposal(trial, parameters=parameters)
    run = None if first is None else make_result(errors=first)
    runs = [make_result(errors=errors, purpose=Purpose.CONFIRM, seed_index=index) for index, errors in enumerate(fresh)]
    return Candidate(proposal, parameters, run, runs, threshold_pct=99.0)


def make_seed_run(network_hash: str, index: int, errors: int, recipe: Recipe, beacon: str = "") -> SeedRun:
    return SeedRun(
        index=index,
        seed=derive_seed(network_hash, recipe.hash, Purpose.VERIFY, index, beacon=beacon),
        status=Status.COMPLETE,
        test_errors=errors,
        test_size=SIZE,
        wrong=tuple((image, 3) for image in range(errors)),
        weights_sha256=None,
        train_seconds=50.0,
        started_utc=f"2026-11-20T08:{index:02d}:00+00:00",
        environment=ENVIRONMENT,
        beacon=beacon or None,
    )


def make_record(errors: list[int], network: str = NETWORK, first: int = 0, beacon: str = "", **fields: Any) -> Record:
    """Return a record with these test errors, a number per seed, from the index ``first`` on."""
    architecture, analysis = analysed(network)
    recipe = fields.get("recipe", Recipe())
    seeds = [
        make_seed_run(architecture.hash, index, count, recipe, beacon)
        for index, count in enumerate(errors, start=first)
    ]
    record = Record(
        name="",
        architecture=architecture,
        hash=architecture.hash,
        parameters=analysis.parameters,
        macs=analysis.macs,
        recipe=recipe,
        recipe_name="fast",
        recipe_hash=recipe.hash,
        assumed=(),
        dataset="mnist",
        target_pct=99.4,
        seeds=tuple(seeds),
    )
    return replace(record, **fields)


def make_summary(study: str = "elsewhere") -> SearchSummary:
    return SearchSummary(
        study=study,
        study_seed=0,
        space="card",
        sampler="tpe",
        trial=3,
        validation_accuracy_pct=99.47,
        validation_seeds=5,
        trained=60,
        rejected=40,
        search_seconds=3000.0,
        workers=2,
    )


def make_claim(network: str, test_accuracy_pct: float, name: str = "theirs") -> dict[str, Any]:
    """Return a claim of ``claims.json``, the published facts of a network."""
    claim = {"name": name, "architecture": network, "test_accuracy_pct": test_accuracy_pct, "metric": "best epoch"}
    return claim | {"runs": 1, "epochs": 20, "recipe": "a recipe with a long name", "source": "someone"}


MEAN = 0.13
DEVIATION = 0.31


def make_images(count: int, seed: int = 0) -> Images:
    """Return random blobs, which are smooth enough for networks to learn from, without a data set."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator)
    coarse = torch.rand(10, 1, 7, 7, generator=torch.Generator().manual_seed(1))
    shapes = functional.interpolate(coarse, 28, mode="bilinear")
    noise = 0.5 * torch.rand(count, 1, 28, 28, generator=generator)
    return Images(((0.5 * shapes[labels] + noise) * 255).to(torch.uint8), labels, (MEAN,), (DEVIATION,))


def make_data(train_size: int = 80) -> ImageData:
    """Return a data set of random images, with 20 images for validation."""
    count = train_size + 20
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=train_size, validation_size=20, test_size=30)
    return ImageData(spec, pixels, torch.arange(count) % 10, data_hash="abc", source="memory", folder=None)


_IDX_KINDS = {"uint8": "08", "int32": "0c"}


def idx(values: np.ndarray) -> bytes:
    """Return an IDX file (http://yann.lecun.com/exdb/mnist): 0, 0, kind, rank, sizes, then big-endian numbers."""
    header = f"0000{_IDX_KINDS[str(values.dtype)]}{values.ndim:02x}" + "".join(f"{size:08x}" for size in values.shape)
    return bytes.fromhex(header) + values.astype(values.dtype.newbyteorder(">")).tobytes()
