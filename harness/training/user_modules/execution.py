"""PyTorch modules of users: execution of the code, and modules that the notation cannot express as trained networks.

Loading executes the user's code. A module outside of the notation has an identity, counts and checks.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import logging
import math
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, fields
from functools import cache, partial
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from harness.spaces.network import Task
from harness.spaces.ops import Shape, UserModule, shape_text
from harness.spaces.space_errors import nearest
from harness.system.errors import ContentError, HarnessError, UsageError
from harness.system.settings import fixed_settings
from harness.system.terminal import counted
from harness.system.user_code import OtherCode, code_sha256, declare_operators, guarding_user_code, sha256_of
from harness.training.user_modules.products import module_macs
from harness.training.user_modules.source import NAME

BATCH = 2  # several, so that a batch is not confused with a single channel
_DIGITS = 12  # of a hash, as of a network
# Names of torch's operators that draw random numbers for masks of dropout only.
_DROPOUT = {
    "dropout", "native_dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "lstm", "gru",
    "scaled_dot_product_attention",
}  # fmt: skip
_TOLERANCE = 1e-5  # largest effect of further images of a batch, relative to the largest output if that exceeds 1
_EVALUATION_SEED = 0  # of every forward pass in evaluation mode


@dataclass(frozen=True, slots=True)
class ModulePart:
    """A layer of a module.

    Attributes:
        name: Path of the layer in the module, such as ``features.0``.
        output_shape: Shape of the output for an image; empty if the layer is not called or returns no tensor.
        parameters: Parameters; a shared tensor counts at the first use.
        macs: Multiply-adds per image.
    """

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    macs: int


@dataclass(frozen=True, slots=True)
class Description:
    """A module as an op of the notation.

    Attributes:
        op: Name, counts, and hashes of code and operators.
        fault: Why the module cannot be trained, as the end of a sentence; empty if it can.
        ends_in_softmax: Whether the outputs are probabilities, of which a training takes the logarithms.
    """

    op: UserModule
    parts: tuple[ModulePart, ...]
    notes: tuple[str, ...]
    ends_in_softmax: bool
    fault: str = ""


def _source_and_name(argument: str) -> tuple[str, str]:
    match = NAME.fullmatch(argument)
    assert match is not None, "checked by names_module"
    return match["source"], match["name"]


def code_of(argument: str) -> str:
    """Return 12 hex digits of the SHA-256 of the code that a text names, with the imported files of the same folder.

    The code is not executed, except for the parent packages of a module in a package.

    Raises:
        UsageError: There is no such file.
    """
    source_name, _ = _source_and_name(argument)
    if source_name.endswith((".py", ".ipynb")):
        path = Path(source_name).resolve()
        code = code_sha256(path, path.parent) if path.is_file() else ""
    else:
        code = sha256_of(source_name)
    if not code:
        raise UsageError(f"{argument}: there is no file {source_name}")
    return code[:12]


def _name_of(value: object) -> str:
    """Return the text that names a class, or the class of a module; empty if the class cannot be imported by name."""
    module_class = value if isinstance(value, type) else type(value)
    source_name = module_class.__module__
    name = module_class.__qualname__
    is_importable = getattr(sys.modules.get(source_name), name, None) is module_class
    return f"{source_name}:{name}" if is_importable and source_name != "__main__" else ""


def load_value(argument: str) -> Any:
    """Return the value that a text (``FILE.py:NAME`` or ``package.module:NAME``) names; the user's code is executed.

    Raises:
        UsageError: The file or the name does not exist.
        ContentError: The user's code failed.
    """
    source_name, name = _source_and_name(argument)
    if source_name.endswith(".py") and not Path(source_name).is_file():
        raise UsageError(f"{argument}: there is no file {source_name}")
    with quiet(argument):
        if source_name.endswith(".py"):
            source = _from_file(Path(source_name))
        else:
            if os.getcwd() not in sys.path:
                sys.path.append(os.getcwd())
            source = import_module(source_name)
    if not hasattr(source, name):
        raise UsageError(f"{argument}: {source_name} defines no {name}", hint=nearest(name, vars(source)))
    return getattr(source, name)


def fresh_module(argument: str, code: str) -> nn.Module:
    """Return the named module with new first weights, which depend on the state of torch's global generator.

    ``code`` is the hash of the present code (``code_of``).

    Raises:
        UsageError: The file or the name does not exist, or the value is not a module.
        ContentError: The user's code failed.
    """
    value = _value_at(argument, code)
    if isinstance(value, nn.Module):
        # An instance is made by the code of the file, so the file is executed anew.
        value = load_value(argument)
    return made_module(value, argument)


@cache
def _value_at(argument: str, code: str) -> Any:  # changed code is loaded again
    return load_value(argument)


@contextmanager
def quiet(purpose: str) -> Iterator[StringIO]:
    """Run the user's module without output or warnings, and without an effect on torch's global random generator.

    Yields the standard output of the module.

    Raises:
        ContentError: The module failed; the message names file and line.
    """
    declare_operators()  # imports torch, so that the settings of torch are restored
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # torch.export logs the graph of a module that cannot be recorded
    output = StringIO()
    try:
        with (
            fixed_settings(),
            guarding_user_code(purpose, seconds=0),
            redirect_stdout(output),
            redirect_stderr(StringIO()),
            warnings.catch_warnings(action="ignore"),
        ):
            yield output
    finally:
        logger.setLevel(level)


def made_module(value: object, purpose: str) -> nn.Module:
    """Return a value that is a module, or else the module that a class or function without required arguments makes.

    Raises:
        UsageError: The value is not a module, or requires arguments.
        ContentError: The user's code failed.
    """
    if isinstance(value, nn.Module):
        return value
    if not callable(value):
        raise UsageError(f"{purpose}: a value of type {type(value).__name__} is not a PyTorch module")
    required_names = []
    with suppress(TypeError, ValueError):  # a builtin without a signature
        parameters = inspect.signature(value).parameters.values()
        optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        required_names = [each.name for each in parameters if each.default is each.empty and each.kind not in optional]
    if required_names:
        hint = "write a function without arguments that returns the module"
        raise UsageError(f"{purpose} requires the arguments {', '.join(required_names)}", hint=hint)
    with quiet(purpose):
        module = value()
    if not isinstance(module, nn.Module):
        raise UsageError(f"{purpose} returns a value of type {type(module).__name__}, not a PyTorch module")
    return module


def _from_file(path: Path) -> Any:
    """The file may import files of the same folder."""
    # Files of the same name in several folders are different modules.
    name = f"user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}_{path.stem}"
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        # At the end, so that files of the folder do not replace installed packages.
        sys.path.append(folder)
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Copies of instances look up the module of their class.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class SeededModule(nn.Module):
    """A user's module from images to logits, whose random numbers depend on the seed of the run only.

    Each forward pass seeds torch's global generator, with a number from ``generator`` in training mode and with
    ``_EVALUATION_SEED`` in evaluation mode, and restores the generator afterwards.

    Attributes:
        generator: Generator of the seeds of the dropout masks; None for the global generator.
    """

    def __init__(self, module: nn.Module, classes: int, *, ends_in_softmax: bool) -> None:
        super().__init__()
        self.module = module
        self.generator: torch.Generator | None = None
        self._classes = classes
        self._ends_in_softmax = ends_in_softmax
        self._first_buffers = {
            (owner, name): tensor for owner in module.modules() for name, tensor in owner._buffers.items()
        }

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (batch, classes)."""
        # ``view`` in the code of users requires the usual order of the numbers.
        images = images.contiguous()
        if torch.compiler.is_compiling():
            output = self.module(images)
        else:
            self.keep_buffers()
            seed = _EVALUATION_SEED
            if self.training:
                device = None if self.generator is None else self.generator.device
                limit = torch.iinfo(torch.int64).max
                seed = int(torch.randint(limit, (), generator=self.generator, device=device))
            with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
                torch.default_generator.manual_seed(seed)
                if images.is_cuda:
                    torch.cuda.manual_seed(seed)
                output = self.module(images)
        logits = _logits(output, self._classes)
        if self._ends_in_softmax:
            # A probability may be rounded to 0, which has no finite logarithm.
            logits = logits.clamp_min(torch.finfo(logits.dtype).tiny).log()
        return logits

    def train(self, mode: bool = True) -> SeededModule:
        """Set the mode of the user's module, which may replace buffers."""
        super().train(mode)
        self.keep_buffers()
        return self

    def keep_buffers(self) -> None:
        """Copy buffers that the user's module has replaced into the first tensors, which the training averages."""
        for (owner, name), first in self._first_buffers.items():
            tensor = owner._buffers[name]
            if tensor is not first and first is not None and tensor is not None:
                owner._buffers[name] = first.copy_(tensor.detach())


def _logits(output: Any, classes: int) -> Tensor:
    values = output if isinstance(output, (tuple, list)) else [output]
    tensors = [each for each in values if isinstance(each, Tensor)]
    # The first axis is the batch, which a ``squeeze`` in the module removes for a single image.
    logit_tensors = [each for each in tensors if math.prod(each.shape[min(1, each.ndim - 1) :]) == classes]
    if len(logit_tensors) != 1:
        kinds = [shape_text(tuple(each.shape[1:])) or "a number" for each in tensors] or [type(output).__name__]
        raise ValueError(f"the module returns {' and '.join(kinds)} per image; expected {classes} numbers")
    if not logit_tensors[0].is_floating_point():
        raise ValueError(f"the module returns numbers of type {logit_tensors[0].dtype}")
    return logit_tensors[0].reshape(-1, classes)


def exported(module: nn.Module, task: Task) -> ExportedProgram:
    """Return the operators of a module, recorded by ``torch.export``; to be called within ``quiet``.

    Raises:
        ValueError: The control flow depends on the images. Further exceptions of torch are not caught here.
    """
    # Imported here, because the import of SymPy would double the time in which a worker process starts.
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    try:
        return torch.export.export(module, (torch.zeros(BATCH, *task.input_shape),), strict=False)
    except GuardOnDataDependentSymNode as error:
        raise ValueError("the control flow depends on the values of the images") from error


def arguments_of(node: Node) -> dict[str, Any]:
    """Return the arguments of a recorded operator by name, including defaults."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    values = dict(zip((each.name for each in schema), node.args, strict=False)) | dict(node.kwargs)
    return {each.name: values.get(each.name, each.default_value) for each in schema}


def built(op: UserModule, input_shape: tuple[int, int, int]) -> SeededModule:
    """Return the module of an op with new first weights from the global generator.

    Args:
        op: Op with the stated counts and hashes, which are compared with the present module.
        input_shape: (channels, rows, columns) of the images.

    Raises:
        ContentError: The op has no name, or the module fails the checks of ``_Examination``.
        OtherCode: The module has changed.
        UsageError: There is no file of this name.
    """
    if not op.name:
        hint = "write it to a file: FILE.py:NAME"
        raise ContentError("a module outside of the notation is trained by its name only", hint=hint)
    # Compared before the code is executed.
    description = _describe_named(op.name, check_code(op), Task(input_shape, op.outputs))
    if description.fault:
        raise ContentError(f"{op.name} {description.fault}")
    for item in fields(UserModule):
        if item.compare:
            _compare(op, item.name, getattr(description.op, item.name))
    return SeededModule(
        fresh_module(op.name, op.code).float().cpu(), op.outputs, ends_in_softmax=description.ends_in_softmax
    )


def check_code(op: UserModule) -> str:
    """Return the hash of the present code of a module, which is not executed.

    Raises:
        OtherCode: The code has changed.
        UsageError: There is no file of this name.
    """
    code = code_of(op.name)
    _compare(op, "code", code)
    return code


def _compare(op: UserModule, field: str, value: object) -> None:
    stated_value = getattr(op, field)
    if value == stated_value:
        return
    if field == "graph":
        message = f"this version of torch ({torch.__version__}) records other operators for {op.name} than stated"
        raise OtherCode(f"{message}; install the version of the record")
    subject = f"{op.name} has changed" if field == "code" else op.name
    raise OtherCode(f"{subject}: {field} is {value}, stated {stated_value}")


def describe(value: Any, argument: str, task: Task) -> Description:
    """Return a module as an op, after a check of the behaviour on random images.

    A value without ``argument`` gets the name of the class if code of this name makes the same module: only a module
    with a name can be built again, for a training.

    Args:
        value: The module, or a class or function that makes the module.
        argument: Text that names the value; empty for a value of Python.
        task: Shape of the images and number of classes.

    Raises:
        ContentError: The module cannot be run or recorded, the behaviour in evaluation mode is random or depends on
            earlier calls or on the rest of the batch, or the weights do not determine the outputs.
        UsageError: There is no file of this name.
    """
    if argument:
        return _describe_named(argument, code_of(argument), task)
    subject = "the module"
    nameless_network = _Examination(subject, task, lambda: made_module(copy.deepcopy(value), subject)).describe()
    if class_name := _name_of(value):
        with suppress(HarnessError):
            named_network = _describe_named(class_name, code_of(class_name), task)
            if named_network.op.graph == nameless_network.op.graph:
                return named_network
    return nameless_network


@cache
def _describe_named(name: str, code: str, task: Task) -> Description:
    """Once per name, code (``code_of``) and task."""
    return _Examination(name, task, partial(fresh_module, name, code)).describe(name, code)


class _Examination:
    """Checks of a module, in the order of the methods.

    Attributes:
        first: The module with first weights of a seed; ``_train`` computes gradients and changes the weights.
        second: The module with first weights of a second seed; ``_train`` replaces the weights by those of ``first``.
    """

    def __init__(self, subject: str, task: Task, make: Callable[[], nn.Module]) -> None:
        self._subject = subject
        self._task = task
        self._images = torch.randn(BATCH, *task.input_shape, generator=torch.Generator().manual_seed(0))
        self.first, self.second = (self._made(make, seed) for seed in (1, 2))
        self._notes: list[str] = []
        self._generator_state: Tensor  # of torch's global generator after the last call

    def describe(self, name: str = "", code: str = "") -> Description:
        weights = list(self.first.parameters())
        if any(map(is_lazy, weights)):
            raise self._refusal("the shapes of a lazy layer are unknown before its first batch")
        is_drawn = any(bool((weight != weight.flatten()[:1]).any()) for weight in weights)
        fault = ""
        # Without a name, the weights may be weights of an instance.
        if name and is_drawn and all(map(torch.equal, weights, self.second.parameters())):
            fault = "cannot be trained, because its first weights are always the same: remove the seed from the code"
            self._notes.append(fault)
        ends_in_softmax = self._evaluate()
        graph = self._graph()
        buffers = self._train()
        trained_weights = [(path, weight) for path, weight in self.first.named_parameters() if weight.requires_grad]
        sizes = {path: weight.numel() for path, weight in trained_weights if weight.grad is None}
        if sizes:
            names = ", ".join(sizes)
            count = counted(sum(sizes.values()), "parameter")
            self._notes.append(f"counted, but without an effect on the outputs: {count} ({names})")
        parts = self._parts()
        norms = [module for module in self.first.modules() if isinstance(module, _BatchNorm)]
        statistics = [each for norm in norms for each in (norm.running_mean, norm.running_var) if each is not None]
        if buffers:
            numbers = counted(sum(buffers.values()), "number")
            self._notes.append(f"counted as parameters: {numbers} that training changes ({', '.join(buffers)})")
        op = UserModule(
            outputs=self._task.classes,
            input=shape_text(self._task.input_shape),
            parameters=sum(weight.numel() for weight in weights) + sum(buffers.values()),
            macs=parts[""].macs,
            statistic_count=sum(each.numel() for each in statistics),
            code=code,
            graph=graph,
            name=name,
        )
        layers = tuple(part for path, part in parts.items() if path)
        return Description(op, layers, tuple(self._notes), ends_in_softmax, fault)

    def _refusal(self, reason: str) -> ContentError:
        return ContentError(f"{self._subject}: {reason}")

    def _made(self, make: Callable[[], nn.Module], seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return make().float().cpu()

    def _outputs(self, module: nn.Module, images: Tensor, seed: int = 0) -> Tensor:
        """Return the logits, and check that the module neither prints nor seeds the generator.

        The second check compares the states of the generator after this call and after the last call, which requires
        different seeds, and is made only if ``seed`` is not 0.
        """
        # Without gradients, activations that the module keeps as attributes can be copied.
        with quiet(self._subject) as printed_text, torch.set_grad_enabled(module.training):
            torch.default_generator.manual_seed(seed)
            output = module(images)
            state = torch.default_generator.get_state()
        if printed_text.getvalue():
            raise self._refusal("forward prints, which a training repeats for each batch")
        if seed and torch.equal(state, self._generator_state):
            raise self._refusal("forward seeds the global random generator")
        self._generator_state = state
        try:
            logits = _logits(output, self._task.classes)
        except ValueError as error:
            raise self._refusal(str(error)) from error
        if len(logits) != len(images):
            raise self._refusal(f"the module returns {len(logits)} outputs for {len(images)} images")
        if not logits.isfinite().all():
            raise self._refusal("the module returns numbers that are infinite or NaN")
        return logits

    def _evaluate(self) -> bool:
        module = self.first.eval()
        state_before = _state_of(module)
        outputs = self._outputs(module, self._images)
        self._outputs(module, self._images, seed=1)
        if not torch.equal(outputs, self._outputs(module, self._images)):
            raise self._refusal("equal images have different outputs in evaluation mode: forward draws or counts")
        changed_names = _changed(state_before, _state_of(module))
        if changed_names:
            raise self._refusal(f"the module changes {', '.join(changed_names)} in evaluation mode")
        # A batch with the same first image and a different second image.
        other_batch = torch.cat([self._images[:1], self._images[:1].flip(3) + 1])
        effect = (self._outputs(module, other_batch)[0] - outputs[0]).abs().max().item()
        if not effect <= _TOLERANCE * max(1.0, outputs.abs().max().item()):
            raise self._refusal("in evaluation mode the output of an image depends on the other images of the batch")
        ends_in_softmax = bool((outputs >= 0).all() and ((outputs.sum(1) - 1).abs() < _TOLERANCE).all())
        if ends_in_softmax:
            self._notes.append("the outputs are probabilities; the loss takes their logarithms as logits")
        return ends_in_softmax

    def _graph(self) -> str:
        """Return the hash of the operators and shapes, and check that dropout alone draws random numbers."""
        with quiet(f"recording {self._subject}"):
            program = exported(self.first.eval(), self._task)
            programs = (program, exported(copy.deepcopy(self.first).train(), self._task))
        random_calls = {str(node.target) for each in programs for node in each.graph.nodes if _is_random(node.target)}
        if random_calls:
            raise self._refusal(f"forward draws random numbers other than dropout: {', '.join(sorted(random_calls))}")
        if any(_is_active_dropout(node) for node in program.graph.nodes):
            self._notes.append("a dropout is active in evaluation too, with masks of a fixed seed")
        shapes = [f"{name} {tuple(tensor.shape)} {tensor.dtype}" for name, tensor in program.state_dict.items()]
        return hashlib.sha256("\n".join([str(program.graph), *shapes]).encode()).hexdigest()[:_DIGITS]

    def _train(self) -> dict[str, int]:
        """Compute outputs and gradients of the module in training mode, and change all weights, as a training does.

        Return the number of values of each buffer that the training mode changes, except for statistics of BN; these
        values count as parameters.
        """
        module = self.first.train()
        with quiet(self._subject):
            twin = copy.deepcopy(module)
        state_before = _state_of(module)
        outputs = self._outputs(module, self._images)
        if not torch.equal(outputs, self._outputs(twin, self._images)):
            raise self._refusal("equal seeds have different outputs in training mode: forward draws outside of torch")
        if not outputs.requires_grad:
            raise self._refusal("the outputs have no gradient")
        with quiet(f"the gradient of {self._subject}"):
            (outputs * torch.arange(outputs.numel()).view(outputs.shape)).sum().backward()  # type: ignore[no-untyped-call]
        norms = [f"{path}." for path, part in module.named_modules() if isinstance(part, _BatchNorm)]
        buffers = dict(module.named_buffers())
        buffer_sizes = {
            name: buffers[name].numel()
            for name in _changed(state_before, _state_of(module))
            if name in buffers and not any(name.startswith(norm) for norm in norms)
        }
        with torch.no_grad():
            for weight in module.parameters():
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
        # The second module with the stored state must compute the same, as a network loaded from a file.
        with quiet(self._subject):
            float_state = {name: each for name, each in module.eval().state_dict().items() if each.is_floating_point()}
            self.second.load_state_dict(float_state, strict=False)
        if not torch.equal(self._outputs(module, self._images), self._outputs(self.second.eval(), self._images)):
            raise self._refusal("its outputs depend on values that its state_dict lacks as floating-point numbers")
        return buffer_sizes

    def _parts(self) -> Mapping[str, ModulePart]:
        """Return the layers by path, in order; the whole module has the path ``""``.

        Layers are modules that own parameters, and modules without modules inside.
        """
        shapes: dict[str, Shape] = {}

        def note(path: str, layer: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                shapes.setdefault(path, tuple(output.shape[1:]))

        module = self.second
        hooks = [part.register_forward_hook(partial(note, path)) for path, part in module.named_modules()]
        self._outputs(module, self._images)
        for hook in hooks:
            hook.remove()
        with quiet(f"counting {self._subject}"):
            macs = module_macs(module, self._task)
        owners = Counter[str]()
        for path, weight in module.named_parameters():
            owners[path.rpartition(".")[0]] += weight.numel()
        return {
            path: ModulePart(path, type(part).__name__, shapes.get(path, ()), owners[path], macs[path])
            for path, part in module.named_modules()
            if path == "" or owners[path] or not any(part.children())
        }


def _state_of(module: nn.Module) -> dict[str, Tensor]:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in tensors}


def _changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[str]:
    return [name for name, tensor in after.items() if name not in before or not torch.equal(before[name], tensor)]


def _is_random(target: Any) -> bool:
    name = getattr(target, "__name__", "").partition(".")[0].rstrip("_")
    return torch.Tag.nondeterministic_seeded in getattr(target, "tags", ()) and name not in _DROPOUT


def _is_active_dropout(node: Any) -> bool:
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return False
    values = arguments_of(node)
    rate = values.get("p") or values.get("dropout_p") or values.get("dropout")
    # Attention has no argument for the mode: the rate of a module in evaluation is 0.
    return bool(rate and values.get("train", True))
