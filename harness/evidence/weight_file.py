"""The file that holds what one recorded seed has learned: where it lies, and whether it is what the record says.

No torch here: a check of all files takes no network. ``harness.training.train`` makes the files and builds networks
of them. A seed whose weights were not kept may be trained again where a processor rounds otherwise: such weights are
kept when they make the recorded errors, image by image, and a line says that they are not the recorded bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from harness.data.datasets import dataset, pixel_properties
from harness.evidence.record import Record, SeedRun
from harness.system import files
from harness.system.document import BRING_BACK, documented, read_as
from harness.system.errors import ContentError, reason, typed
from harness.training.result import Environment

FOLDER = "weights"


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A recorded seed that was trained again, made the recorded errors, and has other last bits.

    Attributes:
        recorded_sha256: digest of the recorded weights; ``weights_sha256`` of those that are kept.
        environment: where they were trained again.
    """

    hash: str
    recipe_hash: str
    dataset: str
    seed_index: int
    recorded_sha256: str
    weights_sha256: str
    environment: Environment
    trained_utc: str


@dataclass(frozen=True, slots=True, eq=False)
class WeightFile:
    """The weights and BN statistics of one trained network.

    Attributes:
        kept: float32 arrays by torch's names, a tied kernel under the name of its first user.
        about: what the file says of itself (``harness.training.train.properties``).
        tied: the other names of tied kernels, and the name that each is kept under.
        state: all names in the order of torch's ``state_dict``.
    """

    path: Path
    kept: Mapping[str, np.ndarray[Any, Any]]
    about: Mapping[str, str]
    tied: Mapping[str, str]
    state: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Digest of all weights and statistics, as ``harness.training.train.weights_digest`` gives it."""
        digest = hashlib.sha256()
        for name in self.state:
            digest.update(np.ascontiguousarray(self.kept[self.tied.get(name, name)]).tobytes())
        return digest.hexdigest()


def path_of(records: Path, evidence: Record, index: int) -> Path:
    """Return the file of one seed; the target that the seed was run for has no part in its weights."""
    row = f"{evidence.hash}-{evidence.recipe_hash}-{evidence.dataset}"
    return records / FOLDER / row / f"seed-{index:04d}.safetensors"


def kept_indices(records: Path, evidence: Record) -> list[int]:
    """Return the seeds of a record whose weights are kept, in order."""
    return [run.index for run in evidence.seeds if path_of(records, evidence, run.index).exists()]


def _repeats_file(records: Path) -> Path:
    """Return the file of all repeats, one JSON line each."""
    return records / FOLDER / "repeats.jsonl"


def repeats(records: Path) -> list[Repeat]:
    """Return all repeats, in order.

    Raises:
        ContentError: a line is none, or the file cannot be read.
    """
    path = _repeats_file(records)
    lines = enumerate(files.log_text(path).splitlines(), start=1)
    return [read_as(Repeat, line, f"{path}, line {number}", BRING_BACK) for number, line in lines]


def add_repeat(records: Path, repeat: Repeat) -> None:
    """Append a repeat."""
    files.append_line(_repeats_file(records), json.dumps(asdict(repeat)))


def repeat_of(records: Path, evidence: Record, run: SeedRun) -> Repeat | None:
    """Return the latest repeat of a recorded seed, None where there is none."""
    seed = (evidence.hash, evidence.recipe_hash, evidence.dataset, run.index, run.weights_sha256)
    for each in reversed(repeats(records)):
        if (each.hash, each.recipe_hash, each.dataset, each.seed_index, each.recorded_sha256) == seed:
            return each
    return None


def read(path: Path) -> WeightFile:
    """Read a file of weights.

    Raises:
        ContentError: it cannot be read, or is no file of weights that this program has written.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
            told = json.loads((file.metadata() or {})["harness"])
        tied, state = dict(told.pop("tied")), tuple(told.pop("state"))
        made = WeightFile(path, kept, told, tied, state)
        if missing := {tied.get(name, name) for name in state} ^ kept.keys():
            raise ContentError(f"the weights {path} do not fit their list of names: {', '.join(sorted(missing))}")
    except OSError as error:
        raise ContentError(f"cannot read the weights {path}: {reason(error)}") from error
    except KeyError as error:
        lacking = f"they do not state {error.args[0]!r}"
        raise ContentError(f"cannot read the weights {path}: {lacking}", hint=BRING_BACK) from error
    except (SafetensorError, TypeError, ValueError, AttributeError) as error:
        raise ContentError(f"cannot read the weights {path}: {reason(error)}", hint=BRING_BACK) from error
    return made


def read_recorded(records: Path, evidence: Record, index: int) -> WeightFile:
    """Read the weights of a recorded seed and hold them to the record.

    Raises:
        ContentError: there are none, or they are not those of the record.
    """
    run = evidence.seed(index)
    path = path_of(records, evidence, index)
    if run is None or not path.exists():
        kept = kept_indices(records, evidence)
        there = f"kept are those of {', '.join(map(str, kept))}" if kept else "none are kept"
        again = typed("verify", evidence.hash, "--seeds", str(index + 1))
        raise ContentError(
            f"no weights of seed {index} of {evidence.hash} with recipe {evidence.recipe_name}: {there}",
            hint=None if kept else f"{again} trains and tests it again",
        )
    found = read(path)
    # The recorded ones, or those of a repeat that made the recorded errors.
    repeat = None if found.sha256 == run.weights_sha256 else repeat_of(records, evidence, run)
    due = {
        "weights": repeat.weights_sha256 if repeat else run.weights_sha256,
        # What a file says of itself: its weights alone do not tell which network they are, as the digest is of the
        # numbers, and in another order of ops they would say something else of an image.
        "architecture": str(evidence.architecture),
        "hash": evidence.hash,
        "recipe_hash": evidence.recipe_hash,
        "dataset": evidence.dataset,
        "seed_index": str(run.index),
        "seed": str(run.seed),
        "parameters": str(evidence.parameters),
        "weights_sha256": found.sha256,
        **pixel_properties(dataset(evidence.dataset)),
    }
    stated = {**dict.fromkeys(due, None), **found.about, "weights": found.sha256}
    for name, computed in due.items():
        # Older files say less of themselves, but all say which network they are.
        if stated[name] != computed and (stated[name] is not None or name in ("weights", "architecture")):
            if name == "weights":
                said = f"holds the weights {found.sha256[:12]}, but those of the record are {str(computed)[:12]}"
                raise ContentError(f"{path} {said}: the file was changed, or belongs to another training")
            raise ContentError(f"{path} states its {name} as {stated[name]}, but the record has {computed}")
    return found
