from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load
from safetensors.torch import load_model
from torch import Tensor

from harness.data.datasets import DATASETS
from harness.data.training_images import ImageData
from harness.evidence import record
from harness.evidence.evaluate import network_of
from harness.evidence.record import WeightFile
from harness.system.errors import ContentError
from harness.training.modules import Images, build
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result
from harness.training.run import Job, TrainingData, properties, to_safetensors, train_jobs
from harness.training.train import Training, final_network, predictions
from search_spaces.network import analyse
from search_spaces.notation import parse_network

MNIST = DATASETS["mnist"]
TIED = "conv3x3(4) bn relu maxpool(4) conv3x3(4, tie=a) bn relu conv3x3(4, tie=a) bn relu | gap | linear(10)"


def some_images(count: int) -> tuple[Tensor, Tensor]:
    """Return noise, uint8 (count, 1, 28, 28), and labels, int64 (count,)."""
    source = torch.Generator().manual_seed(4)
    pixels = torch.randint(0, 256, (count, 1, 28, 28), generator=source, dtype=torch.uint8)
    return pixels, torch.arange(count) % 10


@pytest.fixture(scope="module")
def trained() -> tuple[Result, Training]:
    """A tied network, trained for two epochs on a hundred images, with averaged weights."""
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=80, validation_size=20)
    bench = TrainingData(ImageData(spec, *some_images(100), data_hash="abc", source="memory", folder=None))
    recipe = Recipe(epochs=2, batch_size=16, average_start=0.3)
    job = Job(architecture=parse_network(TIED), recipe=recipe, recipe_name="toy", purpose=Purpose.VERIFY, seed_index=1)
    return train_jobs([job], bench)[0]


@pytest.fixture
def kept(trained: tuple[Result, Training], tmp_path: Path) -> WeightFile:
    """The file of that network, as it is read."""
    result, run = trained
    path = tmp_path / "net.safetensors"
    path.write_bytes(to_safetensors(final_network(run), properties(result, MNIST)))
    return record.read_weights(path)


# What predicts ------------------------------------------------------------------------------------------------


def test_what_is_taken_is_what_predicts(trained: tuple[Result, Training]):
    run = trained[1]
    assert run.average is not None
    network, pixels = final_network(run), some_images(50)[0]
    with torch.inference_mode():
        said = network((pixels / 255 - MNIST.mean[0]) / MNIST.std[0]).argmax(1)
    given = predictions(run, Images(pixels, torch.zeros(len(pixels), dtype=torch.int64), MNIST.mean, MNIST.std))
    assert torch.equal(said, given)
    # Not the raw weights of the last step.
    assert not torch.equal(network.state_dict()["ops.0.weight"], run.network.state_dict()["ops.0.weight"])


# The file -----------------------------------------------------------------------------------------------------


def test_safetensors_give_the_weights_back_bit_for_bit_and_a_tied_kernel_once(trained: tuple[Result, Training]):
    network = final_network(trained[1])
    content = to_safetensors(network, {"hash": "x"})
    kept = load(content)
    stored = sum(value.size for name, value in kept.items() if "running" not in name)
    assert stored == analyse(parse_network(TIED), MNIST.task).parameters
    assert "ops.4.weight" in kept
    assert "ops.7.weight" not in kept
    for name, value in kept.items():
        assert value.tobytes() == network.state_dict()[name].numpy().tobytes()


def test_torch_loads_the_safetensors_into_a_network_that_was_just_built(
    trained: tuple[Result, Training], tmp_path: Path
):
    network, fresh = final_network(trained[1]), build(parse_network(TIED), MNIST.task).eval()
    (tmp_path / "net.safetensors").write_bytes(to_safetensors(network, {}))
    load_model(fresh, tmp_path / "net.safetensors")
    images = torch.rand(3, 1, 28, 28)
    with torch.inference_mode():
        assert torch.equal(fresh(images), network(images))


def test_the_file_says_where_its_weights_come_from(trained: tuple[Result, Training]):
    result, run = trained
    content = to_safetensors(final_network(run), properties(result, MNIST))
    size = int.from_bytes(content[:8], "little")
    told = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["harness"])
    assert told["tied"] == {"ops.7.weight": "ops.4.weight"}
    assert told["weights_sha256"] == result.weights_sha256
    assert told["architecture"] == str(parse_network(TIED))
    assert (told["seed_index"], told["pixel_mean"]) == ("1", "0.1307")
    assert json.loads(told["recipe_fields"])["epochs"] == 2


def test_a_training_leaves_its_weights_where_it_is_told_to(trained: tuple[Result, Training], tmp_path: Path):
    result = trained[0]
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=80, validation_size=20)
    bench = TrainingData(ImageData(spec, *some_images(100), data_hash="abc", source="memory", folder=None))
    job = Job(
        architecture=parse_network(TIED),
        recipe=result.recipe,
        recipe_name="toy",
        purpose=Purpose.VERIFY,
        seed_index=1,
        weights=tmp_path / "seed.safetensors",
    )

    train_jobs([job], bench)

    assert record.read_weights(tmp_path / "seed.safetensors").sha256 == result.weights_sha256
    assert [path.name for path in tmp_path.iterdir()] == ["seed.safetensors"]


# The network again --------------------------------------------------------------------------------------------


def test_a_file_gives_the_network_that_it_was_made_of(trained: tuple[Result, Training], kept: WeightFile):
    network, ours = network_of(kept, MNIST.task), final_network(trained[1])
    images = torch.rand(3, 1, 28, 28)
    with torch.inference_mode():
        assert torch.equal(network(images), ours(images))
    assert not network.training
    assert kept.sha256 == trained[0].weights_sha256
    # The tie is one of the network, not two kernels that happen to be equal.
    assert network.state_dict()["ops.4.weight"].data_ptr() == network.state_dict()["ops.7.weight"].data_ptr()


@pytest.mark.parametrize("architecture", ["conv9x9(3", "conv3x3(5) bn relu | gap | linear(10)", "linear(10)"])
def test_weights_of_another_network_are_refused(architecture: str, kept: WeightFile):
    with pytest.raises(ContentError, match="does not hold a network"):
        network_of(replace(kept, about={"architecture": architecture}), MNIST.task)


def test_weights_that_lack_or_have_another_shape_are_refused(kept: WeightFile):
    state = tuple(name for name in kept.state if name != "ops.1.running_mean")
    wrong = {**kept.kept, "ops.0.weight": np.zeros((4, 1, 5, 5), np.float32)}
    with pytest.raises(ContentError, match="running_mean"):
        network_of(replace(kept, state=state), MNIST.task)
    with pytest.raises(ContentError, match="does not hold a network"):
        network_of(replace(kept, kept=wrong), MNIST.task)
