"""A torch module around a trained network that takes the raw numbers of the data set."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset
from harness.data.user.values import as_array, check_finite, check_scale
from harness.spaces.network import Architecture
from harness.system.errors import DataError
from harness.system.settings import fixed_settings
from harness.training.integer import MAP_SCALES, integer_logits, integers_of
from harness.training.torch_network import normalised


class RawInputNetwork(nn.Module):
    """Network that takes raw numbers of a data set, which are rounded to 256 levels and normalised."""

    def __init__(self, network: nn.Module, dataset: Dataset, architecture: Architecture | None = None) -> None:
        """Wrap ``network``, a network in evaluation mode, which takes normalised images.

        If ``architecture`` is given, and the network was trained to end with integers, the logits are those of the
        integer form.
        """
        super().__init__()
        self.integers = None
        if architecture is not None and MAP_SCALES in network.state_dict():
            self.integers = integers_of(network, architecture, dataset)
        self.network = network
        self.dataset = dataset
        self.low, self.high = dataset.number_range
        self.takes_bytes = takes_bytes(dataset)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return the logits, (images, classes), with the settings of torch of the training.

        Args:
            numbers: Raw numbers of any type, (images, channels, rows, columns); axes of length 1 may be omitted.

        Raises:
            DataError: The numbers have a wrong shape or scale, or are not finite. Doubtful scales cause a warning.
        """
        if torch.compiler.is_compiling():
            return self._forward(numbers)
        with fixed_settings(of_guest=True):
            return self._forward(numbers)

    def _forward(self, numbers: Tensor) -> Tensor:
        shape = self.dataset.image_shape
        if not isinstance(numbers, Tensor):
            try:
                numbers = torch.from_numpy(np.ascontiguousarray(numbers))
            except (TypeError, ValueError) as error:
                raise DataError(f"{type(numbers).__name__} is not an array of numbers") from error
        if numbers.shape[1:] != shape:
            if [size for size in numbers.shape[1:] if size > 1] != [size for size in shape if size > 1]:
                raise DataError(f"got the shape {tuple(numbers.shape)}; {self.dataset.name} has images of {shape}")
            numbers = numbers.reshape(-1, *shape)
        if not torch.compiler.is_compiling() and len(numbers):
            array = as_array(numbers)
            check_finite(array)
            # The caller of the module: two functions of torch call ``forward``.
            check_scale(self.dataset, array, stacklevel=5)
        if self.takes_bytes and numbers.dtype == torch.uint8:
            return self.logits(numbers)
        numbers = numbers.double()
        low, high = (_by_channel(limits, numbers) for limits in (self.low, self.high))
        levels = 255 * (numbers - low) / (high - low)
        rounded_levels = levels.round()
        if levels.requires_grad:
            # Straight-through estimator: the gradient ignores the rounding.
            rounded_levels = levels + (rounded_levels - levels).detach()
        return self.logits(rounded_levels.clamp(0, 255))

    def logits(self, pixels: Tensor) -> Tensor:
        """Return the logits of pixels of the data set, (images, channels, rows, columns), from 0 to 255."""
        if self.integers is not None:
            logits_of_pixels = integer_logits(self.integers, pixels.round().to(torch.uint8).cpu().numpy())
            return torch.from_numpy(self.integers.logit_scale * logits_of_pixels).float().to(pixels.device)
        images = normalised(pixels.float() / 255, self.dataset.mean, self.dataset.std)
        # May have been changed by ``.double()``.
        parameter = next(self.network.parameters(), images)
        logits: Tensor = self.network(images.to(parameter.dtype))
        return logits


def takes_bytes(dataset: Dataset) -> bool:
    """Return whether the raw numbers of a data set are bytes from 0 to 255."""
    return set(dataset.low) <= {0.0} and set(dataset.high) <= {255.0}


def raw_numbers(pixels: Tensor, dataset: Dataset) -> Tensor:
    """Return the raw numbers of ``pixels``: the same if the data set has bytes, else float64."""
    if takes_bytes(dataset):
        return pixels
    low, high = (_by_channel(limits, pixels.double()) for limits in dataset.number_range)
    return low + pixels * (high - low) / 255


def _by_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1)
