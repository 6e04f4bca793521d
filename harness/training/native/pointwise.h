// What happens to each value by itself between two convolutions: activation, batch normalisation, activation, dropout,
// in this order, each optional (the second activation only after a normalisation), in one pass over memory forward and
// two backward.
#pragma once
#include "instruction.h"
#include "layout.h"
#include "random.h"

namespace engine {

struct Pointwise {
  Activation before;
  bool norm;
  Activation after;
  real before_slope, after_slope;  // of what is negative, where a activation is leaky or learns it
  int dropout;     // 0 none, 1 single values, 2 whole channels
  real rate;       // probability of zero
  int images;      // of the batch
  int shared;      // so many neighbouring channels have one mean and variance, and then one scale and shift too
};

// Batch statistics of one map and what follows from them; one entry a channel, of the running ones one for all that
// share it. `scale` is null where it is 1.
struct Norm {
  const real *scale, *shift;
  real *running_mean, *running_variance;
  real *mean, *inverse;  // of this batch; `inverse` is 1 / sqrt(variance + epsilon)
};

// A draw of 32 bits serves two values of dropout, its low half the first. What was drawn is kept, not what it says of a
// value: compilers turn comparisons of 32 bits into reals in two instructions, and bytes into reals lane by lane.
constexpr size_t SERVED = 2;
inline size_t draws(size_t values) { return (values + SERVED - 1) / SERVED; }

// torch's defaults (torch.nn.BatchNorm2d).
constexpr real EPSILON = real(1e-5), MOMENTUM = real(0.1);

// z from y. In training the statistics are the batch's and move the running ones, and dropout leaves in
// `drawn` what it drew, draws(positions) a channel.
void pointwise(const Pointwise& p, const Norm& norm, const Map& y, const Map& z, Bits* drawn, Random& random,
               bool training);

// Where the gradients of what is learned are added to; null where there is nothing.
struct PointwiseGradient {
  real *scale, *shift;  // one entry a channel; of channels that share statistics the first one's stands for all
  real *before_slope, *after_slope;  // one entry
};

// dy from dz, which is overwritten and may be the same map; adds the gradients of what is learned.
void pointwise_back(const Pointwise& p, const Norm& norm, const Map& y, const Map& dz, const Map& dy,
                    const Bits* drawn, const PointwiseGradient& gradient);

// The same with a pool over windows of two by two behind it: what lies between is never in memory. `z` and `dz` are the
// map behind the pool and its gradient; y has even sides. With BN, and with no rectifier but ReLU.
void pooled_pointwise(const Pointwise& p, bool largest, const Norm& norm, const Map& y, const Map& z, Bits* drawn,
                      Random& random, bool training);

// The convolution that makes y, where it is 3x3 over images of one channel, has no bias, and nobody else reads y.
struct Stem {
  const Map& images;
  int padding;
  real* gradient;  // of its kernel
};

// With a stem, dy is not written, and the gradient of the stem's kernel is added to.
void pooled_pointwise_back(const Pointwise& p, bool largest, const Norm& norm, const Map& y, const Map& dz,
                           const Map& dy, const Stem* stem, const Bits* drawn, const PointwiseGradient& gradient);

// The same with a residual sum and a ReLU behind it: r = relu(BN(y) + other). Back, `dy` holds the gradient of r before
// and that of y after, and `d_other` is written. With BN, and with nothing else before the sum.
void summed_pointwise(const Pointwise& p, const Norm& norm, const Map& y, const Map& other, const Map& r,
                      bool training);
void summed_pointwise_back(const Pointwise& p, const Norm& norm, const Map& y, const Map& r, const Map& dy,
                           const Map& d_other, const PointwiseGradient& gradient);

}  // namespace engine
