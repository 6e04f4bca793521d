"""An integer network as JSON, the data of the interactive page that runs the network."""

from __future__ import annotations

from typing import Any

from harness.exports.c_library import Library
from harness.spaces.integer_plan import IntegerStep, StepKind
from harness.spaces.ops import Shape
from harness.spaces.ops.integer_form import KernelForm, Reduction
from harness.training.integer import IntegerNetwork, Integers, StepNumbers, pose_orders, product_weights

# Shape of the known data sets, such as MNIST, which have no hash; users can draw images of this shape.
_DIGIT_SHAPE = (1, 28, 28)
_KERNEL_SIZES = ("filters", "rows", "columns", "channels")  # axes of a kernel


def page_json(library: Library, accuracy: str = "") -> dict[str, Any]:
    """Return the data of the page.

    ``accuracy`` is a sentence, empty if not measured; ``examples`` are pixels with the channels innermost;
    ``first_map`` is the index of the first convolution's output.
    """
    dataset = library.dataset
    plan = library.network.plan
    low, high = dataset.number_range
    convolved_maps = [step.target for step in plan.steps if step.kind is StepKind.CONVOLUTION]
    return {
        "title": library.title,
        "about": library.about,
        "accuracy": accuracy,
        **plan.sizes,
        "image_shape": dataset.image_shape,
        "class_names": dataset.class_labels,
        "takes_digits": not dataset.sha256 and dataset.image_shape == _DIGIT_SHAPE,
        "low": low,
        "high": high,
        "examples": library.examples.transpose(0, 2, 3, 1).reshape(len(library.examples), -1).tolist(),
        "first_map": next(iter(convolved_maps), None),
        "plan": integer_plan_json(library.network),
    }


def integer_plan_json(network: IntegerNetwork) -> dict[str, Any]:
    """Return the maps, learned kernels and steps of a network for ``integer.js``.

    Keys are attributes of ``IntegerStep``, ``StepNumbers`` or ``IntegerMap``, as far as these exist.
    """
    plan = network.plan
    steps = zip(plan.steps, network.numbers, strict=True)
    kernels = list(network.kernels)
    head = plan.steps[-1]
    if head.kernel is not None:
        kernels[head.kernel] = product_weights(kernels[head.kernel], head.form)
    return {
        "maps": [
            {**_shape_json(each.shape), "low": -127 if each.is_signed else 0, "high": each.largest}
            for each in plan.maps
        ],
        "kernels": [
            {**dict(zip(_KERNEL_SIZES, kernel.shape, strict=True)), "weights": kernel.ravel().tolist()}
            for kernel in kernels
        ],
        "steps": [_step_json(network, step, numbers) for step, numbers in steps],
    }


def _shape_json(shape: Shape) -> dict[str, int]:
    channels, rows, columns = (*shape, 1, 1)[:3]
    return {"channels": channels, "rows": rows, "columns": columns}


def _orders(kernel: Integers, form: KernelForm) -> dict[str, Any]:
    # Products of factors are multiplied out, so that each weight has a pose of its own.
    poses = form.poses if form.factors is None else 1
    places, first_channels = pose_orders(kernel.shape[1:], poses)
    return {"places": places.tolist(), "channels": first_channels.tolist()}


def _step_json(network: IntegerNetwork, step: IntegerStep, numbers: StepNumbers) -> dict[str, Any]:
    """``sums`` is the shape of the map of sums before pooling, None for steps that are no convolutions."""
    sums = None
    if step.kind is StepKind.CONVOLUTION and step.sums is not None:
        sums = _shape_json(step.sums.op.shape(network.plan.maps[step.source].shape))
    return {
        "kind": step.kind,
        "source": step.source,
        "target": step.target,
        "skip": step.skip,
        "offset": network.offset if step.source == 0 and step.kernel is not None else 0,
        "kernel": step.kernel,
        "sums": sums,
        "orders": None if step.kernel is None else _orders(network.kernels[step.kernel], step.form),
        "stride": step.form.stride,
        "paddings": step.form.paddings,
        "window": None if step.pool is None else step.pool.form.window,
        "takes_mean": step.pool is not None and step.pool.form.reduction is Reduction.MEAN,
        "is_global": step.is_global,
        "multipliers": numbers.multipliers.tolist(),
        "biases": numbers.biases.tolist(),
        "sum_bits": numbers.sum_bits,
        "bias_bits": numbers.bias_bits,
        "output_bits": numbers.output_bits,
        "skip_multiplier": numbers.skip_multiplier,
        "slope": numbers.slope,
    }
