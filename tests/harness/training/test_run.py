"""Training runs: whole or in rungs, checkpoints, reads of the test set, inspections, seeds and weight files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load
from safetensors.torch import load_model
from sklearn.metrics import roc_auc_score
from torch import Tensor

from harness.data.datasets import DATASETS
from harness.data.training_images import ImageData, split
from harness.evidence import record
from harness.evidence.evaluation import network_of
from harness.evidence.record import WeightFile
from harness.spaces.network import analyse
from harness.spaces.notation import parse_network
from harness.system import files
from harness.system.document import document_of
from harness.system.errors import ContentError
from harness.training import result as results
from harness.training import run as run_module
from harness.training.recipe import Recipe
from harness.training.result import (
    PROTOCOL_VERSION,
    Epoch,
    Inspection,
    Miss,
    Purpose,
    Result,
    Status,
    derive_seed,
    history_sample,
    inspection_path,
    pack,
    read_inspections,
    start_seed,
    unpack,
)
from harness.training.run import Job, TrainingData, execute, properties, to_safetensors, train_job
from harness.training.torch_network import Images, build
from harness.training.training_loop import Training
from tests.factories import make_result

NETWORK = "conv3x3(4) bn relu dropout(0.05) | maxpool(4) | conv3x3(6) bn relu | gap | linear(10)"
RECIPE = Recipe(epochs=3, batch_size=16, average_start=0.3)
LEARNING = [Purpose.SEARCH, Purpose.CONFIRM, Purpose.TRAIN, Purpose.REFERENCE]


def images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=source, dtype=torch.uint8)
    return pixels, torch.arange(count) % 10


@pytest.fixture
def bench() -> TrainingData:
    """Return data with 80 training images and 20 validation images."""
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=80, validation_size=20, test_size=30)
    return TrainingData(ImageData(spec, *images(100, 1), data_hash="abc", source="memory", folder=None))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """Replace the test set by 30 random images, and return the list of the purpose and log of each read."""
    test_reads: list[tuple[str, Path]] = []

    def read(data: ImageData, *, purpose: str, log: Path) -> tuple[Tensor, Tensor]:
        test_reads.append((purpose, log))
        return images(30, 2)

    monkeypatch.setattr(run_module, "read_test_set", read)
    return test_reads


@pytest.fixture
def epoch_images(reads: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch) -> list[tuple[Images, int]]:
    """Return the list of the images of each epoch, with the number of test set reads up to the end of the epoch."""
    epoch_images: list[tuple[Images, int]] = []

    train = Training.train

    def train_and_store(run: Training, epoch_data: Images, epochs: int = 1) -> Epoch:
        earlier_epochs = len(run.history)
        last = train(run, epoch_data, epochs)
        epoch_images.extend([(epoch_data, len(reads))] * (len(run.history) - earlier_epochs))
        return last

    monkeypatch.setattr(Training, "train", train_and_store)
    return epoch_images


def job(purpose: Purpose = Purpose.SEARCH, **changes: object) -> Job:
    whole = Job(
        architecture=parse_network(NETWORK),
        recipe=RECIPE,
        recipe_name="toy",
        purpose=purpose,
        seed_index=2,
        study_seed=5,
    )
    return replace(whole, **changes)  # type: ignore[arg-type]  # fields of a job


@pytest.mark.parametrize(("count", "most"), [(0, 0), (1, 1), (150, 150), (200, 200), (450, 202), (1980, 202)])
def test_long_history_is_stored_as_sample_with_evaluated_epochs(count: int, most: int):
    evaluated = {7, count // 2 + 1, count}
    history = [
        Epoch(number, 0.1, 1.0, 0.5 * number, 3 if number in evaluated else None) for number in range(1, count + 1)
    ]

    sample = history_sample(history)

    assert len(sample) <= most
    assert evaluated & {epoch.epoch for epoch in history} <= {epoch.epoch for epoch in sample}
    assert [epoch for epoch in history if epoch in sample] == list(sample)
    assert make_result(history=sample).trained_epochs == count


def hash_of(text: str) -> str:
    return parse_network(text).hash


@pytest.mark.parametrize("purpose", LEARNING)
def test_run_without_verification_never_reads_test_set(purpose: Purpose, bench: TrainingData, reads: list[str]):
    result = execute(job(purpose, evaluate_each_epoch=True), bench)
    assert reads == []
    assert result.status is Status.COMPLETE
    assert (result.test_errors, result.test_size, result.wrong) == (None, None, ())
    assert result.validation_size == 20
    assert result.validation_errors == result.history[-1].validation_errors
    assert all(epoch.validation_errors is not None for epoch in result.history)
    assert all(epoch.test_errors is None for epoch in result.history)


def test_run_does_not_train_on_validation_images(bench: TrainingData, epoch_images: list[tuple[Images, int]]):
    execute(job(until_epoch=1), bench)
    (images, _), *more = epoch_images
    assert more == []
    indices = split(bench.data).train
    assert torch.equal(images.pixels, bench.data.train_images[indices])
    assert torch.equal(images.labels, bench.data.train_labels[indices])
    assert len(images) == 80


def test_image_share_draws_images_by_seed(bench: TrainingData, epoch_images: list[tuple[Images, int]]):
    for seed in (2, 2, 3):
        execute(job(until_epoch=1, image_share=0.5, seed_index=seed), bench)
    whole = bench.data.train_images[split(bench.data).train].flatten(1).tolist()
    first, repeat, other = (
        [whole.index(row) for row in images.pixels.flatten(1).tolist()] for images, _ in epoch_images
    )
    assert len(set(first)) == 40
    assert first == repeat
    assert set(first) != set(other)
    # The labels are the labels of the drawn images.
    labels = bench.data.train_labels[split(bench.data).train]
    assert torch.equal(epoch_images[0][0].labels, labels[first])


def test_verification_trains_on_all_images_and_reads_test_set_once_at_end(
    bench: TrainingData, reads: list[tuple[str, Path]], epoch_images: list[tuple[Images, int]], tmp_path: Path
):
    result = execute(job(Purpose.VERIFY, test_log=tmp_path / "log"), bench)
    assert [(len(images), reads_before) for images, reads_before in epoch_images] == [(100, 0)] * 3
    assert reads == [(f"verify {hash_of(NETWORK)} toy seed 2", tmp_path / "log")]
    assert result.test_size == 30
    assert (result.validation_errors, result.validation_size) == (None, None)
    assert all(epoch.validation_errors is None and epoch.test_errors is None for epoch in result.history)


def test_result_lists_wrong_images_with_predicted_classes(
    bench: TrainingData, reads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    classes = torch.arange(30) % 10
    classes[[4, 17]] = torch.tensor([9, 0])
    monkeypatch.setattr(Training, "predictions", lambda *_: classes)
    result = execute(job(Purpose.VERIFY, test_log=tmp_path / "log"), bench)
    assert result.wrong == ((4, 9), (17, 0))
    assert result.test_errors == 2
    assert result.test_accuracy_pct == pytest.approx(100 * 28 / 30)


def test_verification_with_test_each_epoch_reads_test_set_after_each_epoch_and_at_end(
    bench: TrainingData, reads: list[str], tmp_path: Path
):
    result = execute(job(Purpose.VERIFY, test_log=tmp_path / "log", test_each_epoch=True), bench)
    assert len(reads) == RECIPE.epochs + 1
    assert all(epoch.test_errors is not None for epoch in result.history)
    assert result.history[-1].test_errors == result.test_errors


def test_test_each_epoch_requires_log(bench: TrainingData, reads: list[str]):
    with pytest.raises(AssertionError):
        execute(job(Purpose.VERIFY, test_each_epoch=True), bench)
    assert reads == []


def test_run_in_rungs_gives_bits_of_uninterrupted_run(bench: TrainingData, tmp_path: Path):
    whole = execute(job(), bench)
    checkpoint = tmp_path / "trial" / "checkpoint.pt"

    parts = [execute(job(until_epoch=epoch, checkpoint=checkpoint), bench) for epoch in (1, 2, None)]

    assert [part.status for part in parts] == [Status.RUNNING, Status.RUNNING, Status.COMPLETE]
    assert [len(part.history) for part in parts] == [1, 2, 3]
    assert all(part.validation_errors is not None and part.validation_soft_errors for part in parts)
    softs = [epoch.validation_soft_errors for epoch in parts[-1].history]
    assert [part.validation_soft_errors for part in parts] == softs
    assert parts[-1].validation_soft_errors == whole.validation_soft_errors
    assert parts[-1].validation_loss == whole.validation_loss
    assert parts[-1].weights_sha256 == whole.weights_sha256
    assert parts[-1].validation_errors == whole.validation_errors
    assert [epoch.train_loss for epoch in parts[-1].history] == [epoch.train_loss for epoch in whole.history]
    # A run is validated at the end only: each part at the end of the rung, the whole run after the last epoch.
    assert [epoch.validation_errors is not None for epoch in whole.history] == [False, False, True]


def test_run_of_several_starts_equals_run_of_best_start_and_is_restored_from_checkpoint(
    bench: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    several = replace(RECIPE, starts=3, start_epochs=1)
    whole = execute(job(recipe=several), bench)
    assert [len(whole.history), whole.status] == [3, Status.COMPLETE]
    # Two further starts train one epoch each.
    assert whole.images_per_second == pytest.approx((3 + 2) * 80 / whole.train_seconds)
    first_losses = {}
    for number in range(3):
        monkeypatch.setattr(results, "start_seed", lambda seed, _, number=number: start_seed(seed, number))
        single = execute(job(recipe=several), bench)
        first_losses[number] = single.history[0].train_loss, single.weights_sha256
    monkeypatch.undo()
    assert min(first_losses.values()) == (whole.history[0].train_loss, whole.weights_sha256)

    checkpoint = tmp_path / "checkpoint.pt"
    parts = [execute(job(recipe=several, checkpoint=checkpoint), bench) for _ in range(2)]
    assert [part.weights_sha256 for part in parts] == [whole.weights_sha256] * 2
    # The second call has trained nothing.
    assert parts[1].train_seconds == parts[0].train_seconds
    assert parts[1].validation_errors == whole.validation_errors
    with pytest.raises(AssertionError, match="starts"):
        job(recipe=several, until_epoch=2)
    assert start_seed(7, 0) == 7
    assert len({start_seed(seed, number) for seed in (7, 8) for number in range(50)}) == 100


@pytest.mark.parametrize(("purpose", "has_test"), [(Purpose.SEARCH, False), (Purpose.VERIFY, True)])
def test_diverged_run_stops_and_counts_errors(
    purpose: Purpose, has_test: bool, bench: TrainingData, reads: list[str], tmp_path: Path
):
    recipe = replace(RECIPE, epochs=30, learning_rate=1e3, warmup=0.0, nesterov=False, momentum=0.99)
    network = parse_network("conv3x3(4) conv3x3(4) | gap | linear(10)")
    log = tmp_path / "log" if has_test else None

    result = execute(job(purpose, architecture=network, recipe=recipe, test_log=log), bench)

    epochs = len(result.history)
    assert result.status is Status.DIVERGED
    assert result.message == f"the loss was not finite in epoch {epochs}"
    assert epochs < 30
    assert result.history[-1].train_loss is None
    assert len(reads) == has_test
    errors = result.test_errors if has_test else result.validation_errors
    assert errors is not None
    assert errors > 10


def test_train_job_reports_each_epoch(bench: TrainingData):
    epochs: list[Epoch] = []
    result, _ = train_job(job(evaluate_each_epoch=True), bench, epochs.append)
    assert tuple(epochs) == result.history


def test_result_has_facts_of_job_and_environment(bench: TrainingData):
    result = execute(job(Purpose.CONFIRM, study="mine", trial=4), bench)

    assert str(result.architecture) == NETWORK
    assert result.hash == hash_of(NETWORK)
    assert (result.parameters, result.macs) == (4 * 9 + 8 + 4 * 6 * 9 + 12 + 70, 4 * 9 * 784 + 216 * 49 + 60)
    assert (result.recipe, result.recipe_hash, result.recipe_name) == (RECIPE, RECIPE.hash, "toy")
    assert result.seed == derive_seed(result.hash, RECIPE.hash, Purpose.CONFIRM, 2, 5)
    assert (result.dataset, result.study, result.trial) == ("toy", "mine", 4)
    assert result.environment is not None
    assert result.environment.data_hash == "abc"
    assert result.environment.device == "cpu"
    assert result.environment.threads == torch.get_num_threads()
    assert result.images_per_second == pytest.approx(3 * 80 / result.train_seconds)
    assert result.peak_memory_mb > 50
    assert result.started_utc.endswith("+00:00")


def test_equal_jobs_give_equal_weights_and_seeds_give_different_weights(bench: TrainingData):
    jobs = [job(until_epoch=1), job(until_epoch=1), job(until_epoch=1, seed_index=3), job(until_epoch=1, study_seed=6)]
    digests = [execute(each, bench).weights_sha256 for each in jobs]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "one bit", "another network", "another document"])
def test_run_with_damaged_checkpoint_restarts_from_first_epoch(
    damage: str, bench: TrainingData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    checkpoint = tmp_path / "kept"
    whole = execute(job(), bench)
    execute(job(until_epoch=1, checkpoint=checkpoint), bench)
    match damage:
        case "empty":
            checkpoint.write_bytes(b"")
        case "garbage":
            checkpoint.write_bytes(b"garbage" * 300)
        case "cut":
            checkpoint.write_bytes(checkpoint.read_bytes()[:-200])
        case "one bit":
            content = bytearray(checkpoint.read_bytes())
            content[len(content) // 2] ^= 1
            checkpoint.write_bytes(content)
        case "another network":
            checkpoint.unlink()
            other_network = parse_network("conv3x3(3) relu | gap | linear(10)")
            execute(job(architecture=other_network, until_epoch=1, checkpoint=checkpoint), bench)
        case _:
            torch.save([1, 2], checkpoint)
    capsys.readouterr()

    result = execute(job(checkpoint=checkpoint), bench)

    assert (result.status, result.weights_sha256) == (Status.COMPLETE, whole.weights_sha256)
    assert len(result.history) == len(whole.history)
    assert capsys.readouterr().err == f"{checkpoint} is damaged; the run restarts from the first epoch\n"


def test_repeated_rung_is_read_from_checkpoint(
    bench: TrainingData, epoch_images: list[tuple[Images, int]], tmp_path: Path
):
    first = execute(job(until_epoch=2, checkpoint=tmp_path / "kept"), bench)
    epoch_images.clear()
    second = execute(job(until_epoch=2, checkpoint=tmp_path / "kept"), bench)
    assert epoch_images == []
    assert second.history == first.history
    assert second.weights_sha256 == first.weights_sha256
    assert second.validation_errors == first.validation_errors


MISS = Miss(image=7, label=2, prediction=3, pixels=pack(bytes(range(256)) * 3 + bytes(16)))
INSPECTION = Inspection(seed_index=3, weights_sha256="ef", label_counts=(1,) * 10, image_shape=(28, 28), misses=(MISS,))


@pytest.fixture
def full_bench(bench: TrainingData, reads: list[tuple[str, Path]]) -> TrainingData:
    """Return the data with a test set (``reads``)."""
    return bench


def verify(bench: TrainingData, folder: Path, **changes: object) -> tuple[Result, list[Inspection]]:
    job = Job(
        architecture=parse_network(NETWORK), recipe=RECIPE, recipe_name="toy", purpose=Purpose.VERIFY, seed_index=0
    )
    fields = {"test_log": folder / "log", "inspection": inspection_path(folder, "row", 0), **changes}
    job = replace(job, **fields)  # type: ignore[arg-type]  # fields of a job
    return execute(job, bench), read_inspections(folder, "row")


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_inspection_has_wrong_images_with_label_and_pixels(full_bench: TrainingData, tmp_path: Path, engine: str):
    result, [inspection] = verify(full_bench, tmp_path, engine=engine)

    pixels, labels = images(30, 2)
    assert [(miss.image, miss.prediction) for miss in inspection.misses] == list(result.wrong)
    assert len(inspection.misses) > 10
    for miss in inspection.misses:
        assert miss.label == int(labels[miss.image])
        assert unpack(miss.pixels) == pixels[miss.image].numpy().tobytes()
    assert inspection.weights_sha256 == result.weights_sha256
    assert inspection.label_counts == (3,) * 10
    assert (inspection.seed_index, inspection.image_shape) == (0, (28, 28))


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_inspection_of_two_classes_has_area_under_roc_curve(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
):
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=80, validation_size=20, test_size=30, classes=2)
    (pixels, numbers), (test_pixels, test_numbers) = images(100, 1), images(30, 2)
    data = ImageData(spec, pixels, numbers % 2, data_hash="abc", source="memory", folder=None)
    monkeypatch.setattr(run_module, "read_test_set", lambda *_, **__: (test_pixels, test_numbers % 2))
    network, path = parse_network(NETWORK.replace("10", "2"), spec.task), tmp_path / "weights"

    result, [inspection] = verify(TrainingData(data), tmp_path, architecture=network, engine=engine, weights=path)

    module = build(network, spec.task).eval()
    load_model(module, path, strict=False)
    with torch.inference_mode():
        logits = module((test_pixels / 255 - spec.mean[0]) / spec.std[0]).double()
    assert inspection.roc_auc == pytest.approx(roc_auc_score(test_numbers % 2, logits[:, 1] - logits[:, 0]), abs=0.005)
    assert result.test_errors == len(inspection.misses)


def test_diverged_seed_has_no_inspection(full_bench: TrainingData, tmp_path: Path):
    recipe = replace(RECIPE, epochs=30, learning_rate=1e3, warmup=0.0, nesterov=False, momentum=0.99)
    result, inspections = verify(
        full_bench, tmp_path, architecture=parse_network("conv3x3(4) conv3x3(4) | gap | linear(10)"), recipe=recipe
    )
    assert result.status is Status.DIVERGED
    assert inspections == []


@given(st.binary(max_size=1_000))
def test_packed_pixels_unpack_to_original(pixels: bytes):
    assert unpack(pack(pixels)) == pixels


def test_inspection_is_read_as_written(tmp_path: Path):
    files.write_json(inspection_path(tmp_path, "row", 3), document_of(INSPECTION) | {"kernel_edge": 3})
    assert read_inspections(tmp_path, "row") == [INSPECTION]
    assert read_inspections(tmp_path, "other") == []


@pytest.mark.parametrize(
    "damaged", [replace(INSPECTION, misses=(replace(MISS, pixels="x"),)), replace(INSPECTION, image_shape=(28, 29))]
)
def test_read_inspections_refuses_pixels_of_wrong_size(tmp_path: Path, damaged: Inspection):
    files.write_json(inspection_path(tmp_path, "row", 3), document_of(damaged))
    with pytest.raises(ContentError):
        read_inspections(tmp_path, "row")


def test_verification_seed_is_digest_of_earlier_versions():
    # First six bytes of a SHA-256 digest. Records contain such seeds.
    assert PROTOCOL_VERSION == 1
    assert derive_seed("d5e9c2abeb4c", "d0a55561f5cb", Purpose.VERIFY, 0) == int(
        hashlib.sha256(b"1|d5e9c2abeb4c|d0a55561f5cb|verify|0").hexdigest()[:12], 16
    )
    assert derive_seed("d5e9c2abeb4c", "d0a55561f5cb", Purpose.VERIFY, 0) == 134737750845096


@pytest.mark.parametrize("purpose", Purpose)
def test_only_runs_of_search_depend_on_study_seed(purpose: Purpose):
    seeds = {derive_seed("a", "b", purpose, 0, study_seed) for study_seed in (0, 1, 2)}
    assert len(seeds) == (3 if purpose in (Purpose.SEARCH, Purpose.CONFIRM) else 1)


def test_seeds_differ_by_network_recipe_purpose_and_index_and_have_48_bits():
    seeds = [
        derive_seed(network, recipe, purpose, index)
        for network in ("aa", "ab")
        for recipe in ("aa", "ba")
        for purpose in Purpose
        for index in range(20)
    ]

    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**48 for seed in seeds)
    # The seeds use the whole range: all are below 2**47 with a probability of 2**-400 at most.
    assert max(seeds) > 2**47


MNIST = DATASETS["mnist"]
TIED = "conv3x3(4) bn relu maxpool(4) conv3x3(4, tie=a) bn relu conv3x3(4, tie=a) bn relu | gap | linear(10)"


@pytest.fixture(scope="module")
def tied_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Training, Path]:
    """Train a tied network for two epochs on 100 images with averaging; return result, training and weight file."""
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=80, validation_size=20)
    bench = TrainingData(ImageData(spec, *images(100, 4), data_hash="abc", source="memory", folder=None))
    path = tmp_path_factory.mktemp("tied") / "seed.safetensors"
    recipe = Recipe(epochs=2, batch_size=16, average_start=0.3)
    result, run = train_job(
        job(Purpose.VERIFY, architecture=parse_network(TIED), recipe=recipe, seed_index=1, weights=path), bench
    )
    return result, run, path


@pytest.fixture
def weight_file(tied_run: tuple[Result, Training, Path]) -> WeightFile:
    """Return the weight file of ``tied_run`` as read from the disk."""
    return record.read_weights(tied_run[2])


def test_final_network_has_weights_used_for_predictions(tied_run: tuple[Result, Training, Path]):
    run = tied_run[1]
    assert run.average is not None
    network, pixels = run.final_network(), images(50, 4)[0]
    with torch.inference_mode():
        classes = network((pixels / 255 - MNIST.mean[0]) / MNIST.std[0]).argmax(1)
    expected = run.predictions(Images(pixels, torch.zeros(len(pixels), dtype=torch.int64), MNIST.mean, MNIST.std))
    assert torch.equal(classes, expected)
    # The final network has the average, not the weights of the last step.
    assert not torch.equal(network.state_dict()["ops.0.weight"], run.network.state_dict()["ops.0.weight"])


def test_safetensors_contain_equal_bits_and_tied_kernel_once(tied_run: tuple[Result, Training, Path]):
    network = tied_run[1].final_network()
    tensors = load(to_safetensors(network, {"hash": "x"}))
    parameter_count = sum(value.size for name, value in tensors.items() if "running" not in name)
    assert parameter_count == analyse(parse_network(TIED), MNIST.task).parameters
    assert "ops.4.weight" in tensors
    assert "ops.7.weight" not in tensors
    for name, value in tensors.items():
        assert value.tobytes() == network.state_dict()[name].numpy().tobytes()


def test_torch_loads_safetensors_into_new_network(tied_run: tuple[Result, Training, Path], tmp_path: Path):
    network, fresh = tied_run[1].final_network(), build(parse_network(TIED), MNIST.task).eval()
    (tmp_path / "net.safetensors").write_bytes(to_safetensors(network, {}))
    load_model(fresh, tmp_path / "net.safetensors")
    images = torch.rand(3, 1, 28, 28)
    with torch.inference_mode():
        assert torch.equal(fresh(images), network(images))


def test_safetensors_metadata_has_origin_of_weights(tied_run: tuple[Result, Training, Path]):
    result, run, _ = tied_run
    content = to_safetensors(run.final_network(), properties(result, MNIST))
    size = int.from_bytes(content[:8], "little")
    metadata = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["harness"])
    assert metadata["tied"] == {"ops.7.weight": "ops.4.weight"}
    assert metadata["weights_sha256"] == result.weights_sha256
    assert metadata["architecture"] == str(parse_network(TIED))
    assert (metadata["seed_index"], metadata["pixel_mean"]) == ("1", "0.1307")
    assert json.loads(metadata["recipe_fields"])["epochs"] == 2


def test_network_of_weight_file_equals_trained_network(
    tied_run: tuple[Result, Training, Path], weight_file: WeightFile
):
    network, expected = network_of(weight_file, MNIST.task), tied_run[1].final_network()
    images = torch.rand(3, 1, 28, 28)
    with torch.inference_mode():
        assert torch.equal(network(images), expected(images))
    assert not network.training
    assert weight_file.sha256 == tied_run[0].weights_sha256
    # The two uses share a tensor and are not two kernels of equal values.
    assert network.state_dict()["ops.4.weight"].data_ptr() == network.state_dict()["ops.7.weight"].data_ptr()


@pytest.mark.parametrize("architecture", ["conv9x9(3", "conv3x3(5) bn relu | gap | linear(10)", "linear(10)"])
def test_network_of_refuses_weights_of_another_network(architecture: str, weight_file: WeightFile):
    with pytest.raises(ContentError):
        network_of(replace(weight_file, about={"architecture": architecture}), MNIST.task)


def test_network_of_refuses_missing_tensors_and_wrong_shapes(weight_file: WeightFile):
    state = tuple(name for name in weight_file.state if name != "ops.1.running_mean")
    tensors = {**weight_file.arrays, "ops.0.weight": np.zeros((4, 1, 5, 5), np.float32)}
    with pytest.raises(ContentError):
        network_of(replace(weight_file, state=state), MNIST.task)
    with pytest.raises(ContentError):
        network_of(replace(weight_file, arrays=tensors), MNIST.task)
