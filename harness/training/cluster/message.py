"""What a coordinator and a node say to each other; all of it travels between machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.training.result import Epoch, Result
from harness.training.run import Job
from harness.training.workers.workers import Fault, Limits, Source


@dataclass(frozen=True, slots=True)
class Key:
    """Names one attempt at a job: the number of the job, and the number of the attempt from 1 on."""

    job: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a node is asked to do.

    Attributes:
        source: the data, in the folder where the coordinator finds them; ``data_hash`` names their bytes.
        engine: ``native``, ``torch`` or ``auto``.
    """

    source: Source
    data_hash: str
    device: str
    engine: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class Begin:
    """Asks a node to train; ``checkpoint`` is the state to go on from, None for the beginning."""

    key: Key
    place: int
    job: Job
    checkpoint: bytes | None = None


@dataclass(frozen=True, slots=True)
class End:
    """Asks a node to leave a job that nobody wants any more."""

    key: Key
    place: int


Order = Begin | End


@dataclass(frozen=True, slots=True)
class Said:
    """What a node says of a job: an epoch that has ended, or how the job itself has.

    Attributes:
        files: what the job has written, by the field of ``Job`` that says where it belongs.
    """

    key: Key
    what: Epoch | Result | Fault
    files: Mapping[str, bytes] = field(default_factory=dict)
