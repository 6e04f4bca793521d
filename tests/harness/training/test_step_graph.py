"""Training steps recorded as a CUDA graph give the same bits as single launches."""

from dataclasses import replace

import pytest
import torch

from harness.spaces.notation import parse_network
from harness.system.machine import choose_device
from harness.training import step_graph
from harness.training.recipe import Recipe
from harness.training.torch_network import Images, network_on
from harness.training.training_loop import Training, start

pytestmark = pytest.mark.gpu

EPOCHS = 4
RECIPE = Recipe(epochs=EPOCHS, batch_size=8, average_decay=0.9)
NETWORKS = [
    "conv3x3(8) bn relu dropout(0.2) | maxpool(2) | conv3x3(10) | gap",
    "conv3x3(8, poses=4) bn(poses=4) relu res(conv3x3(8, poses=4) bn(poses=4, shared)) | avgpool | gap linear(10)",
    "conv3x3(8, poses=4) bn(poses=4, tie=n) relu res(conv3x3(8, poses=4) bn(poses=4, tie=n)) | gap linear(10)",
    "conv3x3(16, poses=8) bn(poses=8) relu res(dwconv3x3(poses=8, tie=d) conv1x1(16, poses=8) bn(poses=8)) relu "
    "res(dwconv3x3(poses=8, tie=d) conv1x1(16, poses=8) bn(poses=8)) | avgpool | gap poselinear(10, poses=8)",
]


def images(channels: int = 1) -> Images:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (64, channels, 12, 12), generator=generator, dtype=torch.uint8)
    means = tuple(0.1 * (channel + 1) for channel in range(channels))
    return Images(pixels.cuda(), (torch.arange(64) % 10).cuda(), means, means)


def train_run(
    notation: str, recipe: Recipe, dataset: Images, epochs: int = EPOCHS, saved: dict[str, object] | None = None
) -> Training:
    task = dataset.task
    device = choose_device("cuda")  # selects deterministic kernels
    run = start(parse_network(notation, task), recipe, 7, device, task=task)
    if saved is not None:
        run.resume(saved)
    while len(run.history) < epochs:
        run.train(dataset)
    return run


@pytest.mark.parametrize("notation", NETWORKS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"augmented_share": 0.0},
        {"optimizer": "adam", "learning_rate": 0.01},
        {"precision": "bf16"},
        {"label_smoothing": 0.1, "nesterov": True, "momentum": 0.9},
    ],
    ids=str,
)
def test_recorded_steps_give_bits_of_single_launches(notation, changes, monkeypatch):
    recipe = replace(RECIPE, **changes)
    recorded = train_run(notation, recipe, images())
    assert recorded.step_graph is not None
    monkeypatch.setattr(step_graph, "_LAUNCHED_STEPS", 10**9)
    launched = train_run(notation, recipe, images())
    assert recorded.weights_digest() == launched.weights_digest()
    assert [epoch.train_loss for epoch in recorded.history] == [epoch.train_loss for epoch in launched.history]


def test_recorded_steps_on_three_channels_give_bits_of_single_launches(monkeypatch):
    recorded = train_run(NETWORKS[0], RECIPE, images(3))
    monkeypatch.setattr(step_graph, "_LAUNCHED_STEPS", 10**9)
    assert recorded.weights_digest() == train_run(NETWORKS[0], RECIPE, images(3)).weights_digest()


@pytest.mark.parametrize("notation", NETWORKS)
def test_logits_and_gradients_on_gpu_equal_cpu(notation):
    device = choose_device("cuda")
    dataset = images()
    network = parse_network(notation.replace(" dropout(0.2)", ""), dataset.task)
    on_processor = network_on(network, dataset.task, torch.device("cpu")).double()
    on_gpu = network_on(network, dataset.task, device).double()
    on_gpu.load_state_dict(on_processor.state_dict())
    pixels = dataset.pixels.double() / 255
    reference = on_processor(pixels.cpu())
    logits = on_gpu(pixels)
    torch.testing.assert_close(logits.cpu(), reference, rtol=1e-9, atol=1e-9)
    loss = torch.nn.functional.cross_entropy(logits, dataset.labels)
    reference_loss = torch.nn.functional.cross_entropy(reference, dataset.labels.cpu())
    gradients = torch.autograd.grad(loss, list(on_gpu.parameters()))
    references = torch.autograd.grad(reference_loss, list(on_processor.parameters()))
    for gradient, counterpart in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient.cpu(), counterpart, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_resumed_run_gives_bits_of_uninterrupted_run(epochs):
    saved = train_run(NETWORKS[0], RECIPE, images(), epochs).checkpoint()
    whole = train_run(NETWORKS[0], RECIPE, images())
    assert train_run(NETWORKS[0], RECIPE, images(), saved=saved).weights_digest() == whole.weights_digest()
