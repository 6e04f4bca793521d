// Convolutions and kernel gradients as direct sums; a lane multiplies a value or a pair of bf16 values.
#pragma once
#include <algorithm>
#include <type_traits>

#include "convolution.h"

namespace engine {

// Arithmetic of a convolution with a single value per lane. `Pairs` in pairs.h has two values per lane.
struct Single {
  using Weight = real;
  static INLINE V splat(Weight weight) { return engine::splat(weight); }
  static INLINE V add(V total, V values, V weight) { return total + values * weight; }
};

// Positions of the windows of a kernel: `stride` apart; the first window begins `above` rows and `left` columns outside
// the map.
struct Walk {
  int rows, columns, stride, above, left;
};

// Kernel sizes of most layers as compile-time constants: the loop over the taps of a row is unrolled.
template <int ROWS, int COLUMNS>
struct Fixed {
  static constexpr int rows = ROWS, columns = COLUMNS, stride = 1;
  explicit Fixed(const Walk&) {}
};

// All remaining shapes: equally fast blocks, without separate code for each shape.
struct Any {
  int rows, columns, stride;
  explicit Any(const Walk& walk) : rows(walk.rows), columns(walk.columns), stride(walk.stride) {}
};

// Adds a tap to a register block.
template <class A, int OUT, int WIDE>
INLINE void tap(const V* x, int stride, const typename A::Weight* weights, V (&total)[OUT][WIDE]) {
  V values[WIDE];
#pragma GCC unroll 8
  for (int p = 0; p < WIDE; p++) values[p] = x[p * stride];
  // The outer loop is over outputs: a single weight is in a register beside the sums, so no register spills.
#pragma GCC unroll 8
  for (int o = 0; o < OUT; o++) {
    const V weight = A::splat(weights[o]);
#pragma GCC unroll 8
    for (int p = 0; p < WIDE; p++) total[o][p] = A::add(total[o][p], values[p], weight);
  }
}

// A register block: OUT output channels by WIDE neighbouring columns, summed over all input channels and taps.
// Weights are packed [in][row][column][out], so that the OUT weights of a tap are adjacent.
template <class A, int OUT, int WIDE, class Taps>
INLINE void block(const V* __restrict x, const typename A::Weight* __restrict w, V* __restrict y, const Map& from,
                  const Map& to, const real* bias, const Taps& taps) {
  V total[OUT][WIDE];
#pragma GCC unroll 8
  for (int o = 0; o < OUT; o++)
#pragma GCC unroll 8
    for (int p = 0; p < WIDE; p++) total[o][p] = bias ? splat(bias[o]) : V{};
  for (int c = 0; c < from.channels; c++)
    for (int ky = 0; ky < taps.rows; ky++) {
      const V* line = x + c * from.plane + ky * from.row;
      const typename A::Weight* weights = w + ptrdiff_t(c * taps.rows + ky) * taps.columns * to.channels;
      if constexpr (std::is_same_v<Taps, Any>) {
        for (int kx = 0; kx < taps.columns; kx++)
          tap<A, OUT, WIDE>(line + kx, taps.stride, weights + ptrdiff_t(kx) * to.channels, total);
      } else {
#pragma GCC unroll 5
        for (int kx = 0; kx < taps.columns; kx++)
          tap<A, OUT, WIDE>(line + kx, taps.stride, weights + ptrdiff_t(kx) * to.channels, total);
      }
    }
#pragma GCC unroll 8
  for (int o = 0; o < OUT; o++)
#pragma GCC unroll 8
    for (int p = 0; p < WIDE; p++) y[o * to.plane + p] = total[o][p];
}

// Computes row `h` of group `n` of OUT output channels from channel `first`.
template <class A, int OUT, class Taps>
INLINE void line(const Map& x, const typename A::Weight* w, const real* bias, const Map& y, const Walk& walk, int first,
                 int n, int h) {
  constexpr int WIDE = std::min(4, ACCUMULATORS / OUT);
  const Taps taps(walk);
  bias = bias ? bias + first : nullptr;
  w += first;
  const V* from = x.line(n, 0, h * taps.stride - walk.above) - walk.left;
  V* to = y.line(n, first, h);
  int column = 0;
  for (; column + WIDE <= y.width; column += WIDE)
    block<A, OUT, WIDE>(from + column * taps.stride, w, to + column, x, y, bias, taps);
  if (WIDE > 2 && column + 2 <= y.width) {
    block<A, OUT, 2>(from + column * taps.stride, w, to + column, x, y, bias, taps);
    column += 2;
  }
  for (; column < y.width; column++)
    block<A, OUT, 1>(from + column * taps.stride, w, to + column, x, y, bias, taps);
}

// Computes all output channels of a row before the next row: the channels read the same rows of x, which stay cached.
template <class A, class Taps>
void packed_convolution(const Map& x, const typename A::Weight* w, const real* bias, const Map& y, const Walk& walk) {
  // Blocks of nearly equal size: ten channels are five and five, not eight and two.
  const int blocks = (y.channels + BLOCK - 1) / BLOCK;
  for (int n = 0; n < y.groups; n++)
    for (int h = 0; h < y.height; h++)
      for (int b = 0, first = 0; b < blocks; b++) {
        const int count = (y.channels - first + (blocks - b) - 1) / (blocks - b);
        switch (count) {
          case 1: line<A, 1, Taps>(x, w, bias, y, walk, first, n, h); break;
          case 2: line<A, 2, Taps>(x, w, bias, y, walk, first, n, h); break;
          case 3: line<A, 3, Taps>(x, w, bias, y, walk, first, n, h); break;
          case 4: line<A, 4, Taps>(x, w, bias, y, walk, first, n, h); break;
#if VECTOR_BYTES == 64
          case 5: line<A, 5, Taps>(x, w, bias, y, walk, first, n, h); break;
          case 6: line<A, 6, Taps>(x, w, bias, y, walk, first, n, h); break;
          case 7: line<A, 7, Taps>(x, w, bias, y, walk, first, n, h); break;
          case 8: line<A, 8, Taps>(x, w, bias, y, walk, first, n, h); break;
#endif
        }
        first += count;
      }
}

// Bytes of dy that a pass of the kernel gradient keeps in the first-level cache.
constexpr size_t CACHED = 24 * 1024;

// Adds the products of a line of x and a line of dy to `total`, for each of OUT output channels and K taps.
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

// Prefetches a row: the rows of a channel are read too far apart in time for the prefetcher of the processor. Beyond
// the last row of a map the prefetch is useless, but harmless.
INLINE void fetch(const Map& x, int n, int channel, int row) {
  const V* line = x.line(n, channel, row);
  for (int w = 0; w < x.width; w++) __builtin_prefetch(line + w, 0, 2);
}

// Computes the products of OUT output channels from `first` over the groups of a part. A few rows of dy stay in the
// cache during the loop over all input channels and kernel rows; `sums` has the intermediate sums, [in][ky][OUT][K].
template <class A, int OUT, int K>
void part_products(const Convolution& c, const Map& x, const Map& dy, int first, int part, V* sums) {
  const int rows = std::max<int>(1, int(CACHED / (sizeof(V) * OUT * dy.width)));
  std::fill(sums, sums + size_t(c.in) * c.rows * OUT * K, V{});
  for (int n = part; n < dy.groups; n += PARTS)
    for (int top = 0; top < dy.height; top += rows)
      for (int in = 0; in < c.in; in++)
        for (int ky = 0; ky < c.rows; ky++) {
          V* kept = sums + size_t(in * c.rows + ky) * OUT * K;
          V total[OUT][K];
#pragma GCC unroll 8
          for (int o = 0; o < OUT; o++)
#pragma GCC unroll 5
            for (int k = 0; k < K; k++) total[o][k] = kept[o * K + k];
          if (ky == 0) fetch(x, n, in, (top + rows) * c.stride + c.rows - 1 - c.row_padding);
          for (int h = top; h < std::min(top + rows, dy.height); h++)
            line_products<A, OUT, K>(x.line(n, in, h * c.stride + ky - c.row_padding) - c.column_padding,
                                     dy.line(n, first, h), dy.plane, dy.width, c.stride, total);
#pragma GCC unroll 8
          for (int o = 0; o < OUT; o++)
#pragma GCC unroll 5
            for (int k = 0; k < K; k++) kept[o * K + k] = total[o][k];
        }
}

// Adds the gradients of OUT output channels from `first`.
template <class A, int OUT, int K>
void block_gradient(const Convolution& c, const Map& x, const Map& dy, int first, real* gradient, V* sums) {
  const size_t room = size_t(c.in) * c.rows * OUT * K;
  for (int part = 0; part < PARTS; part++) part_products<A, OUT, K>(c, x, dy, first, part, sums + part * room);
  for (int in = 0; in < c.in; in++)
    for (int ky = 0; ky < c.rows; ky++)
      for (int o = 0; o < OUT; o++)
        for (int k = 0; k < K; k++) {
          real total = 0;
          for (int part = 0; part < PARTS; part++)
            total = sum(sums[part * room + (size_t(in * c.rows + ky) * OUT + o) * K + k], LANES, total);
          gradient[((ptrdiff_t(first + o) * c.in + in) * c.rows + ky) * K + k] += total;
        }
}

// Gradients of kernels with K columns: the sums of all taps of a row are in registers.
template <class A, int K>
void kernel_gradients(const Convolution& c, const Map& x, const Map& dy, real* gradient, V* sums) {
  // Largest number of output channels of a block; std::min below avoids instantiations for larger blocks.
  constexpr int MOST = std::min(BLOCK, ACCUMULATORS / K);
  const int blocks = (c.out + MOST - 1) / MOST;
  for (int b = 0, first = 0; b < blocks; b++) {
    const int count = (c.out - first + (blocks - b) - 1) / (blocks - b);
    switch (count) {
      case 1: block_gradient<A, std::min(1, MOST), K>(c, x, dy, first, gradient, sums); break;
      case 2: block_gradient<A, std::min(2, MOST), K>(c, x, dy, first, gradient, sums); break;
      case 3: block_gradient<A, std::min(3, MOST), K>(c, x, dy, first, gradient, sums); break;
      case 4: block_gradient<A, std::min(4, MOST), K>(c, x, dy, first, gradient, sums); break;
      case 5: block_gradient<A, std::min(5, MOST), K>(c, x, dy, first, gradient, sums); break;
      case 6: block_gradient<A, std::min(6, MOST), K>(c, x, dy, first, gradient, sums); break;
      case 7: block_gradient<A, std::min(7, MOST), K>(c, x, dy, first, gradient, sums); break;
      case 8: block_gradient<A, std::min(8, MOST), K>(c, x, dy, first, gradient, sums); break;
    }
    first += count;
  }
}

}  // namespace engine
