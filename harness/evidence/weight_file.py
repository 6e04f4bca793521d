"""The file that holds what one recorded seed has learned: where it lies, and whether it is what the record says.

No torch here: a check of all files takes no network. ``harness.training.train`` makes the files and builds networks
of them. Two seeds were trained again where a processor rounds otherwise: their weights make the recorded errors, image
by image, and a line of ``repeats.jsonl`` says that they are not the recorded bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from harness.data.datasets import dataset, pixel_properties
from harness.evidence.record import Record, SeedRun
from harness.system import files
from harness.system.document import BRING_BACK
from harness.system.errors import ContentError, reason, typed

FOLDER = "weights"


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


def find(own: Path, evidence: Record, index: int) -> Path | None:
    """Return the file of one seed, shipped or a person's own; None where there is none."""
    paths = (path_of(folder, evidence, index) for folder in (files.SHIPPED / "records", own))
    return next((path for path in paths if path.exists()), None)


def kept_indices(own: Path, evidence: Record) -> list[int]:
    """Return the seeds of a record whose weights are kept, in order."""
    return [run.index for run in evidence.seeds if find(own, evidence, run.index)]


def _repeat_of(path: Path, evidence: Record, run: SeedRun) -> str | None:
    # The digest of a recorded seed that was trained again, made the recorded errors, and has other last bits.
    seed = (evidence.hash, evidence.recipe_hash, evidence.dataset, run.index, run.weights_sha256)
    try:
        for each in map(json.loads, files.log_text(path).splitlines()):
            names = ("hash", "recipe_hash", "dataset", "seed_index", "recorded_sha256")
            if tuple(each[name] for name in names) == seed:
                return str(each["weights_sha256"])
    except (ValueError, TypeError, KeyError) as error:
        raise ContentError(f"{path}: a line states no repeat: {reason(error)}", hint=BRING_BACK) from error
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


def read_recorded(own: Path, evidence: Record, index: int) -> WeightFile:
    """Read the weights of a recorded seed and hold them to the record.

    Raises:
        ContentError: there are none, or they are not those of the record.
    """
    run = evidence.seed(index)
    path = find(own, evidence, index)
    if run is None or path is None:
        kept = kept_indices(own, evidence)
        there = f"kept are those of {', '.join(map(str, kept))}" if kept else "none are kept"
        again = typed("verify", evidence.hash, "--seeds", str(index + 1))
        raise ContentError(
            f"no weights of seed {index} of {evidence.hash} with recipe {evidence.recipe_name}: {there}",
            hint=None if kept else f"{again} trains and tests it again",
        )
    found = read(path)
    # The recorded ones, or those of a repeat that made the recorded errors.
    repeat = (
        None if found.sha256 == run.weights_sha256 else _repeat_of(path.parents[1] / "repeats.jsonl", evidence, run)
    )
    due = {
        "weights": repeat or run.weights_sha256,
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
            raise ContentError(f"{path}: {name}: {stated[name]} stated, {computed} by the record")
    return found
