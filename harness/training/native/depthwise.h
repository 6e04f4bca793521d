// Depthwise 3x3 convolutions; kernels are stored [channel][row][column].
#pragma once
#include "layout.h"

namespace engine {

struct Depthwise {
  int stride, padding;
};

void convolve_depthwise(const Depthwise& c, const Map& x, const real* kernel, const real* bias, const Map& y);

// Computes dx from dy; `dy` as in convolve_back.
void convolve_depthwise_back(const Depthwise& c, const Map& dy, const real* kernel, const Map& dx);

// Adds the gradients of kernel and bias. `dy` is dense.
void depthwise_gradient(const Depthwise& c, const Map& x, const Map& dy, real* kernel, real* bias);

}  // namespace engine
