// Convolutions over all channels, of 1x1, 3x3, 5x5, 3x1, and 1x3 to 1x9 (rows x columns), any padding and stride.
#pragma once
#include "layout.h"

namespace engine {

// Geometry of a convolution, or of a group of a grouped convolution. Kernels are stored as in torch:
// [out][in][row][column].
struct Convolution {
  int rows, columns, stride, row_padding, column_padding, in, out;
};

inline size_t kernel_size(const Convolution& c) { return size_t(c.in) * c.out * c.rows * c.columns; }

// y = x convolved with the kernel, plus the bias unless null. `packed` is a buffer for a kernel.
void convolve(const Convolution& c, const Map& x, const real* kernel, const real* bias, const Map& y, real* packed);

// Computes dx from dy. `dy` has a margin of rows - 1 - row_padding and columns - 1 - column_padding zeros; the
// positions are `stride` apart with zeros between.
void convolve_back(const Convolution& c, const Map& dy, const real* kernel, const Map& dx, real* packed);

// Adds the gradients of kernel and bias. `dy` is dense; `sums` is a buffer of gradient_room(c) vectors.
void kernel_gradient(const Convolution& c, const Map& x, const Map& dy, real* kernel, real* bias, V* sums);
size_t gradient_room(const Convolution& c);
void bias_gradient(const Map& dy, real* bias);

// The same three functions in bf16, two products at once (pairs.h): factors are rounded, sums are not. `room` is a
// buffer for maps in pairs: pairs_room of the input map; for the kernel gradient, of both maps.
bool pays_in_pairs(const Convolution& c);
void convolve_in_pairs(const Convolution& c, const Map& x, const real* kernel, const real* bias, const Map& y,
                       uint32_t* packed, V* room);
void convolve_back_in_pairs(const Convolution& c, const Map& dy, const real* kernel, const Map& dx, uint32_t* packed,
                            V* room);
void kernel_gradient_in_pairs(const Convolution& c, const Map& x, const Map& dy, real* kernel, real* bias, V* sums,
                              V* room);

}  // namespace engine
