"""A network's costs as torchsummary and fvcore count them, held against its own.

Each library counts in a way of its own: torchsummary a shared kernel once a use, and fvcore's figure mixes in batch
normalisation and pooling. What is left must be equal; a difference is a fault of this program or of theirs.
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

from harness.system.errors import HarnessError, typed
from harness.training.modules import build
from search_spaces.network import Analysis, Architecture, Task

# fvcore's names for what ``macs`` counts: convolutions, and linear layers in both forms that torch records.
_COMPARABLE_OPERATORS = ("conv", "linear", "addmm")


@dataclass(frozen=True, slots=True)
class Counts:
    """What the other libraries say.

    Attributes:
        torch: stored parameters of the built module, a shared kernel once; ``fvcore`` counts them so too.
        torchsummary: its total less ``tied_repeats``, which it counts again at later uses of a shared kernel.
        fvcore_macs: its multiply-adds of convolutions and linear layers, one image, evaluation mode.
    """

    torch: int
    torchsummary: int
    fvcore: int
    fvcore_macs: int
    tied_repeats: int


def cross_check(architecture: Architecture, analysis: Analysis) -> Counts:
    """Build the network, let every library count it, and compare with ``analysis``.

    torch's random state is left as it was, and nothing is printed.

    Raises:
        HarnessError: a library disagrees, or cannot be used; both are internal faults.
    """
    with torch.random.fork_rng(devices=[]):
        network = build(architecture, analysis.task).eval()
        own = sum(parameter.numel() for parameter in network.parameters())
        repeats = sum(parameter.numel() for _, parameter in network.named_parameters(remove_duplicate=False)) - own
        try:
            summary, (fvcore, macs) = _summary_total(network, analysis.task), _fvcore_counts(network, analysis.task)
        except ImportError as error:
            raise HarnessError(f"cannot count: {error}", hint=f"'{typed('doctor')}' shows what is installed") from error
    counts = Counts(own, summary - repeats, fvcore, macs, repeats)
    due = Counts(analysis.parameters, analysis.parameters, analysis.parameters, analysis.macs, repeats)
    if counts != due:
        raise HarnessError(f"{counts} where {due} is right", hint="a fault of this program: please report this network")
    return counts


def _summary_total(network: nn.Module, task: Task) -> int:
    """Return the total that torchsummary prints; ImportError where it, or another package of its name, prints none."""
    from torchsummary import summary

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        # It runs two random images through what it is given, which moves BN statistics in training mode.
        summary(copy.deepcopy(network).eval(), task.input_shape, device="cpu")
    total = re.search(r"^Total params: ([\d,]+)$", printed.getvalue(), re.MULTILINE)
    if total is None:
        raise ImportError("torchsummary printed no total")
    return int(total[1].replace(",", ""))


def _fvcore_counts(network: nn.Module, task: Task) -> tuple[int, int]:
    """Return fvcore's number of parameters, and its multiply-adds of one image in convolutions and linear layers.

    fvcore calls a multiply-add a flop. It also counts batch normalisation (2 a value) and global pooling (1 a
    value), which ``macs`` leaves out, and passes over other pooling and additions.
    """
    with warnings.catch_warnings():
        # It scripts and traces, which torch calls out of date.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis, parameter_count

        counter = FlopCountAnalysis(network.eval(), torch.zeros(1, *task.input_shape))
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        flops = counter.by_operator()
        return int(parameter_count(network)[""]), int(sum(flops.get(name, 0) for name in _COMPARABLE_OPERATORS))
