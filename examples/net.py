"""A network for MNIST, as in courses; ``harness explain examples/net.py:Net`` translates this class to the notation."""

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    """Three convolutions with batch normalisation, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(16)
        self.conv3 = nn.Conv2d(16, 16, 3)
        self.bn3 = nn.BatchNorm2d(16)
        self.dropout = nn.Dropout(0.05)
        self.linear = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return log probabilities, (batch, 10), of images, (batch, 1, 28, 28)."""
        x = F.max_pool2d(self.bn1(F.relu(self.conv1(x))), 2)
        x = F.max_pool2d(self.bn2(F.relu(self.conv2(x))), 2)
        x = self.dropout(self.bn3(F.relu(self.conv3(x))))
        x = F.adaptive_avg_pool2d(x, 1)
        return F.log_softmax(self.linear(x.view(x.size(0), -1)), dim=1)
