#include "direct.h"

namespace engine {
namespace {

void dispatch(const Map& x, const real* w, const real* bias, const Map& y, const Walk& walk) {
  if (walk.stride != 1) return packed_convolution<Single, Any>(x, w, bias, y, walk);
  switch (10 * walk.rows + walk.columns) {
    case 11: return packed_convolution<Single, Fixed<1, 1>>(x, w, bias, y, walk);
    case 33: return packed_convolution<Single, Fixed<3, 3>>(x, w, bias, y, walk);
    case 55: return packed_convolution<Single, Fixed<5, 5>>(x, w, bias, y, walk);
    case 31: return packed_convolution<Single, Fixed<3, 1>>(x, w, bias, y, walk);
    case 13: return packed_convolution<Single, Fixed<1, 3>>(x, w, bias, y, walk);
    default: return packed_convolution<Single, Any>(x, w, bias, y, walk);
  }
}

}  // namespace

void convolve(const Convolution& c, const Map& x, const real* kernel, const real* bias, const Map& y, real* packed) {
  const int taps = c.rows * c.columns;
  for (int o = 0; o < c.out; o++)
    for (int k = 0; k < c.in * taps; k++) packed[k * c.out + o] = kernel[o * c.in * taps + k];
  dispatch(x, packed, bias, y, {c.rows, c.columns, c.stride, c.row_padding, c.column_padding});
}

void convolve_back(const Convolution& c, const Map& dy, const real* kernel, const Map& dx, real* packed) {
  // The gradient of a convolution is a convolution with the kernel rotated by 180 degrees and inputs and outputs
  // exchanged.
  const int taps = c.rows * c.columns;
  for (int o = 0; o < c.out; o++)
    for (int i = 0; i < c.in; i++)
      for (int k = 0; k < taps; k++)
        packed[(o * taps + taps - 1 - k) * c.in + i] = kernel[(o * c.in + i) * taps + k];
  dispatch(dy, packed, nullptr, dx,
           {c.rows, c.columns, 1, c.rows - 1 - c.row_padding, c.columns - 1 - c.column_padding});
}

}  // namespace engine
