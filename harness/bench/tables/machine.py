"""The machine that records a table, as its rows will name it."""

from __future__ import annotations

from dataclasses import replace

import torch

from harness.bench.tables.table import Machine
from harness.system.device import device_name
from harness.system.processor import core_count, processor_name
from harness.training.environment import environment


def this_machine(device: torch.device, data_hash: str, engine: str, workers: int) -> Machine:
    """Return the facts of this machine, without a commit: a recording may go on with a later one."""
    facts = replace(environment(device, data_hash, engine), commit=None, dirty=None, threads=1)
    processor = processor_name() if device.type == "cpu" else device_name(device)
    return Machine(processor=processor, cores=core_count(), workers=workers, environment=facts)
