"""``harness evaluate``: stored weights reproduce recorded mistakes; pictures of a user; further labelled images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.numpy import load_file
from sklearn import metrics
from torch import Tensor

from harness.cli import run
from harness.data.training_images import load
from harness.evidence import evaluation, ledger, record
from harness.evidence.evaluation import probabilities
from harness.evidence.record import Record, WeightFile
from harness.exports import c_folder
from harness.exports import profile as emulated_profile
from harness.exports.c_library import Library, layers_of
from harness.exports.chip_families import ChipFamily
from harness.spaces.chips import CHIPS, Fit
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network
from harness.system.errors import DeviceError
from harness.system.files import Workspace
from tests.factories import idx
from tests.harness.commands.conftest import NETWORK, ROW, Trainer
from tests.harness.exports.pytorch_folders import evaluation_of


def refusal_of(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    assert run(["evaluate", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def edit(home: Workspace, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit the first seed of the record by hand and keep the record consistent."""
    [path] = home.records.glob("*.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document["seeds"][0])
    document["seeds"][0]["test_errors"] = len(document["seeds"][0]["wrong"])
    path.write_text(json.dumps(document), encoding="utf-8")


# Files of a verification ---------------------------------------------------------------------------------------


def test_verification_stores_weights_of_each_seed(home: Workspace, evidence: Record):
    assert len(evidence.seeds) == 2
    for run_of_seed in evidence.seeds:
        tensors = load_file(evidence.weights_path(home.records, run_of_seed.index))
        # The order of torch is the order of the network; the digest contains the tied kernel twice.
        order = ["0.weight", *(f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var"))]
        order += ["4.weight", *(f"5.{name}" for name in ("weight", "bias", "running_mean", "running_var"))]
        order += ["4.weight", *(f"6.ops.1.{name}" for name in ("weight", "bias", "running_mean", "running_var"))]
        order += ["8.weight", "8.bias"]
        assert sorted(tensors) == sorted({f"ops.{name}" for name in order})
        content = b"".join(tensors[f"ops.{name}"].tobytes() for name in order)
        assert hashlib.sha256(content).hexdigest() == run_of_seed.weights_sha256


def test_repeated_verification_restores_missing_and_damaged_weights(
    home: Workspace, evidence: Record, trainer: Trainer, capsys: pytest.CaptureFixture[str]
):
    first, second = (evidence.weights_path(home.records, index) for index in (0, 1))
    contents = first.read_bytes(), second.read_bytes()
    first.unlink()
    second.write_bytes(b"cut")
    records = record.read_all(home.records)

    run(["verify", NETWORK, *ROW, "--seeds", "2"])

    assert (first.read_bytes(), second.read_bytes()) == contents
    assert record.read_all(home.records) == records
    assert capsys.readouterr().out.count("equal to the record") == 2


# Against the record -------------------------------------------------------------------------------------------------


def test_weights_of_recorded_repeat_are_evaluated_and_exported_as_repeat(
    home: Workspace, evidence: Record, capsys: pytest.CaptureFixture[str]
):
    seed_run = evidence.seeds[0]
    edit(home, lambda seed: seed.update(weights_sha256="0" * 64))
    names = ("hash", "recipe_hash", "dataset")
    repeat = {name: getattr(evidence, name) for name in names} | {"seed_index": 0, "recorded_sha256": "0" * 64}
    line = json.dumps(repeat | {"weights_sha256": seed_run.weights_sha256})
    (home.records / "weights" / "repeats.jsonl").write_text(line + "\n", encoding="utf-8")

    assert run(["evaluate", NETWORK]) == 0

    assert "weights of a repeat" in capsys.readouterr().out
    assert run(["export", evidence.hash[:8], "--seed", "0", "--safetensors", "kept.safetensors", "--json"]) == 0
    exported = json.loads(capsys.readouterr().out)
    assert (exported["match"], exported["trained"]) == ("repeated", False)
    assert exported["weights_sha256"] == seed_run.weights_sha256
    assert exported["recorded_weights_sha256"] == "0" * 64


def test_c_export_states_chip_and_names_alternatives_to_too_small_chip(
    evidence: Record, workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(CHIPS, "half", replace(CHIPS["ATmega328P"], name="half", ram_bytes=1_024))
    assert run(["export", evidence.hash[:8], "--c", "fits", "--chip", "rp2040"]) == 0
    manifest = json.loads((workspace / "fits" / "manifest.json").read_text(encoding="utf-8"))
    chip = manifest["chip"]
    capsys.readouterr()
    assert (manifest["seed_index"], manifest["seed"]) == (0, evidence.seeds[0].seed)
    assert (chip["name"], chip["fits"], chip["flash_bytes"][1]) == ("RP2040", True, 2_097_152)

    assert run(["export", evidence.hash[:8], "--c", "lacks", "--chip", "half"]) == 4
    error = capsys.readouterr().err
    assert "does not fit half: " in error
    assert "bytes of RAM too many" in error
    assert ": microbit-v1, " in error
    # The search for further images uses the record.
    assert "search --chip half --dataset mnist-5k --target 5'" in error
    assert not (workspace / "lacks").exists()

    assert run(["export", evidence.hash[:8], "--safetensors", "net", "--chip", "rp2040"]) == 2
    assert run(["export", evidence.hash[:8], "--safetensors", "net", "--optimise", "speed"]) == 2


def test_c_export_is_optimised_for_speed_if_code_fits_chip(
    evidence: Record, workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(c_folder, "chip_costs", lambda library: {})  # no emulators
    large_chip = CHIPS["RP2040"]
    smallest_flash = Fit(large_chip, analyse(parse_network(NETWORK), MNIST)).total_flash_bytes
    monkeypatch.setitem(CHIPS, "tight", replace(large_chip, name="tight", flash_bytes=smallest_flash))
    for chip, choice in {"rp2040": "speed", "tight": "size"}.items():
        assert run(["export", evidence.hash[:8], "--c", chip, "--chip", chip, "--json"]) == 0
        [file] = json.loads(capsys.readouterr().out)["files"]
        assert (file["optimise"], file["chip"]["fits"]) == (choice, True)
    assert run(["export", evidence.hash[:8], "--c", "small", "--chip", "rp2040", "--optimise", "size"]) == 0
    assert json.loads(Path("small", "manifest.json").read_text(encoding="utf-8"))["optimise"] == "size"

    assert run(["export", evidence.hash[:8], "--c", "lacks", "--chip", "tight", "--optimise", "speed"]) == 4
    assert "bytes of flash too many" in capsys.readouterr().err
    monkeypatch.setitem(CHIPS, "own", replace(large_chip, name="own", core=replace(large_chip.core, speed=None)))
    assert run(["export", evidence.hash[:8], "--c", "lacks", "--chip", "own", "--optimise", "speed"]) == 2
    assert not (workspace / "lacks").exists()


def test_c_export_prints_profile_of_layers(
    evidence: Record, workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(c_folder, "chip_costs", lambda library: {})  # no emulators
    monkeypatch.setattr(emulated_profile, "check_tools", lambda family: None)

    def emulate(library: Library, pixels: Any, family: ChipFamily, *, is_profile: bool) -> SimpleNamespace:
        if family.unit == "cycles":
            raise DeviceError("the network does not fit")
        return SimpleNamespace(layer_work=list(range(len(layers_of(library)))))

    monkeypatch.setattr(emulated_profile, "emulate", emulate)

    assert run(["export", evidence.hash[:8], "--c", "chip", "--chip", "rp2040", "--profile", "--json"]) == 0
    [file] = json.loads(capsys.readouterr().out)["files"]
    layers = file["profile"]["layers"]
    core = file["profile"]["cores"]["Cortex-M4"]
    assert sum(layer["constant_bytes"] for layer in layers) == file["constant_bytes"]
    assert (core["change_first"], len(core["work"])) == (len(layers), len(layers))
    assert file["profile"]["cores"]["ATmega328P"] == {"unknown": "the network does not fit"}

    assert run(["export", evidence.hash[:8], "--c", "plain", "--json"]) == 0
    assert "profile" not in json.loads(capsys.readouterr().out)["files"][0]
    assert run(["export", evidence.hash[:8], "--c", "text", "--profile"]) == 0
    assert f"Change layer {len(layers)} first: " in capsys.readouterr().out
    assert run(["export", evidence.hash[:8], "--safetensors", "net", "--profile"]) == 2


def test_stream_fits_chip_that_is_too_small_for_whole_image(
    evidence: Record, workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(c_folder, "chip_costs", lambda library: {})  # no emulators
    whole = Fit(CHIPS["ATmega328P"], analyse(parse_network(NETWORK), MNIST))
    rows = replace(whole, stream=True)
    assert rows.total_ram_bytes < whole.total_ram_bytes
    small_chip = replace(CHIPS["ATmega328P"], name="small", ram_bytes=rows.total_ram_bytes)
    monkeypatch.setitem(CHIPS, "small", small_chip)

    options = ["export", evidence.hash[:8], "--chip", "small", "--optimise", "size"]
    assert run([*options, "--c", "whole"]) == 4
    assert run([*options, "--c", "rows", "--stream", "--json"]) == 0
    [file] = json.loads(capsys.readouterr().out)["files"]
    assert (file["stream"], file["chip"]["fits"]) == (True, True)
    # The maps of the network in rows, smaller than the first map alone.
    assert file["arena_bytes"] < whole.analysis.ram_bytes
    assert run(["export", evidence.hash[:8], "--safetensors", "net", "--stream"]) == 2


@pytest.mark.parametrize("bits", [8, 5])
def test_logits_of_c_are_compared_with_compiler_of_variable_cc(
    bits: int,
    trainer: Trainer,
    workspace: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    compiler = tmp_path / "own-cc"
    compiler.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/calls\nexec cc "$@"\n', encoding="utf-8")
    compiler.chmod(0o755)
    options = ["--recipe", "@integers.toml", "--dataset", "mnist-5k", "--seeds", "1", "--engine", "torch"]
    Path("integers.toml").write_text(f'epochs = 1\nprecision = "int8"\nweight_bits = {bits}\n', encoding="utf-8")
    run(["verify", "conv3x3(2) relu | gap | linear(10)", *options, "--target", "5"])
    [evidence] = record.read_all(Workspace(workspace).records)
    capsys.readouterr()

    monkeypatch.setenv("CC", f"{compiler} -g")
    assert run(["evaluate", evidence.hash[:8], "--c", "--json"]) == 0
    [seed] = json.loads(capsys.readouterr().out)["seeds"]

    assert (tmp_path / "calls").read_text(encoding="utf-8") == "-g\n"
    assert seed["compiler"] == f"{compiler} -g"
    assert (seed["differing"], seed["errors"]) == (0, seed["recorded_errors"])
    monkeypatch.setenv("CC", "no-such-compiler")
    assert run(["evaluate", evidence.hash[:8], "--c"]) == 6


def test_read_of_test_images_is_logged_with_purpose(
    home: Workspace, evidence: Record, evaluated: Callable[..., dict[str, Any]]
):
    log_before = home.test_log.read_text(encoding="utf-8")

    evaluated("--seed", "all")

    log_after = home.test_log.read_text(encoding="utf-8")
    assert log_after.startswith(log_before)
    [entry] = [json.loads(line) for line in log_after.removeprefix(log_before).splitlines()]
    assert (entry["dataset"], entry["purpose"]) == ("mnist-5k", f"evaluate {evidence.hash} smoke seeds 0, 1")


@pytest.mark.parametrize(
    "change",
    [
        lambda wrong: [*wrong[:3], [wrong[3][0], (wrong[3][1] + 1) % 10], *wrong[4:]],
        lambda wrong: [*wrong[:3], *wrong[4:]],
        lambda wrong: [],
    ],
    ids=["changed class", "missing mistake", "no mistakes"],
)
def test_edited_record_is_detected(
    change: Callable[[list[Any]], list[Any]], home: Workspace, evidence: Record, capsys: pytest.CaptureFixture[str]
):
    edit(home, lambda seed: seed.update(wrong=change(seed["wrong"])))

    assert run(["evaluate", NETWORK]) == 3

    assert "NOT as recorded" in capsys.readouterr().out.splitlines()[1]


def test_class_scores_include_all_seeds(
    home: Workspace,
    evidence: Record,
    evaluated: Callable[..., dict[str, Any]],
    further_images: Path,
    capsys: pytest.CaptureFixture[str],
):
    document = evaluated("--on", "other", "--seed", "all")

    data = load("mnist-5k")
    pixels, labels = data.train_images[:600:10, 0], data.train_labels[:600:10]
    answers = np.concatenate([outputs_of(home, evidence, index, pixels).argmax(1).numpy() for index in (0, 1)])
    report = metrics.classification_report(np.tile(labels, 2), answers, output_dict=True, zero_division=0)
    for row in document["class_scores"]:
        expected = report.get(row["class"], {"precision": 0, "recall": 0, "f1-score": 0, "support": 0})
        scores = [row["precision"], row["recall"], row["f1"], 2 * row["support"]]
        assert scores == pytest.approx([*expected.values()])
    assert np.sum([seed["confusion"] for seed in document["seeds"]], axis=(0, 1)).sum() == 120
    assert {seed["roc_auc"] for seed in document["seeds"]} == {None}
    run(["evaluate", NETWORK, "--on", "other"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]] == ["class", *"0123456789"]


def test_exported_folder_contains_test_images_of_record(
    evidence: Record, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    run(["export", evidence.hash, "--pytorch", "digits"])
    assert json.loads(Workspace(workspace).test_log.read_text(encoding="utf-8").splitlines()[-1])["purpose"].startswith(
        "export"
    )
    capsys.readouterr()

    assert f"errors: {evidence.seeds[0].test_errors} of 500 images" in evaluation_of(Path("digits"), capsys)
    assert evaluation_of(Path("digits"), capsys).endswith("as recorded\n")
    assert "as recorded" not in evaluation_of(Path("digits"), capsys, "digits/train.npz")


# Refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [200, -1])
def test_damaged_weights_are_refused_before_test_images_are_read(
    position: int, home: Workspace, evidence: Record, capsys: pytest.CaptureFixture[str]
):
    path, log_before = evidence.weights_path(home.records, 0), home.test_log.read_bytes()
    content = bytearray(path.read_bytes())
    content[position] ^= 0x80
    path.write_bytes(content)

    assert path.name in refusal_of(capsys, 4, NETWORK, "--seed", "all")
    assert home.test_log.read_bytes() == log_before


def outputs_of(home: Workspace, evidence: Record, index: int, pixels: Tensor) -> Tensor:
    """Return the probabilities of the network, computed op by op from the file of weights."""
    tensors = load_file(evidence.weights_path(home.records, index))
    w = {name.removeprefix("ops."): torch.from_numpy(value) for name, value in tensors.items()}

    def norm(maps: Tensor, op: str) -> Tensor:
        scale = w[f"{op}.weight"] / (w[f"{op}.running_var"] + 1e-5).sqrt()
        return (maps - w[f"{op}.running_mean"][:, None, None]) * scale[:, None, None] + w[f"{op}.bias"][:, None, None]

    maps = F.conv2d((pixels[:, None] / 255 - 0.1307) / 0.3081, w["0.weight"], padding=1)
    maps = F.max_pool2d(norm(maps, "1").relu(), 4)
    maps = norm(F.conv2d(maps, w["4.weight"], padding=1), "5")
    maps = maps + norm(F.conv2d(maps, w["4.weight"], padding=1), "6.ops.1")
    return (maps.mean((2, 3)) @ w["8.weight"].T + w["8.bias"]).softmax(1)


def test_pictures_are_classified_with_mean_confidence_of_seeds(
    home: Workspace, evidence: Record, evaluated: Callable[..., dict[str, Any]]
):
    log_before, digits = home.test_log.read_bytes(), load("mnist-5k").train_images[:5, 0]
    (home.root / "mine").mkdir()
    for number, pixels in enumerate(digits.numpy()):
        Image.fromarray(pixels if number else 255 - pixels).save(f"mine/{number}.png")

    single = evaluated("--images", "mine/2.png")["images"]
    rows = evaluated("--images", "mine", "--seed", "all")["images"]

    mean = (outputs_of(home, evidence, 0, digits) + outputs_of(home, evidence, 1, digits)) / 2
    best, order = mean.topk(2)
    assert [row["file"] for row in rows] == [f"mine/{number}.png" for number in range(5)]
    assert [[row["says"], row["next"]] for row in rows] == order.tolist()
    for row, expected in zip(rows, best.tolist(), strict=True):
        assert [row["confidence"], row["next_confidence"]] == pytest.approx(expected, abs=1e-5)
    assert [row["done"] for row in rows] == ["inverted to white on black", "", "", "", ""]
    assert single[0]["confidence"] == pytest.approx(float(outputs_of(home, evidence, 0, digits[2:3]).max()), abs=1e-5)
    assert home.test_log.read_bytes() == log_before


# Further labelled images ----------------------------------------------------------------------------------------


@pytest.fixture
def further_images(home: Workspace) -> Path:
    return write_images(home.root / "other", np.flip(load("mnist-5k").train_images[:600:10, 0].numpy(), axis=1))


def write_images(folder: Path, images: np.ndarray[Any, Any]) -> Path:
    data = load("mnist-5k")
    folder.mkdir()
    (folder / "my-images-idx3-ubyte").write_bytes(idx(np.ascontiguousarray(images)))
    (folder / "my-labels-idx1-ubyte").write_bytes(idx(data.train_labels[:600:10].numpy().astype(np.uint8)))
    return folder


def test_training_images_are_refused_and_counted(home: Workspace, evidence: Record, capsys: pytest.CaptureFixture[str]):
    images = load("mnist-5k").train_images[:600:10, 0].numpy().copy()
    images[7:] = np.flip(images[7:], axis=1)
    write_images(home.root / "mixed", images)

    assert run(["evaluate", NETWORK, "--on", "mixed"]) == 5
    assert "7 of the 60 images of mixed" in capsys.readouterr().err
    assert ledger.read(home.ledger).registrations == []


def test_further_images_are_registered_before_prediction(
    further_images: Path,
    home: Workspace,
    evidence: Record,
    evaluated: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
):
    reads, rows = home.test_log.read_bytes(), []

    def record_registrations(weights: WeightFile, *arguments: Any) -> Tensor:
        rows.extend(ledger.read(home.ledger).registrations)
        return probabilities(weights, *arguments)

    monkeypatch.setattr(evaluation, "probabilities", record_registrations)

    document = evaluated("--on", "other", "--seed", "all")

    data = load("mnist-5k")
    pixels, labels = data.train_images[:600:10, 0], data.train_labels[:600:10]
    errors = tuple(int((outputs_of(home, evidence, index, pixels).argmax(1) != labels).sum()) for index in (0, 1))
    assert [(entry.on, entry.images, entry.indices, entry.errors) for entry in rows] == [("other", 60, (0, 1), ())] * 2
    [final] = ledger.read(home.ledger).registrations
    assert (final.hash, final.recipe_hash, final.dataset) == (evidence.hash, evidence.recipe_hash, "mnist-5k")
    assert final.errors == errors == tuple(seed["errors"] for seed in document["seeds"])
    assert final.lower_bound_pct == document["lower_bound_pct"]
    assert final.lower_bound_images_pct == document["lower_bound_images_pct"]
    assert final.on_sha256 == document["on_sha256"]
    assert (document["images"], {seed["as_recorded"] for seed in document["seeds"]}) == ("other", {None})
    assert home.test_log.read_bytes() == reads


def test_second_evaluation_must_equal_registered_evaluation(
    further_images: Path, home: Workspace, evaluated: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    first = evaluated("--on", "other", "--seed", "all")
    ledger_text = home.ledger.read_text(encoding="utf-8")

    assert evaluated("--on", "other", "--seed", "all") == first
    assert home.ledger.read_text(encoding="utf-8") == ledger_text

    # The last entry of the ledger was edited by hand.
    errors = [seed["errors"] for seed in first["seeds"]]
    changed = ledger_text.replace(f'"errors": {errors}', f'"errors": {[0, errors[1]]}')
    assert changed != ledger_text
    home.ledger.write_text(changed, encoding="utf-8")
    assert run(["evaluate", NETWORK, "--on", "other", "--seed", "all"]) == 3
    assert f"(0, {errors[1]})" in capsys.readouterr().err
    assert home.ledger.read_text(encoding="utf-8") == changed
