#include "winograd.h"

#include "blocks.h"

namespace engine {
namespace {

// In every expression below a product stands beside one sum only: there is one way to fuse them, so builds for other
// vectors give the same bits.

// Two rows of the transform of a window, 0 and 5, 1 and 2 or 3 and 4, over WINDOW numbers: B^T of the paper.
template <int PAIR, class D>
INLINE void window_rows(D d, V& first, V& second) {
  if constexpr (PAIR == 0) {
    first = 4 * d(0) + (d(4) - 5 * d(2));
    second = 4 * d(1) + (d(5) - 5 * d(3));
  } else if constexpr (PAIR == 1) {
    const V even = d(4) - 4 * d(2), odd = d(3) - 4 * d(1);
    first = even + odd;
    second = even - odd;
  } else {
    const V even = d(4) - d(2), odd = d(3) - d(1);
    first = even + 2 * odd;
    second = even - 2 * odd;
  }
}

// The same of the transform of a tile's gradient, over TILE numbers: A of the paper.
template <int PAIR, class D>
INLINE void tile_rows(D d, V& first, V& second) {
  if constexpr (PAIR == 0) {
    first = d(0);
    second = d(3);
  } else if constexpr (PAIR == 1) {
    const V even = d(0) + d(2), odd = d(1) + d(3);
    first = even + odd;
    second = even - odd;
  } else {
    const V even = d(0) + 4 * d(2), odd = d(1) + 4 * d(3);
    first = even + 2 * odd;
    second = even - 2 * odd;
  }
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

// The rows of each pair.
constexpr int FIRST[3] = {0, 1, 3}, SECOND[3] = {5, 2, 4};
template <class F>
INLINE void each_pair(F f) {
  each(f, std::make_integer_sequence<int, 3>{});
}

// A row of numbers, `apart` from each other, by what gives a pair of them.
template <class F>
INLINE void write_row(F of_pair, V* numbers, ptrdiff_t apart) {
  each_pair([&](auto pair) { of_pair(pair, numbers[FIRST[pair] * apart], numbers[SECOND[pair] * apart]); });
}

// Two rows of the numbers of a window.
template <int PAIR>
INLINE void window_numbers(const V* x, ptrdiff_t row, V* first, V* second, ptrdiff_t apart) {
  V a[WINDOW], b[WINDOW];
#pragma GCC unroll 6
  for (int k = 0; k < WINDOW; k++) window_rows<PAIR>([&](int r) { return x[r * row + k]; }, a[k], b[k]);
  write_row([&](auto pair, V& f, V& s) { window_rows<pair>([&](int k) { return a[k]; }, f, s); }, first, apart);
  write_row([&](auto pair, V& f, V& s) { window_rows<pair>([&](int k) { return b[k]; }, f, s); }, second, apart);
}

// The same of a tile's gradient.
template <int PAIR>
INLINE void tile_numbers(const V* dy, ptrdiff_t row, V* first, V* second, ptrdiff_t apart) {
  V a[TILE], b[TILE];
#pragma GCC unroll 4
  for (int k = 0; k < TILE; k++) tile_rows<PAIR>([&](int r) { return dy[r * row + k]; }, a[k], b[k]);
  write_row([&](auto pair, V& f, V& s) { tile_rows<pair>([&](int k) { return a[k]; }, f, s); }, first, apart);
  write_row([&](auto pair, V& f, V& s) { tile_rows<pair>([&](int k) { return b[k]; }, f, s); }, second, apart);
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

// Tiles whose windows are multiplied together.
constexpr int TOGETHER = 2;

// One of the sums of TOGETHER tiles for OUT output channels. The numbers of a window lie side by side.
template <int OUT>
INLINE void sum_channels(const V* x, const real* w, V* m, int in, int out) {
  V total[OUT][TOGETHER]{};
  for (int c = 0; c < in; c++, x += TOGETHER * NUMBERS, w += out) {
    V values[TOGETHER];
#pragma GCC unroll 2
    for (int t = 0; t < TOGETHER; t++) values[t] = x[t * NUMBERS];
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

// Vectors between one number and the next: odd, so that they lie in different sets of the cache.
constexpr ptrdiff_t apart(int count) { return count | 1; }
constexpr ptrdiff_t SUMS_APART = apart(BLOCK * TOGETHER);

// y from x, whose windows begin so many rows and columns outside the map, with the numbers of a kernel.
void tiled_convolution(const Map& x, int outside, const V* packed, const real* bias, const Map& y, V* room) {
  const Tiles tiles(y, 0, 1);
  const int in = x.channels, out = y.channels;
  const size_t weights_apart = whole_vectors(size_t(in) * out) * LANES;
  V *sums = room, *windows = room + NUMBERS * SUMS_APART;
  for (int first = 0; first < tiles.count; first += TOGETHER) {
    const int count = std::min(TOGETHER, tiles.count - first);
    V* to[TOGETHER];
    int rows[TOGETHER], columns[TOGETHER];
    for (int t = 0; t < count; t++) {
      to[t] = tiles.in(y, first + t);
      rows[t] = y.height - tiles.row(first + t);
      columns[t] = y.width - tiles.column(first + t);
      const V* from = tiles.in(x, first + t, outside);
      V* numbers = windows + t * NUMBERS;
      for (int c = 0; c < in; c++, from += x.plane, numbers += TOGETHER * NUMBERS)
        each_pair([&](auto pair) {
          window_numbers<pair>(from, x.row, numbers + FIRST[pair] * WINDOW, numbers + SECOND[pair] * WINDOW, 1);
        });
    }
    in_blocks<BLOCK>(out, [&](int o, auto size) {
      const real* w = reinterpret_cast<const real*>(packed) + o;
      for (int k = 0; k < NUMBERS; k++)
        sum_channels<size>(windows + k, w + k * weights_apart, sums + k * SUMS_APART, in, out);
      for (int p = 0; p < size; p++) {
        const V added = bias ? splat(bias[o + p]) : V{};
        for (int t = 0; t < count; t++)
          write_tile(sums + p * TOGETHER + t, SUMS_APART, added, to[t] + (o + p) * y.plane, y.row, rows[t], columns[t]);
      }
    });
  }
}

// Tiles whose products are added up in registers: their numbers stay in the second-level cache.
constexpr int ADDED = 16;

// The numbers of the gradients of all kernels in blocks, over `count` tiles from the first on.
void tile_sums(const Convolution& c, const Map& x, const Map& dy, const Tiles& tiles, int first, int count, V* sums,
               V* room) {
  const ptrdiff_t windows_apart = apart(c.in * ADDED), tiles_apart = apart(c.out * ADDED), size = block_vectors(c);
  V *windows = room, *gradients = room + 2 * WINDOW * windows_apart;
  const V *window[ADDED], *tile[ADDED];
  for (int t = 0; t < count; t++) {
    window[t] = tiles.in(x, first + t, c.row_padding);
    tile[t] = tiles.in(dy, first + t);
  }
  each_pair([&](auto pair) {
    for (int in = 0; in < c.in; in++)
      for (int t = 0; t < count; t++) {
        V* at = windows + in * ADDED + t;
        window_numbers<pair>(window[t] + in * x.plane, x.row, at, at + WINDOW * windows_apart, windows_apart);
      }
    for (int o = 0; o < c.out; o++)
      for (int t = 0; t < count; t++) {
        V* at = gradients + o * ADDED + t;
        tile_numbers<pair>(tile[t] + o * dy.plane, dy.row, at, at + WINDOW * tiles_apart, tiles_apart);
      }
    for (int k = 0; k < 2 * WINDOW; k++) {
      V* sum = sums + ((k < WINDOW ? FIRST[pair] : SECOND[pair]) * WINDOW + k % WINDOW) * size;
      each_block(c, [&](int in, int o, auto ins, auto outs) {
        V total[LANES]{};
        add_products<ins, outs>(windows + k * windows_apart + in * ADDED, ADDED,
                                gradients + k * tiles_apart + o * ADDED, ADDED, count, total);
        *sum++ = lane_sums<LANES>(total);
      });
    }
  });
}

}  // namespace

bool pays_in_tiles(const Convolution& c, int height, int width) {
  if (c.rows != 3 || c.columns != 3 || c.stride != 1 || c.row_padding > 2 || c.row_padding != c.column_padding) return false;
  // Costs of a tile, forward and in the kernel gradient, where the direct way costs 1 for each output of each pair of
  // channels. Measured as 4.2, 17 and 14, on a processor that makes one vector multiply-add a cycle (docs/experiments.md);
  // a third is added, as others multiply faster and gain less.
  constexpr double PAIR = 5.5, INPUT = 23, OUTPUT = 18;
  const double in = c.in, out = c.out;
  const int tiles = (height + TILE - 1) / TILE * ((width + TILE - 1) / TILE);
  return tiles * (PAIR * in * out + INPUT * in + OUTPUT * out) < in * out * height * width;
}

bool pays_back_in_tiles(const Convolution& c, int height, int width) {
  Convolution turned = c;
  std::swap(turned.in, turned.out);
  return pays_in_tiles(turned, height, width);
}

size_t tiled_kernel(const Convolution& c) { return (NUMBERS + 3 * WINDOW + 9) * whole_vectors(size_t(c.in) * c.out); }

size_t tiled_room(const Convolution& c) {
  const int most = std::max(c.in, c.out);
  const size_t forward = NUMBERS * (most * TOGETHER + SUMS_APART);
  const size_t numbers = (1 + PARTS) * NUMBERS + 3 * WINDOW + 9;
  return std::max(forward, numbers * block_vectors(c) + 2 * WINDOW * (apart(c.in * ADDED) + apart(c.out * ADDED)));
}

void pack_in_tiles(const Convolution& c, const real* kernel, bool back, V* packed) {
  const size_t size = whole_vectors(size_t(c.in) * c.out), taps_at = (NUMBERS + 3 * WINDOW) * size;
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
  const ptrdiff_t size = block_vectors(c);
  V *sums = room, *parts = sums + NUMBERS * size, *half = parts + PARTS * NUMBERS * size;
  V *kernels = half + 3 * WINDOW * size, *rest = kernels + 9 * size;
  std::fill(sums, parts, V{});
  const int count = Tiles(dy, 0, PARTS).count;  // of each part
  for (int first = 0; first < count; first += ADDED) {
    for (int part = 0; part < PARTS; part++) {
      V* sums_of_part = parts + part * NUMBERS * size;
      tile_sums(c, x, dy, Tiles(dy, part, PARTS), first, std::min(ADDED, count - first), sums_of_part, rest);
    }
    for (ptrdiff_t k = 0; k < NUMBERS * size; k++) sums[k] += sum_parts(parts + k, NUMBERS * size);
  }
  for (ptrdiff_t k = 0; k < size; k++) {
    for (int j = 0; j < WINDOW; j++) taps(sums + j * size + k, WINDOW * size, half + j * size + k, WINDOW * size);
    for (int i = 0; i < 3; i++) taps(half + i * WINDOW * size + k, size, kernels + 3 * i * size + k, size);
  }
  add_blocks<9>(c, kernels, kernel);
  if (bias) bias_gradient(dy, bias);
}

}  // namespace engine
