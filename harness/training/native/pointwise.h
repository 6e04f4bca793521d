// Elementwise operations between two convolutions: activation, batch normalisation, activation, dropout, in this order,
// each optional (the second activation only after a normalisation). A forward pass reads memory once, a backward pass
// twice.
#pragma once
#include "instruction.h"
#include "layout.h"
#include "random.h"

namespace engine {

struct Pointwise {
  Activation before;
  bool norm;
  Activation after;
  real before_slope, after_slope;  // slopes for negative values, if the activation is leaky or learned
  int dropout;     // 0 none, 1 single values, 2 whole channels
  real rate;       // probability of zero
  int images;      // number of images of the batch
  int shared;      // number of neighbouring channels with common mean, variance, scale and shift
};

// Parameters and statistics of the BN of a map, with an entry per channel; running statistics have an entry for all
// channels that share statistics. `scale` is null if all scales are 1.
struct Norm {
  const real *scale, *shift;
  real *running_mean, *running_variance;
  real *mean, *inverse;  // statistics of this batch; `inverse` is 1 / sqrt(variance + epsilon)
};

// A draw of 32 bits serves two values of dropout, the low half for the first value. The draws are stored instead of the
// decisions: compilers convert 32-bit comparisons to reals in two instructions, but bytes to reals lane by lane.
constexpr size_t SERVED = 2;
inline size_t draws(size_t values) { return (values + SERVED - 1) / SERVED; }

// Defaults of torch.nn.BatchNorm2d.
constexpr real EPSILON = real(1e-5), MOMENTUM = real(0.1);

// Computes z from y. In training, batch statistics are used and update the running statistics, and the draws of dropout
// are written to `drawn`, draws(positions) per channel.
void pointwise(const Pointwise& p, const Norm& norm, const Map& y, const Map& z, Bits* drawn, Random& random,
               bool training);

// Accumulators of the gradients of learned parameters; null for missing parameters.
struct PointwiseGradient {
  real *scale, *shift;  // an entry per channel; channels that share statistics use the first entry
  real *before_slope, *after_slope;  // a single entry
};

// Computes dy from dz, which is overwritten and may be the same map; adds the gradients of learned parameters.
void pointwise_back(const Pointwise& p, const Norm& norm, const Map& y, const Map& dz, const Map& dy,
                    const Bits* drawn, const PointwiseGradient& gradient);

// Same as `pointwise`, followed by pooling over 2x2 windows; the map before the pool is never stored. `z` and `dz` are
// the output of the pool and the gradient; y has even sides. Requires BN; ReLU is the only allowed activation.
void pooled_pointwise(const Pointwise& p, bool largest, const Norm& norm, const Map& y, const Map& z, Bits* drawn,
                      Random& random, bool training);

// The convolution that computes y: 3x3 over images with a single channel, without bias; y has no further readers.
struct Stem {
  const Map& images;
  int padding;
  real* gradient;  // gradient of the kernel
};

// With a stem, dy is not written; the gradient is added to the kernel gradient of the stem.
void pooled_pointwise_back(const Pointwise& p, bool largest, const Norm& norm, const Map& y, const Map& dz,
                           const Map& dy, const Stem* stem, const Bits* drawn, const PointwiseGradient& gradient);

// Same as `pointwise`, followed by a residual sum and a ReLU: r = relu(BN(y) + summand). In the backward pass, `dy`
// contains the gradient of r before and the gradient of y after the call; `d_summand` is written. Requires BN and no
// activation or dropout before the sum.
void summed_pointwise(const Pointwise& p, const Norm& norm, const Map& y, const Map& summand, const Map& r,
                      bool training);
void summed_pointwise_back(const Pointwise& p, const Norm& norm, const Map& y, const Map& r, const Map& dy,
                           const Map& d_summand, const PointwiseGradient& gradient);

}  // namespace engine
