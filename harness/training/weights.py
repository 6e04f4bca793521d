"""What a training has learned, as a safetensors file: weights and BN statistics by torch's names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from safetensors.numpy import save
from torch import nn

from harness.data.datasets import Dataset, pixel_properties
from harness.training.build import Network, build
from harness.training.result import Result
from harness.training.train import Training, holding, predicting_state


def properties(result: Result, dataset: Dataset) -> dict[str, str]:
    """Return what a file of weights says of itself: the network and where its weights come from."""
    return {
        "architecture": str(result.architecture),
        "hash": result.hash,
        "parameters": str(result.parameters),
        "recipe": result.recipe_name,
        "recipe_hash": result.recipe_hash,
        "recipe_fields": json.dumps(asdict(result.recipe), sort_keys=True),
        "dataset": result.dataset,
        **pixel_properties(dataset),
        "seed_index": str(result.seed_index),
        "seed": str(result.seed),
        "weights_sha256": result.weights_sha256 or "",
        "engine": result.environment.engine if result.environment else "",
        "protocol_version": str(result.protocol_version),
    }


def final_network(run: Training) -> Network:
    """Return a copy of the network that predicts, in evaluation mode: averaged where the recipe averages."""
    with holding(run, predicting_state(run)):
        network = build(run.architecture, run.task)
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
    kept, tied = weights_of(network)
    # One entry, because the library writes several in no fixed order.
    state = [name for name, tensor in network.state_dict().items() if tensor.is_floating_point()]
    metadata = {"harness": json.dumps({**about, "tied": tied, "state": state})}
    content: bytes = save(kept, metadata)
    return content
