"""Networks for comparisons of engines: every op with every option."""

from __future__ import annotations

# Every op with a kernel; also compared with torch as an ONNX model.
EVERY_OP = (
    "conv5x5(4, pad=0, stride=2, bias) bn relu dropout(0.1) dwconv3x3(bias) res(conv1x1(4) relu) dropout2d(0.1) "
    "maxpool(3) avgpool conv1x1(6) leaky conv3x1(6, groups=2) prelu conv1x3(4) swish bn(unscaled) unshuffle(2) gap "
    "poselinear(12, poses=4) bn relu linear(10)"
)
# A tied kernel at three resolutions, and a tied kernel with as many groups as channels.
ACROSS = (
    "conv3x3(4) bn leaky conv3x3(4, tie=a) bn prelu | maxpool | conv3x3(4, tie=a) bn relu "
    "res(conv3x3(4, tie=a) bn(unscaled) relu) | maxpool | conv3x3(4, tie=a, pad=2, stride=2) bn leaky dwconv3x3(tie=d) "
    "conv3x3(4, groups=4, tie=d) | gap | linear(10)"
)
# All numbers of poses, kernels tied between layers and shared between groups, and poses behind plain layers.
POSED = (
    "conv3x3(8, poses=8, bias) bn(poses=8) relu conv3x3(16, poses=8, stride=2) relu bn(unscaled, poses=4) "
    "conv1x1(8, poses=4, tie=a) prelu bn(poses=2) conv5x5(16, poses=2, pad=1, bias) conv1x1(8, poses=4, tie=a) maxpool "
    "conv3x3(16, groups=2, poses=4, bias) conv3x3(8, tie=c) leaky conv3x3(64, groups=8, poses=8) conv3x3(4, poses=4) "
    "bn relu linear(12) bn(poses=4) linear(10)"
)
# A kernel that layers use in different numbers of poses, and without poses.
POSED_AND_PLAIN = (
    "conv3x3(8) maxpool conv3x3(32, poses=4, tie=a) bn relu conv1x1(8) conv3x3(8, tie=a) bn relu "
    "conv3x3(16, poses=2, tie=a) gap linear(10)"
)
# A depthwise kernel in different numbers of poses, and poses that all read the same channel.
POSED_DEPTHWISE = (
    "conv3x3(8, poses=4) bn relu dwconv3x3(poses=4, bias, tie=a) conv1x1(16, poses=4) "
    "dwconv3x3(poses=8, stride=2, tie=a) bn relu maxpool conv1x1(2) conv3x3(8, groups=2, poses=4, tie=a) "
    "dwconv3x3(poses=2, pad=0, bias) dwconv3x3(tie=b) conv3x3(8, groups=8, tie=b) dwconv3x3(poses=8, tie=d) "
    "conv1x1(8, poses=8) bn(poses=8) dwconv3x3(poses=8, tie=d) gap linear(10)"
)
# Tied scales and shifts of BNs on maps, vectors and poses, before a pool, in a residual sum and elsewhere.
TIED_NORMS = (
    "conv3x3(8, poses=4) bn(poses=4, tie=n) relu maxpool conv3x3(8, poses=4) bn(poses=4, tie=n) relu "
    "res(conv1x1(8, poses=4) bn(poses=4, tie=n)) relu conv1x1(8) bn(poses=4, shared, tie=n) prelu conv1x1(8) "
    "bn(unscaled, tie=m) leaky conv1x1(8) bn(unscaled, tie=m) gap bn(tie=o) linear(8) bn(tie=o) relu linear(10)"
)
# BNs with shared statistics on maps and vectors, before and behind different ops.
SHARED = (
    "conv3x3(16, poses=4) bn(poses=4, shared) relu conv3x3(8, stride=2) prelu bn(unscaled, poses=2, shared) prelu "
    "maxpool conv3x3(8, poses=8) leaky bn(poses=8, shared) leaky conv3x3(4) bn relu linear(12) bn(poses=4, shared) "
    "linear(10)"
)
SIMPLY_POSED = "conv3x3(8, poses=4) bn(poses=4) relu | maxpool | conv3x3(8, poses=4, bias) relu | gap | linear(10)"
# Each op with every option, odd sizes and both orders of BN and ReLU.
NETWORKS = (
    "conv3x3(4) bn relu | maxpool | conv3x3(5) relu bn | gap | linear(10)",
    "conv3x3(3, bias) bn conv5x5(9, pad=0) relu avgpool conv1x1(6, pad=1) bn relu conv3x3(8, stride=2) relu maxpool(3) "
    "conv1x1(10, bias) gap",
    "conv3x3(4) relu conv3x3(4, tie=a) bn conv3x3(4, tie=a, pad=0) bn maxpool res(dwconv3x3(bias) bn conv1x1(4)) bn "
    "linear(10) bn",
    "linear(7) bn relu linear(10)",
    "dwconv3x3(stride=2) relu bn relu res(res(bn relu) conv3x3(1)) conv3x3(11, stride=2, pad=0) gap conv1x1(10)",
    "conv5x5(2, pad=3, stride=3) bn relu maxpool(2) conv3x3(10, pad=2) gap",
    "avgpool(3) conv1x1(16) bn relu conv3x3(17) relu gap linear(10)",
    "leaky bn leaky(0.3) conv3x3(5, stride=2) leaky(0.2) bn relu maxpool conv3x3(4) bn leaky avgpool leaky linear(10)",
    "prelu bn prelu conv3x3(5) prelu maxpool conv3x3(4, bias) bn prelu maxpool conv3x3(4) prelu bn leaky gap prelu "
    "linear(10) prelu",
    "swish bn swish conv3x3(5) swish bn leaky maxpool conv3x3(4, bias) bn swish avgpool relu bn swish gap "
    "swish linear(10) swish",
    "conv3x1(4) relu conv1x3(5, bias) bn relu maxpool conv1x3(5, pad=0, tie=a) bn relu conv1x3(5, pad=2, tie=a) leaky "
    "conv3x1(9, pad=0, stride=2) bn relu avgpool conv3x1(11, pad=2, bias) gap conv1x1(10)",
    "conv1x5(4, stride=2, bias) bn relu conv1x7(4, groups=4, tie=a) bn relu conv1x9(6, pad=2) leaky "
    "conv1x9(5, stride=2) gap linear(10)",
    "conv1x3(3, stride=3, pad=0) bn relu conv3x1(17, stride=2) bn relu res(conv3x1(17) conv1x3(17)) maxpool linear(10)",
    "conv3x3(6) bn relu conv3x3(9, groups=3, bias) bn relu maxpool conv1x1(12, groups=3, pad=1) leaky "
    "conv5x5(6, groups=6, stride=2) bn relu conv3x1(40, groups=2, bias) bn relu res(conv3x3(40, groups=4)) "
    "conv1x1(10, groups=5, bias) gap",
    "unshuffle conv3x3(5) bn relu unshuffle conv1x1(4) leaky conv3x3(3, pad=2) unshuffle(3) bn relu gap linear(10)",
    "conv3x3(5) bn(unscaled) relu maxpool(4) conv3x3(6) leaky bn(unscaled) linear(7) bn(unscaled) relu linear(10)",
    "conv1x1(12, stride=3) bn relu dwconv3x3(pad=0, stride=2) gap linear(10)",
    "conv3x3(8, poses=4) bn(poses=4, shared) relu avgpool res(conv3x3(8) bn) relu bn(unscaled) maxpool linear(10)",
    "conv3x3(4) bn relu res(conv3x3(4) bn) relu res(dwconv3x3 bn(unscaled)) relu maxpool res(bn) relu gap linear(10)",
    "conv3x3(8, poses=4) bn relu maxpool res(conv1x1(8) bn(poses=4, shared)) relu res(res(bn) relu) relu linear(10)",
    "maxpool(4) conv3x1(4) relu conv3x1(4) relu conv3x1(4, pad=0) relu conv3x1(4) relu conv1x1(4) relu conv3x1(4) "
    "res(conv3x1(4) relu conv3x1(4)) relu gap linear(10)",
    "conv3x3(16, poses=8) relu maxpool gap poselinear(12, poses=4) relu poselinear(8, poses=2) bn "
    "poselinear(10, poses=8)",
    TIED_NORMS,
    ACROSS,
)
# Layers wide enough for tiles: every padding, sides of every remainder by four, bias, groups, poses, and ties between
# layers with and without tiles.
TILED = (
    "conv3x3(8) bn relu conv3x3(12, bias) relu maxpool conv3x3(17, pad=0) bn relu conv3x3(16, pad=2) gap linear(10)",
    "conv3x3(8, poses=4) relu avgpool conv1x1(12, poses=4) conv3x3(32, poses=4, tie=t) bn(poses=4) relu avgpool "
    "res(conv1x1(12, poses=4, tie=s) conv3x3(32, poses=4, tie=t)) bn relu linear(10)",
    "conv3x3(32) relu maxpool conv3x3(32, groups=2, bias) relu conv1x1(16) res(conv3x3(16, tie=a) relu) "
    "conv3x3(16, tie=a, pad=0) relu conv3x3(16, tie=a, stride=2) relu linear(10)",
    "conv3x3(2, pad=0) relu maxpool conv3x3(16) relu conv3x3(20, pad=0) relu conv3x3(16, pad=2) relu conv1x1(8) relu "
    "conv3x3(16) relu linear(10)",
)
# 3x3 convolutions for products in bf16 (pairs.h): odd numbers of channels, strides, paddings, groups, ties, and layers
# that are too narrow.
IN_PAIRS = (
    "conv3x3(8) bn relu conv3x3(16, bias) bn relu gap linear(10)",
    "conv3x3(9) relu maxpool conv3x3(11, stride=2, bias) relu conv3x3(9, pad=0) relu conv3x3(16, pad=2) gap linear(10)",
    "conv1x1(18) relu conv3x3(22, groups=2, bias) relu maxpool conv3x3(4) relu conv3x3(16) leaky linear(10)",
    "conv3x3(12) relu res(conv3x3(12, tie=a) relu) conv3x3(12, tie=a, stride=3) relu linear(10)",
)
