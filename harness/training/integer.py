"""Integer networks: conversion of trained float weights, and a reference implementation in NumPy.

For a channel c of a convolution or scaling, with ``sum`` over weights and inputs, all in integers:

    value = ((sum + 2^(p-1)) >> p) * multiplier[c] + skip * skip_multiplier + (bias[c] << q)
    value = (value >> 8) * slope,  if the rectifier has a slope and the value is below zero
    output = clamp((value + 2^(s-1)) >> s)

``StepNumbers`` holds the constants: p is ``sum_bits``, q ``bias_bits``, s ``output_bits``. A shift by 0 bits adds
nothing. Each constant fits into 16 bits and each value into 32, which ``integer_network`` proves from the weights.
Logits are 32-bit sums without a multiplier, over a map or over the sum of each channel of a map. The *scale* of a map,
kernel or sum is the real value of the integer 1. Scales follow Jacob et al., "Quantization and training of neural
networks for efficient integer-arithmetic-only inference", CVPR 2018, but with ranges around zero, so that zero padding
is the number 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset
from harness.spaces import integer_plan as plans
from harness.spaces.integer_plan import WIDE_BITS, IntegerPlan, IntegerStep, OpPath, PlannedOp, StepKind
from harness.spaces.network import Architecture
from harness.spaces.ops.integer_form import KernelForm, PoolingForm, Reduction
from harness.spaces.posed import posed_filters
from harness.system.errors import ContentError
from harness.system.terminal import counted, say_once
from harness.training.torch_network import Images, normalised

Integers = npt.NDArray[np.int64]
_Reals = npt.NDArray[np.float64]
_RANGE_SHARE = 0.9999  # of the calibration values within the range of a map; larger values are clipped
MAP_SCALES = "map_scales"  # buffer with the scales of all maps in a network trained with ``int8``
WEIGHT_BITS = "weight_bits"  # buffer with the bits of a weight; missing for 8 bits
_CALIBRATION_IMAGES = 2_000  # training images to estimate the ranges of maps
_MIN_CALIBRATION_IMAGES = 200  # with fewer, a range depends on a handful of images
_BATCH = 500  # images per forward pass
_KEEPS_SCALE = (StepKind.POOLING, StepKind.UNSHUFFLE)  # the output has the scale of the input
_POSE_MAX = 63  # largest magnitude of a factor per pose (``KernelForm.factors``); sums must fit into 32 bits
_INT16_MAX = 2**15 - 1
_INT32_MAX = 2**31 - 1
_SLOPE_BITS = 8  # fractional bits of a slope
_MAX_BITS = 30  # largest ``output_bits``


@dataclass(frozen=True, slots=True)
class StepNumbers:
    """The integer constants of a step, named in the formulas of this file.

    Attributes:
        multipliers: int16, each shared by neighbouring channels, as ``biases``.
        skip_multiplier: Multiplier of the map that a residual sum adds; 0 without a sum.
        slope: Slope of the rectifier below zero, times 256; None without a slope.
        largest: Largest possible magnitude of a sum or value.
    """

    multipliers: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    biases: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    sum_bits: int = 0
    bias_bits: int = 0
    output_bits: int = 0
    skip_multiplier: int = 0
    slope: int | None = None
    largest: int = 0


@dataclass(frozen=True, slots=True)
class IntegerNetwork:
    """An integer plan with its constants.

    Attributes:
        kernels: Weights of each learned kernel, with ``plan.kernel_bits`` bits, (filters, rows, columns, channels); for
            a kernel stored as factors (filters, 1, 1, factors per channel, then per pose), see ``product_weights``.
        offset: Subtracted from the bytes of the image; 0 if a scaling normalises the image.
        logit_scale: Real value of the number 1 in the logits.
    """

    plan: IntegerPlan
    kernels: tuple[Integers, ...]
    numbers: tuple[StepNumbers, ...]
    offset: int
    logit_scale: float


# Rounding of weights in training ---------------------------------------------------------------------------------


def largest_weight(bits: int) -> int:
    """Return the largest magnitude of a weight of ``bits`` bits; the range is symmetric."""
    return (1 << (bits - 1)) - 1


def rounded_kernels(network: nn.Module, plan: IntegerPlan) -> list[Tensor]:
    """Return the parameters that have fewer than 8 bits as integers, which training rounds."""
    bits = zip(plan.kernels, plan.kernel_bits, strict=True)
    return [_module_at(network, kernel.path).weight for kernel, count in bits if count < WIDE_BITS]


def round_weights(weights: Tensor, bits: int) -> None:
    """Round weights, in place, to multiples of their scale: the largest magnitude is ``largest_weight(bits)`` scales.

    ``round_weights`` in ``native/learning.cpp`` is the same function.
    """
    with torch.no_grad():
        scale = weights.abs().max() / largest_weight(bits)
        # Weights that are all zero have any scale.
        weights.div_(scale.clamp_min(torch.finfo(weights.dtype).tiny)).round_().mul_(scale)


# Conversion of float weights -------------------------------------------------------------------------------------


def _module_at(network: nn.Module, path: OpPath) -> Any:
    module: Any = network
    for index in path:
        module = module.ops[index]
    return module


def _step_output(network: nn.Module, step: IntegerStep, values: Tensor, skip: Tensor | None) -> Tensor:
    """Return the floating-point output of a step before its pooling, (batch, channels, rows, columns)."""
    for op in (step.sums, step.norm):
        if op is not None:
            module = _module_at(network, op.path)
            # Vectors are stored as maps of one position, which ``BatchNorm1d`` refuses.
            values = module(values.flatten(1) if type(module) is nn.BatchNorm1d else values)
    if values.dim() == 2:
        values = values[:, :, None, None]
    if skip is not None:
        values = values + skip
    if step.rectifier is not None:
        values = _module_at(network, step.rectifier.path)(values)
    return values


def map_scales(network: nn.Module, plan: IntegerPlan, images: Images) -> Tensor:
    """Return the scale of each map, float64 (maps,), estimated from ``_CALIBRATION_IMAGES`` training images.

    The largest number of a map represents the quantile ``_RANGE_SHARE`` of the magnitudes.

    Raises:
        NoIntegerFormError: An op has no integer form.
    """
    plan.check()
    samples: list[list[Tensor]] = [[] for _ in plan.maps]  # magnitudes by map, in batches
    count = min(len(images), _CALIBRATION_IMAGES)
    indices = torch.arange(count) * len(images) // count  # evenly spaced
    with torch.inference_mode():
        for batch in torch.split(indices.to(images.pixels.device), _BATCH):
            maps: list[Tensor] = [normalised(images.pixels[batch].float() / 255, images.mean, images.deviation)]
            for step in plan.steps[:-1]:
                skip = None if step.skip is None else maps[step.skip]
                values = _step_output(network, step, maps[step.source], skip)
                if step.kind not in _KEEPS_SCALE:
                    samples[len(maps)].append(values.abs().flatten())
                maps.append(values if step.pool is None else _module_at(network, step.pool.path)(values))
    # Scale of the image. With several channels a scaling comes first, which has the deviation of each channel.
    scales = [1 / (255 * images.deviation[0])]
    for step, values_of_map in zip(plan.steps[:-1], samples[1:], strict=True):
        assert step.target == len(scales), "each step but the last writes the next map"
        if step.kind in _KEEPS_SCALE:
            scales.append(scales[step.source])
            continue
        values = torch.cat(values_of_map)
        rank = max(1, math.ceil(_RANGE_SHARE * len(values)))
        high = float(values.kthvalue(rank).values)
        # The maximum, if hardly any number is above zero; any scale represents zeros.
        high = high or float(values.max()) or 1.0
        scales.append(high / plan.maps[step.target].largest)
    return torch.tensor(scales, dtype=torch.float64)


def warn_of_few(count: int) -> None:
    """Print a warning, once, if too few training images estimate the ranges of maps."""
    if count < _MIN_CALIBRATION_IMAGES:
        images = counted(count, "training image")
        message = f"the ranges of the integers were estimated from only {images}; new images may exceed the ranges"
        say_once(message, "warning")


def _integer_weights(network: nn.Module, kernel: PlannedOp[KernelForm], bits: int) -> tuple[Integers, float]:
    """Return learned weights as integers of ``bits`` bits, (filters, rows, columns, channels), and their scale.

    Factors per channel and per pose are rounded separately, so the scale is the product of both scales.
    """
    module = _module_at(network, kernel.path)
    if kernel.form.factors is not None:
        by_channel, by_pose = map(_as_float64, kernel.form.factors(module))
        channel_factors, channel_scale = _rounded(by_channel, largest_weight(bits))
        pose_factors, pose_scale = _rounded(by_pose, _POSE_MAX)
        factors = np.concatenate([channel_factors, pose_factors], 1)
        return factors[:, None, None, :], channel_scale * pose_scale
    weights = _as_float64(module.weight).reshape(kernel.form.shape)
    return _rounded(np.ascontiguousarray(weights.transpose(0, 2, 3, 1)), largest_weight(bits))


def _rounded(weights: _Reals, largest: int) -> tuple[Integers, float]:
    magnitude = float(np.abs(weights).max())
    scale = magnitude / largest if magnitude > 0 else 1.0
    return np.rint(weights / scale).astype(np.int64), scale


def product_weights(kernel: Integers, form: KernelForm) -> Integers:
    """Return the weights of a kernel, (filters, rows, columns, channels); factors are multiplied out."""
    if form.factors is None:
        return kernel
    # As stored by ``_integer_weights``: the factors per channel, then the factors per pose.
    by_channel = kernel[..., : -form.poses, None]
    by_pose = kernel[..., None, -form.poses :]
    products: Integers = (by_channel * by_pose).reshape(len(kernel), 1, 1, -1)
    return products


def integer_network(
    network: nn.Module, plan: IntegerPlan, mean: tuple[float, ...], deviation: tuple[float, ...], scales: Tensor
) -> IntegerNetwork:
    """Return a trained network in integers, equal on every machine for equal weights and scales.

    Args:
        mean: Mean of each channel of the pixels, scaled to 0 to 1, as ``deviation``.
        scales: Result of ``map_scales``.

    Raises:
        NoIntegerFormError: An op has no integer form.
        ContentError: A weight is not finite, or a constant or sum has too many bits.
    """
    plan.check()
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise ContentError(f"{name} contains non-finite numbers")
    kernels_and_bits = zip(plan.kernels, plan.kernel_bits, strict=True)
    weights_and_scales = [_integer_weights(network, kernel, bits) for kernel, bits in kernels_and_bits]
    kernels = tuple(weights for weights, _ in weights_and_scales)
    kernel_scales = tuple(scale for _, scale in weights_and_scales)
    # A network that begins with a kernel has a single channel.
    offset = round(255 * mean[0]) if plan.steps[0].kernel is not None else 0
    converter = _Converter(network, plan, mean, deviation, kernels, kernel_scales, tuple(scales.tolist()), offset)
    numbers = tuple(map(converter.numbers, plan.steps))
    return IntegerNetwork(plan, kernels, numbers, offset, converter.logit_scale)


def integers_of(network: nn.Module, architecture: Architecture, images: Images | Dataset) -> IntegerNetwork:
    """Return the integer form of a trained network with the buffers ``MAP_SCALES`` and, below 8 bits, ``WEIGHT_BITS``.

    Raises:
        NoIntegerFormError, ContentError: Same as for ``integer_network``.
    """
    deviation = images.deviation if isinstance(images, Images) else images.std
    buffers = dict(network.named_buffers())
    weight_bits = int(buffers[WEIGHT_BITS]) if WEIGHT_BITS in buffers else WIDE_BITS
    plan = plans.integer_plan(architecture.ops, images.task.input_shape, weight_bits)
    return integer_network(network, plan, images.mean, deviation, network.get_buffer(MAP_SCALES))


@dataclass(frozen=True, slots=True)
class _Converter:
    network: nn.Module
    plan: IntegerPlan
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    kernels: tuple[Integers, ...]
    kernel_scales: tuple[float, ...]
    scales: tuple[float, ...]
    offset: int

    def numbers(self, step: IntegerStep) -> StepNumbers:
        if step.kind is StepKind.LOGITS:
            return self.logit_numbers(step)
        if step.kind not in (StepKind.CONVOLUTION, StepKind.SCALING):
            return StepNumbers()
        largest_sums, sum_scale = self.largest_sums(step)
        multipliers, biases = self.real_numbers(step, sum_scale)
        skip_multiplier = 0.0
        skip_largest = 0
        if step.skip is not None:
            skip_multiplier = self.scales[step.skip] / self.output_scale(step)
            skip_largest = self.plan.maps[step.skip].largest
        return _fitted(multipliers, biases, skip_multiplier, self.slope(step), largest_sums, skip_largest)

    def output_scale(self, step: IntegerStep) -> float:
        assert step.target is not None, "the logits have a scale of their own"
        return self.scales[step.target]

    def largest_sums(self, step: IntegerStep) -> tuple[Integers, float]:
        largest = self.largest_input(step)
        channels = self.plan.output(step).shape[0]
        scale = self.scales[step.source]
        if step.kernel is None:
            return np.full(channels, largest), scale
        weights = self.kernels[step.kernel]
        by_filter = np.abs(weights).reshape(len(weights), -1).sum(1) * largest
        return np.repeat(by_filter, channels // len(weights)), scale * self.kernel_scales[step.kernel]

    def largest_input(self, step: IntegerStep) -> int:
        if step.source == 0 and step.kernel is not None:
            return max(self.offset, 255 - self.offset)
        return self.plan.maps[step.source].largest

    def real_numbers(self, step: IntegerStep, sum_scale: float) -> tuple[_Reals, _Reals]:
        scale = self.output_scale(step)
        channels = self.plan.output(step).shape[0]
        biases = np.zeros(channels)
        if step.source == 0 and step.kernel is None:
            mean = np.array(self.mean)
            deviation = np.array(self.deviation)
            return 1 / (255 * deviation) / scale, -mean / deviation / scale
        if step.sums is not None and step.kernel is not None:
            filters = len(self.kernels[step.kernel])
            if step.form.has_bias:
                module = _module_at(self.network, step.sums.path)
                biases = biases + _as_float64(module.bias).repeat(channels // filters)
            if step.source == 0:
                biases = biases + self.offset_biases(step, sum_scale).repeat(channels // filters)
        gains = np.ones(channels)
        if step.norm is not None:
            module = _module_at(self.network, step.norm.path)
            factors, offsets = map(_as_float64, step.norm.form.numbers(module))
            gains = factors.repeat(channels // len(factors))
            biases = gains * biases + offsets.repeat(channels // len(offsets))
        multipliers = gains * sum_scale / scale
        return _first_of_groups(multipliers, step.multipliers), _first_of_groups(biases / scale, step.biases)

    def offset_biases(self, step: IntegerStep, sum_scale: float) -> _Reals:
        """Return the correction of the bias of each filter for the rounding of the image's mean to a whole byte.

        At the border an error of up to half a byte times the weights outside the image remains.
        """
        assert step.kernel is not None, "a filter has weights"
        weights = self.kernels[step.kernel]
        difference = self.offset - 255 * self.mean[0]
        sums: _Reals = weights.reshape(len(weights), -1).sum(1) * difference * sum_scale
        return sums

    def slope(self, step: IntegerStep) -> float | None:
        """Return the factor of the rectifier on numbers below zero; None without a slope."""
        if step.rectifier is None or step.rectifier.form.slope_attribute is None:
            return None
        number = getattr(_module_at(self.network, step.rectifier.path), step.rectifier.form.slope_attribute)
        return float(torch.as_tensor(number, dtype=torch.float64).detach())

    @property
    def logit_scale(self) -> float:
        step = self.plan.steps[-1]
        scale = self.scales[step.source] / self.positions(step)
        return scale if step.kernel is None else scale * self.kernel_scales[step.kernel]

    def positions(self, step: IntegerStep) -> int:
        _, rows, columns = self.plan.maps[step.source].shape
        return rows * columns if step.is_global else 1

    def logit_numbers(self, step: IntegerStep) -> StepNumbers:
        positions = self.positions(step)
        largest = positions * self.largest_input(step)
        if step.sums is None or step.kernel is None:
            return StepNumbers(largest=_checked(largest))
        weights = product_weights(self.kernels[step.kernel], step.form)
        biases = np.zeros(len(weights))
        if step.form.has_bias:
            biases = _as_float64(_module_at(self.network, step.sums.path).bias)
        if step.source == 0:
            biases = biases + self.offset_biases(step, self.scales[0] * self.kernel_scales[step.kernel])
        whole_biases, bias_bits = _int16_biases(biases / self.logit_scale)
        sums = np.abs(weights).reshape(len(weights), -1).sum(1) * largest + np.abs(whole_biases) * 2**bias_bits
        return StepNumbers(biases=whole_biases, bias_bits=bias_bits, largest=_checked(int(sums.max())))


def _int16_biases(biases: _Reals) -> tuple[Integers, int]:
    bias_bits = max(0, int(np.abs(biases).max(initial=0.0)).bit_length() - 15)
    return np.rint(biases / 2**bias_bits).astype(np.int64).clip(-_INT16_MAX, _INT16_MAX), bias_bits


def _as_float64(tensor: Tensor) -> _Reals:
    values: _Reals = tensor.detach().cpu().double().numpy()
    return values


def _first_of_groups(values: _Reals, count: int) -> _Reals:
    if not count:
        return np.zeros(0)
    return values[:: len(values) // count]


def _checked(largest: int) -> int:
    if largest > _INT32_MAX:
        raise ContentError(f"a sum may reach {largest:,}, which exceeds 32 bits")
    return largest


def _fitted(
    real_multipliers: _Reals,
    biases: _Reals,
    real_skip_multiplier: float,
    slope: float | None,
    largest_sums: Integers,
    skip_largest: int,
) -> StepNumbers:
    """Return the integer constants of a step, with the finest resolution that 16 and 32 bits allow.

    Raises:
        ContentError: No resolution fits into the bits.
    """
    sum_bits = max(0, int(largest_sums.max()).bit_length() - 15)
    # Half of the dropped unit is added before the shift, to round to the nearest number.
    sum_largest = _checked(int(largest_sums.max()) + (1 << sum_bits) // 2)
    whole_slope = None if slope is None else round(slope * 2**_SLOPE_BITS)
    slope_magnitude = 0 if whole_slope is None else abs(whole_slope)
    largest_multiplier = max(float(np.abs(real_multipliers).max()) * 2**sum_bits, real_skip_multiplier)
    for output_bits in range(_MAX_BITS, -1, -1):
        power = 2.0**output_bits
        if largest_multiplier * power > _INT16_MAX:
            continue
        multipliers = np.rint(real_multipliers * 2.0**sum_bits * power).astype(np.int64)
        whole_biases, bias_bits = _int16_biases(biases * power)
        skip_multiplier = round(real_skip_multiplier * power)
        # Rounding may increase a shifted sum by 1.
        products = _spread(np.abs(multipliers), len(largest_sums)) * ((largest_sums >> sum_bits) + 1)
        addends = _spread(np.abs(whole_biases) << bias_bits, len(largest_sums))
        value_largest = int((products + addends).max()) + skip_multiplier * skip_largest + (1 << output_bits) // 2
        largest = max(value_largest, (value_largest >> _SLOPE_BITS) * slope_magnitude, sum_largest)
        if largest <= _INT32_MAX:
            return StepNumbers(
                multipliers, whole_biases, sum_bits, bias_bits, output_bits, skip_multiplier, whole_slope, largest
            )
    raise ContentError("the multipliers and biases of a step differ too much in size for 16 bits")


def _spread(values: Integers, channels: int) -> Integers:
    """Return a value per channel from values shared by neighbouring channels; zeros if ``values`` is empty."""
    if not len(values):
        return np.zeros(channels, np.int64)
    return values.repeat(channels // len(values))


# Reference implementation ----------------------------------------------------------------------------------------


def integer_logits(network: IntegerNetwork, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Return the logits, int32 (n, classes), of images, uint8 (n, channels, rows, columns)."""
    parts = [maps_of(network, pixels[first : first + _BATCH])[1] for first in range(0, len(pixels), _BATCH)]
    return np.concatenate(parts).astype(np.int32)


def maps_of(network: IntegerNetwork, pixels: npt.NDArray[np.uint8]) -> tuple[list[Integers], Integers]:
    """Return the maps, each (n, rows, columns, channels), and the logits, (n, classes), of images."""
    maps: list[Integers] = [pixels.transpose(0, 2, 3, 1).astype(np.int64)]
    for step, numbers in zip(network.plan.steps, network.numbers, strict=True):
        values = maps[step.source]
        if step.source == 0 and step.kernel is not None:
            values = values - network.offset
        if step.target is None:
            return maps, _logits(network, step, numbers, values)
        if step.kernel is not None:
            values = _convolved(values, network.kernels[step.kernel], step.form)
        if step.kind in (StepKind.CONVOLUTION, StepKind.SCALING):
            values = _output(network, step, numbers, values, maps)
        if step.pool is not None:
            values = _pooled(values, step.pool.form)
        maps.append(values)
    raise AssertionError("the last step gives logits")


def _convolved(values: Integers, kernel: Integers, form: KernelForm) -> Integers:
    """Return the sums of a convolution or linear layer, (n, rows, columns, filters * poses).

    Args:
        values: Input map, (n, rows, columns, channels).
        kernel: Learned weights, (filters, rows, columns, channels / groups).
    """
    if form.is_global:
        flat = values.reshape(len(values), -1) @ kernel.reshape(len(kernel), -1).T
        return flat[:, None, None, :]
    all_weights = np.ascontiguousarray(kernel_in_poses(kernel, form.poses))  # filters of all groups
    rows, columns = form.paddings
    padded_values = np.pad(values, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    stride = form.stride
    windows = np.lib.stride_tricks.sliding_window_view(padded_values, form.shape[2:], (1, 2))[:, ::stride, ::stride]
    groups = values.shape[3] // all_weights.shape[3]
    filters = len(all_weights) // groups
    parts = []
    for group in range(groups):
        inputs = windows[:, :, :, group * all_weights.shape[3] : (group + 1) * all_weights.shape[3]]
        weights = all_weights[group * filters : (group + 1) * filters].transpose(0, 3, 1, 2)
        # float64 represents these integers exactly.
        flat_windows = inputs.reshape(*inputs.shape[:3], -1).astype(np.float64)
        parts.append(flat_windows @ weights.reshape(filters, -1).T.astype(np.float64))
    return np.concatenate(parts, axis=3).astype(np.int64)


def kernel_in_poses(kernel: Integers, poses: int) -> Integers:
    """Return learned filters in all poses, (filters * poses, rows, columns, channels)."""
    kernels = posed_filters(torch.from_numpy(kernel.transpose(0, 3, 1, 2).copy()), poses)
    return kernels.numpy().transpose(0, 2, 3, 1)


def pose_orders(size: tuple[int, ...], poses: int) -> tuple[Integers, Integers]:
    """Return the indices of the positions and of the first channels of a filter in each pose, (poses, number) each.

    ``size`` is (rows, columns, channels). The order of the channels repeats every ``poses`` channels.
    """
    rows, columns, channels = size
    period = poses if channels > 1 else 1
    places = kernel_in_poses(np.arange(rows * columns).reshape(1, rows, columns, 1), poses)
    first_channels = kernel_in_poses(np.arange(period).reshape(1, 1, 1, period), poses)
    return places.reshape(poses, -1), first_channels.reshape(poses, -1)


def _output(
    network: IntegerNetwork, step: IntegerStep, numbers: StepNumbers, sums: Integers, maps: list[Integers]
) -> Integers:
    channels = sums.shape[3]
    value = _shifted(sums, numbers.sum_bits) * _spread(numbers.multipliers, channels)
    value = value + (_spread(numbers.biases, channels) << numbers.bias_bits)
    if step.skip is not None:
        value = value + maps[step.skip] * numbers.skip_multiplier
    if numbers.slope is not None:
        value = np.where(value < 0, (value >> _SLOPE_BITS) * numbers.slope, value)
    target = network.plan.output(step)
    low = -target.largest if target.is_signed else 0
    return _shifted(value, numbers.output_bits).clip(low, target.largest)


def _shifted(values: Integers, bits: int) -> Integers:
    return (values + ((1 << bits) >> 1)) >> bits


def _pooled(values: Integers, form: PoolingForm) -> Integers:
    """Return maxima or rounded means of windows, or the numbers of each window as channels, in the order of torch.

    Rows and columns that do not fill a window are left out.
    """
    count, rows, columns, channels = values.shape
    height, width = form.window
    covered_values = values[:, : rows // height * height, : columns // width * width]
    windows = covered_values.reshape(count, rows // height, height, columns // width, width, channels)
    match form.reduction:
        case Reduction.MAXIMUM:
            results: Integers = windows.max((2, 4))
        case Reduction.MEAN:
            # Rounds to the nearest integer, halves upwards.
            size = height * width
            results = (2 * windows.sum((2, 4)) + size) // (2 * size)
        case Reduction.NONE:
            results = windows.transpose(0, 1, 3, 5, 2, 4).reshape(count, rows // height, columns // width, -1)
    return results


def _logits(network: IntegerNetwork, step: IntegerStep, numbers: StepNumbers, values: Integers) -> Integers:
    sums = values.sum((1, 2)) if step.is_global else values.reshape(len(values), -1)
    if step.kernel is None:
        return sums
    kernel = product_weights(network.kernels[step.kernel], step.form)
    return sums @ kernel.reshape(len(kernel), -1).T + (numbers.biases << numbers.bias_bits)
