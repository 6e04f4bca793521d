#include "convolution.h"

#include <algorithm>

#include "pairs.h"

namespace engine {
namespace {

// Bytes of dy that a pass of the kernel gradient keeps in the first-level cache.
constexpr size_t CACHED = 24 * 1024;

// What a convolution is computed with: one value a lane. `Pairs` of pairs.h computes with two.
struct Single {
  using Weight = real;
  static INLINE V splat(Weight weight) { return engine::splat(weight); }
  static INLINE V add(V total, V values, V weight) { return total + values * weight; }
};

// One register block: OUT output channels by WIDE neighbouring columns, summed over all input channels and taps.
// Weights are packed [in][row][column][out], so that the OUT weights of a tap lie side by side.
template <class A, int OUT, int WIDE, int ROWS, int COLUMNS, int STRIDE>
INLINE void block(const V* __restrict x, const typename A::Weight* __restrict w, V* __restrict y, const Map& from, const Map& to,
                  const real* bias) {
  V total[OUT][WIDE];
#pragma GCC unroll 8
  for (int o = 0; o < OUT; o++)
#pragma GCC unroll 8
    for (int p = 0; p < WIDE; p++) total[o][p] = bias ? splat(bias[o]) : V{};
  for (int c = 0; c < from.channels; c++)
    for (int ky = 0; ky < ROWS; ky++) {
      const V* line = x + c * from.plane + ky * from.row;
#pragma GCC unroll 5
      for (int kx = 0; kx < COLUMNS; kx++) {
        const typename A::Weight* weights = w + ptrdiff_t((c * ROWS + ky) * COLUMNS + kx) * to.channels;
        V values[WIDE];
#pragma GCC unroll 8
        for (int p = 0; p < WIDE; p++) values[p] = line[kx + p * STRIDE];
        // Output by output: one weight at a time stands in a register beside the sums, and nothing spills.
#pragma GCC unroll 8
        for (int o = 0; o < OUT; o++) {
          const V weight = A::splat(weights[o]);
#pragma GCC unroll 8
          for (int p = 0; p < WIDE; p++) total[o][p] = A::add(total[o][p], values[p], weight);
        }
      }
    }
#pragma GCC unroll 8
  for (int o = 0; o < OUT; o++)
#pragma GCC unroll 8
    for (int p = 0; p < WIDE; p++) y[o * to.plane + p] = total[o][p];
}

// One row of OUT output channels, beginning with channel `first`; `from` is where its first window begins.
template <class A, int OUT, int ROWS, int COLUMNS, int STRIDE>
INLINE void row(const V* from, const typename A::Weight* w, const real* bias, V* to, const Map& x, const Map& y) {
  constexpr int WIDE = std::min(4, ACCUMULATORS / OUT);
  int column = 0;
  for (; column + WIDE <= y.width; column += WIDE)
    block<A, OUT, WIDE, ROWS, COLUMNS, STRIDE>(from + column * STRIDE, w, to + column, x, y, bias);
  if (WIDE > 2 && column + 2 <= y.width) {
    block<A, OUT, 2, ROWS, COLUMNS, STRIDE>(from + column * STRIDE, w, to + column, x, y, bias);
    column += 2;
  }
  for (; column < y.width; column++)
    block<A, OUT, 1, ROWS, COLUMNS, STRIDE>(from + column * STRIDE, w, to + column, x, y, bias);
}

// Where the windows lie: `stride` apart, the first one that many rows and columns outside the map.
struct Walk {
  int stride, above, left;
};

// Row `h` of group `n` of OUT output channels.
template <class A, int OUT, int ROWS, int COLUMNS>
INLINE void line(const Map& x, const typename A::Weight* w, const real* bias, const Map& y, const Walk& walk, int first, int n,
                 int h) {
  bias = bias ? bias + first : nullptr;
  w += first;
  const V* from = x.line(n, 0, h * walk.stride - walk.above) - walk.left;
  V* to = y.line(n, first, h);
  switch (walk.stride) {
    case 1: row<A, OUT, ROWS, COLUMNS, 1>(from, w, bias, to, x, y); break;
    case 2: row<A, OUT, ROWS, COLUMNS, 2>(from, w, bias, to, x, y); break;
    default:
      for (int column = 0; column < y.width; column++)
        block<A, OUT, 1, ROWS, COLUMNS, 1>(from + column * walk.stride, w, to + column, x, y, bias);
  }
}

// All output channels of a row before the next row: they read the same rows of x, which are in the cache by then.
template <class A, int ROWS, int COLUMNS>
void packed_convolution(const Map& x, const typename A::Weight* w, const real* bias, const Map& y, const Walk& walk) {
  // Blocks of nearly equal size: ten channels are five and five, not eight and two.
  const int blocks = (y.channels + BLOCK - 1) / BLOCK;
  for (int n = 0; n < y.groups; n++)
    for (int h = 0; h < y.height; h++)
      for (int b = 0, first = 0; b < blocks; b++) {
        const int count = (y.channels - first + (blocks - b) - 1) / (blocks - b);
        switch (count) {
          case 1: line<A, 1, ROWS, COLUMNS>(x, w, bias, y, walk, first, n, h); break;
          case 2: line<A, 2, ROWS, COLUMNS>(x, w, bias, y, walk, first, n, h); break;
          case 3: line<A, 3, ROWS, COLUMNS>(x, w, bias, y, walk, first, n, h); break;
          case 4: line<A, 4, ROWS, COLUMNS>(x, w, bias, y, walk, first, n, h); break;
#if VECTOR_BYTES == 64
          case 5: line<A, 5, ROWS, COLUMNS>(x, w, bias, y, walk, first, n, h); break;
          case 6: line<A, 6, ROWS, COLUMNS>(x, w, bias, y, walk, first, n, h); break;
          case 7: line<A, 7, ROWS, COLUMNS>(x, w, bias, y, walk, first, n, h); break;
          case 8: line<A, 8, ROWS, COLUMNS>(x, w, bias, y, walk, first, n, h); break;
#endif
        }
        first += count;
      }
}

// A kernel's shape as one number, for a switch.
constexpr int shape(int rows, int columns) { return 10 * rows + columns; }

void dispatch(const Convolution& c, const Map& x, const real* w, const real* bias, const Map& y, const Walk& walk) {
  switch (shape(c.rows, c.columns)) {
    case shape(1, 1): packed_convolution<Single, 1, 1>(x, w, bias, y, walk); break;
    case shape(3, 3): packed_convolution<Single, 3, 3>(x, w, bias, y, walk); break;
    case shape(5, 5): packed_convolution<Single, 5, 5>(x, w, bias, y, walk); break;
    case shape(3, 1): packed_convolution<Single, 3, 1>(x, w, bias, y, walk); break;
    case shape(1, 3): packed_convolution<Single, 1, 3>(x, w, bias, y, walk); break;
  }
}

// Adds to `sums`, K for each of OUT output channels, the products of one line of x with one of dy for each tap.
template <class A, int OUT, int K>
INLINE void line_products(const V* x, const V* dy, ptrdiff_t plane, int width, int stride, V (&total)[OUT][K]) {
  if (stride == 1) {
    // The window slides: each value of x is loaded once and moves through the taps.
    V window[K];
#pragma GCC unroll 5
    for (int k = 0; k + 1 < K; k++) window[k] = x[k];
    for (int w = 0; w < width; w++) {
      window[K - 1] = x[w + K - 1];
#pragma GCC unroll 8
      for (int o = 0; o < OUT; o++) {
        const V d = dy[o * plane + w];
#pragma GCC unroll 5
        for (int k = 0; k < K; k++) total[o][k] = A::add(total[o][k], window[k], d);
      }
#pragma GCC unroll 5
      for (int k = 0; k + 1 < K; k++) window[k] = window[k + 1];
    }
    return;
  }
  for (int w = 0; w < width; w++)
#pragma GCC unroll 8
    for (int o = 0; o < OUT; o++) {
      const V d = dy[o * plane + w];
#pragma GCC unroll 5
      for (int k = 0; k < K; k++) total[o][k] = A::add(total[o][k], x[w * stride + k], d);
    }
}

// Asks for a row before it is needed: a channel's rows come too far apart in time for the processor to foresee the next.
// Beyond the last row of a map it asks for what nobody needs, which does no harm.
INLINE void fetch(const Map& x, int n, int channel, int row) {
  const V* line = x.line(n, channel, row);
  for (int w = 0; w < x.width; w++) __builtin_prefetch(line + w, 0, 2);
}

// The products of OUT output channels, beginning with `first`, over the groups of one part. A few rows of their dy stay
// in the cache while all input channels and kernel rows pass; the sums wait in `sums`, [in][ky][OUT][K].
template <class A, int OUT, int ROWS, int K>
void part_products(const Convolution& c, const Map& x, const Map& dy, int first, int part, V* sums) {
  const int rows = std::max<int>(1, int(CACHED / (sizeof(V) * OUT * dy.width)));
  std::fill(sums, sums + size_t(c.in) * ROWS * OUT * K, V{});
  for (int n = part; n < dy.groups; n += PARTS)
    for (int top = 0; top < dy.height; top += rows)
      for (int in = 0; in < c.in; in++)
        for (int ky = 0; ky < ROWS; ky++) {
          V* kept = sums + size_t(in * ROWS + ky) * OUT * K;
          V total[OUT][K];
#pragma GCC unroll 8
          for (int o = 0; o < OUT; o++)
#pragma GCC unroll 5
            for (int k = 0; k < K; k++) total[o][k] = kept[o * K + k];
          if (ky == 0) fetch(x, n, in, (top + rows) * c.stride + ROWS - 1 - c.row_padding);
          for (int h = top; h < std::min(top + rows, dy.height); h++)
            line_products<A, OUT, K>(x.line(n, in, h * c.stride + ky - c.row_padding) - c.column_padding,
                                     dy.line(n, first, h), dy.plane, dy.width, c.stride, total);
#pragma GCC unroll 8
          for (int o = 0; o < OUT; o++)
#pragma GCC unroll 5
            for (int k = 0; k < K; k++) kept[o * K + k] = total[o][k];
        }
}

// Adds the gradients of OUT output channels, beginning with `first`.
template <class A, int OUT, int ROWS, int K>
void block_gradient(const Convolution& c, const Map& x, const Map& dy, int first, real* gradient, V* sums) {
  const size_t room = size_t(c.in) * ROWS * OUT * K;
  for (int part = 0; part < PARTS; part++) part_products<A, OUT, ROWS, K>(c, x, dy, first, part, sums + part * room);
  for (int in = 0; in < c.in; in++)
    for (int ky = 0; ky < ROWS; ky++)
      for (int o = 0; o < OUT; o++)
        for (int k = 0; k < K; k++) {
          real total = 0;
          for (int part = 0; part < PARTS; part++)
            total = sum(sums[part * room + (size_t(in * ROWS + ky) * OUT + o) * K + k], LANES, total);
          gradient[((ptrdiff_t(first + o) * c.in + in) * ROWS + ky) * K + k] += total;
        }
}

template <class A, int ROWS, int K>
void kernel_gradients(const Convolution& c, const Map& x, const Map& dy, real* gradient, V* sums) {
  constexpr int MOST = std::min(BLOCK, ACCUMULATORS / K);
  const int blocks = (c.out + MOST - 1) / MOST;
  for (int b = 0, first = 0; b < blocks; b++) {
    const int count = (c.out - first + (blocks - b) - 1) / (blocks - b);
    switch (count) {
      case 1: block_gradient<A, 1, ROWS, K>(c, x, dy, first, gradient, sums); break;
      case 2: block_gradient<A, 2, ROWS, K>(c, x, dy, first, gradient, sums); break;
      case 3: block_gradient<A, 3, ROWS, K>(c, x, dy, first, gradient, sums); break;
      case 4: block_gradient<A, 4, ROWS, K>(c, x, dy, first, gradient, sums); break;
#if VECTOR_BYTES == 64
      case 5: block_gradient<A, 5, ROWS, K>(c, x, dy, first, gradient, sums); break;
      case 6: block_gradient<A, 6, ROWS, K>(c, x, dy, first, gradient, sums); break;
      case 7: block_gradient<A, 7, ROWS, K>(c, x, dy, first, gradient, sums); break;
      case 8: block_gradient<A, 8, ROWS, K>(c, x, dy, first, gradient, sums); break;
#endif
    }
    first += count;
  }
}

}  // namespace

void convolve(const Convolution& c, const Map& x, const real* kernel, const real* bias, const Map& y, real* packed) {
  const int taps = c.rows * c.columns;
  for (int o = 0; o < c.out; o++)
    for (int k = 0; k < c.in * taps; k++) packed[k * c.out + o] = kernel[o * c.in * taps + k];
  dispatch(c, x, packed, bias, y, {c.stride, c.row_padding, c.column_padding});
}

void convolve_back(const Convolution& c, const Map& dy, const real* kernel, const Map& dx, real* packed) {
  // The gradient of a convolution is a convolution with the kernel turned half round, inputs and outputs exchanged.
  const int taps = c.rows * c.columns;
  for (int o = 0; o < c.out; o++)
    for (int i = 0; i < c.in; i++)
      for (int k = 0; k < taps; k++)
        packed[(o * taps + taps - 1 - k) * c.in + i] = kernel[(o * c.in + i) * taps + k];
  dispatch(c, dy, packed, nullptr, dx, {1, c.rows - 1 - c.row_padding, c.columns - 1 - c.column_padding});
}

void bias_gradient(const Map& dy, real* bias) {
  for (int o = 0; o < dy.channels; o++) {
    V totals[PARTS];
    for (int part = 0; part < PARTS; part++) {
      V total{};
      for (int n = part; n < dy.groups; n += PARTS)
        for (int h = 0; h < dy.height; h++)
          for (int w = 0; w < dy.width; w++) total += dy.line(n, o, h)[w];
      totals[part] = total;
    }
    bias[o] += sum(totals);
  }
}

size_t gradient_room(const Convolution& c) { return size_t(c.in) * c.rows * c.columns * BLOCK * PARTS; }

void kernel_gradient(const Convolution& c, const Map& x, const Map& dy, real* kernel, real* bias, V* sums) {
  switch (shape(c.rows, c.columns)) {
    case shape(1, 1): kernel_gradients<Single, 1, 1>(c, x, dy, kernel, sums); break;
    case shape(3, 3): kernel_gradients<Single, 3, 3>(c, x, dy, kernel, sums); break;
    case shape(5, 5): kernel_gradients<Single, 5, 5>(c, x, dy, kernel, sums); break;
    case shape(3, 1): kernel_gradients<Single, 3, 1>(c, x, dy, kernel, sums); break;
    case shape(1, 3): kernel_gradients<Single, 1, 3>(c, x, dy, kernel, sums); break;
  }
  if (bias) bias_gradient(dy, bias);
}

#if defined(__AVX512BF16__)
// Narrower ones have too few products for each value that is rounded and paired.
bool pays_in_pairs(const Convolution& c) { return PAIRS && c.rows == 3 && c.columns == 3 && c.in >= 8 && c.out >= 8; }

void convolve_in_pairs(const Convolution& c, const Map& x, const real* kernel, const real* bias, const Map& y,
                       uint32_t* packed, V* room) {
  const int taps = c.rows * c.columns, width = c.in * taps;
  for (int o = 0; o < c.out; o++)
    for (int i = 0; i < c.in; i += 2)
      for (int k = 0; k < taps; k++) {
        const real* first = kernel + o * width + i * taps + k;
        packed[(i / 2 * taps + k) * c.out + o] = pair(float(first[0]), i + 1 < c.in ? float(first[taps]) : 0);
      }
  packed_convolution<Pairs, 3, 3>(pair_channels(x, room), packed, bias, y,
                                  {c.stride, c.row_padding, c.column_padding});
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
  packed_convolution<Pairs, 3, 3>(pair_channels(dy, room), packed, nullptr, dx,
                                  {1, c.rows - 1 - c.row_padding, c.columns - 1 - c.column_padding});
}

void kernel_gradient_in_pairs(const Convolution& c, const Map& x, const Map& dy, real* kernel, real* bias, V* sums,
                              V* room) {
  kernel_gradients<Pairs, 3, 3>(c, pair_groups(x, room), pair_groups(dy, room + pairs_room(x)), kernel, sums);
  if (bias) bias_gradient(dy, bias);
}
#else
bool pays_in_pairs(const Convolution&) { return false; }
void convolve_in_pairs(const Convolution&, const Map&, const real*, const real*, const Map&, uint32_t*, V*) {}
void convolve_back_in_pairs(const Convolution&, const Map&, const real*, const Map&, uint32_t*, V*) {}
void kernel_gradient_in_pairs(const Convolution&, const Map&, const Map&, real*, real*, V*, V*) {}
#endif

}  // namespace engine
