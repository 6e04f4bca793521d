"""``harness export``: write a trained network for use in other programs."""

from __future__ import annotations

from typing import Any

import click

from harness.interface import api, options
from harness.searching.option_types import FILE
from harness.system.doors import Door, guests
from harness.system.terminal import say


@click.command(short_help="Write a network as PyTorch, ONNX, safetensors or C.")
@options.of(api.export)
def export(as_json: bool, **arguments: Any) -> int:
    """Write a trained NETWORK as PyTorch, ONNX, safetensors or C, for use in external programs.

    The weights of a recorded seed are read from records/weights. A network without a record is trained on all training
    images with this seed, and so is a recorded network with --retrain; the test set is not read. On the same kind of
    machine, trained weights equal the record bit for bit; the output states whether the weights are equal.

    The ONNX model takes the raw numbers of the data set, MNIST's as uint8 (batch, 1, 28, 28). The model scales and
    normalises the numbers, and is compared with torch on real images before the file is written; rotated filters
    are written as plain kernels. A network that was trained to end with integers has quantised maps and weights
    (QDQ) in ONNX; file and output state how many logits and classes of training images differ from the integers.
    ONNX needs the optional packages of 'export'. The safetensors file has the names of the user's PyTorch module if
    NETWORK is one, with --pytorch the names of model.py, else ops.INDEX.NAME; a shared kernel is stored once, under
    the name of the first layer that uses it. Both files name the classes and state the scale of the numbers.
    Exit code 6 if packages are missing, 3 if training diverges; then nothing is written.

    The folder of PyTorch does not need harness: model.py has the network as a class, weights.pt its weights,
    evaluate.py counts the errors on the test images, and train.py trains with the same recipe. If torchvision cannot
    download the data set, train.npz and test.npz contain the images, and this read of the test set is logged.

    With --chip a folder of C is written only if the network fits the chip; manifest.json then states the fit. Without
    --optimise, the C is optimised for speed if this code fits the chip too, else for size. With --profile the command
    also prints instructions, share and bytes of each layer on emulated cores whose compilers and emulators are
    installed, as 'make profile' in the folder does, and names the layer with most instructions.

    \b
    harness export eab8ff --onnx digits.onnx
    harness export eab8ff --pytorch digits
    harness export eab8ff --c digits --chip RP2040
    harness export 4b8be5 --seed 3 --onnx net.onnx --safetensors net.safetensors
    """
    formats = {name: arguments.pop(parameter) for parameter, name in _guest_formats.items()}
    result = api.export(**arguments, formats=formats)
    options.print_result(as_json, dict(result.facts), str(result))
    return 0


_guest_formats: dict[str, str] = {}  # names of formats by parameter
for _name, _package in sorted(guests(Door.FORMATS).items()):
    _parameter = _name.replace("-", "_")
    _taken = {"help"}.union(*({each.name, *each.opts} for each in export.params))
    if {_parameter, f"--{_name}"} & _taken or not _parameter.isidentifier():
        say(f"the format {_name} of the package {_package} has no option: --{_name} is taken or invalid", "warning")
    else:
        _guest_formats[_parameter] = _name
        export.params.append(click.Option([f"--{_name}", _parameter], type=FILE, help=f"Path for the format {_name}."))
