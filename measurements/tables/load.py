"""Loader of the tables of recorded trainings that needs pandas only; may be copied with the folder of the tables.

    import load
    frame = load.read("mnist-bench")  # a row per network, seed and number of epochs
    frame[frame.rung == 8].groupby("hash").validation_accuracy_pct.mean()

For tables of a whole search space, the column of each decision contains the index of the chosen option, or <NA> if the
network does not have the decision; ``space`` describes the decisions.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas

FOLDER = Path(__file__).parent


def _content(name: str) -> bytes:
    """Return a file of the folder; raise ValueError if its hash is not in ``SHA256SUMS``."""
    content = (FOLDER / name).read_bytes()
    if f"{hashlib.sha256(content).hexdigest()}  {name}" not in (FOLDER / "SHA256SUMS").read_text().splitlines():
        raise ValueError(f"{name} does not have the hash in SHA256SUMS")
    return content


def space(table: str) -> dict[str, Any]:
    """Return ``target_pct`` and the options of each decision of a table; raise KeyError if there are none."""
    described: dict[str, Any] = json.loads(_content("spaces.json"))[table]
    return described


def read(table: str) -> pandas.DataFrame:
    """Return the rows of a table; raise ValueError if a file is damaged."""
    frame = pandas.read_csv(io.BytesIO(_content(f"{table}/table.csv")), dtype={"hash": str})
    spaces = json.loads(_content("spaces.json"))
    if table not in spaces:
        return frame
    networks = pandas.DataFrame.from_dict(
        spaces[table]["networks"], orient="index", columns=[*spaces[table]["decisions"]], dtype="Int64"
    )
    return frame.join(networks, on="hash")


def rows_of(frame: pandas.DataFrame, config: Mapping[str, int]) -> pandas.DataFrame:
    """Return the rows of the network of a configuration; decisions that the network does not have are ignored."""
    chosen = pandas.Series(True, index=frame.index)
    for name, index in config.items():
        chosen &= (frame[name] == index).fillna(True).astype(bool)
    return frame[chosen]
