"""Which engine trains: the native one where it can, torch where it cannot or where it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness.system.errors import DeviceError, UsageError
from harness.training.native.native import Engine, EngineUnavailable, load
from harness.training.native.native_training import refusal
from harness.training.recipe import Recipe
from search_spaces.errors import nearest

ENGINES = ("auto", "native", "torch")
TORCH = "torch"


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine that trains.

    Attributes:
        engine: the native engine, None where torch trains.
        why: why torch trains and not the native engine; empty where that one does, or torch was asked for.
    """

    engine: Engine | None
    why: str = ""

    @property
    def kind(self) -> str:
        """``native`` or ``torch``."""
        return TORCH if self.engine is None else "native"


def choose_engine(name: str, recipe: Recipe, device: torch.device) -> Choice:
    """Return the engine for one of ``ENGINES``; the native one is compiled now where it never was.

    Raises:
        UsageError: another name.
        DeviceError: the native engine is asked for and cannot train this.
    """
    if name not in ENGINES:
        raise UsageError(f"unknown engine {name!r}; allowed are {', '.join(ENGINES)}", hint=nearest(name, ENGINES))
    if name == TORCH:
        return Choice(None)
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


def engine_of_repeat(name: str, recorded: str | None) -> str:
    """Return the engine for a seed that is on record, None where it is not; a repetition is to give the same bits."""
    return TORCH if name == "auto" and recorded == TORCH else name
