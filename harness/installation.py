"""What a check of ``doctor`` finds, and the checks of the libraries: do they work here, are they the right ones?

torch and what rests on it are imported inside the checks, so that a broken one is a line of the answer.
"""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.system.errors import DISTRIBUTION, DeviceError

REINSTALL = "run 'pip install .' again in a fresh environment"
_OLD_NAME = "torch-summary"
"""The distribution that torchinfo grew out of; it installs a module of torchsummary's name."""
_TORCH = re.compile(r"torch\s*\(?==\s*([\w.]+)").match
_TOGETHER = "if you need more of torchvision, install it together with torch, with one command of pip from one index"
_PROBE = "conv3x3(8) bn relu conv3x3(8, tie=a) relu maxpool conv3x3(8, pad=0, bias, tie=a) relu gap linear(10)"


class Verdict(StrEnum):
    """What a check found; ``warn`` is worth knowing and stops nothing."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        message: what was found, one line.
        hint: what to do about it, empty where nothing is to be done.
        exit_code: of the family that a failure belongs to, 0 for none.
        facts: the same for programs.
    """

    name: str
    message: str
    verdict: Verdict = Verdict.OK
    hint: str = ""
    exit_code: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


def failed(name: str, message: str, hint: str, code: int = DeviceError.exit_code) -> Check:
    """Return a check that failed; unless another is given, the code is that of device and installation."""
    return Check(name=name, message=message, verdict=Verdict.FAIL, hint=hint, exit_code=code)


def packages() -> list[str]:
    """Return the packages that this one says it needs, without those of its extras."""
    lines = importlib.metadata.requires(DISTRIBUTION) or []
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if "extra ==" not in line]


def check_packages() -> Check:
    """Check that every library is installed, and name the versions."""
    found: dict[str, Any] = {}
    try:
        needed = packages()
    except importlib.metadata.PackageNotFoundError:
        return failed("packages", f"{DISTRIBUTION} itself is not installed, so what it needs is not known", REINSTALL)
    for name in needed:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    missing = [name for name, version in found.items() if version is None]
    if missing:
        return failed("packages", f"not installed: {', '.join(missing)}", REINSTALL)
    listed = ", ".join(f"{name} {version}" for name, version in found.items())
    return Check(name="packages", message=listed, facts=found)


def check_torch() -> Check:
    """Check that torch can be imported, and say for what it was built."""
    import torch

    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU only"
    facts = {"version": torch.__version__, "built_for_cuda": torch.version.cuda}
    return Check(name="torch", message=f"{torch.__version__}, {built}", facts=facts)


def check_torchsummary() -> Check:
    """Check which package is imported as torchsummary, and that it counts a network's parameters."""
    import torchsummary

    from harness.cross_check import summary_total, tied_repeats
    from harness.training.build import build
    from search_spaces.cost import analyse
    from search_spaces.notation import parse_network
    from search_spaces.task import MNIST

    path = str(torchsummary.__file__)
    owners = importlib.metadata.packages_distributions().get("torchsummary", [])
    facts = {"file": path, "distributions": owners}
    if _OLD_NAME in owners:
        hint = f"pip uninstall {_OLD_NAME}, then pip install --force-reinstall torchsummary"
        return failed("torchsummary", f"{path} comes from {_OLD_NAME}, another package", hint)
    architecture = parse_network(_PROBE)
    network = build(architecture, MNIST)
    counted, due = summary_total(network, MNIST) - tied_repeats(network), analyse(architecture, MNIST).parameters
    if counted != due:
        return failed("torchsummary", f"{path} counts {counted:,} parameters where {due:,} are", REINSTALL)
    return Check(name="torchsummary", message=f"{path}, counts as it should", facts=facts)


def check_fvcore() -> Check:
    """Check that fvcore can trace a network and counts its multiply-adds."""
    from harness.cross_check import fvcore_macs
    from harness.training.build import build
    from search_spaces.cost import analyse
    from search_spaces.notation import parse_network
    from search_spaces.task import MNIST

    architecture = parse_network(_PROBE)
    counted, due = fvcore_macs(build(architecture, MNIST), MNIST), analyse(architecture, MNIST).macs
    if counted != due:
        return failed("fvcore", f"its trace counts {counted:,} multiply-adds where {due:,} are", REINSTALL)
    return Check(name="fvcore", message="traces a network and counts as it should")


def check_torchvision() -> Check:
    """Check that torchvision can be imported, with the stubs that it may need, and say whether it fits torch."""
    import torch

    from harness.data.data_files import import_torchvision

    torchvision = import_torchvision()
    version, installed = str(torchvision.__version__), str(torch.__version__)
    due = next((found[1] for line in importlib.metadata.requires("torchvision") or () if (found := _TORCH(line))), None)
    facts = {"version": version, "torch": installed, "made_for_torch": due, "fits": False}
    if due is not None and due != installed.partition("+")[0]:
        misfit = f"{version} is made for torch {due}, but {installed} is installed"
    elif not torchvision.extension._has_ops():
        misfit = f"{version} is another build than torch {installed}: its compiled part cannot be loaded"
    else:
        message = f"{version} beside torch {installed}; they fit each other"
        return Check(name="torchvision", message=message, facts=facts | {"fits": True})
    message = f"{misfit}. Its data sets work, and this program uses nothing else of it"
    return Check(name="torchvision", message=message, verdict=Verdict.WARN, hint=_TOGETHER, facts=facts)
