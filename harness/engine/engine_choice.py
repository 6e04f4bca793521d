"""Which engine trains: the native one where it can, torch where it cannot or where it is asked for.

The persistent engine trains only where it is asked for: no GPU has run it yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness.engine import cuda_kernel, persistent_training
from harness.engine.native import Engine, EngineUnavailable, load
from harness.engine.native_training import refusal
from harness.errors import DeviceError, UsageError
from harness.training.recipe import Recipe
from search_spaces.architecture import Architecture
from search_spaces.errors import nearest

ENGINES = ("auto", "native", "persistent", "torch")
TORCH = "torch"
PERSISTENT = "persistent"


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine that trains.

    Attributes:
        engine: the native engine, None where another one trains.
        why: why torch trains and not the engine that is ``wanted``; empty where that one does, or torch was asked for.
    """

    engine: Engine | None
    why: str = ""
    wanted: str = "native"

    @property
    def kind(self) -> str:
        """``native``, ``persistent`` or ``torch``."""
        if self.wanted == PERSISTENT and not self.why:
            return PERSISTENT
        return TORCH if self.engine is None else "native"


def choose_engine(
    name: str, recipe: Recipe, device: torch.device, *, side_by_side: Architecture | None = None
) -> Choice:
    """Return the engine for one of ``ENGINES``; the native one is compiled now where it never was.

    Args:
        side_by_side: the network all of whose runs are trained in this process, as the persistent engine does; None
            where they are not.

    Raises:
        UsageError: another name.
        DeviceError: the native engine is asked for and cannot train this.
    """
    if name not in ENGINES:
        raise UsageError(f"unknown engine {name!r}; allowed are {', '.join(ENGINES)}", hint=nearest(name, ENGINES))
    if name == TORCH:
        return Choice(None)
    if name == PERSISTENT:
        return Choice(None, _persistent_refusal(recipe, device, side_by_side), PERSISTENT)
    why = refusal(recipe, device)
    if why is None:
        try:
            engine = load()
        except EngineUnavailable as error:
            why = str(error)
        else:
            why = refusal(recipe, device, engine)
            if why is None:
                return Choice(engine)
    if name == "native":
        raise DeviceError(f"the native engine cannot train this: {why}", hint="--engine auto lets torch train instead")
    return Choice(None, why)


def _persistent_refusal(recipe: Recipe, device: torch.device, side_by_side: Architecture | None) -> str:
    """Return why the persistent engine cannot train this here, empty where it can."""
    if side_by_side is None:
        return "it trains the seeds of a verification without --certify, and nothing else so far"
    why = persistent_training.refusal(side_by_side, recipe, device)
    if why is None:
        try:
            cuda_kernel.compiler()
        except DeviceError as error:
            why = error.message
    return why or ""


def engine_of_repeat(name: str, recorded: str | None) -> str:
    """Return the engine for a seed that is on record, None where it is not; a repetition is to give the same bits."""
    return TORCH if name == "auto" and recorded == TORCH else name
