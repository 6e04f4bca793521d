#include "direct.h"
#include "pairs.h"

namespace engine {

#if PAIRS
namespace {

void dispatch(const Map& x, const uint32_t* w, const real* bias, const Map& y, const Walk& walk) {
  if (walk.stride == 1) return packed_convolution<Pairs, Fixed<3, 3>>(x, w, bias, y, walk);
  packed_convolution<Pairs, Any>(x, w, bias, y, walk);
}

}  // namespace

// Convolutions with fewer channels have too few products for each value that is rounded and paired.
bool pays_in_pairs(const Convolution& c) { return c.rows == 3 && c.columns == 3 && c.in >= 8 && c.out >= 8; }

void convolve_in_pairs(const Convolution& c, const Map& x, const real* kernel, const real* bias, const Map& y,
                       uint32_t* packed, V* room) {
  const int taps = c.rows * c.columns, width = c.in * taps;
  for (int o = 0; o < c.out; o++)
    for (int i = 0; i < c.in; i += 2)
      for (int k = 0; k < taps; k++) {
        const real* first = kernel + o * width + i * taps + k;
        packed[(i / 2 * taps + k) * c.out + o] = pair(float(first[0]), i + 1 < c.in ? float(first[taps]) : 0);
      }
  dispatch(pair_channels(x, room), packed, bias, y,
           {c.rows, c.columns, c.stride, c.row_padding, c.column_padding});
}

void convolve_back_in_pairs(const Convolution& c, const Map& dy, const real* kernel, const Map& dx, uint32_t* packed,
                            V* room) {
  const int taps = c.rows * c.columns, width = c.in * taps;
  for (int o = 0; o < c.out; o += 2)
    for (int i = 0; i < c.in; i++)
      for (int k = 0; k < taps; k++) {
        const real* first = kernel + o * width + i * taps + k;
        packed[(o / 2 * taps + taps - 1 - k) * c.in + i] =
            pair(float(first[0]), o + 1 < c.out ? float(first[width]) : 0);
      }
  dispatch(pair_channels(dy, room), packed, nullptr, dx,
           {c.rows, c.columns, 1, c.rows - 1 - c.row_padding, c.columns - 1 - c.column_padding});
}

void kernel_gradient_in_pairs(const Convolution& c, const Map& x, const Map& dy, real* kernel, real* bias, V* sums,
                              V* room) {
  kernel_gradients<Pairs, 3>(c, pair_groups(x, room), pair_groups(dy, room + pairs_room(x)), kernel, sums);
  if (bias) bias_gradient(dy, bias);
}
#else
bool pays_in_pairs(const Convolution&) { return false; }
void convolve_in_pairs(const Convolution&, const Map&, const real*, const real*, const Map&, uint32_t*, V*) {}
void convolve_back_in_pairs(const Convolution&, const Map&, const real*, const Map&, uint32_t*, V*) {}
void kernel_gradient_in_pairs(const Convolution&, const Map&, const Map&, real*, real*, V*, V*) {}
#endif

}  // namespace engine
