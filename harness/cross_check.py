"""The costs of a network as other libraries count them, to be held against ``search_spaces.cost``.

Each library has habits of its own, and they are allowed for here in the open: torchsummary counts a tied
kernel once a use, and fvcore's figure mixes in batch normalisation and pooling. What is left must be equal; a
difference is a fault of this program or of theirs.
"""

from __future__ import annotations

import contextlib
import copy
import io
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from harness.system.errors import HarnessError, typed
from harness.training.build import build
from search_spaces.cost import Analysis
from search_spaces.network import Architecture
from search_spaces.task import Task

# fvcore's names for what ``macs`` counts: convolutions, and linear layers in both forms that torch records.
COMPARABLE_OPERATORS = ("conv", "linear", "addmm")
_TOTAL = re.compile(r"^Total params: ([\d,]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Checks:
    """What the other libraries say.

    Attributes:
        torch: stored parameters of the built module, a tied kernel once.
        torchsummary: its total less ``tied_repeats``, so that it is comparable.
        fvcore: its parameter count, in which a tied kernel counts once.
        fvcore_macs: its multiply-adds of convolutions and linear layers, one image, evaluation mode.
        tied_repeats: parameters that torchsummary counts again at the second and later uses of a tied kernel.
    """

    torch: int
    torchsummary: int
    fvcore: int
    fvcore_macs: int
    tied_repeats: int


def cross_check(architecture: Architecture, analysis: Analysis) -> Checks:
    """Build the network, let every library count it, and compare with ``analysis``.

    torch's random state is left as it was, and nothing is printed.

    Raises:
        HarnessError: a library disagrees, or cannot be used; both are internal faults.
    """
    with torch.random.fork_rng(devices=[]):
        network = build(architecture, analysis.task).eval()
        repeats = tied_repeats(network)
        checks = Checks(
            torch=sum(parameter.numel() for parameter in network.parameters()),
            torchsummary=summary_total(network, analysis.task) - repeats,
            fvcore=fvcore_parameters(network),
            fvcore_macs=fvcore_macs(network, analysis.task),
            tied_repeats=repeats,
        )
    _compare(checks, analysis)
    return checks


def tied_repeats(network: nn.Module) -> int:
    """Return the parameters that are met again when every module is asked for its own."""
    each_use = sum(parameter.numel() for _, parameter in network.named_parameters(remove_duplicate=False))
    return each_use - sum(parameter.numel() for parameter in network.parameters())


def summary_total(network: nn.Module, task: Task) -> int:
    """Return the total that torchsummary prints for a copy of ``network`` in evaluation mode.

    It runs two random images through what it is given, which would move BN statistics in training mode.

    Raises:
        HarnessError: torchsummary is missing, or another package of that name is installed.
    """
    try:
        from torchsummary import summary
    except ImportError as error:
        raise _unusable("torchsummary", error) from error
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        summary(copy.deepcopy(network).eval(), task.input_shape, device="cpu")
    total = _TOTAL.search(printed.getvalue())
    if total is None:
        raise _unusable("torchsummary", "it printed no total")
    return int(total[1].replace(",", ""))


def fvcore_parameters(network: nn.Module) -> int:
    """Return fvcore's number of parameters.

    Raises:
        HarnessError: fvcore cannot be imported.
    """
    with _quiet():
        try:
            from fvcore.nn import parameter_count
        except ImportError as error:
            raise _unusable("fvcore", error) from error
        return int(parameter_count(network)[""])


def fvcore_macs(network: nn.Module, task: Task) -> int:
    """Return fvcore's multiply-adds of one image, of convolutions and linear layers only.

    fvcore calls a multiply-add a flop. It also counts batch normalisation (2 a value) and global pooling (1 a
    value), which ``macs`` leaves out, and passes over other pooling and additions.

    Raises:
        HarnessError: fvcore cannot be imported.
    """
    with _quiet():
        try:
            from fvcore.nn import FlopCountAnalysis
        except ImportError as error:
            raise _unusable("fvcore", error) from error
        counter = FlopCountAnalysis(network.eval(), torch.zeros(1, *task.input_shape))
        counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        by_operator: Mapping[str, float] = counter.by_operator()
    return int(sum(by_operator.get(name, 0) for name in COMPARABLE_OPERATORS))


def _compare(checks: Checks, analysis: Analysis) -> None:
    expected = {
        "torch": analysis.parameters,
        "torchsummary": analysis.parameters,
        "fvcore": analysis.parameters,
        "fvcore_macs": analysis.macs,
    }
    wrong = [
        f"{name} counts {getattr(checks, name):,} where search_spaces.cost counts {number:,}"
        for name, number in expected.items()
        if getattr(checks, name) != number
    ]
    if wrong:
        raise HarnessError("; ".join(wrong), hint="a fault of this program: please report this network")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what fvcore warns of: it scripts and traces, which torch calls out of date."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _unusable(package: str, why: object) -> HarnessError:
    return HarnessError(f"{package} cannot be used: {why}", hint=f"'{typed('doctor')}' shows what is installed")
