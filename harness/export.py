"""A trained network as an ONNX model for other programs, compared with torch before it is written.

Training is a verification's, seed by seed, so that a recorded seed gives the recorded weights; the test set is not
read. ``onnx`` and ``onnxruntime`` are the optional extra ``export``; ``harness.training.weights`` has the other format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset
from harness.evidence.record import Record, SeedRun
from harness.training.build import Network
from harness.training.result import Result, same_bits_due
from harness.training.steps import normalised
from harness.training.weights import weights_of
from search_spaces.network import Architecture

# What --onnx needs beyond the program's own requirements.
LIBRARIES = ("onnx", "onnxruntime")
# Logits of two libraries differ by the order of their additions; classes only where two logits are as good as equal.
TOLERANCE = 1e-3
CHECKED_IMAGES = 1_000


class Match(StrEnum):
    """How exported weights compare with those on record."""

    IDENTICAL = "identical"
    REPEATED = "repeated"
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


def record_of_seed(
    records: Iterable[Record], network_hash: str, recipe_hash: str, dataset: str, index: int
) -> Record | None:
    """Return a record that has a seed; the target that it was run for has no part in its weights."""
    for evidence in records:
        row = (evidence.hash, evidence.recipe_hash, evidence.dataset)
        if row == (network_hash, recipe_hash, dataset) and evidence.seed(index):
            return evidence
    return None


def match(result: Result, recorded: SeedRun | None) -> Match:
    """Return how trained weights compare with those on record."""
    if recorded is None or recorded.weights_sha256 is None or result.environment is None:
        return Match.UNRECORDED
    if recorded.weights_sha256 == result.weights_sha256:
        return Match.IDENTICAL
    return Match.DIFFERENT if same_bits_due(result.environment, recorded.environment) else Match.ELSEWHERE


def to_onnx(
    architecture: Architecture, network: Network, dataset: Dataset, pixels: Tensor, about: Mapping[str, str]
) -> tuple[bytes, OnnxCheck]:
    """Return the network as an ONNX model, compared with torch on some images.

    Args:
        architecture: what ``network`` was built from.
        network: trained, in evaluation mode, on a CPU.
        dataset: says how pixels are normalised.
        pixels: images to compare on, uint8 (n, channels, rows, columns).
        about: what the model says of itself.

    Raises:
        AssertionError: the model says something else than torch; a fault of this program.
    """
    from harness.onnx_graph import onnx_model

    kept, tied = weights_of(network)
    # The graph names a tied kernel by its first user too.
    assert not tied.keys() & kept.keys()
    content = onnx_model(architecture, kept, dataset, about).SerializeToString(deterministic=True)
    check = checked(content, network, dataset, pixels)
    if check.largest_difference > TOLERANCE:
        raise AssertionError(f"ONNX gives other logits than torch, by {check.largest_difference:.2g}: please report it")
    return content, check


def checked(content: bytes, network: nn.Module, dataset: Dataset, pixels: Tensor) -> OnnxCheck:
    """Compare a model's logits with torch's on images, uint8 (n, channels, rows, columns)."""
    from onnxruntime import InferenceSession, SessionOptions

    settings = SessionOptions()
    settings.intra_op_num_threads = 1
    session = InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    theirs = torch.from_numpy(session.run(["logits"], {"pixels": pixels.numpy()})[0])
    with torch.inference_mode():
        images = normalised(pixels.float().div_(255), dataset.mean, dataset.std)
        ours = network(images)
    scale = max(float(ours.abs().max()), 1e-6)
    return OnnxCheck(
        images=len(pixels),
        largest_difference=float((ours - theirs).abs().max()) / scale,
        classes_differ=int((ours.argmax(1) != theirs.argmax(1)).sum()),
    )
