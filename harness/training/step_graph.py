"""A training step on a GPU, recorded once and then replayed.

A step of a small network is some hundred kernels, each shorter than its launch. A CUDA graph launches them all at once.
The values are those of the single launches: the graph has the same kernels, and draws the same random numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# These steps run launch by launch, as libraries make their work space, and an optimizer its state, at first use.
_LAUNCHED_STEPS = 3


class StepGraph:
    """A step that takes the indices of its images and a learning rate, and gives its loss.

    The first steps are launched kernel by kernel; the next one is recorded, and from then on the recording is replayed.
    A recording holds addresses: the images, weights and optimizer behind ``step`` stay where they are.
    """

    def __init__(
        self,
        step: Callable[[Tensor], Tensor],
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        batch_size: int,
    ) -> None:
        """Make a step that is to be recorded.

        Args:
            step: trains on the images of these indices, int64 (batch,), and returns the loss, a scalar on the device.
            optimizer: the one that ``step`` uses, with ``fused=True``; its learning rate becomes a tensor.
            generator: the one that ``step`` draws from, on the GPU.
            batch_size: number of images of a step.
        """
        device = generator.device
        self._step = step
        self._optimizer = optimizer
        self._generator = generator
        self._indices = torch.zeros(batch_size, dtype=torch.int64, device=device)
        self._rate = torch.zeros((), device=device)
        self._loss = torch.zeros((), device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._launched = 0
        for group in optimizer.param_groups:
            group["lr"] = self._rate

    def __call__(self, indices: Tensor, rate: float) -> Tensor:
        """Do a step; the loss that it returns holds until the next one."""
        self._indices.copy_(indices)
        self._rate.fill_(rate)
        if self._launched < _LAUNCHED_STEPS:
            self._launched += 1
            return self._step(self._indices)
        if self._graph is None:
            self._graph = self._recording()
        self._graph.replay()
        return self._loss

    def _recording(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        for group in self._optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = True
        with torch.cuda.graph(graph):
            self._loss.copy_(self._step(self._indices))
        return graph
