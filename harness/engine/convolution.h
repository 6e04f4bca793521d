// Convolutions over all channels, of 1x1, 3x3 and 5x5, any padding and stride.
#pragma once
#include "layout.h"

namespace engine {

// The geometry of one convolution. Kernels are stored as torch stores them: [out][in][row][column].
struct Convolution {
  int size, stride, padding, in, out;
};

// y = x convolved with the kernel, plus the bias where there is one. `packed` is room for a kernel.
void convolve(const Convolution& c, const Map& x, const real* kernel, const real* bias, const Map& y, real* packed);

// dx from dy. `dy` has a margin of size - 1 - padding zeros, and its positions are `stride` apart with zeros between.
void convolve_back(const Convolution& c, const Map& dy, const real* kernel, const Map& dx, real* packed);

// Adds the gradients of kernel and bias. `dy` is dense; `sums` is room for gradient_room(c) vectors.
void kernel_gradient(const Convolution& c, const Map& x, const Map& dy, real* kernel, real* bias, V* sums);
size_t gradient_room(const Convolution& c);

}  // namespace engine
