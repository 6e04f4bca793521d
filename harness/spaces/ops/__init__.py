"""Ops of networks as values; all modules of this package are imported and register ops in the notation."""

import importlib
import pkgutil

from harness.spaces.ops.convolutions import Conv, DepthwiseConv, Kernel, kernels
from harness.spaces.ops.op import SIGNATURES, Op, Residual, Role, Shape, flat, shape_text
from harness.spaces.ops.pointwise import BatchNorm, Dropout, Dropout2d, LeakyReLU, PReLU, ReLU, Swish
from harness.spaces.ops.user_module import UserModule
from harness.spaces.ops.windows import AvgPool, GlobalAvgPool, Linear, MaxPool, PoseLinear, Unshuffle

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
