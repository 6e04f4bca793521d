"""``harness doctor``: check the installation, the device and the data.

Each check looks at one subject; nothing is repaired, fetched or left behind. torch and packages that depend on torch
are imported inside the checks, so that a broken package is reported as a failed check.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click

from harness.data import datasets
from harness.interface import options
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network
from harness.system import errors, files
from harness.system.machine import choose_device, core_count, cores_by_quota, device_name, processor_flags
from harness.system.terminal import console, counted, show_table

_REINSTALL = "install the package again in a fresh environment"
# A study needs some kilobytes per run; the rest is for checkpoints, a download and the reports.
_ENOUGH_DISK_BYTES = 500 * 2**20
# Network with most kinds of counted parameters: a tied kernel, biases and BN.
_PROBE_NETWORK = "conv3x3(8) bn relu conv3x3(8, tie=a) relu maxpool conv3x3(8, pad=0, bias, tie=a) relu gap linear(10)"
# Names of errors, by exit code.
_ERROR_KINDS = {family.exit_code: family.kind for family in errors.HarnessError.__subclasses__()}
_VERDICT_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


class _Finding(NamedTuple):
    message: str
    facts: dict[str, Any]
    advice: str = ""


@dataclass(frozen=True, slots=True)
class _CheckResult:
    """Result of a check; the fields are published in the JSON output."""

    name: str
    message: str
    verdict: Literal["ok", "warn", "fail"] = "ok"
    hint: str = ""
    exit_code: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


def _check(name: str, probe: Callable[[], _Finding]) -> _CheckResult:
    try:
        finding = probe()
    except errors.HarnessError as error:
        # Different counts are an internal error with exit code 1, here a fault of the installation.
        code = error.exit_code if error.exit_code > 1 else errors.DeviceError.exit_code
        return _CheckResult(name, error.message, "fail", error.hint or "", code)
    except Exception as error:
        # Any fault of a library is reported here.
        first_line = str(error).strip().partition("\n")[0] or "no message"
        return _CheckResult(
            name, f"{type(error).__name__}: {first_line}", "fail", _REINSTALL, errors.DeviceError.exit_code
        )
    verdict: Literal["ok", "warn"] = "warn" if finding.advice else "ok"
    return _CheckResult(name, finding.message, verdict, finding.advice, facts=finding.facts)


def _python() -> _Finding:
    from harness.training.result import code_version

    commit, dirty = code_version()
    facts = {"version": platform.python_version(), "executable": sys.executable, "commit": commit, "dirty": dirty}
    if commit is None:
        # An installed wheel has no commit, which is no fault.
        return _Finding("{version} at {executable}".format(**facts), facts)
    changes = ", with uncommitted changes" if dirty else ""
    return _Finding("{version} at {executable}, commit {commit:.12}".format(**facts) + changes, facts)


def _packages() -> _Finding:
    lines = importlib.metadata.requires(errors.DISTRIBUTION) or []
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if "extra ==" not in line]
    versions = {name: importlib.metadata.version(name) for name in names}
    return _Finding(", ".join(f"{name} {version}" for name, version in versions.items()), versions)


def _torch() -> _Finding:
    import torch

    device = choose_device("auto")
    image = torch.ones(1, 1, 4, 4, device=device, requires_grad=True)
    torch.nn.functional.conv2d(image, torch.ones(1, 1, 3, 3, device=device)).sum().backward()  # type: ignore[no-untyped-call]
    # The number of 3x3 windows that contain the pixel: 4 in the middle of 4x4 pixels.
    if image.grad is None or image.grad[0, 0, 1:3, 1:3].tolist() != [[4.0, 4.0], [4.0, 4.0]]:
        raise errors.DeviceError(f"a convolution gives a wrong gradient on {device}", hint="try --device cpu")
    cuda = torch.version.cuda  # None if torch was built for the CPU only
    facts = {"version": torch.__version__, "built_for_cuda": cuda, "device": str(device), "name": device_name(device)}
    platform_name = f"CUDA {cuda}" if cuda else "the CPU only"
    message = f"{torch.__version__}, built for {platform_name}; networks train on {device}, a convolution works"
    return _Finding(message, facts | {"cuda": device.type == "cuda"})


def _cpu() -> _Finding:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    flags = processor_flags()  # empty if unknown
    has_bf16 = bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}) if flags else None
    facts: dict[str, Any] = {"machine": platform.machine(), "capability": capability, "bf16_native": has_bf16}
    facts |= {"cores": core_count(), "cores_by_quota": cores_by_quota(), "torch_threads": torch.get_num_threads()}
    bf16 = {True: "native", False: "emulated, so recipes in bf16 are slow", None: "unknown"}[has_bf16]
    cores = counted(facts["cores"], "core")
    return _Finding(f"{facts['machine']} {capability}, bf16 {bf16}; {cores} for this process", facts)


def _engine() -> _Finding:
    from harness.training.native.engine import EngineUnavailable
    from harness.training.native.engine import load as load_engine

    try:
        engine = load_engine()
    except EngineUnavailable as error:
        advice = "install a C++ compiler (g++ or clang), or set HARNESS_ENGINE_CACHE to a different folder"
        return _Finding(f"training uses torch, which is several times slower: {error}", {}, advice)
    facts = {"name": engine.name, "file": engine.path}
    if engine.skip_reasons:
        return _Finding(f"{engine.name}, built {'; '.join(engine.skip_reasons)}", facts, "a newer compiler may help")
    return _Finding(f"{engine.name}, compiled for this processor", facts)


def _data(spec: datasets.Dataset, folder: Path | None) -> _Finding:
    from harness.data import training_images

    try:
        report = training_images.check_files(spec, folder)
    except training_images.MissingData as error:
        if folder is not None:
            raise
        # Only a warning: the first command that trains fetches the data.
        command = errors.as_command("data", "fetch", "--dataset", spec.name)
        advice = f"'{command}' downloads the data set; or {error.hint}"
        return _Finding(f"no copy of {spec.name} yet: {error.message}", {}, advice)
    facts = {key: report[key] for key in ("dataset", "source", "data_hash")}
    return _Finding("{dataset} in {source}, all files are correct, data hash {data_hash}".format(**facts), facts)


def _workspace(root: Path) -> _Finding:
    files.check_writable(root, make=False)
    folder = root.absolute()
    free_bytes = shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free
    advice = ""
    if free_bytes < _ENOUGH_DISK_BYTES:
        advice = f"at least {_ENOUGH_DISK_BYTES // 2**20} MiB are recommended"
    message = f"{root} is writable, {free_bytes / 2**30:.1f} GiB free"
    return _Finding(message, {"folder": str(root), "free_bytes": free_bytes}, advice)


def _libraries() -> _Finding:
    import torch
    import torchsummary

    from harness.data.training_images import import_torchvision
    from harness.training.crosscheck import cross_check

    architecture = parse_network(_PROBE_NETWORK)
    cross_check(architecture, analyse(architecture, MNIST))
    torchvision = import_torchvision()
    path = str(torchsummary.__file__)
    version = str(torch.__version__)
    lines = importlib.metadata.requires("torchvision") or ()
    matches = (re.match(r"torch\s*\(?==\s*([\w.]+)", line) for line in lines)
    required_torch = next((match[1] for match in matches if match), None)  # None: any version
    is_complete = torchvision.extension._has_ops()
    facts: dict[str, Any] = {"file": path, "version": str(torchvision.__version__), "torch": version}
    facts["distributions"] = importlib.metadata.packages_distributions().get("torchsummary", [])
    facts["made_for_torch"] = required_torch
    facts["fits"] = required_torch in (None, version.partition("+")[0]) and is_complete
    message = f"{path} and fvcore confirm the counts of this program; torchvision {facts['version']}"
    if is_complete:
        return _Finding(message, facts)
    # This program declares the missing operators; user scripts do not.
    advice = "harness is not affected; your own scripts require a torchvision that was built for this torch"
    return _Finding(f"{message} was not built for torch {version}: 'import torchvision' fails", facts, advice)


@click.command(short_help="Check the installation, the device and the data.")
@options.dataset_as_argument
@options.json_and("dataset", "data")
@click.option("-v", "--verbose", is_flag=True, help="Also list the checks that passed.")
def doctor(dataset: str, data: Path | None, verbose: bool, as_json: bool) -> int:
    """Check the installation, the device and the data; print a line for each problem, with advice.

    Exit code 0 if all required parts work, else the code of the first failure: 2 workspace, 5 data, 6 device or
    installation.

    \b
    harness doctor
    harness doctor --json
    """
    spec = datasets.dataset_of_option(dataset)
    workspace = files.workspace()
    probes: dict[str, Callable[[], _Finding]] = {
        "python": _python,
        "packages": _packages,
        "torch": _torch,
        "cpu": _cpu,
        "engine": _engine,
        "data": lambda: _data(spec, data),
        "workspace": lambda: _workspace(workspace.root),
        "libraries": _libraries,
    }
    checks = [_check(name, probe) for name, probe in probes.items()]
    failure = next((check for check in checks if check.verdict == "fail"), None)
    code = 0 if failure is None else failure.exit_code
    if as_json:
        document: dict[str, Any] = {"checks": [asdict(check) for check in checks]}
        if failure is not None:
            error = {"code": code, "kind": _ERROR_KINDS[code], "message": failure.message}
            document["error"] = error | {"position": None, "hint": failure.hint}
        options.print_json(document)
    else:
        _print_checks(checks, verbose)
    return code


def _print_checks(checks: Sequence[_CheckResult], verbose: bool) -> None:
    rows: list[tuple[str, ...]] = []
    styles: list[tuple[str, ...]] = []
    for check in checks:
        if verbose or check.verdict != "ok":
            rows.append((check.verdict, check.name, check.message))
            styles.append((_VERDICT_STYLES[check.verdict], "bold", ""))
            if check.hint:
                rows.append(("", "", f"-> {check.hint}"))
                styles.append(("", "", "dim"))
    if rows:
        show_table(console(), rows, styles)
    if not verbose:
        count = sum(check.verdict == "ok" for check in checks)
        click.echo(f"{count} of {len(checks)} checks passed (-v lists all)")
