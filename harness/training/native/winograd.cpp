#include "winograd.h"

#include <utility>

namespace engine {
namespace {

// Vectors of one number of all kernels.
INLINE size_t kernel_vectors(int in, int out) { return (size_t(in) * out + LANES - 1) / LANES; }

// In every expression below a product stands beside one sum only: there is one way to fuse them, so builds for other
// vectors give the same bits.

// Row I of the transform of a window, over WINDOW numbers that are `step` apart: B^T of the paper.
template <int I>
INLINE V window_row(const V* d, ptrdiff_t step) {
  if constexpr (I == 0) return 4 * d[0] + (d[4 * step] - 5 * d[2 * step]);
  if constexpr (I == 1) return (d[4 * step] - 4 * d[2 * step]) + (d[3 * step] - 4 * d[step]);
  if constexpr (I == 2) return (d[4 * step] - 4 * d[2 * step]) - (d[3 * step] - 4 * d[step]);
  if constexpr (I == 3) return (d[4 * step] - d[2 * step]) + 2 * (d[3 * step] - d[step]);
  if constexpr (I == 4) return (d[4 * step] - d[2 * step]) - 2 * (d[3 * step] - d[step]);
  if constexpr (I == 5) return 4 * d[step] + (d[5 * step] - 5 * d[3 * step]);
}

// Row I of the transform of a tile's gradient, over TILE numbers: A of the paper.
template <int I>
INLINE V tile_row(const V* d, ptrdiff_t step) {
  if constexpr (I == 0) return d[0];
  if constexpr (I == 1) return (d[0] + d[2 * step]) + (d[step] + d[3 * step]);
  if constexpr (I == 2) return (d[0] + d[2 * step]) - (d[step] + d[3 * step]);
  if constexpr (I == 3) return (d[0] + 4 * d[2 * step]) + 2 * (d[step] + 4 * d[3 * step]);
  if constexpr (I == 4) return (d[0] + 4 * d[2 * step]) - 2 * (d[step] + 4 * d[3 * step]);
  if constexpr (I == 5) return d[3 * step];
}

// Outputs from the WINDOW sums of a row: A^T of the paper.
INLINE void outputs(const V* m, ptrdiff_t step, V* y, ptrdiff_t to) {
  const V a = m[step] + m[2 * step], b = m[step] - m[2 * step];
  const V c = m[3 * step] + m[4 * step], e = m[3 * step] - m[4 * step];
  y[0] = m[0] + (a + c);
  y[to] = b + 2 * e;
  y[2 * to] = a + 4 * c;
  y[3 * to] = (b + 8 * e) + m[5 * step];
}

// WINDOW numbers from three taps, G of the paper, and back, its transpose.
INLINE void numbers(const V* g, ptrdiff_t step, V* u, ptrdiff_t to) {
  const V outer = g[0] + g[2 * step], far = g[0] + 4 * g[2 * step];
  u[0] = g[0] * (real(1) / 4);
  u[to] = (outer + g[step]) * (real(-1) / 6);
  u[2 * to] = (outer - g[step]) * (real(-1) / 6);
  u[3 * to] = (far + 2 * g[step]) * (real(1) / 24);
  u[4 * to] = (far - 2 * g[step]) * (real(1) / 24);
  u[5 * to] = g[2 * step];
}
INLINE void taps(const V* u, ptrdiff_t step, V* g, ptrdiff_t to) {
  const V near = u[step] + u[2 * step], far = u[3 * step] + u[4 * step];
  g[0] = (6 * u[0] + (far - 4 * near)) * (real(1) / 24);
  g[to] = (2 * (u[2 * step] - u[step]) + (u[3 * step] - u[4 * step])) * (real(1) / 12);
  g[2 * to] = u[5 * step] + (far - near) * (real(1) / 6);
}

template <class F, int... I>
INLINE void each(F f, std::integer_sequence<int, I...>) {
  (f(std::integral_constant<int, I>{}), ...);
}
// Calls f with the rows of a transform, as constants.
template <class F>
INLINE void each_row(F f) {
  each(f, std::make_integer_sequence<int, WINDOW>{});
}

// Row I of the numbers of a window, `apart` from each other.
template <int I>
INLINE void window_numbers(const V* x, ptrdiff_t row, V* numbers, ptrdiff_t apart) {
  V column[WINDOW];
#pragma GCC unroll 6
  for (int k = 0; k < WINDOW; k++) column[k] = window_row<I>(x + k, row);
  each_row([&](auto j) { numbers[j * apart] = window_row<j>(column, 1); });
}

// Row I of the numbers of a tile's gradient.
template <int I>
INLINE void tile_numbers(const V* dy, ptrdiff_t row, V* numbers, ptrdiff_t apart) {
  V column[TILE];
#pragma GCC unroll 4
  for (int k = 0; k < TILE; k++) column[k] = tile_row<I>(dy + k, row);
  each_row([&](auto j) { numbers[j * apart] = tile_row<j>(column, 1); });
}

// The tiles of a map of outputs, those of every `step`-th group from `first` on, one group after the other.
struct Tiles {
  int across, down, first, step, count;
  Tiles(const Map& y, int first_, int step_)
      : across((y.width + TILE - 1) / TILE), down((y.height + TILE - 1) / TILE), first(first_), step(step_),
        count(across * down * ((y.groups - first_ + step_ - 1) / step_)) {}
  int row(int tile) const { return tile / across % down * TILE; }
  int column(int tile) const { return tile % across * TILE; }
  // Where a tile begins in the first channel, or its window that many positions further up and left.
  V* in(const Map& map, int tile, int outside = 0) const {
    return map.line(first + tile / (across * down) * step, 0, row(tile) - outside) + column(tile) - outside;
  }
};

// Vectors between one number and the next of so many windows or tiles: odd, so that they lie in different sets of the
// cache.
INLINE ptrdiff_t apart(int count) { return count | 1; }

// Calls f with the first and the number, a constant, of each block of nearly equal size, at most MOST.
template <int MOST, class F>
INLINE void in_blocks(int count, F f) {
  const int blocks = (count + MOST - 1) / MOST;
  for (int b = 0, first = 0; b < blocks; b++) {
    const int size = (count - first + (blocks - b) - 1) / (blocks - b);
    each(
        [&](auto k) {
          if (size == k + 1) f(first, std::integral_constant<int, k + 1>{});
        },
        std::make_integer_sequence<int, MOST>{});
    first += size;
  }
}

// Tiles whose windows are multiplied together.
constexpr int TOGETHER = 2;

// One of the sums of TOGETHER tiles for OUT output channels.
template <int OUT>
INLINE void sum_channels(const V* x, const real* w, V* m, int in, int out) {
  V total[OUT][TOGETHER]{};
  for (int c = 0; c < in; c++, x += TOGETHER, w += out) {
    V values[TOGETHER];
#pragma GCC unroll 2
    for (int t = 0; t < TOGETHER; t++) values[t] = x[t];
#pragma GCC unroll 8
    for (int o = 0; o < OUT; o++) {
      const V weight = splat(w[o]);
#pragma GCC unroll 2
      for (int t = 0; t < TOGETHER; t++) total[o][t] += values[t] * weight;
    }
  }
#pragma GCC unroll 8
  for (int o = 0; o < OUT; o++)
#pragma GCC unroll 2
    for (int t = 0; t < TOGETHER; t++) m[o * TOGETHER + t] = total[o][t];
}

// Writes a tile from its sums, which are `apart`, so much of it as lies in the map.
INLINE void write_tile(const V* m, ptrdiff_t apart, const V& bias, V* y, ptrdiff_t row, int rows, int columns) {
  V half[TILE * WINDOW], tile[TILE];
#pragma GCC unroll 6
  for (int j = 0; j < WINDOW; j++) outputs(m + j * apart, WINDOW * apart, half + j, WINDOW);
#pragma GCC unroll 4
  for (int i = 0; i < TILE; i++) {
    if (i == rows) return;
    outputs(half + i * WINDOW, 1, tile, 1);
#pragma GCC unroll 4
    for (int j = 0; j < TILE; j++)
      if (j < columns) y[i * row + j] = tile[j] + bias;
  }
}

// y from x, whose windows begin so many rows and columns outside the map, with the numbers of a kernel.
void tiled_convolution(const Map& x, int outside, const V* packed, const real* bias, const Map& y, V* room) {
  const Tiles tiles(y, 0, 1);
  const int in = x.channels, out = y.channels;
  const ptrdiff_t windows_apart = apart(in * TOGETHER), sums_apart = apart(BLOCK * TOGETHER);
  const size_t weights_apart = kernel_vectors(in, out) * LANES;
  V *windows = room, *sums = room + NUMBERS * windows_apart;
  for (int first = 0; first < tiles.count; first += TOGETHER) {
    const int count = std::min(TOGETHER, tiles.count - first);
    const V* from[TOGETHER];
    V* to[TOGETHER];
    int rows[TOGETHER], columns[TOGETHER];
    for (int t = 0; t < count; t++) {
      from[t] = tiles.in(x, first + t, outside);
      to[t] = tiles.in(y, first + t);
      rows[t] = y.height - tiles.row(first + t);
      columns[t] = y.width - tiles.column(first + t);
    }
    for (int c = 0; c < in; c++)
      for (int t = 0; t < count; t++)
        each_row([&](auto i) {
          window_numbers<i>(from[t] + c * x.plane, x.row,
                            windows + i * WINDOW * windows_apart + c * TOGETHER + t, windows_apart);
        });
    in_blocks<BLOCK>(out, [&](int o, auto size) {
      const real* w = reinterpret_cast<const real*>(packed) + o;
      for (int k = 0; k < NUMBERS; k++)
        sum_channels<size>(windows + k * windows_apart, w + k * weights_apart, sums + k * sums_apart, in, out);
      for (int p = 0; p < size; p++) {
        const V added = bias ? splat(bias[o + p]) : V{};
        for (int t = 0; t < count; t++)
          write_tile(sums + p * TOGETHER + t, sums_apart, added, to[t] + (o + p) * y.plane, y.row, rows[t], columns[t]);
      }
    });
  }
}

// Tiles whose products are added up before the sums go back to memory, and bytes of sums that stay in the second-level
// cache.
constexpr int ADDED = 16;
constexpr size_t KEPT = 512 * 1024;

// Output channels whose kernel gradients are summed together.
int outputs_together(const Convolution& c) {
  const int most = std::max<int>(BLOCK, int(KEPT / (sizeof(V) * NUMBERS * c.in))), blocks = (c.out + most - 1) / most;
  return (c.out + blocks - 1) / blocks;
}

// One of the numbers of IN x OUT kernels, over `count` tiles; added to what there is, unless these are the first.
template <int IN, int OUT>
void sum_tiles(const V* x, const V* d, V* sums, int out, int count, bool first) {
  V total[IN][OUT];
#pragma GCC unroll 3
  for (int c = 0; c < IN; c++)
#pragma GCC unroll 8
    for (int o = 0; o < OUT; o++) total[c][o] = first ? V{} : sums[c * out + o];
  for (int t = 0; t < count; t++) {
    V values[IN];
#pragma GCC unroll 3
    for (int c = 0; c < IN; c++) values[c] = x[c * ADDED + t];
#pragma GCC unroll 8
    for (int o = 0; o < OUT; o++) {
      const V gradient = d[o * ADDED + t];
#pragma GCC unroll 3
      for (int c = 0; c < IN; c++) total[c][o] += values[c] * gradient;
    }
  }
#pragma GCC unroll 3
  for (int c = 0; c < IN; c++)
#pragma GCC unroll 8
    for (int o = 0; o < OUT; o++) sums[c * out + o] = total[c][o];
}

// The numbers of the gradients of the kernels to `out` output channels from `first` on, over the groups of one part.
void part_numbers(const Convolution& c, const Map& x, const Map& dy, int first, int out, int part, V* sums, V* room) {
  const Tiles tiles(dy, part, PARTS);
  const ptrdiff_t windows_apart = apart(c.in * ADDED), tiles_apart = apart(out * ADDED);
  V *windows = room, *gradients = room + WINDOW * windows_apart;
  for (int begin = 0; begin < tiles.count; begin += ADDED) {
    const int count = std::min(ADDED, tiles.count - begin);
    const V *window[ADDED], *tile[ADDED];
    for (int t = 0; t < count; t++) {
      window[t] = tiles.in(x, begin + t, c.row_padding);
      tile[t] = tiles.in(dy, begin + t) + first * dy.plane;
    }
    each_row([&](auto i) {
      for (int in = 0; in < c.in; in++)
        for (int t = 0; t < count; t++)
          window_numbers<i>(window[t] + in * x.plane, x.row, windows + in * ADDED + t, windows_apart);
      for (int o = 0; o < out; o++)
        for (int t = 0; t < count; t++)
          tile_numbers<i>(tile[t] + o * dy.plane, dy.row, gradients + o * ADDED + t, tiles_apart);
      for (int j = 0; j < WINDOW; j++)
        in_blocks<3>(c.in, [&](int in, auto ins) {
          in_blocks<BLOCK>(out, [&](int o, auto outs) {
            sum_tiles<ins, outs>(windows + j * windows_apart + in * ADDED, gradients + j * tiles_apart + o * ADDED,
                                 sums + (ptrdiff_t(i * WINDOW + j) * c.in + in) * out + o, out, count, begin == 0);
          });
        });
    });
  }
}

// The sum of the lanes of all parts, quarter by quarter of 64 bytes: fewer steps than one after the other.
INLINE real sum_lanes(const V* parts) {
  typedef real Quarter __attribute__((vector_size(16)));
  const Quarter* q = reinterpret_cast<const Quarter*>(parts);
  const Quarter lanes = (q[0] + q[2]) + (q[1] + q[3]);
  real total = lanes[0];
  for (size_t lane = 1; lane < 16 / sizeof(real); lane++) total += lanes[lane];
  return total;
}

}  // namespace

bool pays_in_tiles(const Convolution& c, int height, int width) {
  if (c.rows != 3 || c.columns != 3 || c.stride != 1 || c.row_padding > 2 || c.row_padding != c.column_padding) return false;
  // Measured: a tile's products cost five multiply-adds of the direct sums each, the transforms of a window 50 and those
  // of a tile 25 (docs/experiments.md).
  const int tiles = (height + TILE - 1) / TILE * ((width + TILE - 1) / TILE);
  return tiles * (5 * c.in * c.out + 50 * c.in + 25 * c.out) < c.in * c.out * height * width;
}

bool pays_back_in_tiles(const Convolution& c, int height, int width) {
  Convolution turned = c;
  std::swap(turned.in, turned.out);
  return pays_in_tiles(turned, height, width);
}

size_t tiled_kernel(const Convolution& c) { return (NUMBERS + 3 * WINDOW + 9) * kernel_vectors(c.in, c.out); }

size_t tiled_room(const Convolution& c) {
  const int most = std::max(c.in, c.out), out = outputs_together(c);
  const size_t forward = NUMBERS * (apart(most * TOGETHER) + apart(BLOCK * TOGETHER));
  const size_t gradient = WINDOW * (apart(c.in * ADDED) + apart(out * ADDED)) + (NUMBERS + 9 * PARTS) * c.in * out;
  return std::max(forward, gradient);
}

void pack_in_tiles(const Convolution& c, const real* kernel, bool back, V* packed) {
  const size_t size = kernel_vectors(c.in, c.out), taps_at = (NUMBERS + 3 * WINDOW) * size;
  real* laid = reinterpret_cast<real*>(packed + taps_at);
  for (int o = 0; o < c.out; o++)
    for (int i = 0; i < c.in; i++)
      for (int k = 0; k < 9; k++) {
        const size_t tap = back ? 8 - k : k, pair = back ? o * c.in + i : i * c.out + o;
        laid[tap * size * LANES + pair] = kernel[(ptrdiff_t(o) * c.in + i) * 9 + k];
      }
  V* half = packed + NUMBERS * size;  // [number of the column][column]
  for (int kx = 0; kx < 3; kx++)
    for (size_t k = 0; k < size; k++)
      numbers(packed + taps_at + kx * size + k, 3 * size, half + kx * size + k, 3 * size);
  for (int i = 0; i < WINDOW; i++)
    for (size_t k = 0; k < size; k++)
      numbers(half + 3 * i * size + k, size, packed + WINDOW * i * size + k, size);
}

void convolve_in_tiles(const Convolution& c, const Map& x, const V* packed, const real* bias, const Map& y, V* room) {
  tiled_convolution(x, c.row_padding, packed, bias, y, room);
}

void convolve_back_in_tiles(const Convolution& c, const Map& dy, const V* packed, const Map& dx, V* room) {
  tiled_convolution(dy, 2 - c.row_padding, packed, nullptr, dx, room);
}

void kernel_gradient_in_tiles(const Convolution& c, const Map& x, const Map& dy, real* kernel, real* bias,
                              V* room) {
  for (int first = 0, most = outputs_together(c); first < c.out; first += most) {
    const int out = std::min(most, c.out - first);
    const ptrdiff_t pairs = ptrdiff_t(c.in) * out;
    V *sums = room, *kernels = room + NUMBERS * pairs;
    for (int part = 0; part < PARTS; part++) {
      part_numbers(c, x, dy, first, out, part, sums, kernels + 9 * PARTS * pairs);
      for (ptrdiff_t k = 0; k < pairs; k++) {
        V half[3 * WINDOW];
#pragma GCC unroll 6
        for (int j = 0; j < WINDOW; j++) taps(sums + j * pairs + k, WINDOW * pairs, half + j, WINDOW);
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++) taps(half + i * WINDOW, 1, kernels + (k * 9 + 3 * i) * PARTS + part, PARTS);
      }
    }
    for (int in = 0; in < c.in; in++)
      for (int o = 0; o < out; o++)
        for (int k = 0; k < 9; k++)
          kernel[(ptrdiff_t(first + o) * c.in + in) * 9 + k] += sum_lanes(kernels + ((ptrdiff_t(in) * out + o) * 9 + k) * PARTS);
  }
  if (bias) bias_gradient(dy, bias);
}

}  // namespace engine
