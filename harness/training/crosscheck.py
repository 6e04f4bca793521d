"""Comparison of a network's parameters and MACs with the counts of torchsummary and fvcore.

torchsummary counts a shared kernel at each use, and fvcore's multiply-adds include batch normalisation and pooling.
"""

from __future__ import annotations

import contextlib
import copy
import io
import re
import warnings
from dataclasses import dataclass

import torch
from torch import nn

from harness.spaces.network import Analysis, Architecture, Task
from harness.system.errors import HarnessError, as_command
from harness.training.torch_network import build

# Convolutions, and linear layers in both forms that torch records.
_COMPARABLE_OPERATORS = ("conv", "linear", "addmm")


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of a network by each library.

    Attributes:
        torchsummary: Total of torchsummary minus ``tied_repeats``.
        fvcore: Parameters counted by fvcore, a shared kernel once.
        fvcore_macs: Multiply-adds of convolutions and linear layers for an image in evaluation mode.
        tied_repeats: Parameters of later uses of shared kernels, which torchsummary counts again.
    """

    torch: int
    torchsummary: int
    fvcore: int
    fvcore_macs: int
    tied_repeats: int


def cross_check(architecture: Architecture, analysis: Analysis) -> Counts:
    """Build the network, count with every library, and compare the counts with ``analysis``.

    Raises:
        HarnessError: A library disagrees or cannot be used; both are internal errors.
    """
    with torch.random.fork_rng(devices=[]):
        network = build(architecture, analysis.task).eval()
        count = sum(parameter.numel() for parameter in network.parameters())
        repeats = sum(parameter.numel() for _, parameter in network.named_parameters(remove_duplicate=False)) - count
        try:
            summary = _summary_total(network, analysis.task)
            fvcore, macs = _fvcore_counts(network, analysis.task)
        except ImportError as error:
            hint = f"'{as_command('doctor')}' lists installed packages"
            raise HarnessError(f"cannot count: {error}", hint=hint) from error
    counts = Counts(count, summary - repeats, fvcore, macs, repeats)
    analytic = Counts(analysis.parameters, analysis.parameters, analysis.parameters, analysis.macs, repeats)
    if counts != analytic:
        raise HarnessError(f"got {counts}, expected {analytic}", hint="bug in this program: please report the network")
    return counts


def _summary_total(network: nn.Module, task: Task) -> int:
    """Return the total that torchsummary prints; raise ImportError if a package of this name prints no total."""
    from torchsummary import summary

    separate = copy.deepcopy(network).eval()
    visited_ids: set[int] = set()
    for parent in list(separate.modules()):
        for name, child in parent._modules.items():
            if child is not None and id(child) in visited_ids:
                # torchsummary adds a hook for each parent, and each call counts the module once per hook.
                setattr(parent, name, copy.deepcopy(child))
            visited_ids.add(id(child))
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        # Random images would change the BN statistics in training mode.
        summary(separate, task.input_shape, device="cpu")
    total = re.search(r"^Total params: ([\d,]+)$", output.getvalue(), re.MULTILINE)
    if total is None:
        raise ImportError("torchsummary printed no total")
    return int(total[1].replace(",", ""))


def _fvcore_counts(network: nn.Module, task: Task) -> tuple[int, int]:
    """Without batch normalisation and pooling."""
    # fvcore calls torch.jit, which warns of deprecation.
    with warnings.catch_warnings(action="ignore"):
        from fvcore.nn import FlopCountAnalysis, parameter_count

        counter = FlopCountAnalysis(network.eval(), torch.zeros(1, *task.input_shape))
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        counts = counter.by_operator()
    return int(parameter_count(network)[""]), int(sum(counts[name] for name in _COMPARABLE_OPERATORS))
