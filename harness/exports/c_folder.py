"""Export a trained network as a folder of C: quantise, count errors, and check the C code with a local compiler."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from harness.data.datasets import Dataset, dataset
from harness.data.testset import read_test_set
from harness.data.training_images import ImageData, load
from harness.evidence.evaluation import network_of
from harness.evidence.record import Record, read_recorded
from harness.exports.c_library import EXAMPLES, Library, c_name, files_of
from harness.exports.compiled import ForeignProgram, compile_runner, find_compiler, run_logits, write_files
from harness.exports.emulated import chip_costs
from harness.exports.integer_plan_json import page_json
from harness.exports.profile import profile_of, profile_text
from harness.exports.tryout_page import render
from harness.interface.formats import Files, Format
from harness.interface.weights import NetworkSeed, TrainedNetwork
from harness.spaces.chips import Fit, fastest, fitting
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.integer_plan import integer_plan
from harness.spaces.network import Architecture, Task, analyse
from harness.system.errors import ContentError, DeviceError, HarnessError, UsageError, as_command, option_words
from harness.system.files import Workspace
from harness.system.terminal import counted, say
from harness.training.integer import MAP_SCALES, IntegerNetwork, integer_logits, integers_of, map_scales, warn_of_few
from harness.training.recipe import Recipe
from harness.training.result import Errors
from harness.training.torch_network import Images
from harness.training.training_loop import class_probabilities

_CHECKED_IMAGES = 10_000  # training images for error counts and the comparison of C and reference
# Keys of ``TrainedNetwork.about`` that ``manifest.json`` contains.
_FACTS = ("architecture", "hash", "recipe", "recipe_hash", "dataset", "seed_index", "seed", "weights_sha256", "engine")


@dataclass(frozen=True)
class _C(Format):
    """The format C.

    Attributes:
        fit: Resources of the network on the target chip of ``--chip``; None without a target chip.
        profile: Whether to measure each layer on emulated chips.
    """

    is_folder = True
    options: ClassVar[Mapping[str, str]] = {
        "chip": "only the C code runs on chips",
        "optimise": "only the C code has variants for size and speed",
        "profile": "only the C code runs on emulated chips",
        "stream": "only the C code takes images row by row",
    }
    fit: Fit | None = None
    optimise: Optimisation = Optimisation.SIZE
    profile: bool = False
    stream: bool = False

    def with_options(self, seed: NetworkSeed, task: Task, recipe: str | None, **options: Any) -> Format:
        """Return the format with the code for ``optimise``, None for the fastest code that fits ``chip``, else size.

        Raises:
            UsageError: The chip has no costs of code for speed.
            ContentError: The network does not fit; the hint names sufficient chips and a search command.
        """
        chip, optimise, profile, stream = (options[name] for name in self.options)
        profile, stream = bool(profile), bool(stream)
        if chip is None:
            return replace(self, optimise=Optimisation(optimise or self.optimise), profile=profile, stream=stream)
        if optimise == Optimisation.SPEED and chip.core.speed is None:
            raise UsageError(f"the core of {chip} has no table speed, which optimise speed requires")
        analysis = analyse(seed.argument.architecture, task, weight_bits=seed.recipe.recipe.weight_bits)
        fit = Fit(chip, analysis, stream=stream)
        fit = fastest(fit) if optimise is None else replace(fit, optimise=Optimisation(optimise))
        if fit.lack:
            chips = ", ".join(map(str, fitting(analysis, fit.optimise)))
            hint = f"chips with enough memory: {chips}; " if chips else ""
            if not replace(fit, optimise=Optimisation.SIZE).lack:
                hint = f"optimised for size, it fits; {hint}"
            target = None if seed.record is None else f"{seed.record.target_pct:g}"
            search_options = option_words({"--dataset": seed.dataset, "--target": target, "--recipe": recipe})
            message = f"the network optimised for {fit.optimise} does not fit {chip}: {fit.lack} too many"
            command = as_command("search", "--chip", str(chip), *search_options)
            raise ContentError(message, hint=f"{hint}'{command}' searches for networks that fit")
        return replace(self, fit=fit, optimise=fit.optimise, profile=profile, stream=stream)

    def check(self, architecture: Architecture, task: Task, recipe: Recipe) -> None:
        analyse(architecture, task).plan.check()

    def files(self, network: TrainedNetwork, path: Path) -> Files:
        """Return the files of a folder of C, checked on training images.

        A network that was trained to end with integers keeps the integers of the training. A float network is quantised
        here, with ranges from training images; the scales become a buffer of ``network.model``.

        Raises:
            NoIntegerFormError: An op has no integer form.
            ContentError: A number does not fit into 16 or 32 bits.
            DeviceError: The local compiler fails.
            HarnessError: The logits of the compiled network differ from the reference, a bug of this program.
        """
        images = network.images
        spec = images.dataset
        images_to_check = images.sample(_CHECKED_IMAGES)
        pixels = images.train_images[images_to_check]
        labels = torch.as_tensor(images.train_labels)[images_to_check]
        ends_with_integers = MAP_SCALES in network.model.state_dict()
        check: dict[str, Any] = {
            "images": len(pixels),
            "quantised": "in training" if ends_with_integers else "afterwards",
        }
        if not ends_with_integers:
            all_images = Images(images.train_images, torch.as_tensor(images.train_labels).long(), spec.mean, spec.std)
            warn_of_few(len(all_images))
            plan = integer_plan(network.architecture.ops, spec.task.input_shape)
            scales = map_scales(network.model, plan, all_images)
            classes = class_probabilities(network.model, network.architecture, pixels, spec, "fp32").argmax(1)
            check["float_errors"] = int((classes != labels).sum())
            network.model.register_buffer(MAP_SCALES, scales)
        integers = integers_of(network.model, network.architecture, spec)
        logits = integer_logits(integers, pixels.numpy())
        check["integer_errors"] = int((logits.argmax(1) != labels.numpy()).sum())
        about = network.about
        facts: dict[str, Any] = {name: about[name] for name in _FACTS}
        facts |= {name: int(facts[name]) for name in ("seed_index", "seed")}
        facts |= {"data_sha256": images.data_hash, "check": check}
        chip = {} if self.fit is None else {"chip": self.fit.document()}
        library = Library(
            name=c_name(path.name),
            title=_title(analyse(network.architecture, spec.task).parameters, spec),
            about=_about(about["hash"], about["recipe"], about["seed_index"]),
            network=integers,
            dataset=spec,
            examples=images.train_images[images.examples(EXAMPLES)].numpy(),
            facts=facts | chip,
            optimise=self.optimise,
            stream=self.stream,
        )
        check |= _compiled_check(library, pixels.numpy(), logits)
        library = replace(library, chips=chip_costs(library))
        contents = {path / name: text.encode("utf-8") for name, text in files_of(library).items()}
        accuracy_pct = Errors(check["integer_errors"], len(pixels)).accuracy_pct
        accuracy = f"Accuracy on {len(pixels):,} training images: {accuracy_pct:.2f} %."
        contents[path / "try.html"] = render(page_json(library, accuracy)).encode()
        export_facts = {**library.plan.sizes, "optimise": self.optimise, "stream": self.stream, **chip, "check": check}
        text = _text(export_facts)
        if self.profile:
            profile = profile_of(library)
            export_facts["profile"] = profile
            text += f"\n\n{profile_text(profile)}"
        return Files(contents, export_facts, text)

    def compare(self, record: Record, index: int, workspace: Workspace, folder: Path | None) -> dict[str, Any]:
        """Compare all logits of the test images, computed by the compiled integer network of a recorded seed.

        Raises:
            ContentError: The record has no integer network, or the weights are not kept.
            DeviceError: No C compiler is available, or the compiler or the program fails.
        """
        if record.recipe.precision != "int8":
            export = as_command(*record.key.arguments("export", record.recipe_name, "--c", "FOLDER"))
            raise ContentError(
                f"{record.hash} with recipe {record.recipe_name} is not an integer network",
                hint=f"'{export}' quantises the network and counts the errors",
            )
        command = find_compiler()
        if command is None:
            raise DeviceError("no C compiler was found; install a compiler or set CC")
        integers = _recorded_integers(record, index, workspace)
        purpose = f"evaluate {record.hash} {record.recipe_name} seed {index} in C"
        pixels, labels = read_test_set(load(record.dataset, folder), purpose=purpose, log=workspace.test_log)
        logits = integer_logits(integers, pixels.numpy())
        library = Library(network=integers, dataset=dataset(record.dataset), examples=pixels[:1].numpy())
        run = record.seed(index)
        return {
            "images": len(labels),
            "logits": logits.size,
            "differing": _count_differing(library, pixels.numpy(), logits, command),
            "errors": int((logits.argmax(1) != labels.numpy()).sum()),
            "recorded_errors": None if run is None else run.test_errors,
            "compiler": command,
        }

    def tryout_page(self, record: Record, index: int, workspace: Workspace, images: ImageData) -> str:
        """Return the page that runs the integer network of a recorded seed.

        Raises:
            ContentError: The weights are not kept, or differ from the weights of the record.
        """
        library = Library(
            network=_recorded_integers(record, index, workspace),
            dataset=images.dataset,
            examples=images.train_images[images.examples(EXAMPLES)].numpy(),
            title=_title(record.parameters, images.dataset),
            about=_about(record.hash, record.recipe_name, index),
        )
        run = record.seed(index)
        accuracy = "" if run is None else f"Accuracy of this seed on the test images: {run.accuracy_pct:.2f} %."
        return render(page_json(library, accuracy))


FORMAT = _C()


def _title(parameters: int, spec: Dataset) -> str:
    return f"A network of {parameters:,} parameters for {spec.title}"


def _about(network_hash: str, recipe_name: str, seed_index: int | str) -> str:
    return f"{network_hash}, recipe {recipe_name}, seed {seed_index}."


def _text(facts: Mapping[str, Any]) -> str:
    check = facts["check"]
    text = "{constant_bytes:,} bytes of constants, {arena_bytes:,} bytes of arena".format(**facts)
    text += f"; optimised for {facts['optimise']}"
    text += ", for images row by row" if facts["stream"] else ""
    if "chip" in facts:
        text += ", estimated {estimated_milliseconds:,g} ms per image on {name}".format(**facts["chip"])
    text += f"; {counted(check['integer_errors'], 'error')} on {check['images']:,} training images"
    if "float_errors" in check:
        text += f" ({check['float_errors']:,} in floating point)"
    if check["compiler"] is None:
        return f"{text}; not compared, no C compiler was found"
    return f"{text}; all {check['logits']:,} logits equal with {check['compiler']}"


def _compiled_check(
    library: Library, pixels: npt.NDArray[np.uint8], logits: npt.NDArray[np.int32]
) -> dict[str, str | int | None]:
    """Compare the compiled C code with the reference ``logits``, int32 (n, classes).

    ``compiler`` is None if this machine has no compiler or cannot run the program.

    Raises:
        HarnessError: The logits of the C code differ.
        DeviceError: The compiler or the program fails.
    """
    command = find_compiler()
    if command is None:
        return {"compiler": None}
    try:
        difference_count = _count_differing(library, pixels, logits, command)
    except ForeignProgram as error:
        say(f"the C code is not compared with the reference: {command}: {error.message}", "warning")
        return {"compiler": None}
    if difference_count:
        raise HarnessError(
            f"{difference_count:,} logits of the C code differ from the reference", hint="please report this network"
        )
    return {"compiler": command, "logits": logits.size}


def _count_differing(
    library: Library, pixels: npt.NDArray[np.uint8], logits: npt.NDArray[np.int32], command: str
) -> int:
    with tempfile.TemporaryDirectory() as folder:
        write_files(library, Path(folder))
        program = compile_runner(Path(folder), library.name, command)
        return int((run_logits(program, pixels, library.dataset.classes) != logits).sum())


def _recorded_integers(record: Record, index: int, workspace: Workspace) -> IntegerNetwork:
    spec = dataset(record.dataset)
    weights = read_recorded(workspace.records, record, index)
    return integers_of(network_of(weights, spec.task), record.architecture, spec)
