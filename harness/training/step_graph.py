"""Training steps on a GPU, recorded as a CUDA graph and replayed.

A step of a small network consists of some hundred kernels, each shorter than its launch; a CUDA graph launches all at
once, with the same results.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# At first use, libraries allocate workspaces, and the optimizer its state.
_LAUNCHED_STEPS = 3


class StepGraph:
    """A callable training step that takes image indices and a learning rate, and returns the loss.

    The first ``_LAUNCHED_STEPS`` steps are launched kernel by kernel; the next step is recorded, and then the recording
    is replayed. A recording holds addresses, so the tensors of images, weights and optimizer must not be replaced.
    """

    def __init__(
        self,
        step: Callable[[Tensor], Tensor],
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        batch_size: int,
    ) -> None:
        """Prepare a step for recording.

        ``step`` takes indices of images, int64 (batch,), and returns the loss, a scalar on the device. ``optimizer``
        has ``fused=True``; its learning rate is replaced by a tensor.
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
        """The next step overwrites the returned loss."""
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
