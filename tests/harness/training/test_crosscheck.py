"""Parameters and multiply-adds of networks, compared with the counts of torch, torchsummary and fvcore."""

from __future__ import annotations

import random

import pytest
import torch

from harness.spaces.catalog import PRESETS, SPACES, space
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network
from harness.spaces.space import draw_uniform
from harness.system.errors import HarnessError
from harness.training import crosscheck
from harness.training.crosscheck import Counts, _fvcore_counts, _summary_total, cross_check
from harness.training.torch_network import build

TIED = parse_network(
    "conv3x3(4) conv3x3(4, tie=a, bias) bn relu res(conv3x3(4, tie=a) relu) | avgpool"
    " | dwconv3x3(tie=b) dwconv3x3(pad=0, tie=b) | linear(12) bn relu linear(10)"
)


def counts_of(text: str) -> tuple[Counts, int, int]:
    architecture = parse_network(text)
    analysis = analyse(architecture, MNIST)
    return cross_check(architecture, analysis), analysis.parameters, analysis.macs


@pytest.mark.parametrize("name", PRESETS)
def test_all_libraries_agree_on_presets(name: str):
    checks, parameters, macs = counts_of(PRESETS[name])

    assert checks == Counts(parameters, parameters, parameters, macs, 0)


@pytest.mark.parametrize("name", SPACES)
def test_all_libraries_agree_on_networks_of_every_space(name: str):
    source = random.Random(f"{name} 2")

    for _ in range(3):
        architecture = draw_uniform(space(name), source).architecture
        analysis = analyse(architecture, MNIST)
        checks = cross_check(architecture, analysis)
        assert (checks.torch, checks.fvcore_macs) == (analysis.parameters, analysis.macs)


def test_poselinear_head_has_weights_per_kernel_and_pose_and_all_multiply_adds():
    checks, parameters, macs = counts_of("conv3x3(40, poses=8) gap poselinear(10, poses=8)")

    assert checks.torch == parameters == 5 * 9 + (5 * 10 + 8 * 10 + 10)
    assert macs == 40 * 9 * 784 + 400


def test_counts_report_repeats_of_tied_kernels():
    checks, parameters, macs = counts_of(str(TIED))

    # A kernel of 144 weights and a depthwise kernel of 36 weights have two uses each.
    assert checks == Counts(parameters, parameters, parameters, macs, 144 + 36)
    assert _summary_total(build(TIED, MNIST), MNIST) == parameters + 180


def test_all_libraries_agree_on_depthwise_kernel_in_poses():
    text = "conv3x3(8, poses=4) dwconv3x3(poses=4, tie=a) dwconv3x3(poses=4, bias, tie=a) gap linear(10)"
    checks, parameters, macs = counts_of(text)

    assert checks == Counts(parameters, parameters, parameters, macs, 18)


def test_only_convolutions_and_linear_layers_have_multiply_adds():
    plain = build(parse_network("conv3x3(4) | maxpool | linear(10)"), MNIST)
    extended = build(parse_network("conv3x3(4) bn relu dropout(0.1) res(bn relu) | maxpool | linear(10)"), MNIST)

    assert _fvcore_counts(plain, MNIST)[1] == _fvcore_counts(extended, MNIST)[1] == 36 * 784 + 784 * 10


def test_cross_check_has_no_output_and_keeps_generator_of_torch(capfd: pytest.CaptureFixture[str]):
    before = torch.get_rng_state()

    cross_check(TIED, analyse(TIED, MNIST))

    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


def test_torchsummary_does_not_change_statistics_of_network():
    network = build(TIED, MNIST).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    _summary_total(network, MNIST)

    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_cross_check_error_names_each_library_with_different_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(crosscheck, "_summary_total", lambda network, task: 10_000)
    monkeypatch.setattr(crosscheck, "_fvcore_counts", lambda network, task: (7, 0))

    with pytest.raises(HarnessError) as error:
        cross_check(TIED, analyse(TIED, MNIST))

    assert error.value.exit_code == 1
    assert all(fact in error.value.message for fact in ("torchsummary=9820", "fvcore=7"))
