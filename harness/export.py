"""A trained network as a file for other programs: ONNX and safetensors, each read back before it is written.

Training is a verification's, seed by seed, so that a recorded seed gives the recorded weights; the test set is not
read. ``onnx``, ``onnxruntime`` and ``safetensors`` are the optional extra ``export``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset
from harness.errors import DeviceError
from harness.evidence.record import Record, SeedRun
from harness.training.build import Network, build
from harness.training.result import Result, same_bits_due
from harness.training.train import Training, holding, predicting_state
from search_spaces.architecture import Architecture

# What each format needs beyond the program's own requirements.
LIBRARIES = {"--onnx": ("onnx", "onnxruntime"), "--safetensors": ("safetensors",)}
# Logits of two libraries differ by the order of their additions; classes only where two logits are as good as equal.
TOLERANCE = 1e-3
CHECKED_IMAGES = 1_000


class Match(StrEnum):
    """How exported weights compare with those on record."""

    IDENTICAL = "identical"
    DIFFERENT = "different"
    ELSEWHERE = "made elsewhere"
    UNRECORDED = "not on record"


@dataclass(frozen=True, slots=True)
class OnnxCheck:
    """An ONNX model compared with torch on real images.

    Attributes:
        largest_difference: of two logits, relative to the largest logit.
        classes_differ: images for which the two name different classes.
    """

    images: int
    largest_difference: float
    classes_differ: int


def require_libraries(option: str) -> None:
    """Raise DeviceError unless what the option needs is installed here."""
    missing = [name for name in LIBRARIES[option] if find_spec(name) is None]
    if missing:
        raise DeviceError(
            f"{option} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed here",
            hint="pip install 'harness[export]', with the pip of this program's environment",
        )


def recorded_seed(
    records: Iterable[Record], network_hash: str, recipe_hash: str, dataset: str, index: int
) -> SeedRun | None:
    """Return a seed's run from the records; the target that it was run for has no part in its weights."""
    for evidence in records:
        if (evidence.hash, evidence.recipe_hash, evidence.dataset) == (network_hash, recipe_hash, dataset) and (
            run := evidence.seed(index)
        ):
            return run
    return None


def match(result: Result, recorded: SeedRun | None) -> Match:
    """Return how trained weights compare with those on record."""
    if recorded is None or recorded.weights_sha256 is None or result.environment is None:
        return Match.UNRECORDED
    if recorded.weights_sha256 == result.weights_sha256:
        return Match.IDENTICAL
    return Match.DIFFERENT if same_bits_due(result.environment, recorded.environment) else Match.ELSEWHERE


def properties(result: Result, dataset: Dataset) -> dict[str, str]:
    """Return what an exported file says of itself: the network and where its weights come from."""
    return {
        "architecture": result.architecture,
        "hash": result.hash,
        "parameters": str(result.parameters),
        "recipe": result.recipe_name,
        "recipe_hash": result.recipe_hash,
        "recipe_fields": json.dumps(asdict(result.recipe), sort_keys=True),
        "dataset": result.dataset,
        "pixel_mean": repr(dataset.mean),
        "pixel_deviation": repr(dataset.std),
        "seed_index": str(result.seed_index),
        "seed": str(result.seed),
        "weights_sha256": result.weights_sha256 or "",
        "engine": result.environment.engine if result.environment else "",
        "protocol_version": str(result.protocol_version),
    }


def final_network(run: Training) -> Network:
    """Return a copy of the network that predicts, in evaluation mode: averaged where the recipe averages."""
    with holding(run, predicting_state(run)):
        network = build(run.architecture)
        network.load_state_dict(run.network.state_dict())
    return network.eval()


def weights_of(network: nn.Module) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    """Return all weights and statistics by torch's names, a tied kernel once, and what its other names stand for."""
    kept: dict[str, np.ndarray[Any, Any]] = {}
    tied: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue  # How many batches BN has seen has no part in what it predicts.
        known = first.setdefault(tensor.data_ptr(), name)
        if known == name:
            kept[name] = tensor.detach().cpu().numpy().copy(order="C")
        else:
            tied[name] = known
    return kept, tied


def to_safetensors(network: nn.Module, about: Mapping[str, str]) -> bytes:
    """Return the weights as a safetensors file that reads back bit for bit.

    A tied kernel is stored once, under the name of its first user; the other names stand in the metadata.
    """
    from safetensors.numpy import load, save

    kept, tied = weights_of(network)
    # One entry, because the library writes several in no fixed order.
    metadata = {"harness": json.dumps({**about, "tied": tied})}
    content: bytes = save(kept, metadata)
    back = load(content)
    assert back.keys() == kept.keys()
    assert all(np.array_equal(back[name], value) for name, value in kept.items())
    return content


def to_onnx(
    architecture: Architecture, network: Network, dataset: Dataset, pixels: Tensor, about: Mapping[str, str]
) -> tuple[bytes, OnnxCheck]:
    """Return the network as an ONNX model, compared with torch on some images.

    Args:
        architecture: what ``network`` was built from.
        network: trained, in evaluation mode, on a CPU.
        dataset: says how pixels are normalised.
        pixels: images to compare on, uint8 (n, 1, 28, 28).
        about: what the model says of itself.

    Raises:
        AssertionError: the model says something else than torch; a fault of this program.
    """
    from harness.onnx_graph import onnx_model

    kept, tied = weights_of(network)
    # The graph names a tied kernel by its first user too.
    assert not tied.keys() & kept.keys()
    content = onnx_model(architecture, kept, dataset.mean, dataset.std, about).SerializeToString(deterministic=True)
    check = checked(content, network, dataset, pixels)
    if check.largest_difference > TOLERANCE:
        raise AssertionError(f"ONNX gives other logits than torch, by {check.largest_difference:.2g}: please report it")
    return content, check


def checked(content: bytes, network: nn.Module, dataset: Dataset, pixels: Tensor) -> OnnxCheck:
    """Compare a model's logits with torch's on images, uint8 (n, 1, 28, 28)."""
    from onnxruntime import InferenceSession, SessionOptions

    settings = SessionOptions()
    settings.intra_op_num_threads = 1
    session = InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    theirs = torch.from_numpy(session.run(["logits"], {"pixels": pixels.numpy()})[0])
    with torch.inference_mode():
        images = pixels.float().div_(255).sub_(dataset.mean).div_(dataset.std)
        ours = network(images)
    scale = max(float(ours.abs().max()), 1e-6)
    return OnnxCheck(
        images=len(pixels),
        largest_difference=float((ours - theirs).abs().max()) / scale,
        classes_differ=int((ours.argmax(1) != theirs.argmax(1)).sum()),
    )
