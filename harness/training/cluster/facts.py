"""What a node is: its code, its libraries, its processor and what trains there; and whether it may join."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from harness.system.machine import choose_device, processor_name
from harness.training.environment import environment
from harness.training.native import native
from harness.training.native.engine_choice import TORCH
from harness.training.result import Environment, same_bits_due

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("search_spaces", "harness")
SUFFIXES = {".py", ".lark", ".space", ".cpp", ".h", ".json", ".csv"}


@dataclass(frozen=True, slots=True)
class Facts:
    """A machine that trains, as it will stand in its results.

    Attributes:
        environment: with the hash of the data that it has; empty where it has none.
        code: SHA-256 of the packages' sources.
        fault: why the native engine, which was asked for, is not there; empty where nothing is wrong.
    """

    environment: Environment
    code: str
    processor: str
    fault: str = ""


def facts_here(device: str, engine: str, data_hash: str) -> Facts:
    """Return what this machine is; the native engine is compiled now where it is asked for and never was.

    Raises:
        DeviceError: the device is not there.
    """
    chosen = choose_device(device)
    name, fault = TORCH, ""
    if engine != TORCH and chosen.type == "cpu":
        try:
            name = native.load().name
        except native.EngineUnavailable as error:
            fault = str(error) if engine == "native" else ""
    # A worker has one thread, however many this process has.
    facts = replace(environment(chosen, data_hash, name), threads=1)
    return Facts(facts, code_sha256(), processor_name(), fault)


def refusal(ours: Facts, theirs: Facts) -> str | None:
    """Return why a node may not join, None where it may.

    Another processor is no reason: its results say so. Another code or torch is one: nobody could say any more what a
    search has run.
    """
    here, there = ours.environment, theirs.environment
    if here.commit != there.commit:
        return f"its code is commit {_short(there.commit)}, not {_short(here.commit)}"
    if ours.code != theirs.code:
        return f"its code is of commit {_short(there.commit)} too, but has other changes"
    if here.torch != there.torch:
        return f"its torch is {there.torch}, not {here.torch}"
    if theirs.fault:
        return f"it has no native engine: {theirs.fault}"
    return None


def same_kind(one: Facts, other: Facts) -> bool:
    """Return whether equal seeds give equal bits on both machines, in about equal time."""
    return one.processor == other.processor and same_bits_due(one.environment, other.environment)


def kind_text(facts: Facts) -> str:
    """Return what decides the bits of a training there, for people."""
    where = facts.environment
    place = facts.processor if where.device == "cpu" else where.device
    return f"{place}, {where.instructions}, {where.engine}, torch {where.torch}, Python {where.python}"


@functools.cache
def code_sha256() -> str:
    """Return the SHA-256 of the sources of the packages that train."""
    whole = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in SUFFIXES:
                whole.update(path.relative_to(ROOT).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _short(commit: str | None) -> str:
    return "unknown (no git checkout)" if commit is None else commit[:10]
