"""Is this place fit to work? A check a thing that is needed; nothing is repaired, fetched or left behind.

torch and what rests on it are imported inside the checks, so that a broken one is a line of the answer.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from harness.data import datasets, training_images
from harness.system.errors import DISTRIBUTION, DeviceError, HarnessError, UsageError, typed
from harness.system.files import Workspace, check_writable
from harness.system.machine import core_count, cores_by_quota, cores_shown, processor_flags
from harness.system.terminal import counted
from harness.training.native import native

_REINSTALL = "run 'pip install .' again in a fresh environment"
# A study keeps some kilobytes a run; the rest is room for checkpoints, a download and the reports.
_ENOUGH_DISK_BYTES = 500 * 2**20
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


# What a probe returns: what was found, its facts, and what to do where that is worth a warning.
_Found = tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], str]


def diagnose(place: Workspace, dataset: str = datasets.AUTO, folder: Path | None = None) -> list[Check]:
    """Return all checks in a fixed order; none stops those after it.

    Args:
        dataset: the data set to look for; ``auto`` looks for MNIST.
        folder: as ``--data`` gives it.

    Raises:
        UsageError: there is no data set of that name.
    """
    spec = datasets.asked_for(dataset)
    probes: tuple[Callable[[], _Found], ...] = (
        *(_python, _packages, _torch, _device, _cpu, _engine, _threads),
        *(partial(_data, spec, folder), partial(_workspace, place), partial(_disk, place)),
        *(_torchsummary, _torchvision, _commit),
    )
    return [_check(getattr(probe, "func", probe).__name__.removeprefix("_"), probe) for probe in probes]


def _check(name: str, probe: Callable[[], _Found]) -> Check:
    try:
        message, facts, *hint = probe()
    except HarnessError as error:
        code = error.exit_code if error.exit_code > 1 else DeviceError.exit_code
        return Check(name=name, message=error.message, verdict=Verdict.FAIL, hint=error.hint or "", exit_code=code)
    except Exception as error:
        # Whatever is wrong with a library shows here, and the checks after it must still run.
        message = f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
        code = DeviceError.exit_code
        return Check(name=name, message=message, verdict=Verdict.FAIL, hint=_REINSTALL, exit_code=code)
    verdict = Verdict.WARN if hint else Verdict.OK
    return Check(name=name, message=message, verdict=verdict, hint="".join(map(str, hint)), facts=facts)


def _python() -> _Found:
    version = platform.python_version()
    return f"{version} at {sys.executable}", {"version": version, "executable": sys.executable}


def _needed() -> list[str]:
    """Return the packages that this one says it needs, without those of its extras."""
    lines = importlib.metadata.requires(DISTRIBUTION) or []
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if "extra ==" not in line]


def _packages() -> _Found:
    found: dict[str, Any] = {}
    for name in _needed():
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    if missing := [name for name, version in found.items() if version is None]:
        raise DeviceError(f"not installed: {', '.join(missing)}", hint=_REINSTALL)
    return ", ".join(f"{name} {version}" for name, version in found.items()), found


def _torch() -> _Found:
    import torch

    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU only"
    facts = {"version": torch.__version__, "built_for_cuda": torch.version.cuda}
    return f"{torch.__version__}, {built}", facts


def _device() -> _Found:
    import torch

    from harness.system.machine import choose_device, device_name

    device = choose_device("auto")
    cuda = device.type == "cuda"
    what = f"{torch.cuda.device_count()} CUDA devices, the first is {device_name(device)}" if cuda else "no CUDA"
    image = torch.ones(1, 1, 4, 4, device=device, requires_grad=True)
    torch.nn.functional.conv2d(image, torch.ones(1, 1, 3, 3, device=device)).sum().backward()  # type: ignore[no-untyped-call]
    # Each pixel counts once for every window it lies in; the four windows share the middle.
    if image.grad is None or image.grad[0, 0, 1:3, 1:3].tolist() != [[4.0, 4.0], [4.0, 4.0]]:
        raise DeviceError(f"{what}; a convolution gives a wrong gradient there", hint="try --device cpu")
    facts = {"device": str(device), "name": device_name(device), "cuda": cuda}
    return f"{what}; networks train on {device}, a convolution works", facts


def _cpu() -> _Found:
    import torch

    capability, flags = torch.backends.cpu.get_cpu_capability(), processor_flags()
    native_bf16 = bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}) if flags else None
    told = {True: "bf16 native", False: "bf16 emulated, so recipes in bf16 are slow", None: "bf16 unknown"}
    facts = {"machine": platform.machine(), "capability": capability, "bf16_native": native_bf16}
    return f"{platform.machine()} {capability}, {told[native_bf16]}", facts


def _engine() -> _Found:
    """Whether the native engine works here; it is compiled where it never was."""
    try:
        engine = native.load()
    except native.EngineUnavailable as error:
        hint = "install a C++ compiler (g++ or clang), or let HARNESS_ENGINE_CACHE name another folder"
        return f"torch trains, which takes several times as long: {error}", {}, hint
    facts = {"name": engine.name, "file": engine.path}
    if engine.skipped:
        return f"{engine.name}, built {'; '.join(engine.skipped)}", facts, "a newer compiler may know it"
    return f"{engine.name}, compiled for this processor", facts


def _threads() -> _Found:
    import torch

    cores, threads = core_count(), torch.get_num_threads()
    facts = {"cores": cores, "cores_by_quota": cores_by_quota(), "torch_threads": threads}
    quota = f" (the quota of its container; the machine shows {cores_shown()})" if cores < cores_shown() else ""
    return f"{counted(cores, 'core')} for this process{quota}, torch would use {threads} threads", facts


def _data(spec: datasets.Dataset, folder: Path | None) -> _Found:
    try:
        report = training_images.check(spec, folder)
    except training_images.MissingData as error:
        if folder is not None or spec.embedded:
            raise
        # The first command that trains would fetch it, so nothing is broken yet.
        hint = f"'{typed('data', 'fetch', '--dataset', spec.name)}' fetches it; or {error.hint}"
        return f"no copy of {spec.name} yet: {error.message}", {}, hint
    facts = {key: report[key] for key in ("dataset", "source", "data_hash")}
    return "{dataset} in {source}, every file is the right one, data hash {data_hash}".format(**facts), facts


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists: a check creates none."""
    folder = folder.absolute()
    return next((parent for parent in (folder, *folder.parents) if parent.exists()), folder)


def _workspace(place: Workspace) -> _Found:
    try:
        check_writable(_existing(place.root))
    except UsageError as error:
        error.hint = "name another folder with HARNESS_WORKSPACE, or work in one of your own"
        raise
    return f"{place.root} can be written", {"folder": str(place.root)}


def _disk(place: Workspace) -> _Found:
    free = shutil.disk_usage(_existing(place.root)).free
    found = f"{free / 2**30:.1f} GiB free at {place.root}", {"free_bytes": free}
    enough = free >= _ENOUGH_DISK_BYTES
    return found if enough else (*found, f"make room: {_ENOUGH_DISK_BYTES // 2**20} MiB are enough")


def _torchsummary() -> _Found:
    import torchsummary

    from harness.cross_check import cross_check
    from search_spaces.network import MNIST, analyse
    from search_spaces.notation import parse_network

    architecture = parse_network(_PROBE)
    cross_check(architecture, analyse(architecture, MNIST))
    owners = importlib.metadata.packages_distributions().get("torchsummary", [])
    path = str(torchsummary.__file__)
    return f"{path} and fvcore count as this program does", {"file": path, "distributions": owners}


def _torchvision() -> _Found:
    import torch

    from harness.data.training_images import import_torchvision

    torchvision = import_torchvision()
    version, installed = str(torchvision.__version__), str(torch.__version__)
    wanted = (re.match(r"torch\s*\(?==\s*([\w.]+)", line) for line in importlib.metadata.requires("torchvision") or ())
    due = next((found[1] for found in wanted if found), None)
    fits = due in (None, installed.partition("+")[0]) and torchvision.extension._has_ops()
    # This program uses nothing but its data sets, which work in any case.
    facts = {"version": version, "torch": installed, "made_for_torch": due, "fits": fits}
    return f"{version} beside torch {installed}", facts


def _commit() -> _Found:
    from harness.training.result import code_version

    commit, dirty = code_version()
    facts = {"commit": commit, "dirty": dirty}
    if commit is None:
        hint = "install from a git checkout if results are to name their code"
        return "not a git checkout, so results cannot name their commit", facts, hint
    return f"{commit[:12]}{', with changes that are not committed' if dirty else ''}", facts
