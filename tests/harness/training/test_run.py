"""A run: whole or in rungs, damaged, tested, looked at; and the file of its weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
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
from harness.system import files
from harness.system.errors import ContentError
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
    inspection_path,
    packed,
    read_inspections,
    start_seed,
    unpacked,
)
from harness.training.run import Job, TrainingData, execute, properties, to_safetensors, train_job
from harness.training.torch_network import Images, build
from harness.training.training_loop import Training, final_network, predictions, train_epoch
from search_spaces.network import analyse
from search_spaces.notation import parse_network

NETWORK = "conv3x3(4) bn relu dropout(0.05) | maxpool(4) | conv3x3(6) bn relu | gap | linear(10)"
RECIPE = Recipe(epochs=3, batch_size=16, average_start=0.3)
LEARNING = [Purpose.SEARCH, Purpose.CONFIRM, Purpose.TRAIN, Purpose.REFERENCE]


def images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=source, dtype=torch.uint8)
    return pixels, torch.arange(count) % 10


@pytest.fixture
def bench() -> TrainingData:
    """Eighty images to train on and twenty to validate on."""
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=80, validation_size=20, test_size=30)
    return TrainingData(ImageData(spec, *images(100, 1), data_hash="abc", source="memory", folder=None))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """The purpose and the log of every read of the test set, which has thirty images."""
    seen: list[tuple[str, Path]] = []

    def read(data: ImageData, *, purpose: str, log: Path) -> tuple[Tensor, Tensor]:
        seen.append((purpose, log))
        return images(30, 2)

    monkeypatch.setattr(run_module, "read_test_set", read)
    return seen


@pytest.fixture
def trained(reads: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch) -> list[tuple[Images, int]]:
    """The images of every epoch, and how often the test set had been read when it ended."""
    seen: list[tuple[Images, int]] = []

    def spy(run: Training, given: Images) -> Epoch:
        epoch = train_epoch(run, given)
        seen.append((given, len(reads)))
        return epoch

    monkeypatch.setattr(run_module, "train_epoch", spy)
    return seen


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


def hash_of(text: str) -> str:
    return parse_network(text).hash


@pytest.mark.parametrize("purpose", LEARNING)
def test_a_run_that_learns_for_search_never_reads_the_test_set(purpose: Purpose, bench: TrainingData, reads: list[str]):
    result = execute(job(purpose, evaluate_each_epoch=True), bench)
    assert reads == []
    assert result.status is Status.COMPLETE
    assert (result.test_errors, result.test_size, result.wrong) == (None, None, ())
    assert result.validation_size == 20
    assert result.validation_errors == result.history[-1].validation_errors
    assert all(epoch.validation_errors is not None for epoch in result.history)
    assert all(epoch.test_errors is None for epoch in result.history)


def test_validation_images_are_never_trained_on(bench: TrainingData, trained: list[tuple[Images, int]]):
    execute(job(until_epoch=1), bench)
    (images, _), *more = trained
    assert more == []
    used = split(bench.data).train
    assert torch.equal(images.pixels, bench.data.train_images[used])
    assert torch.equal(images.labels, bench.data.train_labels[used])
    assert len(images) == 80


def test_half_of_the_images_are_drawn_anew_for_each_seed(bench: TrainingData, trained: list[tuple[Images, int]]):
    for seed in (2, 2, 3):
        execute(job(until_epoch=1, image_share=0.5, seed_index=seed), bench)
    whole = bench.data.train_images[split(bench.data).train].flatten(1).tolist()
    first, again, other = ([whole.index(row) for row in images.pixels.flatten(1).tolist()] for images, _ in trained)
    assert len(set(first)) == 40
    assert first == again
    assert set(first) != set(other)
    # Labels go with their pictures, and validation is the same.
    labels = bench.data.train_labels[split(bench.data).train]
    assert torch.equal(trained[0][0].labels, labels[first])


def test_a_verification_trains_on_all_images_and_reads_the_test_set_once_at_its_end(
    bench: TrainingData, reads: list[tuple[str, Path]], trained: list[tuple[Images, int]], tmp_path: Path
):
    result = execute(job(Purpose.VERIFY, test_log=tmp_path / "log"), bench)
    assert [(len(images), reads_before) for images, reads_before in trained] == [(100, 0)] * 3
    assert reads == [(f"verify {hash_of(NETWORK)} toy seed 2", tmp_path / "log")]
    assert result.test_size == 30
    assert (result.validation_errors, result.validation_size) == (None, None)
    assert all(epoch.validation_errors is None and epoch.test_errors is None for epoch in result.history)


def test_the_wrong_images_are_named_with_what_was_said(
    bench: TrainingData, reads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    said = torch.arange(30) % 10
    said[[4, 17]] = torch.tensor([9, 0])
    monkeypatch.setattr(run_module, "predictions", lambda *_: said)
    result = execute(job(Purpose.VERIFY, test_log=tmp_path / "log"), bench)
    assert result.wrong == ((4, 9), (17, 0))
    assert result.test_errors == 2
    assert result.test_accuracy_pct == pytest.approx(100 * 28 / 30)


def test_a_re_run_of_a_document_reads_the_test_set_after_every_epoch_and_at_the_end(
    bench: TrainingData, reads: list[str], tmp_path: Path
):
    result = execute(job(Purpose.VERIFY, test_log=tmp_path / "log", test_each_epoch=True), bench)
    assert len(reads) == RECIPE.epochs + 1
    assert all(epoch.test_errors is not None for epoch in result.history)
    assert result.history[-1].test_errors == result.test_errors


def test_reading_the_test_set_each_epoch_needs_a_log(bench: TrainingData, reads: list[str]):
    with pytest.raises(AssertionError):
        execute(job(Purpose.VERIFY, test_each_epoch=True), bench)
    assert reads == []


def test_a_run_in_rungs_gives_the_bits_of_a_whole_one(bench: TrainingData, tmp_path: Path):
    whole = execute(job(), bench)
    kept = tmp_path / "trial" / "checkpoint.pt"

    parts = [execute(job(until_epoch=epoch, checkpoint=kept), bench) for epoch in (1, 2, None)]

    assert [part.status for part in parts] == [Status.RUNNING, Status.RUNNING, Status.COMPLETE]
    assert [len(part.history) for part in parts] == [1, 2, 3]
    assert [part.validation_errors is not None for part in parts] == [True] * 3
    assert parts[-1].weights_sha256 == whole.weights_sha256
    assert parts[-1].validation_errors == whole.validation_errors
    assert [epoch.train_loss for epoch in parts[-1].history] == [epoch.train_loss for epoch in whole.history]
    # Looked at once a rung, and in the whole run only at its end.
    assert [epoch.validation_errors is not None for epoch in whole.history] == [False, False, True]


def test_a_run_of_several_starts_is_that_of_the_best_one_and_goes_on_from_its_checkpoint(
    bench: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    several = replace(RECIPE, starts=3, start_epochs=1)
    whole = execute(job(recipe=several), bench)
    assert [len(whole.history), whole.status] == [3, Status.COMPLETE]
    # Two further starts of an epoch each.
    assert whole.images_per_second == pytest.approx((3 + 2) * 80 / whole.train_seconds)
    first_losses = {}
    for number in range(3):
        monkeypatch.setattr(run_module, "start_seed", lambda seed, _, number=number: start_seed(seed, number))
        alone = execute(job(recipe=several), bench)
        first_losses[number] = alone.history[0].train_loss, alone.weights_sha256
    monkeypatch.undo()
    assert min(first_losses.values()) == (whole.history[0].train_loss, whole.weights_sha256)

    kept = tmp_path / "checkpoint.pt"
    parts = [execute(job(recipe=several, checkpoint=kept), bench) for _ in range(2)]
    assert [part.weights_sha256 for part in parts] == [whole.weights_sha256] * 2
    # The second one has trained nothing.
    assert parts[1].train_seconds == parts[0].train_seconds
    assert parts[1].validation_errors == whole.validation_errors
    with pytest.raises(AssertionError, match="starts"):
        job(recipe=several, until_epoch=2)
    assert start_seed(7, 0) == 7
    assert len({start_seed(seed, number) for seed in (7, 8) for number in range(50)}) == 100


@pytest.mark.parametrize(("purpose", "tested"), [(Purpose.SEARCH, False), (Purpose.VERIFY, True)])
def test_a_run_that_diverges_stops_and_counts_its_errors(
    purpose: Purpose, tested: bool, bench: TrainingData, reads: list[str], tmp_path: Path
):
    bad = replace(RECIPE, epochs=30, learning_rate=1e3, warmup=0.0, nesterov=False, momentum=0.99)
    network = parse_network("conv3x3(4) conv3x3(4) | gap | linear(10)")
    log = tmp_path / "log" if tested else None

    result = execute(job(purpose, architecture=network, recipe=bad, test_log=log), bench)

    ended = len(result.history)
    assert result.status is Status.DIVERGED
    assert result.message == f"the loss was not finite in epoch {ended}"
    assert ended < 30
    assert result.history[-1].train_loss is None
    assert len(reads) == tested
    errors = result.test_errors if tested else result.validation_errors
    assert errors is not None
    assert errors > 10


def test_epochs_are_reported_as_they_end(bench: TrainingData):
    epochs: list[Epoch] = []
    result, _ = train_job(job(evaluate_each_epoch=True), bench, epochs.append)
    assert tuple(epochs) == result.history


def test_a_result_names_what_was_run_and_where(bench: TrainingData):
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


def test_the_same_job_gives_the_same_weights_and_another_seed_others(bench: TrainingData):
    jobs = [job(until_epoch=1), job(until_epoch=1), job(until_epoch=1, seed_index=3), job(until_epoch=1, study_seed=6)]
    digests = [execute(one, bench).weights_sha256 for one in jobs]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "one bit", "another network", "another document"])
def test_a_damaged_checkpoint_is_dropped_and_the_run_begins_from_its_start(
    damage: str, bench: TrainingData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    kept = tmp_path / "kept"
    whole = execute(job(), bench)
    execute(job(until_epoch=1, checkpoint=kept), bench)
    match damage:
        case "empty":
            kept.write_bytes(b"")
        case "garbage":
            kept.write_bytes(b"garbage" * 300)
        case "cut":
            kept.write_bytes(kept.read_bytes()[:-200])
        case "one bit":
            content = bytearray(kept.read_bytes())
            content[len(content) // 2] ^= 1
            kept.write_bytes(content)
        case "another network":
            kept.unlink()
            other = parse_network("conv3x3(3) relu | gap | linear(10)")
            execute(job(architecture=other, until_epoch=1, checkpoint=kept), bench)
        case _:
            torch.save([1, 2], kept)
    capsys.readouterr()

    result = execute(job(checkpoint=kept), bench)

    assert (result.status, result.weights_sha256) == (Status.COMPLETE, whole.weights_sha256)
    assert len(result.history) == len(whole.history)
    assert capsys.readouterr().err == f"{kept} is damaged; the run restarts from the first epoch\n"


def test_a_rung_that_is_asked_for_again_is_read_from_its_checkpoint(
    bench: TrainingData, trained: list[tuple[Images, int]], tmp_path: Path
):
    first = execute(job(until_epoch=2, checkpoint=tmp_path / "kept"), bench)
    trained.clear()
    again = execute(job(until_epoch=2, checkpoint=tmp_path / "kept"), bench)
    assert trained == []
    assert again.history == first.history
    assert again.weights_sha256 == first.weights_sha256
    assert again.validation_errors == first.validation_errors


MISS = Miss(image=7, label=2, said=3, pixels=packed(bytes(range(256)) * 3 + bytes(16)))
INSPECTION = Inspection(seed_index=3, weights_sha256="ef", label_counts=(1,) * 10, image_shape=(28, 28), misses=(MISS,))


@pytest.fixture
def shown(bench: TrainingData, reads: list[tuple[str, Path]]) -> TrainingData:
    """The same images, and a test set."""
    return bench


def seen(shown: TrainingData, folder: Path, **changes: object) -> tuple[Result, list[Inspection]]:
    job = Job(
        architecture=parse_network(NETWORK), recipe=RECIPE, recipe_name="toy", purpose=Purpose.VERIFY, seed_index=0
    )
    wanted = {"test_log": folder / "log", "inspection": inspection_path(folder, "row", 0), **changes}
    job = replace(job, **wanted)  # type: ignore[arg-type]  # fields of a job
    return execute(job, shown), read_inspections(folder, "row")


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_a_verification_leaves_its_wrong_images_with_label_and_pixels(shown: TrainingData, tmp_path: Path, engine: str):
    result, [found] = seen(shown, tmp_path, engine=engine)

    pixels, labels = images(30, 2)
    assert [(miss.image, miss.said) for miss in found.misses] == list(result.wrong)
    assert len(found.misses) > 10
    for miss in found.misses:
        assert miss.label == int(labels[miss.image])
        assert unpacked(miss.pixels) == pixels[miss.image].numpy().tobytes()
    assert found.weights_sha256 == result.weights_sha256
    assert found.label_counts == (3,) * 10
    assert (found.seed_index, found.image_shape) == (0, (28, 28))


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_a_verification_of_two_classes_leaves_the_area_under_its_roc_curve(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
):
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=80, validation_size=20, test_size=30, classes=2)
    (pixels, numbers), (test_pixels, test_numbers) = images(100, 1), images(30, 2)
    data = ImageData(spec, pixels, numbers % 2, data_hash="abc", source="memory", folder=None)
    monkeypatch.setattr(run_module, "read_test_set", lambda *_, **__: (test_pixels, test_numbers % 2))
    network, path = parse_network(NETWORK.replace("10", "2"), spec.task), tmp_path / "weights"

    result, [found] = seen(TrainingData(data), tmp_path, architecture=network, engine=engine, weights=path)

    module = build(network, spec.task).eval()
    load_model(module, path, strict=False)
    with torch.inference_mode():
        logits = module((test_pixels / 255 - spec.mean[0]) / spec.std[0]).double()
    assert found.roc_auc == pytest.approx(roc_auc_score(test_numbers % 2, logits[:, 1] - logits[:, 0]), abs=0.005)
    assert result.test_errors == len(found.misses)


def test_a_diverged_seed_leaves_nothing(shown: TrainingData, tmp_path: Path):
    bad = replace(RECIPE, epochs=30, learning_rate=1e3, warmup=0.0, nesterov=False, momentum=0.99)
    result, found = seen(
        shown, tmp_path, architecture=parse_network("conv3x3(4) conv3x3(4) | gap | linear(10)"), recipe=bad
    )
    assert result.status is Status.DIVERGED
    assert found == []


@given(st.binary(max_size=1_000))
def test_pixels_come_back_as_they_were(pixels: bytes):
    assert unpacked(packed(pixels)) == pixels


def test_an_inspection_comes_back_as_it_was_written(tmp_path: Path):
    files.write_json(inspection_path(tmp_path, "row", 3), asdict(INSPECTION) | {"kernel_edge": 3})
    assert read_inspections(tmp_path, "row") == [INSPECTION]
    assert read_inspections(tmp_path, "other") == []


@pytest.mark.parametrize(
    "damaged", [replace(INSPECTION, misses=(replace(MISS, pixels="x"),)), replace(INSPECTION, image_shape=(28, 29))]
)
def test_an_image_of_another_size_is_refused(tmp_path: Path, damaged: Inspection):
    files.write_json(inspection_path(tmp_path, "row", 3), asdict(damaged))
    with pytest.raises(ContentError):
        read_inspections(tmp_path, "row")


def test_the_seeds_of_a_verification_do_not_change():
    # SHA-256 of "1|d5e9c2abeb4c|d0a55561f5cb|verify|0", its first six bytes: records hold such numbers.
    assert PROTOCOL_VERSION == 1
    assert derive_seed("d5e9c2abeb4c", "d0a55561f5cb", Purpose.VERIFY, 0) == int(
        hashlib.sha256(b"1|d5e9c2abeb4c|d0a55561f5cb|verify|0").hexdigest()[:12], 16
    )
    assert derive_seed("d5e9c2abeb4c", "d0a55561f5cb", Purpose.VERIFY, 0) == 134737750845096


@pytest.mark.parametrize("purpose", Purpose)
def test_only_runs_of_a_search_depend_on_the_seed_of_the_study(purpose: Purpose):
    seeds = {derive_seed("a", "b", purpose, 0, study_seed) for study_seed in (0, 1, 2)}
    assert len(seeds) == (3 if purpose in (Purpose.SEARCH, Purpose.CONFIRM) else 1)


def test_seeds_differ_by_network_recipe_purpose_and_index_and_fit_in_48_bits():
    seeds = [
        derive_seed(network, recipe, purpose, index)
        for network in ("aa", "ab")
        for recipe in ("aa", "ba")
        for purpose in Purpose
        for index in range(20)
    ]

    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**48 for seed in seeds)
    # Spread over the whole range: the largest of 400 is below half of it once in 2**400 times.
    assert max(seeds) > 2**47


MNIST = DATASETS["mnist"]
TIED = "conv3x3(4) bn relu maxpool(4) conv3x3(4, tie=a) bn relu conv3x3(4, tie=a) bn relu | gap | linear(10)"


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Training, Path]:
    """A tied network, trained for two epochs on a hundred images, with averaged weights."""
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=80, validation_size=20)
    bench = TrainingData(ImageData(spec, *images(100, 4), data_hash="abc", source="memory", folder=None))
    path = tmp_path_factory.mktemp("tied") / "seed.safetensors"
    recipe = Recipe(epochs=2, batch_size=16, average_start=0.3)
    result, run = train_job(
        job(Purpose.VERIFY, architecture=parse_network(TIED), recipe=recipe, seed_index=1, weights=path), bench
    )
    return result, run, path


@pytest.fixture
def kept(tied: tuple[Result, Training, Path]) -> WeightFile:
    """The file of that network, as it is read."""
    return record.read_weights(tied[2])


def test_what_is_taken_is_what_predicts(tied: tuple[Result, Training, Path]):
    run = tied[1]
    assert run.average is not None
    network, pixels = final_network(run), images(50, 4)[0]
    with torch.inference_mode():
        said = network((pixels / 255 - MNIST.mean[0]) / MNIST.std[0]).argmax(1)
    given = predictions(run, Images(pixels, torch.zeros(len(pixels), dtype=torch.int64), MNIST.mean, MNIST.std))
    assert torch.equal(said, given)
    # Not the raw weights of the last step.
    assert not torch.equal(network.state_dict()["ops.0.weight"], run.network.state_dict()["ops.0.weight"])


def test_safetensors_give_the_weights_back_bit_for_bit_and_a_tied_kernel_once(tied: tuple[Result, Training, Path]):
    network = final_network(tied[1])
    content = to_safetensors(network, {"hash": "x"})
    kept = load(content)
    stored = sum(value.size for name, value in kept.items() if "running" not in name)
    assert stored == analyse(parse_network(TIED), MNIST.task).parameters
    assert "ops.4.weight" in kept
    assert "ops.7.weight" not in kept
    for name, value in kept.items():
        assert value.tobytes() == network.state_dict()[name].numpy().tobytes()


def test_torch_loads_the_safetensors_into_a_network_that_was_just_built(
    tied: tuple[Result, Training, Path], tmp_path: Path
):
    network, fresh = final_network(tied[1]), build(parse_network(TIED), MNIST.task).eval()
    (tmp_path / "net.safetensors").write_bytes(to_safetensors(network, {}))
    load_model(fresh, tmp_path / "net.safetensors")
    images = torch.rand(3, 1, 28, 28)
    with torch.inference_mode():
        assert torch.equal(fresh(images), network(images))


def test_the_file_says_where_its_weights_come_from(tied: tuple[Result, Training, Path]):
    result, run, _ = tied
    content = to_safetensors(final_network(run), properties(result, MNIST))
    size = int.from_bytes(content[:8], "little")
    told = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["harness"])
    assert told["tied"] == {"ops.7.weight": "ops.4.weight"}
    assert told["weights_sha256"] == result.weights_sha256
    assert told["architecture"] == str(parse_network(TIED))
    assert (told["seed_index"], told["pixel_mean"]) == ("1", "0.1307")
    assert json.loads(told["recipe_fields"])["epochs"] == 2


def test_a_file_gives_the_network_that_it_was_made_of(tied: tuple[Result, Training, Path], kept: WeightFile):
    network, ours = network_of(kept, MNIST.task), final_network(tied[1])
    images = torch.rand(3, 1, 28, 28)
    with torch.inference_mode():
        assert torch.equal(network(images), ours(images))
    assert not network.training
    assert kept.sha256 == tied[0].weights_sha256
    # The tie is one of the network, not two kernels that happen to be equal.
    assert network.state_dict()["ops.4.weight"].data_ptr() == network.state_dict()["ops.7.weight"].data_ptr()


@pytest.mark.parametrize("architecture", ["conv9x9(3", "conv3x3(5) bn relu | gap | linear(10)", "linear(10)"])
def test_weights_of_another_network_are_refused(architecture: str, kept: WeightFile):
    with pytest.raises(ContentError):
        network_of(replace(kept, about={"architecture": architecture}), MNIST.task)


def test_weights_that_lack_or_have_another_shape_are_refused(kept: WeightFile):
    state = tuple(name for name in kept.state if name != "ops.1.running_mean")
    wrong = {**kept.kept, "ops.0.weight": np.zeros((4, 1, 5, 5), np.float32)}
    with pytest.raises(ContentError):
        network_of(replace(kept, state=state), MNIST.task)
    with pytest.raises(ContentError):
        network_of(replace(kept, kept=wrong), MNIST.task)
