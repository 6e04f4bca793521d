"""Is this place fit to work? A check a thing that is needed; nothing is repaired, fetched or left behind."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from harness import installation
from harness.data import data_files, datasets
from harness.installation import REINSTALL, Check, Verdict, failed
from harness.system.errors import DeviceError, HarnessError, UsageError, typed
from harness.system.files import Workspace, check_writable
from harness.system.machine import core_count, cores_by_quota, cores_shown, processor_flags
from harness.system.terminal import counted
from harness.training.native import native

# A study keeps some kilobytes a run; the rest is room for checkpoints, a download and the reports.
_ENOUGH_DISK_BYTES = 500 * 2**20


def diagnose(place: Workspace, dataset: str = datasets.AUTO, folder: Path | None = None) -> list[Check]:
    """Return all checks in a fixed order; none stops those after it.

    Args:
        dataset: the data set to look for; ``auto`` looks for MNIST.
        folder: as ``--data`` gives it.

    Raises:
        UsageError: there is no data set of that name.
    """
    spec = datasets.asked_for(dataset)
    probes: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("python", _python),
        ("packages", installation.check_packages),
        ("torch", installation.check_torch),
        ("device", _device),
        ("cpu", _cpu),
        ("engine", _engine),
        ("threads", _threads),
        ("data", lambda: _data(spec, folder)),
        ("workspace", lambda: _workspace(place)),
        ("disk", lambda: _disk(place)),
        ("torchsummary", installation.check_torchsummary),
        ("fvcore", installation.check_fvcore),
        ("torchvision", installation.check_torchvision),
        ("commit", _commit),
    )
    return [_attempt(name, probe) for name, probe in probes]


def first_failure(checks: list[Check]) -> Check | None:
    """Return the first check that failed, None where none did."""
    return next((check for check in checks if check.verdict is Verdict.FAIL), None)


def _attempt(name: str, probe: Callable[[], Check]) -> Check:
    try:
        return probe()
    except HarnessError as error:
        code = error.exit_code if error.exit_code > 1 else DeviceError.exit_code
        return failed(name, error.message, error.hint or "", code)
    except Exception as error:
        # Whatever is wrong with a library shows here, and the checks after it must still run.
        reason = str(error).strip().splitlines()
        return failed(name, f"{type(error).__name__}: {reason[0] if reason else 'no message'}", REINSTALL)


def _python() -> Check:
    version = platform.python_version()
    facts = {"version": version, "executable": sys.executable}
    return Check(name="python", message=f"{version} at {sys.executable}", facts=facts)


def _device() -> Check:
    import torch

    from harness.system.machine import choose_device, device_name

    device = choose_device("auto")
    cuda = device.type == "cuda"
    what = f"{torch.cuda.device_count()} CUDA devices, the first is {device_name(device)}" if cuda else "no CUDA"
    image = torch.ones(1, 1, 4, 4, device=device, requires_grad=True)
    torch.nn.functional.conv2d(image, torch.ones(1, 1, 3, 3, device=device)).sum().backward()  # type: ignore[no-untyped-call]
    # Each pixel counts once for every window it lies in; the four windows share the middle.
    if image.grad is None or image.grad[0, 0, 1:3, 1:3].tolist() != [[4.0, 4.0], [4.0, 4.0]]:
        return failed("device", f"{what}; a convolution gives a wrong gradient there", "try --device cpu")
    facts = {"device": str(device), "name": device_name(device), "cuda": cuda}
    return Check(name="device", message=f"{what}; networks train on {device}, a convolution works", facts=facts)


def _cpu() -> Check:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    native = _native_bf16()
    told = {True: "bf16 native", False: "bf16 emulated, so recipes in bf16 are slow", None: "bf16 unknown"}
    facts = {"machine": platform.machine(), "capability": capability, "bf16_native": native}
    message = f"{platform.machine()} {capability}, {told[native]}"
    return Check(name="cpu", message=message, facts=facts)


def _native_bf16() -> bool | None:
    """Return whether the processor multiplies bf16 itself, None where the system does not tell."""
    flags = processor_flags()
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}) if flags else None


def _engine() -> Check:
    """Whether the native engine works here; it is compiled where it never was."""
    try:
        engine = native.load()
    except native.EngineUnavailable as error:
        message = f"torch trains, which takes several times as long: {error}"
        homeless = isinstance(error, native.EngineNotKept)
        hint = "HARNESS_ENGINE_CACHE names another folder" if homeless else "install a C++ compiler (g++ or clang)"
        return Check(name="engine", message=message, verdict=Verdict.WARN, hint=hint)
    facts = {"name": engine.name, "file": engine.path}
    if engine.skipped:
        message = f"{engine.name}, built {'; '.join(engine.skipped)}"
        return Check(
            name="engine", message=message, verdict=Verdict.WARN, hint="a newer compiler may know it", facts=facts
        )
    return Check(name="engine", message=f"{engine.name}, compiled for this processor", facts=facts)


def _threads() -> Check:
    import torch

    cores, threads = core_count(), torch.get_num_threads()
    facts = {"cores": cores, "cores_by_quota": cores_by_quota(), "torch_threads": threads}
    quota = f" (the quota of its container; the machine shows {cores_shown()})" if cores < cores_shown() else ""
    message = f"{counted(cores, 'core')} for this process{quota}, torch would use {threads} threads; a worker uses 1"
    return Check(name="threads", message=message, facts=facts)


def _data(spec: datasets.Dataset, folder: Path | None) -> Check:
    try:
        report = data_files.check(spec, folder)
    except data_files.MissingData as error:
        if folder is not None or spec.embedded:
            raise
        # The first command that trains would fetch it, so nothing is broken yet.
        message = f"no copy of {spec.name} yet: {error.message}"
        hint = f"'{typed('data', 'fetch', '--dataset', spec.name)}' fetches it; or {error.hint}"
        return Check(name="data", message=message, verdict=Verdict.WARN, hint=hint)
    message = "{dataset} in {source}, every file is the right one, data hash {data_hash}".format(**report)
    return Check(name="data", message=message, facts={key: report[key] for key in ("dataset", "source", "data_hash")})


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists: a check creates none."""
    folder = folder.absolute()
    return next((parent for parent in (folder, *folder.parents) if parent.exists()), folder)


def _workspace(place: Workspace) -> Check:
    try:
        check_writable(_existing(place.root))
    except UsageError as error:
        hint = "name another folder with HARNESS_WORKSPACE, or work in one of your own"
        return failed("workspace", error.message, hint, UsageError.exit_code)
    return Check(name="workspace", message=f"{place.root} can be written", facts={"folder": str(place.root)})


def _disk(place: Workspace) -> Check:
    free = shutil.disk_usage(_existing(place.root)).free
    message = f"{free / 2**30:.1f} GiB free at {place.root}"
    if free < _ENOUGH_DISK_BYTES:
        hint = f"make room: {_ENOUGH_DISK_BYTES // 2**20} MiB are enough"
        return Check(name="disk", message=message, verdict=Verdict.WARN, hint=hint, facts={"free_bytes": free})
    return Check(name="disk", message=message, facts={"free_bytes": free})


def _commit() -> Check:
    from harness.training.result import code_version

    commit, dirty = code_version()
    facts = {"commit": commit, "dirty": dirty}
    if commit is None:
        hint = "install from a git checkout if results are to name their code"
        message = "not a git checkout, so results cannot name their commit"
        return Check(name="commit", message=message, verdict=Verdict.WARN, hint=hint, facts=facts)
    state = ", with changes that are not committed" if dirty else ""
    return Check(name="commit", message=f"{commit[:12]}{state}", facts=facts)
