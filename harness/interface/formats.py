"""The interface of an export format, and the installed formats.

A package adds an object of a subclass of ``Format`` as an entry point of the group ``harness.formats``, with the name
of the option that takes the path: ``--c FOLDER``, ``--onnx FILE``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.system import doors
from harness.system.doors import Door
from harness.system.errors import ContentError, UsageError

if TYPE_CHECKING:
    from harness.data.datasets import Dataset
    from harness.data.training_images import ImageData
    from harness.evidence.record import Record
    from harness.interface.weights import NetworkSeed, TrainedNetwork
    from harness.spaces.network import Architecture, Task
    from harness.system.files import Workspace
    from harness.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Files:
    """Files of an export format, not written yet.

    Attributes:
        facts: Sizes and results of the check of the files, for ``--json``.
        text: The same for people.
    """

    contents: Mapping[Path, bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""


class Format:
    """An export format.

    Attributes:
        libraries: Optional libraries that the format needs.
        is_folder: Whether the format writes a new folder, not a file.
        options: Reasons why only this format has an option of ``harness.export``, by name of the option.
    """

    libraries: ClassVar[tuple[str, ...]] = ()
    is_folder: ClassVar[bool] = False
    options: ClassVar[Mapping[str, str]] = {}

    def check(self, architecture: Architecture, task: Task, recipe: Recipe) -> None:
        """Raise ContentError or SearchSpaceError, before any training, if the format cannot hold the network."""

    def with_options(self, seed: NetworkSeed, task: Task, recipe: str | None, **options: Any) -> Format:
        """Return the format with the values of ``options`` for a network, checked before any training.

        The value None stands for the default. ``recipe`` is the recipe that the user stated, for messages.
        """
        return self

    def reads_test_set(self, dataset: Dataset) -> bool:
        """Return whether the files contain test images; the read of the test set is logged."""
        return False

    def tensor_names(self, network: TrainedNetwork) -> Mapping[str, str]:
        """Return the names of the tensors in the files, by names in the state of the network; empty for equal names.

        A safetensors file has these names too.
        """
        return {}

    def files(self, network: TrainedNetwork, path: Path) -> Files:
        """Return the files for a path, which is a file or a folder."""
        raise NotImplementedError

    def compare(self, record: Record, index: int, workspace: Workspace, folder: Path | None) -> dict[str, Any]:
        """Compare the logits of the code of a recorded seed with the reference, on the test images.

        ``folder`` has the images, None for the default. The keys are ``images``, ``logits``, ``differing`` (logits),
        ``errors`` and ``recorded_errors`` (None if not recorded) and ``compiler``, a command.
        """
        raise ContentError("this format has no code to compare")

    def tryout_page(self, record: Record, index: int, workspace: Workspace, images: ImageData) -> str:
        """Return the HTML page that runs the network of a recorded seed; empty without such a page."""
        return ""


class _Safetensors(Format):
    def files(self, network: TrainedNetwork, path: Path) -> Files:
        from harness.training.run import to_safetensors

        return Files({path: to_safetensors(network.model, network.about, network.names)})


_CORE_FORMATS = {"safetensors": _Safetensors()}


def format_of(name: str) -> Format:
    """Return an installed format.

    Raises:
        UsageError: No installed package has a format of this name, or the object is not a ``Format``.
    """
    format_ = _CORE_FORMATS.get(name) or doors.feature(Door.FORMATS, name, f"--{name}")
    if not isinstance(format_, Format):
        raise UsageError(f"--{name}: {format_!r} is not an object of a subclass of harness.interface.formats.Format")
    return format_
