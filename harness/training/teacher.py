"""Teachers: trained once by the harness itself, on the images of their student, and kept for all students of a recipe.

A teacher is an ordinary training run with a fixed seed. It never sees a test image; for a verification it trains on all
training images, as the student does.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from harness.system import files
from harness.system.errors import ContentError
from harness.training.modules import Network, build, drawing_from
from harness.training.native.native import TORCH, Engine, choose_engine
from harness.training.native.native_training import state_tensors
from harness.training.recipe import Recipe
from harness.training.result import PROTOCOL_VERSION, Purpose, derive_seed, environment
from harness.training.steps import Images, Teacher
from harness.training.train import finish_average, predicting_state, start, train_epoch
from search_spaces.network import Architecture, Task
from search_spaces.notation import parse_network
from search_spaces.ops import op_types


def teacher_of(
    recipe: Recipe,
    images: Images,
    *,
    split: str,
    data_hash: str,
    device: torch.device,
    engine: str,
    folder: Path | None,
) -> Teacher | None:
    """Return the teacher that a recipe names, trained now where it is not kept; None where the recipe names none.

    Args:
        split: name of the images, ``split`` or ``all``.
        engine: the student's, ``native``, ``torch`` or ``auto``; torch trains a teacher that the native one declines.
        folder: where trained teachers are kept; None for nowhere.

    Raises:
        ContentError: a teacher diverged, or its file is damaged.
    """
    if (own := recipe.teacher_recipe) is None:
        return None
    architecture = parse_network(recipe.teacher, images.task)
    chosen = choose_engine(TORCH if engine == TORCH else "auto", own, device, op_types(architecture.ops)).engine
    facts = environment(device, data_hash, TORCH if chosen is None else chosen.name)
    # What may give other bits has another name; the commit may not, as when results are compared.
    known = [PROTOCOL_VERSION, asdict(replace(facts, commit=None, dirty=None))]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]
    networks, seconds = [], 0.0
    for index in range(recipe.teacher_seeds):
        if folder is None:
            saved = _trained(architecture, own, index, images, device, chosen)
        else:
            path = folder / f"{architecture.hash}-{own.hash}-{split}-{index}-{digest}.pt"
            # Of several processes that lack it one trains, and the others wait.
            with files.locked(path.with_suffix(".lock")):
                if not path.exists():
                    buffer = io.BytesIO()
                    torch.save(_trained(architecture, own, index, images, device, chosen), buffer)
                    content = buffer.getvalue()
                    files.write_bytes(path, hashlib.sha256(content).digest() + content)
            content = path.read_bytes()  # a digest of 32 bytes, and what it is of
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                raise ContentError(f"the teacher {path} is damaged", hint="remove the file; it is trained again")
            saved = torch.load(io.BytesIO(content[32:]), map_location=device, weights_only=True)
        networks.append(_network(architecture, images.task, saved["weights"], device))
        seconds += saved["seconds"]
    return Teacher(architecture, tuple(networks), seconds)


def _trained(
    architecture: Architecture, recipe: Recipe, index: int, images: Images, device: torch.device, engine: Engine | None
) -> dict[str, Any]:
    seed = derive_seed(architecture.hash, recipe.hash, Purpose.TEACHER, index)
    run = start(architecture, recipe, seed, device, engine, task=images.task)
    while len(run.history) < recipe.epochs:
        train_epoch(run, images)
        if run.diverged:
            raise ContentError(f"the teacher {architecture.hash} diverged in epoch {len(run.history)} of its recipe")
    finish_average(run, images)
    return {"weights": predicting_state(run), "seconds": run.seconds}


def _network(architecture: Architecture, task: Task, weights: list[torch.Tensor], device: torch.device) -> Network:
    # What is drawn is written over.
    with drawing_from(0):
        built = build(architecture, task)
    # torch's stubs do not know this form.
    network: Network = built.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        for tensor, kept in zip(state_tensors(network), weights, strict=True):
            tensor.copy_(kept)
    network.eval().requires_grad_(False)
    return network
