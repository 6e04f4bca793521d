"""PyTorch modules are translated to the network from which the source was written, or refused with a reason."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.fx import Node

import harness
from harness.pytorch.module_graph import Untranslatable
from harness.pytorch.translate import translate, with_weights
from harness.spaces.catalog import PRESETS, SPACES, space
from harness.spaces.network import MNIST, Architecture, Task, analyse
from harness.spaces.notation import parse_network, parse_space
from harness.spaces.ops import flat
from harness.spaces.space import draw_uniform
from harness.system.errors import ContentError, HarnessError, UsageError
from harness.training.torch_network import build
from harness.training.user_modules.execution import arguments_of, load_value, made_module
from tests.harness.pytorch.sources import HEAD, STYLES, source_of, text_of_module

NETWORKS = {  # networks of every op that plain torch has, in the notation
    "plain": "conv3x3(8, bias) relu bn dropout(0.1) | maxpool | conv1x1(4) conv5x5(6, pad=0) leaky(0.2) gap linear(10)",
    "strided": "conv3x3(6, stride=2) bn prelu conv3x1(4) conv1x3(8, groups=2) swish dropout2d(0.2) conv1x1(10) gap",
    "depthwise": "unshuffle(2) conv3x3(8) relu dwconv3x3(bias) bn conv1x1(8) avgpool(2) linear(16) bn relu linear(10)",
    "summed": "conv3x3(8) bn relu res(conv3x3(8) bn relu res(conv1x1(8)) conv3x3(8)) relu maxpool conv3x3(10) gap",
    "tied": "conv3x3(8) conv3x3(8, tie=a) bn relu conv3x3(8, tie=a) maxpool conv3x3(8, tie=a) gap linear(10)",
    "normalised": "conv3x3(8) bn(bare) relu groupnorm(4) conv1x1(8) groupnorm(1, bare) avgpool linear(6) bn(bare) "
    "groupnorm(2) linear(10, unbiased)",
    "joint": "conv3x3(8) bn(tie=a, joint) prelu(channelwise) conv3x3(8) bn(tie=a, joint) relu linear(10, unbiased)",
}
# Every op and option that plain torch has, drawn from a grammar.
GRAMMAR = """
    let width = {4, 8};
    rectifier = <relu / leaky({0.1, 0.2}) / prelu / prelu(channelwise) / swish>;
    norm = <bn / bn(bare) / groupnorm({1, 2, 4}, bare?)>;
    joint = bn(tie=n, joint);
    after = norm? rectifier? <dropout({0.1, 0.5}) / dropout2d(0.2)>?;
    kernel = <conv3x3(width, pad={0, 1}, bias?, stride={1, 2}) / conv1x1(width, groups={1, 2}) / dwconv3x3(bias?)
        / conv5x5(width, bias?) / conv2x2(width) / conv3x1(width) / conv1x3(width, bias?)>;
    unit = kernel after;
    sum = res(conv3x3(width, tie=k?) after <res(conv1x1(width, bias?))>?);
    down = <maxpool({2, 3}) / avgpool / unshuffle>;
    head = <gap / linear({8, 12}, unbiased) rectifier / linear(8) <bn / groupnorm(2)>? relu>;
    net = conv3x3(width, bias?) after conv3x3(width) joint? unit? <sum>{0..2} down?
        unit conv3x3(width, tie=k?) joint? sum? head <linear(10) / linear(10, unbiased)>;
    where parameters <= 20000, macs <= 2000000;
"""


def load_module(text: str, folder: Path) -> nn.Module:
    path = folder / "net.py"
    path.write_text(text)
    return made_module(load_value(f"{path}:Net"), "Net")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NETWORKS)
def test_source_in_each_style_is_translated_to_original_network(name: str, style: str, tmp_path: Path) -> None:
    expected = parse_network(NETWORKS[name], MNIST)

    module = load_module(source_of(expected, MNIST, style), tmp_path)

    assert translate(module, MNIST).architecture == expected


def draw_networks(count: int, *, posed: bool) -> list[Architecture]:
    """Return feasible networks of all spaces for MNIST; ``posed`` adds networks with kernels in poses."""
    networks: list[Architecture] = []
    rng = random.Random(1)
    spaces = [parse_space(GRAMMAR), *(space(name, MNIST) for name in SPACES if "series" not in name)]
    while len(networks) < count:
        # Half of the networks have the ops that no space draws.
        network = draw_uniform(rng.choice([spaces[0], rng.choice(spaces)]), rng, 20_000).architecture
        in_torch = not any(
            getattr(op, "poses", 1) > 1
            or getattr(op, "unscaled", False)
            or (op.tie and getattr(op, "bias", not op.is_joint))
            for op in flat(network.ops)
        )
        if posed or in_torch:
            networks.append(network)
    return networks


@pytest.mark.parametrize("count", [5, pytest.param(300, marks=pytest.mark.slow)])
def test_sources_of_drawn_networks_are_translated_to_original_networks(count: int, tmp_path: Path) -> None:
    for index, expected in enumerate(draw_networks(count, posed=False)):
        module = load_module(source_of(expected, MNIST, STYLES[index % 5]), tmp_path)
        assert translate(module, MNIST).architecture == expected


def test_modules_of_drawn_networks_in_poses_are_translated() -> None:
    for network in draw_networks(5, posed=True):
        assert translate(build(network, MNIST), MNIST).architecture == network


def test_translation_with_weights_of_module_gives_equal_outputs() -> None:
    torch.manual_seed(0)
    module = build(parse_network(NETWORKS["summed"], MNIST), MNIST).eval()
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())

    network = with_weights(translate(module, MNIST), tensors, MNIST).eval()

    images = torch.randn(5, 1, 28, 28)
    torch.testing.assert_close(network(images), module(images))


def test_in_place_function_changes_shortcut() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 10, 3), nn.Conv2d(10, 10, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            y = functional.relu(x, inplace=True)
            total: Tensor = x + self.second(y)
            return total.mean((2, 3))

    text = str(translate(Net(), MNIST).architecture)

    assert text == "conv3x3(10, pad=0, bias) relu res(conv3x3(10, bias)) gap"


def test_final_softmax_is_omitted_and_reported() -> None:
    module = nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LogSoftmax(dim=1))

    translation = translate(module, MNIST)

    assert str(translation.architecture) == "conv3x3(10, pad=0, bias) gap"
    assert len(translation.notes) == 1


FEATURES = "conv3x3(10, pad=0, bias) gap"


@pytest.mark.parametrize(
    ("result", "note"),
    [
        ("F.log_softmax(x, 1).clamp(min=-100)", "log_softmax and clamp"),
        ("torch.log(F.softmax(x, dim=-1))", "softmax and log"),
        ("(x, y)", "2 tensors"),
        ("[y, x]", "2 tensors"),
    ],
)
def test_results_that_contain_logits_are_translated_and_reported(result: str, note: str, tmp_path: Path) -> None:
    text = text_of_module("", f"y = self.c(x)\n        x = y.mean((2, 3))\n        return {result}")

    translation = translate(load_module(text, tmp_path), MNIST)

    assert str(translation.architecture) == FEATURES
    assert [note in each for each in translation.notes] == [True]


NAMES = ["Tanh", "Sigmoid", "GELU", "ELU", "SELU", "ReLU6", "Hardswish", "Mish", "Softplus"]
OPERATORS = {  # body of forward after the first convolution, ops between the convolution and gap
    "x * torch.sigmoid(x)": "swish",
    "x.mul(torch.sigmoid(x))": "swish",
    "x * F.relu6(x + 3) / 6": "hardswish",
    "x * F.hardsigmoid(x)": "hardswish",
    "x * torch.tanh(F.softplus(x))": "mish",
    "0.5 * x * (1 + torch.erf(x / 2**0.5))": "gelu",
    "x.clamp(min=0)": "relu",
    "x.clamp_(0, 6)": "relu6",
    "F.hardtanh(x, 0.0, 6.0)": "relu6",
    "F.threshold(x, 0, 0)": "relu",
    "torch.maximum(x, torch.zeros_like(x))": "relu",
    "torch.max(x, torch.tensor(0.0))": "relu",
    "torch.where(x > 0, x, 0.0 * x)": "relu",
    "(x + x.abs()) / 2": "relu",
    "F.leaky_relu(x, 0.0)": "relu",
    "torch.max(x, 0.3 * x)": "leaky(0.3)",
    "F.elu(x)": "elu",
    "F.selu(x)": "selu",
    "1 / (1 + torch.exp(-x))": "sigmoid",
    "2 * torch.sigmoid(2 * x) - 1": "tanh",
    "torch.log(1 + torch.exp(x))": "softplus",
    "x * 1.0 + 0": "",
    "torch.cat(x.chunk(2, 1), 1)": "",
    "x.permute(0, 2, 3, 1).permute(0, 3, 1, 2)": "",
    "F.max_pool2d(x, 3, 2)": "maxpool(3, stride=2)",
    "F.max_pool2d(x, 3, 2, padding=1)": "maxpool(3, stride=2, pad=1)",
    "F.avg_pool2d(x, 3, 1, padding=1)": "avgpool(3, stride=1, pad=1)",
    "F.adaptive_avg_pool2d(x, 13)": "avgpool",
    "F.adaptive_max_pool2d(x, 13)": "maxpool",
    "x.view(-1, 10, 13, 2, 13, 2).mean((3, 5))": "avgpool",
    "x.unfold(2, 13, 13).unfold(3, 13, 13).amax((4, 5))": "maxpool(13)",
    "x.reshape(-1, 10, 13, 2, 13, 2).permute(0, 1, 3, 5, 2, 4).reshape(-1, 40, 13, 13)": "unshuffle(2)",
    "F.instance_norm(x)": "groupnorm(10, bare)",
    "nn.BatchNorm2d(10, eps=0.001)": "bn(eps=0.001)",
    "nn.BatchNorm2d(10, eps=0.01, momentum=None)": "bn(eps=0.01)",
    "nn.InstanceNorm2d(10, affine=True)": "groupnorm(10)",
    "nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(10, 4, 3))": "conv3x3(4, bias)",
    "nn.Sequential(nn.ZeroPad2d((1, 1, 0, 0)), nn.Conv2d(10, 4, (1, 3), bias=False))": "conv1x3(4)",
    "nn.Sequential(nn.ConstantPad2d(1, 0.0), nn.Conv2d(10, 4, 5, padding=1))": "conv5x5(4, bias)",
    **{f"nn.{name}()": name.lower() for name in NAMES},
}


@pytest.mark.parametrize("operators", OPERATORS)
def test_operators_that_compute_an_op_are_translated_to_the_op(operators: str, tmp_path: Path) -> None:
    is_layer = operators.startswith("nn.")
    layer = f"self.f = {operators if is_layer else 'nn.Identity()'}; self.l = nn.LazyLinear(10)"
    values = "self.f(x)" if is_layer else operators
    text = text_of_module(
        f"{layer}; self(torch.zeros(2, 1, 28, 28))",
        f"x = self.c(x)\n        x = {values}\n        return self.l(x.mean(3).mean(2))",
    )
    expected = f"conv3x3(10, pad=0, bias) {OPERATORS[operators]} gap linear(10)"

    translation = translate(load_module(text, tmp_path), MNIST)

    assert translation.architecture == parse_network(expected, MNIST)


LIMITED = [
    "F.hardtanh(x, 0.0, 20.0)",
    "x.clamp(-30, 30)",
    "F.threshold(x, 0.0005, 0.0)",
    "torch.where(x > 50, 0 * x, x)",
]


@pytest.mark.parametrize("operators", LIMITED)
def test_operators_that_equal_an_op_at_usual_values_only_are_refused(operators: str, tmp_path: Path) -> None:
    text = text_of_module("", f"x = self.c(x)\n        return ({operators}).mean((2, 3))")

    with pytest.raises(Untranslatable):
        translate(load_module(text, tmp_path), MNIST)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.MaxPool2d((1, 2)), "maxpool"),
        (nn.AvgPool2d((1, 3)), "avgpool(3)"),
        (nn.MaxPool2d((1, 3), (1, 2)), "maxpool(3, stride=2)"),
        (nn.MaxPool2d((1, 40), 7), "maxpool(40)"),
        (nn.MaxPool2d(3, 2, 1), "maxpool(3, stride=2, pad=1)"),
    ],
)
def test_pooling_of_a_series_is_translated(layer: nn.Module, text: str) -> None:
    task = Task((1, 1, 40), 3)
    module = nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(3))
    module(torch.zeros(2, *task.input_shape))

    assert translate(module, task).architecture == parse_network(f"{text} linear(3)", task)


@pytest.mark.parametrize(("momentum", "phrase"), [(0.3, "of 0.3"), (0.0, "of 0"), (None, "of a cumulative average")])
def test_note_on_momentum_names_the_average_of_the_module(momentum: float | None, phrase: str) -> None:
    norm = nn.BatchNorm2d(10, momentum=momentum)
    module = nn.Sequential(nn.Conv2d(1, 10, 3), norm, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    (note,) = translate(module, MNIST).notes

    assert note == f"batch normalisation has the momentum 0.1 in place {phrase}"


# Networks as in public files, with the layers and functions that these files use.
PUBLIC = {
    "LeNet with tanh": """
        s.c1, s.c2, s.c3 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5), nn.Conv2d(16, 120, 5)
        s.f1, s.f2, s.pool = nn.Linear(120, 84), nn.Linear(84, 10), nn.AvgPool2d(2, 2)
    |
        x = s.pool(torch.tanh(s.c1(x)))
        x = s.pool(torch.tanh(s.c2(x)))
        x = torch.flatten(torch.tanh(s.c3(x)), 1)
        return F.softmax(s.f2(torch.tanh(s.f1(x))), dim=-1)
    """,
    "example of PyTorch": """
        s.c1, s.c2, s.d1, s.d2 = nn.Conv2d(1, 4, 3, 1), nn.Conv2d(4, 8, 3, 1), nn.Dropout(0.25), nn.Dropout(0.5)
        s.f1, s.f2 = nn.Linear(1152, 16), nn.Linear(16, 10)
    |
        x = F.max_pool2d(F.relu(s.c2(F.relu(s.c1(x)))), 2)
        x = s.d2(F.relu(s.f1(torch.flatten(s.d1(x), 1))))
        return F.log_softmax(s.f2(x), dim=1)
    """,
    "residual blocks": """
        s.stem = nn.Sequential(nn.Conv2d(1, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(True),
                               nn.MaxPool2d(3, 2, 1))
        s.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU6(),
                          nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8, eps=1e-3)) for _ in range(2))
        s.head = nn.Linear(8, 10, bias=False)
    |
        x = s.stem(x)
        for block in s.blocks:
            x = F.relu(x + block(x))
        return s.head(F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1))
    """,
    "depthwise": """
        s.net = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.Hardswish(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.SiLU(),
                              nn.Conv2d(8, 10, 1), nn.GELU(), nn.ZeroPad2d(1), nn.Conv2d(10, 10, 3, groups=2), nn.ELU())
    |
        return s.net(x).mean([-1, -2])
    """,
    "perceptron": """
        s.net = nn.Sequential(nn.Flatten(), nn.Linear(784, 12), nn.BatchNorm1d(12), nn.Sigmoid(), nn.Linear(12, 10))
    |
        return s.net(x)
    """,
}


def counts_by_hooks(module: nn.Module) -> tuple[int, int]:
    """Return parameters, and multiply-adds of an image by the shapes that hooks of convolutions and layers see."""
    macs = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        if isinstance(layer, nn.Conv2d):
            window = layer.kernel_size[0] * layer.kernel_size[1]
            macs += output[0].numel() * window * layer.in_channels // layer.groups
        elif isinstance(layer, nn.Linear):
            macs += layer.in_features * layer.out_features

    hooks = [layer.register_forward_hook(add) for layer in module.modules()]
    module.eval()(torch.zeros(1, 1, 28, 28))
    for hook in hooks:
        hook.remove()
    return sum(weight.numel() for weight in module.parameters()), macs


@pytest.mark.parametrize("name", PUBLIC)
def test_network_as_in_a_public_file_is_translated_and_counted_as_by_hooks(name: str, tmp_path: Path) -> None:
    constructor, _, forward = PUBLIC[name].partition("    |")
    text = f"{HEAD}class Net(nn.Module):\n    def __init__(s):\n        super().__init__(){constructor}"
    module = load_module(f"{text}\n    def forward(s, x):{forward}", tmp_path)

    analysis = analyse(translate(module, MNIST).architecture, MNIST)

    assert (analysis.parameters, analysis.macs) == counts_by_hooks(module)


def test_layer_normalisation_of_all_values_is_group_normalisation() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.LayerNorm([4, 26, 26], elementwise_affine=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.LayerNorm(4), nn.Linear(4, 10),
    )  # fmt: skip

    text = str(translate(module, MNIST).architecture)

    assert text == "conv3x3(4, pad=0, bias) groupnorm(1, bare) gap groupnorm(1) linear(10)"


# Faults of a translation ------------------------------------------------------------------------------------------


def norms_of(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]


def change_eps(network: nn.Module) -> None:
    norms_of(network)[0].eps = 1e-3


def change_gradients(network: nn.Module) -> None:
    next(network.parameters()).register_hook(lambda gradient: 1.01 * gradient)  # type: ignore[no-untyped-call]


def change_statistics(network: nn.Module) -> None:
    def double(norm: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if norm.training:
            norm.get_buffer("running_var").data.mul_(2)

    norms_of(network)[0].register_forward_hook(double)


def freeze_statistics(network: nn.Module) -> None:
    norms_of(network)[0].train = lambda mode=True: norms_of(network)[0]  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("fault", "difference"),
    [
        (change_eps, "outputs"),
        (change_gradients, "gradients of 0.weight"),
        (change_statistics, "1.running_var after a batch"),
        (freeze_statistics, "outputs"),
    ],
)
def test_translation_with_different_outputs_or_gradients_is_refused(
    fault: Callable[[nn.Module], None], difference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_with_fault(architecture: Architecture, task: Task) -> nn.Module:
        network = build(architecture, task)
        fault(network)
        return network

    module = nn.Sequential(nn.Conv2d(1, 10, 3), nn.BatchNorm2d(10, momentum=0.3), nn.AdaptiveAvgPool2d(1))
    assert str(translate(module, MNIST).architecture) == "conv3x3(10, pad=0, bias) bn gap"
    monkeypatch.setattr("harness.pytorch.translate.build", build_with_fault)

    with pytest.raises(ContentError, match=difference):
        translate(module, MNIST)


@pytest.mark.parametrize(("momentum", "is_refused"), [(0.3, False), (0.1, True)])
def test_translation_with_wrong_momentum_is_refused(
    momentum: float, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def arguments_with_momentum(node: Node) -> dict[str, Any]:
        arguments = arguments_of(node)
        return {**arguments, "momentum": momentum} if "momentum" in arguments else arguments

    module = nn.Sequential(nn.Conv2d(1, 10, 3), nn.BatchNorm2d(10, momentum=0.3), nn.AdaptiveAvgPool2d(1))
    monkeypatch.setattr("harness.pytorch.translate.arguments_of", arguments_with_momentum)

    with pytest.raises(ContentError, match="running_") if is_refused else nullcontext():
        translate(module, MNIST)


def test_parameters_without_effect_are_omitted_and_reported() -> None:
    module = nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1))
    module.register_parameter("idle", nn.Parameter(torch.zeros(7)))

    translation = translate(module, MNIST)

    assert str(translation.architecture) == "conv3x3(10, pad=0, bias) gap"
    assert [("idle" in note, "7" in note) for note in translation.notes] == [(True, True)]


@pytest.mark.parametrize("names", [["0.weight"], ["0.weight", "0.bias"]])
def test_parameters_without_gradients_are_trained_and_reported(names: list[str]) -> None:
    module = nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1))
    for name in names:
        module.get_parameter(name).requires_grad_(False)

    translation = translate(module, MNIST)

    assert str(translation.architecture) == "conv3x3(10, pad=0, bias) gap"
    assert all(name in translation.notes[0] for name in names)


FORWARD = "return self.c(x).mean((2, 3))"
REFUSED_MODULES = {  # body of __init__, body of forward, word of the reason
    "control flow": ("", "if x.sum() > 0: x = -x\n        " + FORWARD, "control flow"),
    "other channels": ("self.c = nn.Conv2d(3, 10, 3)", FORWARD, "channels"),
    "failing": ("raise ValueError('no way')", FORWARD, "no way"),
    "leaving": ("raise SystemExit(3)", FORWARD, "SystemExit"),
    "random": ("", "return self.c(x + torch.rand(1)).mean((2, 3))", "add"),
    "lazy": ("self.c = nn.LazyConv2d(10, 3)", FORWARD, "LazyModule"),
    "counter": ("self.register_buffer('n', torch.zeros(1))", "self.n.add_(1)\n        " + FORWARD, "changes n"),
    "batch mixed": ("", "return self.c(x).view(-1, 10)", "view"),
    "nine outputs": ("self.c = nn.Conv2d(1, 9, 3)", FORWARD, "9x1x1"),
    "two results": ("", "x = self.c(x).mean((2, 3))\n        return x, x", "tuple"),
    "no result": ("", "return ()", "tuple"),
    "joined channels": (
        "self.b = nn.BatchNorm1d(5, affine=False)",
        "return self.b(self.c(x).view(-1, 5, 1352)).view(-1, 10, 26, 26).mean((2, 3))",
        "5 values of a map of 10",
    ),
    "groups of joined channels": (
        "self.g = nn.GroupNorm(1, 5)",
        "return self.g(self.c(x).view(-1, 5, 1352)).view(-1, 10, 26, 26).mean((2, 3))",
        "other channels",
    ),
    "cuda": ("self.c = nn.Conv2d(1, 10, 3).to('cuda:7')", FORWARD, "failed"),
    "complex": ("", "return torch.fft.fft2(self.c(x)).abs().mean((2, 3))", "fft"),
    "dropout that is always on": ("", "return F.dropout(self.c(x), 0.1).mean((2, 3))", "evaluation"),
    "softmax over the batch": ("", "return F.softmax(self.c(x).mean((2, 3)), dim=0)", "dimension 0"),
    "other operator": ("self.q = nn.Softsign()", "return self.q(self.c(x)).mean((2, 3))", r"layer q \(Softsign\)"),
    "other operator of a function": ("", "return self.c(x).sin().mean((2, 3))", r"net.py:\d+ 'return self.c.* sin is"),
    "two branches": ("self.d = nn.Conv2d(1, 10, 3)", "return (self.c(x) + self.d(x)).mean((2, 3))", "branches"),
    "shared statistics": (
        "self.b, self.d = nn.BatchNorm2d(10), nn.BatchNorm2d(10)\n        self.d.running_mean = self.b.running_mean",
        "return self.b(self.d(self.c(x))).mean((2, 3))",
        "several",
    ),
    "noise in training": (
        "",
        "x = x + torch.randn_like(x) if self.training else x\n        " + FORWARD,
        "outputs of the module and of its translation differ",
    ),
    "dropout in training only": (
        "",
        "x = F.dropout(self.c(x), 0.3) if self.training else self.c(x)\n        return x.mean((2, 3))",
        "dropout",
    ),
    "another rate in training": (
        "",
        "x = F.dropout(self.c(x), 0.3 if self.training else 0.2, self.training)\n        return x.mean((2, 3))",
        "dropout",
    ),
    "other statistics in training": (
        "self.b = nn.BatchNorm2d(10)",
        "x = self.c(x)\n        if self.training:\n            parts = [self.b(part) for part in x.chunk(2)]\n"
        "            return torch.cat(parts).mean((2, 3))\n        return self.b(x).mean((2, 3))",
        "outputs of the module and of its translation differ",
    ),
    "statistics without a scale": (
        "self.b = nn.BatchNorm2d(10, affine=False)",
        "return self.b(self.b(self.c(x))).mean((2, 3))",
        "several",
    ),
    "scales of positions": ("self.l = nn.LayerNorm([10, 26, 26])", "return self.l(self.c(x)).mean((2, 3))", "layer"),
    "group eps": ("self.g = nn.GroupNorm(2, 10, eps=0.1)", "return self.g(self.c(x)).mean((2, 3))", "eps"),
    "steep slope": ("", "return F.leaky_relu(self.c(x), 1.5).mean((2, 3))", "leaky_relu is"),
    "dropout of everything": ("self.d = nn.Dropout(1.0)", "return self.d(self.c(x)).mean((2, 3))", "rate 1"),
    "detached": ("", "return self.c(x).detach().mean((2, 3))", "detach"),
    "dictionary": ("", "return {'logits': self.c(x).mean((2, 3))}", "dict"),
    "vector statistics": (
        "self.b, self.l = nn.BatchNorm1d(784), nn.Linear(784, 10)",
        "return self.l(self.b(x.flatten(1)))",
        "784 values",
    ),
    "integers": ("self.c = nn.Embedding(10, 10)", "return self.c(x).mean((1, 2, 3))", "failed"),
}


@pytest.mark.parametrize("case", REFUSED_MODULES)
def test_module_outside_of_notation_is_refused_in_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, forward, reason = REFUSED_MODULES[case]

    with pytest.raises(ContentError, match=reason) as caught:
        translate(load_module(text_of_module(first, forward), tmp_path), MNIST)

    assert "\n" not in caught.value.message
    assert capsys.readouterr() == ("", "")


def test_module_that_prints_and_seeds_changes_neither_output_nor_generator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = text_of_module("print('made')", f"torch.manual_seed(7)\n        print(x.shape)\n        {FORWARD}")
    text = text.replace("import random\n", "torch.manual_seed(7)\n")
    state = torch.get_rng_state()

    translate(load_module(text, tmp_path), MNIST)

    assert torch.equal(torch.get_rng_state(), state)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("class Net:\n    pass\n", "Net", "not a PyTorch module"),
        ("Net = 3\n", "Net", "not a PyTorch module"),
        ("def Net(width): pass\n", "Net", "width"),
        ("Net = 3\n", "Nets", "defines no Nets"),
        ("import nowhere_at_all\n", "Net", "nowhere_at_all"),
        ("def Net(\n", "Net", "SyntaxError"),
    ],
)
def test_name_without_module_is_refused_in_one_line(text: str, name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(text)

    with pytest.raises(HarnessError, match=reason) as caught:
        made_module(load_value(f"{tmp_path / 'net.py'}:{name}"), name)

    assert "\n" not in caught.value.message


def test_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        made_module(load_value(f"{tmp_path / 'net.py'}:Net"), "Net")


def test_explain_accepts_module_class_and_name(tmp_path: Path) -> None:
    class Net(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    (tmp_path / "net.py").write_text(f"{HEAD}Net = nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1))\n")
    expected = harness.explain("conv3x3(10, pad=0, bias) gap").architecture.hash

    for network in (Net(), Net, f"{tmp_path / 'net.py'}:Net"):
        assert harness.explain(network).architecture.hash == expected


def test_presets_are_unchanged_by_translation() -> None:
    for text in PRESETS.values():
        network = parse_network(text, MNIST)
        assert translate(build(network, MNIST), MNIST).architecture == network
