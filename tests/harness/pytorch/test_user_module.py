"""PyTorch modules that the notation cannot express are counted, trained and recognised again, or refused."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from harness.spaces.catalog import space
from harness.spaces.network import MNIST, Architecture, analyse
from harness.spaces.notation import parse_notation, parse_space
from harness.spaces.space import judge
from harness.spaces.space_errors import NotationError, ShapeError
from harness.system.errors import ContentError, HarnessError, UsageError
from harness.system.user_code import OtherCode
from harness.training.recipe import Recipe
from harness.training.run import TrainingData, to_safetensors
from harness.training.torch_network import build
from harness.training.training_loop import start
from harness.training.user_modules.execution import Description, SeededModule, code_of, describe
from harness.training.user_modules.products import module_macs
from tests.conftest import REPOSITORY
from tests.factories import make_data
from tests.harness.pytorch.sources import HEAD
from tests.harness.pytorch.sources import text_of_module as source

FORWARD = "return self.c(x).mean((2, 3))"
CONVOLUTION = 10 * 9 + 10  # parameters of ``self.c``
CONVOLUTION_MACS = 90 * 26 * 26


def description(text: str, folder: Path) -> Description:
    """Return the description of ``net.py:Net`` with this text."""
    (folder / "net.py").write_text(text)
    name = f"{folder / 'net.py'}:Net"
    return describe(None, name, MNIST)


GROUPS = source("self.n = nn.GroupNorm(2, 10)", "return self.n(self.c(x)).mean((2, 3))")
DROPOUT = source(
    "self.n = nn.GroupNorm(2, 10)", "return F.dropout(self.n(self.c(x)).sin(), 0.5, self.training).mean((2, 3))"
)
COUNTED = {  # text of the file; parameters and multiply-adds, by hand
    "group normalisation": (GROUPS, CONVOLUTION + 20, CONVOLUTION_MACS),
    "two branches": (
        source("self.d = nn.Conv2d(1, 10, 3, bias=False)", "return (self.c(x) * self.d(x)).mean((2, 3))"),
        CONVOLUTION + 90,
        2 * CONVOLUTION_MACS,
    ),
    "a shared tensor": (
        source(
            "self.d = nn.Conv2d(1, 10, 3)\n        self.d.weight = self.c.weight",
            "return (self.c(x) * self.d(x)).mean((2, 3))",
        ),
        CONVOLUTION + 10,
        2 * CONVOLUTION_MACS,
    ),
    "an unused layer": (
        source(
            "self.n = nn.GroupNorm(2, 10)\n        self.d = nn.Linear(7, 3)", "return self.n(self.c(x)).mean((2, 3))"
        ),
        CONVOLUTION + 20 + 24,
        CONVOLUTION_MACS,
    ),
    # For each of 10 outputs, the bilinear layer multiplies 4 values by a 4x7 matrix, and the 7 results by 7 values.
    "a product of matrices and a bilinear layer": (
        source(
            "self.w = nn.Parameter(torch.randn(10, 10)); self.b = nn.Bilinear(4, 7, 10)",
            "return self.c(x).mean((2, 3)).sin() @ self.w + self.b(x[:, 0, 0, :4], x[:, 0, 0, :7])",
        ),
        CONVOLUTION + 100 + 10 * 4 * 7 + 10,
        CONVOLUTION_MACS + 100 + 10 * (4 * 7 + 7),
    ),
    **{
        # Two products of 4x3 and 3x4, and of 4x4 and 4x3, for each of two heads.
        f"attention of 4 parts with 3 features{case}": (
            source(
                f"self.a = nn.MultiheadAttention(6, 2, batch_first=True){change}; self.p = nn.Conv2d(1, 6, 14, 14)",
                f"y = self.p(x).flatten(2).transpose(1, 2){detach}\n"
                "        z = self.a(y, y, y, need_weights=False)[0]\n"
                "        return self.c(x).mean((2, 3)) + z.mean((1, 2)).unsqueeze(1)",
            ),
            CONVOLUTION + 6 * 197 + 4 * (36 + 6),
            CONVOLUTION_MACS + 6 * 4 * 196 + 4 * 4 * 36 + 2 * 2 * 4 * 4 * 3,
        )
        for case, change, detach in (("", "", ""), (", without gradients", ".requires_grad_(False)", ".detach()"))
    },
    "two recurrent layers of 28 steps, in two directions": (
        source(
            "self.r = nn.GRU(28, 5, 2, bidirectional=True, batch_first=True)",
            "return self.c(x).mean((2, 3)) + self.r(x[:, 0])[0].mean(1)",
        ),
        CONVOLUTION + 2 * 15 * (28 + 5 + 2) + 2 * 15 * (10 + 5 + 2),
        CONVOLUTION_MACS + 28 * 2 * 15 * (28 + 5 + 10 + 5),
    ),
    "a recurrent cell": (
        source("self.r = nn.LSTMCell(28, 10)", "return self.c(x).mean((2, 3)) + self.r(x[:, 0, 0])[0]"),
        CONVOLUTION + 40 * (28 + 10 + 2),
        CONVOLUTION_MACS + 40 * (28 + 10),
    ),
    "a kept map": (
        source("", "self.map = self.c(x).sin()\n        return self.map.mean((2, 3))"),
        CONVOLUTION,
        CONVOLUTION_MACS,
    ),
    "two results": (source("", "y = self.c(x)\n        return y.mean((2, 3)), y"), CONVOLUTION, CONVOLUTION_MACS),
}


@pytest.mark.parametrize("case", COUNTED)
def test_module_outside_of_notation_is_counted(case: str, tmp_path: Path) -> None:
    text, parameters, macs = COUNTED[case]

    result = description(text, tmp_path)

    analysis = analyse(Architecture((result.op,)), MNIST)
    assert (analysis.parameters, analysis.macs) == (parameters, macs)
    assert not any("dropout" in note for note in result.notes)
    # Layers without an effect are reported.
    assert any("d.weight" in note for note in result.notes) == (case == "an unused layer")


def test_layers_have_shapes_parameters_and_multiply_adds(tmp_path: Path) -> None:
    convolution, norm = description(GROUPS, tmp_path).parts

    assert (convolution.name, convolution.kind, convolution.output_shape) == ("c", "Conv2d", (10, 26, 26))
    assert (convolution.parameters, convolution.macs) == (CONVOLUTION, CONVOLUTION_MACS)
    assert (norm.name, norm.output_shape, norm.parameters, norm.macs) == ("n", (10, 26, 26), 20, 0)


def test_bn_statistics_are_stored_and_trained_buffers_count_as_parameters(tmp_path: Path) -> None:
    first = "self.b = nn.BatchNorm2d(10, eps=0.1)\n        self.register_buffer('m', torch.zeros(10, 1, 1))"
    forward = (
        "x = self.b(self.c(x))\n"
        "        if self.training:\n"
        "            self.m = 0.9 * self.m + 0.1 * x.detach().mean((0, 2, 3)).view(10, 1, 1)\n"
        "        return (x - self.m).mean((2, 3))"
    )

    result = description(source(first, forward), tmp_path)

    assert (result.op.parameters, result.op.statistic_count) == (CONVOLUTION + 20 + 10, 20)
    assert ["m" in note and "10" in note for note in result.notes] == [True]


LAYERS = "nn.Conv2d(1, 10, 3), nn.GroupNorm(2, 10), nn.AdaptiveAvgPool2d(1)"
SEEDED = f"{HEAD}torch.manual_seed(7)\nNet = nn.Sequential({LAYERS})\n"
REFUSED = {  # text of the file, word of the reason
    "random": (source("", "return self.c(x + torch.rand(1)).mean((2, 3))"), "rand"),
    "random in train": (source("", f"if self.training: x = x + torch.randn_like(x)\n        {FORWARD}"), "randn_like"),
    "random outside of torch": (source("", "return random.random() * self.c(x).mean((2, 3))"), "draws"),
    "random outside of torch in training": (
        source("", "y = random.random() if self.training else 1.0\n        return y * self.c(x).mean((2, 3))"),
        "training",
    ),
    "counter": (source("self.register_buffer('n', torch.zeros(1))", f"self.n.add_(1)\n        {FORWARD}"), "changes n"),
    "hidden count": (source("self.n = 0", "self.n += 1\n        return self.n * self.c(x).mean((2, 3))"), "different"),
    "hidden state": (
        source(
            "self.m = torch.zeros(())",
            "y = self.c(x)\n"
            "        if self.training: self.m = y.detach().mean()\n"
            "        return (y - self.m).mean((2, 3))",
        ),
        "state_dict",
    ),
    "random constant": (
        source("self.o = torch.randperm(10)", "return self.c(x)[:, self.o].mean((2, 3))"),
        "state_dict",
    ),
    "batch mixed": (source("", "return F.softmax(self.c(x).mean((2, 3)), dim=0)"), "other images"),
    "statistics of the batch": (
        source("self.b = nn.BatchNorm2d(10, track_running_stats=False)", "return self.b(self.c(x)).mean((2, 3))"),
        "other images",
    ),
    "more rows than images": (source("", "return self.c(x).view(-1, 10)"), "outputs for 2 images"),
    "nine outputs": (source("self.c = nn.Conv2d(1, 9, 3)", FORWARD), "9"),
    "two candidates": (source("", "x = self.c(x).mean((2, 3))\n        return x, x"), "10 and 10"),
    "dictionary": (source("", "return {'logits': self.c(x).mean((2, 3))}"), "dict"),
    "complex outputs": (source("", "return torch.fft.fft(self.c(x).mean((2, 3)))"), "complex"),
    "infinite outputs": (source("", "return self.c(x).mean((2, 3)) / 0"), "infinite or NaN"),
    "predictions": (source("", "return self.c(x).mean((2, 3)).argmax(1)"), "returns a number per image"),
    "integer outputs": (source("", "return self.c(x).mean((2, 3)).long()"), "int64"),
    "integer inputs": (source("self.c = nn.Embedding(10, 10)", "return self.c(x).mean((1, 2, 3))"), "failed"),
    "complex inputs": (source("self.c.to(torch.complex64)", FORWARD), "failed"),
    "control flow": (source("", f"if x.sum() > 0: x = -x\n        {FORWARD}"), "control flow"),
    "lazy": (source("self.c = nn.LazyConv2d(10, 3)", FORWARD), "lazy"),
    "cuda": (source("self.c = nn.Conv2d(1, 10, 3).to('cuda:7')", FORWARD), "failed"),
    "fixed batch": (source("", "return self.c(x).mean((2, 3)).view(64, 10)"), "net.py"),
    "prints": (source("", f"print(x.shape)\n        {FORWARD}"), "prints"),
    "seeds in forward": (source("", f"torch.manual_seed(7)\n        {FORWARD}"), "seeds"),
    "seeds in __init__": (source("torch.manual_seed(7)\n        self.c = nn.Conv2d(1, 10, 3)", FORWARD), "always"),
    "seeded instance": (SEEDED, "always the same"),
    "detached": (source("", "return self.c(x).detach().mean((2, 3))"), "gradient"),
    "no module": ("class Net:\n    pass\n", "not a PyTorch module"),
    "required arguments": (
        "def Net(width, *sizes, depth, bias=True):\n    pass\n",
        "requires the arguments width, depth",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unsupported_module_is_refused_in_one_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text, reason = REFUSED[case]
    random.seed(1)

    with pytest.raises(HarnessError, match=reason) as caught:
        build(Architecture((description(text, tmp_path).op,)), MNIST)

    assert "\n" not in caught.value.message
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("line", ["torch.manual_seed(7)", "torch.set_default_dtype(torch.float64)"])
def test_instance_is_counted_regardless_of_settings_in_its_file(line: str, workspace: Path) -> None:
    layers = LAYERS.replace("nn.GroupNorm", "nn.Tanhshrink(), nn.GroupNorm")  # not in the notation
    Path("net.py").write_text(f"{HEAD}{line}\nNet = nn.Sequential({layers})\n")

    assert harness.explain("net.py:Net").analysis.parameters == CONVOLUTION + 20
    assert torch.get_default_dtype() == torch.float32
    if "seed" in line:
        for function in (harness.train, harness.verify):
            with pytest.raises(ContentError, match=r"net\.py:Net cannot be trained.*always the same"):
                function("net.py:Net", dataset="mnist-5k", recipe="smoke")
        assert not Path("runs").exists()
    else:
        assert harness.train("net.py:Net", "mnist-5k", epochs=1).accuracy_pct is not None


def test_file_may_import_torchvision_that_does_not_load(workspace: Path) -> None:
    """The package lacks the operator ``nms``, as torchvision beside a torch of a different build."""
    Path("torchvision").mkdir()
    Path("torchvision/_C.so").write_text("not a library")
    Path("torchvision/__init__.py").write_text("import torch\ntorch.ops.torchvision.nms\n")
    Path("net.py").write_text(f"import torchvision\n{GROUPS}")
    code = "from harness.training.user_modules.execution import load_value; print(load_value('net.py:Net').__name__)"
    environment = os.environ | {"PYTHONPATH": f"{workspace}{os.pathsep}{REPOSITORY}"}

    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, cwd=workspace
    )

    assert process.stdout == "Net\n", process.stderr


def test_file_may_seed_generator_before_class_definition(tmp_path: Path) -> None:
    state = torch.get_rng_state()

    description(GROUPS.replace("import random", "torch.manual_seed(7)"), tmp_path)

    assert torch.equal(torch.get_rng_state(), state)


def test_hash_depends_on_code_and_graph_but_not_on_folder(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c", "d")]
    for folder in folders:
        folder.mkdir()
    wide = "WIDTH = 10\n\n\n" + GROUPS.replace("GroupNorm(2, 10)", "GroupNorm(WIDTH // 5, 10)")
    # The code of ``Net`` is equal, but imports different numbers.
    (folders[2] / "width.py").write_text("WIDTH = 10\n")
    (folders[3] / "width.py").write_text("WIDTH = 25\n")
    imported = wide.replace("WIDTH = 10\n", "from width import WIDTH\n")

    original, copy = (description(wide, folder).op for folder in folders[:2])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folders[2])
        with_import = description(imported, folders[2]).op

    hashes = [Architecture((op,)).hash for op in (original, copy, with_import)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert code_of(f"{folders[2] / 'net.py'}:Net") == with_import.code
    (folders[3] / "net.py").write_text(imported)
    assert code_of(f"{folders[3] / 'net.py'}:Net") != with_import.code


def test_changed_module_is_refused_before_code_runs(tmp_path: Path) -> None:
    op = description(GROUPS, tmp_path).op
    path = tmp_path / "net.py"
    path.write_text(f"raise SystemExit(3)\n{GROUPS}")

    with pytest.raises(OtherCode) as caught:
        build(Architecture((op,)), MNIST)

    assert op.code in caught.value.message
    assert code_of(op.name) in caught.value.message
    path.unlink()
    with pytest.raises(UsageError, match="there is no file"):
        build(Architecture((op,)), MNIST)


def test_stated_counts_are_compared_with_module(tmp_path: Path) -> None:
    op = description(GROUPS, tmp_path).op
    forged = parse_notation(str(op).replace(f"parameters={op.parameters}", "parameters=7"))

    with pytest.raises(OtherCode, match=r"parameters is 120, stated 7"):
        build(forged, MNIST)


def test_different_graph_of_equal_code_is_not_reported_as_changed_module(tmp_path: Path) -> None:
    op = description(GROUPS, tmp_path).op
    forged = parse_notation(str(op).replace(op.graph, "0" * 12))

    with pytest.raises(OtherCode) as caught:
        build(forged, MNIST)

    assert torch.__version__ in caught.value.message
    assert "changed" not in caught.value.message


def test_module_text_is_parsed_and_not_allowed_in_spaces(tmp_path: Path) -> None:
    network = Architecture((description(GROUPS, tmp_path).op,))

    parsed = parse_notation(str(network))

    assert (parsed, str(parsed), parsed.hash) == (network, str(network), network.hash)
    assert not judge(space("all", MNIST), network).accepted
    with pytest.raises(NotationError, match="networks only"):
        parse_space(f"net = {network};")
    with pytest.raises(ShapeError):
        analyse(parse_notation(f"conv3x3(4) {network}"), MNIST)
    for text in ("conv3x3('8') gap", "module(10, name=5)", "module(10, parameters='a')"):
        with pytest.raises(NotationError):
            parse_notation(text)


REPLACING = source(
    "self.register_buffer('m', torch.zeros(10, 1, 1)); self.d = nn.Dropout(0.2)",
    "y = self.c(x)\n"
    "        if self.training: self.m = 0.9 * self.m + 0.1 * y.detach().mean((0, 2, 3)).view(10, 1, 1)\n"
    "        return self.d(y - self.m).mean((2, 3))",
)
AVERAGED = Recipe(epochs=4, batch_size=16, average_decay=0.9, average_start=0.3, average_statistics="recomputed")


@pytest.mark.parametrize("text", [GROUPS, DROPOUT, REPLACING], ids=["plain", "dropout", "replaced buffer"])
def test_equal_seeds_and_resumed_run_give_equal_bits(text: str, tmp_path: Path) -> None:
    network = Architecture((description(text, tmp_path).op,))
    data = make_data()
    parts = TrainingData(data).images(data.train_images, data.train_labels, torch.device("cpu"))
    state = torch.get_rng_state()

    first, second, different = (start(network, AVERAGED, seed, torch.device("cpu"), task=MNIST) for seed in (1, 1, 2))
    for run in (first, second, different):
        run.train(parts, AVERAGED.epochs)
        run.finish_average(parts)
    interrupted = start(network, AVERAGED, 1, torch.device("cpu"), task=MNIST)
    interrupted.train(parts, 2)
    resumed = start(network, AVERAGED, 1, torch.device("cpu"), task=MNIST)
    resumed.resume(interrupted.checkpoint())
    resumed.train(parts, 2)
    resumed.finish_average(parts)

    assert first.weights_digest() == second.weights_digest() == resumed.weights_digest() != different.weights_digest()
    assert torch.equal(torch.get_rng_state(), state)
    # The stored network and the run make an equal number of errors.
    stored = first.final_network()
    pixels, labels = parts[:]
    with torch.inference_mode():
        assert int((stored(pixels).argmax(1) != labels).sum()) == first.evaluation(parts).errors
    assert to_safetensors(stored, {}) == to_safetensors(second.final_network(), {})


def test_final_softmax_becomes_log_softmax(tmp_path: Path) -> None:
    text = source("self.n = nn.GroupNorm(2, 10)", "return F.softmax(self.n(self.c(x)).mean((2, 3)), 1)")
    network = build(Architecture((description(text, tmp_path).op,)), MNIST).eval()
    images = torch.randn(3, 1, 28, 28)

    outputs = network(images)

    torch.testing.assert_close(outputs.exp().sum(1), torch.ones(3))
    [wrapper] = network.ops
    assert isinstance(wrapper, SeededModule)
    torch.testing.assert_close(outputs.exp(), wrapper.module(images))


def test_explain_takes_classes_and_instances_and_build_needs_importable_modules(tmp_path: Path) -> None:
    class Local(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = nn.Conv2d(1, 10, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(x).sin().mean((2, 3))  # type: ignore[no-any-return]

    for module in (Local, Local()):
        explanation = harness.explain(module)
        assert explanation.analysis.parameters == CONVOLUTION
        assert explanation.document()["parts"][0]["macs"] == CONVOLUTION_MACS
        with pytest.raises(ContentError, match=r"by its name"):
            build(explanation.architecture, MNIST)
    for importable in (Sine, Sine()):
        assert build(harness.explain(importable).architecture, MNIST)
    # The class alone cannot reproduce an instance with a different factor.
    assert harness.explain(Sine(2)).architecture.user_module.name == ""  # type: ignore[union-attr]


class Sine(nn.Module):
    """A module that can be imported."""

    def __init__(self, factor: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(1, 10, 3)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.factor * x).sin().mean((2, 3))  # type: ignore[no-any-return]


def test_describe_counts_module_without_name() -> None:
    assert describe(Sine, "", MNIST).op.parameters == CONVOLUTION


# Multiply-adds of operators ---------------------------------------------------------------------------------------

# Result of an operator for images x, (1, 1, 28, 28), with a (784, 10), b (10, 5), v (28,) and m of shape (28, 28); and
# multiply-adds, counted by hand as products of a sum.
PRODUCTS: dict[str, tuple[str, int]] = {
    "matmul": ("x.flatten(1) @ a", 784 * 10),
    "matmul of maps": ("x @ m", 28**3),
    "matmul with a vector": ("x @ v", 28 * 28),
    "matmul, broadcast": ("m @ x.expand(1, 3, 28, 28)", 3 * 28**3),
    "mm": ("torch.mm(x.flatten(1), a)", 784 * 10),
    "addmm": ("torch.addmm(a[:1], x.flatten(1), a)", 784 * 10),
    "bmm": ("torch.bmm(x[0], x[0])", 28**3),
    "baddbmm": ("torch.baddbmm(x[0], x[0], x[0])", 28**3),
    "addbmm": ("torch.addbmm(m, x[0].expand(3, 28, 28), x[0].expand(3, 28, 28))", 3 * 28**3),
    "mv": ("torch.mv(x[0, 0], v)", 28 * 28),
    "addmv": ("torch.addmv(v, x[0, 0], v)", 28 * 28),
    "addr": ("torch.addr(x[0, 0], v, v)", 28 * 28),
    "dot": ("torch.dot(x.flatten(), a[:, 0])", 784),
    "vdot": ("torch.vdot(x.flatten(), a[:, 0])", 784),
    "vecdot": ("torch.linalg.vecdot(x, m)", 28 * 28),
    "inner": ("torch.inner(x.flatten(1), a.t())", 784 * 10),
    "outer": ("torch.outer(x.flatten(), v)", 784 * 28),
    "ger": ("torch.ger(x.flatten(), v)", 784 * 28),
    "kron": ("torch.kron(x[0, 0], m[:3, :2])", 784 * 6),
    "tensordot": ("torch.tensordot(x.flatten(1), a, dims=1)", 784 * 10),
    "multi_dot": ("torch.linalg.multi_dot([x.flatten(1), a, b])", 784 * 10 + 10 * 5),
    "matrix_power": ("torch.linalg.matrix_power(x[0, 0], 2)", 28**3),
    "einsum": ("torch.einsum('bcij,jk->bik', x, m)", 28**3),
    "einsum of three": ("torch.einsum('bcij,jk,kl->bil', x, m, m[:, :3])", 28**3 + 28 * 28 * 3),
    "product and sum": ("(x.flatten(1)[:, :, None] * a).sum(1)", 784 * 10),
    "outer product and sum": ("(x.view(784, 1) * v).sum(0)", 784 * 28),
    "linear": ("F.linear(x, m)", 28**3),
    "bilinear": ("F.bilinear(x, x, m.expand(3, 28, 28))", 28 * (3 * 28 * 28 + 3 * 28)),
    "conv1d": ("F.conv1d(x[:, 0], a[:84, 0].view(1, 28, 3))", 28 * 3 * 26),
    "conv2d": ("F.conv2d(x, a[:90, 0].view(10, 1, 3, 3), stride=2)", 90 * 13 * 13),
    "conv2d in groups": ("F.conv2d(x.expand(1, 4, 28, 28), a[:144, 0].view(8, 2, 3, 3), groups=2)", 144 * 26 * 26),
    "conv2d with dilation": ("F.conv2d(x, a[:9, 0].view(1, 1, 3, 3), dilation=3)", 9 * 22 * 22),
    "conv2d with a computed kernel": ("F.conv2d(x, (x[0, 0, :3, :3] + 1)[None, None])", 9 * 26 * 26),
    "conv3d": ("F.conv3d(x.expand(1, 5, 28, 28)[:, None], a[:27, 0].view(1, 1, 3, 3, 3))", 27 * 3 * 26 * 26),
    "conv_transpose1d": ("F.conv_transpose1d(x[:, 0], a[:84, 0].view(28, 1, 3), stride=2)", 84 * 28),
    "conv_transpose2d": ("F.conv_transpose2d(x, a[:48, 0].view(1, 3, 4, 4), stride=2)", 48 * 784),
    "unfold": ("F.unfold(x, 3).transpose(1, 2) @ a[:9]", 676 * 9 * 10),
    "attention": ("F.scaled_dot_product_attention(x, x, x)", 2 * 28**3),
    "sine": ("x.sin()", 0),
    "gate": ("x * x.mean().sigmoid()", 0),
    "norm": ("F.layer_norm(x, (28,)) + F.normalize(x) + F.softmax(x, 1) + F.gelu(x)", 0),
    "pooling": ("F.max_pool2d(x, 2) + F.avg_pool2d(x, 2)", 0),
    "resizing": ("F.interpolate(x, scale_factor=2, mode='bilinear')", 0),
}
LAYER_PRODUCTS: dict[str, tuple[nn.Module, int]] = {  # layers that get rows as a sequence, (1, 28, 28)
    "attention": (nn.MultiheadAttention(28, 4, batch_first=True), 4 * 28**3 + 2 * 28**3),
    "encoder": (nn.TransformerEncoderLayer(28, 4, 56, batch_first=True), 6 * 28**3 + 2 * 28 * 28 * 56),
    "lstm": (nn.LSTM(28, 5, batch_first=True), 28 * 20 * (28 + 5)),
    "gru in both directions": (nn.GRU(28, 5, batch_first=True, bidirectional=True), 2 * 28 * 15 * (28 + 5)),
    "two rnn": (nn.RNN(28, 5, 2, batch_first=True), 28 * 5 * (28 + 5) + 28 * 5 * (5 + 5)),
    "weight norm": (torch.nn.utils.parametrizations.weight_norm(nn.Linear(28, 3)), 28 * 28 * 3),
}


class Function(nn.Module):
    """A module that computes a text, with the numbers of ``PRODUCTS``."""

    def __init__(self, text: str, layer: nn.Module | None = None) -> None:
        super().__init__()
        self.text = text
        self.layer = layer
        self.a, self.b, self.v, self.m = (nn.Parameter(torch.randn(*shape)) for shape in SHAPES)

    def forward(self, x: Tensor) -> Any:
        names = {"a": self.a, "b": self.b, "v": self.v, "m": self.m, "layer": self.layer}
        return eval(self.text, {"torch": torch, "F": torch.nn.functional, "x": x, **names})


SHAPES = ((784, 10), (10, 5), (28,), (28, 28))


@pytest.mark.parametrize("operator", PRODUCTS)
def test_multiply_adds_of_an_operator_equal_the_count_by_hand(operator: str) -> None:
    text, macs = PRODUCTS[operator]

    assert module_macs(Function(text), MNIST)[""] == macs


@pytest.mark.parametrize("layer", LAYER_PRODUCTS)
def test_multiply_adds_of_a_layer_equal_the_count_by_hand(layer: str) -> None:
    module, macs = LAYER_PRODUCTS[layer]
    arguments = "x[:, 0], x[:, 0], x[:, 0]" if layer == "attention" else "x[:, 0]"

    counts = module_macs(Function(f"layer({arguments})", module), MNIST)

    assert (counts[""], counts["layer"]) == (macs, macs)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("torch.cdist(x[0], x[0])", "dist"),
        ("torch.fft.fft2(x).real", "fft"),
        ("torch.linalg.inv(x[0, 0] + torch.eye(28))", "inv"),
        ("torch.linalg.solve(x[0, 0] + torch.eye(28), m)", "solve"),
        ("torch.linalg.svd(x).S", "svd"),
        ("torch.sparse.mm(m.to_sparse(), x[0, 0])", "sparse"),
    ],
)
def test_operator_with_products_that_are_not_counted_is_refused_by_name(text: str, name: str) -> None:
    with pytest.raises(ContentError, match=f"{name}.* not counted"):
        module_macs(Function(text), MNIST)
