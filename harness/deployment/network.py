"""A trained network that is written for other programs, and the files that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.training_images import ImageData
from harness.training.modules import Network
from search_spaces.chips import Fit
from search_spaces.network import Architecture


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A trained network with the data of its training.

    Attributes:
        model: in evaluation mode, on a CPU.
        about: what files of it state.
        fit: the network on the chip that it is written for; None where none is named.
    """

    architecture: Architecture
    model: Network
    about: Mapping[str, str]
    images: ImageData
    fit: Fit | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """Files of one format, not written yet, by their paths.

    Attributes:
        facts: what their check has shown.
        page: what the page on which one tries the network is made of; None for a format without one.
    """

    contents: Mapping[Path, bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)
    page: Mapping[str, Any] | None = None
