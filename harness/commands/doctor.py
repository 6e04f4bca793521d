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
from typing import Any, Literal

import click

from harness.data import datasets
from harness.interface import options
from harness.system import files
from harness.system.errors import DISTRIBUTION, DataError, DeviceError, HarnessError, UsageError, as_command
from harness.system.machine import choose_device, core_count, cores_by_quota, device_name, processor_flags
from harness.system.terminal import console, counted, show_table
from search_spaces.network import MNIST, analyse
from search_spaces.notation import parse_network

_REINSTALL = "install the package again in a fresh environment"
# A study needs some kilobytes per run; the rest is for checkpoints, a download and the reports.
_ENOUGH_DISK_BYTES = 500 * 2**20
_PROBE = "conv3x3(8) bn relu conv3x3(8, tie=a) relu maxpool conv3x3(8, pad=0, bias, tie=a) relu gap linear(10)"
_KINDS = {family.exit_code: family.kind for family in (UsageError, DataError, DeviceError)}
_LOOKS = {"ok": "green", "warn": "yellow", "fail": "bold red"}

# Return value of a probe: message, facts, and advice if the finding deserves a warning.
_Found = tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], str]


@dataclass(frozen=True, slots=True)
class _Check:
    """Result of a check.

    Attributes:
        message: Finding, in one line.
        hint: Advice; empty if none.
        exit_code: Exit code of a failure; 0 otherwise.
        facts: Finding as JSON values.
    """

    name: str
    message: str
    verdict: Literal["ok", "warn", "fail"] = "ok"
    hint: str = ""
    exit_code: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


def _check(name: str, probe: Callable[[], _Found]) -> _Check:
    try:
        message, facts, *advice = probe()
    except HarnessError as error:
        code = error.exit_code if error.exit_code > 1 else DeviceError.exit_code
        hint = "" if error.hint is None else error.hint
        return _Check(name, error.message, "fail", hint, code)
    except Exception as error:
        # Any fault of a library is reported here, and the remaining checks must still run.
        message = f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
        return _Check(name, message, "fail", _REINSTALL, DeviceError.exit_code)
    return _Check(name, message, "warn" if advice else "ok", "".join(map(str, advice)), facts=facts)


def _python() -> _Found:
    from harness.training.result import code_version

    commit, dirty = code_version()
    facts = {"version": platform.python_version(), "executable": sys.executable, "commit": commit, "dirty": dirty}
    if commit is None:
        # An installed wheel has no commit, which is no fault.
        return "{version} at {executable}".format(**facts), facts
    changed = ", with uncommitted changes" if dirty else ""
    return "{version} at {executable}, commit {commit:.12}".format(**facts) + changed, facts


def _packages() -> _Found:
    lines = importlib.metadata.requires(DISTRIBUTION) or []
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if "extra ==" not in line]
    versions = {name: importlib.metadata.version(name) for name in names}
    return ", ".join(f"{name} {version}" for name, version in versions.items()), versions


def _torch() -> _Found:
    import torch

    device = choose_device("auto")
    image = torch.ones(1, 1, 4, 4, device=device, requires_grad=True)
    torch.nn.functional.conv2d(image, torch.ones(1, 1, 3, 3, device=device)).sum().backward()  # type: ignore[no-untyped-call]
    # The gradient of a pixel is the number of 3x3 windows that contain the pixel: 4 in the middle of 4x4 pixels.
    if image.grad is None or image.grad[0, 0, 1:3, 1:3].tolist() != [[4.0, 4.0], [4.0, 4.0]]:
        raise DeviceError(f"a convolution gives a wrong gradient on {device}", hint="try --device cpu")
    built = torch.version.cuda
    facts = {"version": torch.__version__, "built_for_cuda": built, "device": str(device), "name": device_name(device)}
    version = f"{torch.__version__}, built for {f'CUDA {built}' if built else 'the CPU only'}"
    return f"{version}; networks train on {device}, a convolution works", facts | {"cuda": device.type == "cuda"}


def _cpu() -> _Found:
    import torch

    capability, flags = torch.backends.cpu.get_cpu_capability(), processor_flags()
    native_bf16 = bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}) if flags else None
    facts: dict[str, Any] = {"machine": platform.machine(), "capability": capability, "bf16_native": native_bf16}
    facts |= {"cores": core_count(), "cores_by_quota": cores_by_quota(), "torch_threads": torch.get_num_threads()}
    bf16 = {True: "native", False: "emulated, so recipes in bf16 are slow", None: "unknown"}[native_bf16]
    cores = counted(facts["cores"], "core")
    return f"{facts['machine']} {capability}, bf16 {bf16}; {cores} for this process", facts


def _engine() -> _Found:
    from harness.training.native.engine import EngineUnavailable
    from harness.training.native.engine import load as load_engine

    try:
        engine = load_engine()
    except EngineUnavailable as error:
        hint = "install a C++ compiler (g++ or clang), or set HARNESS_ENGINE_CACHE to a different folder"
        return f"training uses torch, which is several times slower: {error}", {}, hint
    facts = {"name": engine.name, "file": engine.path}
    if engine.skipped:
        return f"{engine.name}, built {'; '.join(engine.skipped)}", facts, "a newer compiler may help"
    return f"{engine.name}, compiled for this processor", facts


def _data(spec: datasets.Dataset, folder: Path | None) -> _Found:
    from harness.data import training_images

    try:
        report = training_images.check(spec, folder)
    except training_images.MissingData as error:
        if folder is not None:
            raise
        # Only a warning: the first command that trains fetches the data.
        hint = f"'{as_command('data', 'fetch', '--dataset', spec.name)}' downloads the data set; or {error.hint}"
        return f"no copy of {spec.name} yet: {error.message}", {}, hint
    facts = {key: report[key] for key in ("dataset", "source", "data_hash")}
    return "{dataset} in {source}, all files are correct, data hash {data_hash}".format(**facts), facts


def _workspace(root: Path) -> _Found:
    files.check_writable(root, make=False)
    folder = root.absolute()
    free = shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free
    message = f"{root} is writable, {free / 2**30:.1f} GiB free"
    facts = {"folder": str(root), "free_bytes": free}
    if free >= _ENOUGH_DISK_BYTES:
        return message, facts
    return message, facts, f"at least {_ENOUGH_DISK_BYTES // 2**20} MiB are recommended"


def _libraries() -> _Found:
    """Check that torchsummary and fvcore count as this program does, and that torchvision was built for this torch."""
    import torch
    import torchsummary

    from harness.data.training_images import import_torchvision
    from harness.training.crosscheck import cross_check

    architecture = parse_network(_PROBE)
    cross_check(architecture, analyse(architecture, MNIST))
    torchvision = import_torchvision()
    path = str(torchsummary.__file__)
    installed = str(torch.__version__)
    lines = importlib.metadata.requires("torchvision") or ()
    matches = (re.match(r"torch\s*\(?==\s*([\w.]+)", line) for line in lines)
    due = next((match[1] for match in matches if match), None)
    is_complete = torchvision.extension._has_ops()
    facts = {
        "file": path,
        "distributions": importlib.metadata.packages_distributions().get("torchsummary", []),
        "version": str(torchvision.__version__),
        "torch": installed,
        "made_for_torch": due,
        "fits": due in (None, installed.partition("+")[0]) and is_complete,
    }
    message = f"{path} and fvcore confirm the counts of this program; torchvision {facts['version']}"
    if is_complete:
        return message, facts
    # This program uses only the data sets of torchvision and declares the missing operators; user scripts do not.
    hint = "harness is not affected; your own scripts require a torchvision that was built for this torch"
    return f"{message} was not built for torch {installed}: 'import torchvision' fails", facts, hint


@click.command(short_help="Check the installation, the device and the data.")
@options.dataset_as_argument()
@options.some("dataset", "data")
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
    probes: dict[str, Callable[[], _Found]] = {
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
            error = {"code": code, "kind": _KINDS[code], "message": failure.message}
            document["error"] = error | {"position": None, "hint": failure.hint}
        options.print_json(document)
    else:
        _print_checks(checks, verbose)
    return code


def _print_checks(checks: Sequence[_Check], verbose: bool) -> None:
    lines: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    for check in checks:
        if verbose or check.verdict != "ok":
            lines.append(((check.verdict, check.name, check.message), (_LOOKS[check.verdict], "bold", "")))
            lines += [(("", "", f"-> {check.hint}"), ("", "", "dim"))] if check.hint else []
    if lines:
        show_table(console(), *zip(*lines, strict=True))
    good = sum(check.verdict == "ok" for check in checks)
    if not verbose:
        click.echo(f"{good} of {len(checks)} checks passed (-v lists all)")
