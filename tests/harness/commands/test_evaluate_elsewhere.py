"""The command ``harness evaluate`` on other images: a person's own pictures, and other labelled ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.numpy import load_file
from torch import Tensor

from harness.cli import run
from harness.data.training_images import load
from harness.evidence import evaluate as evaluation
from harness.evidence import ledger, record
from harness.evidence.evaluate import probabilities
from harness.evidence.record import Record
from harness.evidence.weight_file import WeightFile, path_of
from harness.system.files import Workspace
from harness.training.result import Purpose, derive_seed
from tests.harness.commands.conftest import NETWORK
from tests.harness.data.test_other_images import idx


def sure(place: Workspace, evidence: Record, index: int, pixels: Tensor) -> Tensor:
    """Probabilities of the network, written down op by op, from the file alone."""
    kept = load_file(path_of(place.records, evidence, index))
    w = {name.removeprefix("ops."): torch.from_numpy(value) for name, value in kept.items()}

    def norm(maps: Tensor, at: str) -> Tensor:
        scale = w[f"{at}.weight"] / (w[f"{at}.running_var"] + 1e-5).sqrt()
        return (maps - w[f"{at}.running_mean"][:, None, None]) * scale[:, None, None] + w[f"{at}.bias"][:, None, None]

    maps = F.conv2d((pixels[:, None] / 255 - 0.1307) / 0.3081, w["0.weight"], padding=1)
    maps = F.max_pool2d(norm(maps, "1").relu(), 4)
    maps = norm(F.conv2d(maps, w["4.weight"], padding=1), "5")
    maps = maps + norm(F.conv2d(maps, w["4.weight"], padding=1), "6.ops.1")
    return (maps.mean((2, 3)) @ w["8.weight"].T + w["8.bias"]).softmax(1)


def test_own_pictures_are_named_with_the_mean_confidence_of_the_seeds(
    place: Workspace, evidence: Record, evaluated: Callable[..., dict[str, Any]]
):
    before, digits = place.test_log.read_bytes(), load("mnist-5k").train_images[:5, 0]
    (place.root / "mine").mkdir()
    for number, pixels in enumerate(digits.numpy()):
        Image.fromarray(pixels if number else 255 - pixels).save(f"mine/{number}.png")

    one = evaluated("--images", "mine/2.png")["images"]
    found = evaluated("--images", "mine", "--seed", "all")["images"]

    together = (sure(place, evidence, 0, digits) + sure(place, evidence, 1, digits)) / 2
    best, order = together.topk(2)
    assert [item["file"] for item in found] == [f"mine/{number}.png" for number in range(5)]
    assert [[item["says"], item["next"]] for item in found] == order.tolist()
    for item, expected in zip(found, best.tolist(), strict=True):
        assert [item["confidence"], item["next_confidence"]] == pytest.approx(expected, abs=1e-5)
    assert [item["done"] for item in found] == ["turned to white on black", "", "", "", ""]
    assert one[0]["confidence"] == pytest.approx(float(sure(place, evidence, 0, digits[2:3]).max()), abs=1e-5)
    assert place.test_log.read_bytes() == before


# Other labelled images ------------------------------------------------------------------------------------------


@pytest.fixture
def other(place: Workspace) -> Path:
    """A folder with sixty labelled images that are not those of the test set."""
    data = load("mnist-5k")
    folder = place.root / "other"
    folder.mkdir()
    (folder / "my-images-idx3-ubyte").write_bytes(idx(data.train_images[:600:10, 0].numpy()))
    (folder / "my-labels-idx1-ubyte").write_bytes(idx(data.train_labels[:600:10].numpy().astype(np.uint8)))
    return folder


def test_other_images_are_registered_before_a_network_sees_them(
    other: Path,
    place: Workspace,
    evidence: Record,
    evaluated: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
):
    reads, seen = place.test_log.read_bytes(), []

    def looked(weights: WeightFile, *arguments: Any) -> Tensor:
        seen.extend(ledger.read(place.ledger).registrations)
        return probabilities(weights, *arguments)

    monkeypatch.setattr(evaluation, "probabilities", looked)

    found = evaluated("--on", "other", "--seed", "all")

    data = load("mnist-5k")
    pixels, labels = data.train_images[:600:10, 0], data.train_labels[:600:10]
    errors = tuple(int((sure(place, evidence, index, pixels).argmax(1) != labels).sum()) for index in (0, 1))
    assert [(entry.on, entry.images, entry.indices, entry.errors) for entry in seen] == [("other", 60, (0, 1), ())] * 2
    [ended] = ledger.read(place.ledger).registrations
    assert (ended.hash, ended.recipe_hash, ended.dataset) == (evidence.hash, evidence.recipe_hash, "mnist-5k")
    assert ended.errors == errors == tuple(seed["errors"] for seed in found["seeds"])
    assert ended.lower_bound_pct == found["lower_bound_pct"]
    assert ended.lower_bound_images_pct == found["lower_bound_images_pct"]
    assert ended.on_sha256 == found["on_sha256"]
    assert (found["images"], {seed["as_recorded"] for seed in found["seeds"]}) == ("other", {None})
    assert place.test_log.read_bytes() == reads


def test_a_part_of_the_recorded_seeds_has_no_bounds_on_other_images(
    other: Path,
    place: Workspace,
    evidence: Record,
    evaluated: Callable[..., dict[str, Any]],
):
    third = derive_seed(evidence.hash, evidence.recipe_hash, Purpose.VERIFY, 2)
    more = replace(evidence.seeds[1], index=2, seed=third, weights_sha256="0" * 64)
    record.write(place.records, record.with_seed(evidence, more))

    found = evaluated("--on", "other", "--seed", "all")

    [entry] = ledger.read(place.ledger).registrations
    assert len(entry.errors) == len(found["seeds"]) == 2
    assert (found["lower_bound_pct"], found["lower_bound_images_pct"]) == (None, None)
    assert (entry.lower_bound_pct, entry.lower_bound_images_pct) == (None, None)


def test_a_second_call_is_held_to_the_first(
    other: Path, place: Workspace, evaluated: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    first = evaluated("--on", "other", "--seed", "all")
    entered = place.ledger.read_text(encoding="utf-8")

    assert evaluated("--on", "other", "--seed", "all") == first
    assert place.ledger.read_text(encoding="utf-8") == entered

    # Somebody has made the end a better one.
    errors = [seed["errors"] for seed in first["seeds"]]
    changed = entered.replace(f'"errors": {errors}', f'"errors": {[0, errors[1]]}')
    assert changed != entered
    place.ledger.write_text(changed, encoding="utf-8")
    assert run(["evaluate", NETWORK, "--on", "other", "--seed", "all"]) == 3
    assert f"(0, {errors[1]})" in capsys.readouterr().err
    assert place.ledger.read_text(encoding="utf-8") == changed


def test_other_seeds_or_other_images_are_another_evaluation(
    other: Path, place: Workspace, evaluated: Callable[..., dict[str, Any]]
):
    evaluated("--on", "other")
    evaluated("--on", "other", "--seed", "1")
    content = bytearray((other / "my-images-idx3-ubyte").read_bytes())
    content[-1] ^= 1
    (other / "my-images-idx3-ubyte").write_bytes(content)
    evaluated("--on", "other")

    entries = ledger.read(place.ledger).registrations

    assert [entry.indices for entry in entries] == [(0,), (1,), (0,)]
    assert len({entry.on_sha256 for entry in entries}) == 2
    assert all(len(entry.errors) == 1 and entry.lower_bound_pct is None for entry in entries)


def test_an_evaluation_that_was_broken_off_is_ended_by_the_next_call(
    other: Path, place: Workspace, evaluated: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "probabilities", None)
        assert run(["evaluate", NETWORK, "--on", "other"]) == 1
    [entered] = ledger.read(place.ledger).registrations

    found = evaluated("--on", "other")

    [ended] = ledger.read(place.ledger).registrations
    assert (entered.errors, ended.errors) == ((), (found["seeds"][0]["errors"],))
    assert ended.declared_utc == entered.declared_utc
