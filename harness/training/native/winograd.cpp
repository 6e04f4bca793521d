#include "winograd.h"

#include <array>

#include "blocks.h"

namespace engine {
namespace {

// In every expression below, a product is an operand of a single sum, so there is a single way to fuse both, and builds
// for different vectors give equal bits.

// A tile with fewer outputs than TILE in a direction needs equally fewer numbers: the points -2, then 2, then -1 are
// omitted. The remaining numbers of a kernel are the same as for TILE outputs; the transform of the window contains the
// factors for fewer points.
INLINE bool counts(int number, int size) { return number <= size || number == WINDOW - 1; }

// 3 * x as a sum, because a compiler might fuse a product with a later sum; products with powers of two are always
// exact.
INLINE V thrice(V x) { return x + 2 * x; }

// Two rows of the transform of a window for `size` outputs (0 and 5, 1 and 2, or 3 and 4): B^T of the paper.
template <int PAIR, class Size, class D>
INLINE void window_rows(Size size, D d, V& first, V& second) {
  if (size == 4) {
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
  } else if (size == 3) {
    if constexpr (PAIR == 0) {
      const V even = d(0) - d(2), odd = d(1) - d(3);
      first = 2 * (2 * even - odd);
      second = (d(4) - d(2)) + 2 * odd;
    } else if constexpr (PAIR == 1) {
      const V last = d(3) - d(2);
      first = thrice(last - 2 * d(1));
      second = last + 2 * (d(1) - d(2));
    } else {
      first = 4 * (d(3) - d(1));
    }
  } else if (size == 2) {
    if constexpr (PAIR == 0) {
      first = 4 * (d(0) - d(2));
      second = d(3) - d(1);
    } else if constexpr (PAIR == 1) {
      first = thrice(-d(1) - d(2));
      second = thrice(d(1) - d(2));
    }
  } else {
    if constexpr (PAIR == 0) {
      first = 4 * (d(0) - d(1));
      second = d(2) - d(1);
    } else if constexpr (PAIR == 1) {
      first = thrice(-2 * d(1));
    }
  }
}

// Two rows of the transform of the gradient of a tile, over `size` numbers: A of the paper.
template <int PAIR, class Size, class D>
INLINE void tile_rows(Size size, D d, V& first, V& second) {
  if constexpr (PAIR == 0) {
    first = d(0);
    second = d(size - 1);
  } else if (PAIR == 1 || size > 2) {
    constexpr real SQUARE = PAIR == 1 ? 1 : 4, POINT = PAIR;
    const V even = size > 2 ? d(0) + SQUARE * d(2) : d(0);
    const V odd = size > 3 ? d(1) + SQUARE * d(3) : size > 1 ? d(1) : V{};
    first = even + POINT * odd;
    second = even - POINT * odd;
  }
}

// `size` outputs from the sums of a row: A^T of the paper.
template <class Size>
INLINE void outputs(Size size, const V* m, ptrdiff_t step, V* y, ptrdiff_t to) {
  if (size == 1) {
    y[0] = (m[0] + m[step]) + m[5 * step];
    return;
  }
  const V a = m[step] + m[2 * step], b = m[step] - m[2 * step];
  if (size == 2) {
    y[0] = m[0] + a;
    y[to] = b + m[5 * step];
    return;
  }
  const V c = size == 3 ? m[3 * step] : m[3 * step] + m[4 * step];
  const V e = size == 3 ? m[3 * step] : m[3 * step] - m[4 * step];
  y[0] = m[0] + (a + c);
  y[to] = b + 2 * e;
  if (size == 3) {
    y[2 * to] = (a + 4 * c) + m[5 * step];
  } else {
    y[2 * to] = a + 4 * c;
    y[3 * to] = (b + 8 * e) + m[5 * step];
  }
}

// WINDOW numbers from three taps, G of the paper; `taps` is the transpose.
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

// Writes a row of numbers, `apart` vectors apart; `of_pair` computes a pair of numbers.
template <class F>
INLINE void write_row(F of_pair, V* numbers, ptrdiff_t apart) {
  each_pair([&](auto pair) { of_pair(pair, numbers[FIRST[pair] * apart], numbers[SECOND[pair] * apart]); });
}

// Writes two rows of the numbers of a window.
template <int PAIR, class H, class W>
INLINE void window_numbers(H height, W width, const V* x, ptrdiff_t row, V* first, V* second, ptrdiff_t apart) {
  V a[WINDOW]{}, b[WINDOW]{};
#pragma GCC unroll 6
  for (int k = 0; k < WINDOW; k++)
    if (k < width + 2) window_rows<PAIR>(height, [&](int r) { return x[r * row + k]; }, a[k], b[k]);
  write_row([&](auto pair, V& f, V& s) { window_rows<pair>(width, [&](int k) { return a[k]; }, f, s); }, first, apart);
  write_row([&](auto pair, V& f, V& s) { window_rows<pair>(width, [&](int k) { return b[k]; }, f, s); }, second, apart);
}

// Writes two rows of the numbers of the gradient of a tile.
template <int PAIR, class H, class W>
INLINE void tile_numbers(H height, W width, const V* dy, ptrdiff_t row, V* first, V* second, ptrdiff_t apart) {
  V a[TILE]{}, b[TILE]{};
#pragma GCC unroll 4
  for (int k = 0; k < TILE; k++)
    if (k < width) tile_rows<PAIR>(height, [&](int r) { return dy[r * row + k]; }, a[k], b[k]);
  write_row([&](auto pair, V& f, V& s) { tile_rows<pair>(width, [&](int k) { return a[k]; }, f, s); }, first, apart);
  write_row([&](auto pair, V& f, V& s) { tile_rows<pair>(width, [&](int k) { return b[k]; }, f, s); }, second, apart);
}

// The tiles of equal size in a map of outputs, in every `step`-th group from `first`, group after group.
struct Tiles {
  int row, column, height, width, down, across, first, step, groups;
  int count() const { return down * across * groups; }
  // Start of a tile in the first channel, or of the window of the tile, `outside` positions further up and left.
  V* in(const Map& map, int tile, int outside = 0) const {
    const int group = tile / (down * across), place = tile % (down * across);
    return map.line(first + group * step, 0, row + place / across * TILE - outside) + column + place % across * TILE -
           outside;
  }
  // Calls f with the size as compile-time constants.
  template <class F>
  INLINE void sized(F f) const {
    constexpr std::make_integer_sequence<int, TILE> sizes;
    each(
        [&](auto h) {
          if (height == h + 1)
            each(
                [&](auto w) {
                  if (width == w + 1) f(std::integral_constant<int, h + 1>{}, std::integral_constant<int, w + 1>{});
                },
                sizes);
        },
        sizes);
  }
};

// Tiles of the last column, whole tiles, tiles of the last row, and tiles of the corner. In this order, the tiles that
// have a number in a direction, or in both directions, are adjacent.
typedef std::array<Tiles, 4> Sizes;
Sizes tiles_of(const Map& y, int first, int step) {
  const int groups = (y.groups - first + step - 1) / step;
  const auto tiles = [&](bool last_row, bool last_column) -> Tiles {
    const int down = y.height / TILE, across = y.width / TILE, low = y.height % TILE, narrow = y.width % TILE;
    return {last_row ? down * TILE : 0, last_column ? across * TILE : 0, last_row ? low : TILE,
            last_column ? narrow : TILE, last_row ? low > 0 : down, last_column ? narrow > 0 : across,
            first, step, groups};
  };
  return {tiles(false, true), tiles(false, false), tiles(true, false), tiles(true, true)};
}

// Number of tiles whose windows are multiplied together.
constexpr int TOGETHER = 2;

// Computes a sum of each of TOGETHER tiles for OUT output channels. The numbers of a window are adjacent.
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

// Distance of neighbouring numbers in vectors: odd, so that the numbers are in different sets of the cache.
constexpr ptrdiff_t apart(int count) { return count | 1; }
constexpr ptrdiff_t SUMS_APART = apart(BLOCK * TOGETHER);

// Writes the numbers of `count` windows from `first`, adjacent, channel after channel.
void read_windows(const Tiles& tiles, int first, int count, const Map& x, int outside, V* numbers) {
  tiles.sized([&](auto height, auto width) {
    for (int t = 0; t < count; t++) {
      const V* from = tiles.in(x, first + t, outside);
      for (int c = 0; c < x.channels; c++, from += x.plane) {
        V* to = numbers + (c * TOGETHER + t) * NUMBERS;
        each_pair([&](auto pair) {
          window_numbers<pair>(height, width, from, x.row, to + FIRST[pair] * WINDOW, to + SECOND[pair] * WINDOW, 1);
        });
      }
    }
  });
}

// Writes `count` tiles of y from `first`; `sums` has the channels of y.
void write_tiles(const Tiles& tiles, int first, int count, const V* sums, const real* bias, const Map& y) {
  tiles.sized([&](auto height, auto width) {
    for (int t = 0; t < count; t++) {
      V* to = tiles.in(y, first + t);
      for (int c = 0; c < y.channels; c++, to += y.plane) {
        const V added = bias ? splat(bias[c]) : V{};
        const V* m = sums + c * TOGETHER + t;
        V half[TILE * WINDOW], row[TILE];
#pragma GCC unroll 6
        for (int j = 0; j < WINDOW; j++)
          if (counts(j, width)) outputs(height, m + j * SUMS_APART, WINDOW * SUMS_APART, half + j, WINDOW);
#pragma GCC unroll 4
        for (int i = 0; i < TILE; i++) {
          if (i == height) break;
          outputs(width, half + i * WINDOW, 1, row, 1);
#pragma GCC unroll 4
          for (int j = 0; j < TILE; j++)
            if (j < width) to[i * y.row + j] = row[j] + added;
        }
      }
    }
  });
}

// Computes y from x with the numbers of a kernel; windows begin `outside` rows and columns outside the map.
void tiled_convolution(const Map& x, int outside, const V* packed, const real* bias, const Map& y, V* room) {
  const int in = x.channels;
  const size_t weights_apart = whole_vectors(size_t(in) * y.channels) * LANES;
  V *sums = room, *windows = room + NUMBERS * SUMS_APART;
  for (const Tiles& tiles : tiles_of(y, 0, 1))
    for (int first = 0; first < tiles.count(); first += TOGETHER) {
      const int count = std::min(TOGETHER, tiles.count() - first);
      read_windows(tiles, first, count, x, outside, windows);
      in_blocks<BLOCK>(y.channels, [&](int o, auto size) {
        const real* w = reinterpret_cast<const real*>(packed) + o;
        for (int k = 0; k < NUMBERS; k++)
          if (counts(k / WINDOW, tiles.height) && counts(k % WINDOW, tiles.width))
            sum_channels<size>(windows + k, w + k * weights_apart, sums + k * SUMS_APART, in, y.channels);
        Map block = y;
        block.at += o * y.plane;
        block.channels = size;
        write_tiles(tiles, first, count, sums, bias ? bias + o : nullptr, block);
      });
    }
}

// Number of tiles whose products are summed in registers; the numbers of the tiles stay in the second-level cache.
constexpr int ADDED = 16;

// Computes the numbers of the gradients of all kernels, in blocks, over at most ADDED tiles from `first`.
void tile_sums(const Convolution& c, const Map& x, const Map& dy, const Sizes& sizes, int first, V* sums, V* room) {
  const ptrdiff_t windows_apart = apart(c.in * ADDED), tiles_apart = apart(c.out * ADDED), size = block_vectors(c);
  V *windows = room, *gradients = room + 2 * WINDOW * windows_apart;
  const V *window[ADDED], *tile[ADDED];
  int count = 0, begin[5]{};  // begin of the tiles of each size
  for (int k = 0; k < 4; k++) {
    for (; first < sizes[k].count() && count < ADDED; first++, count++) {
      window[count] = sizes[k].in(x, first, c.row_padding);
      tile[count] = sizes[k].in(dy, first);
    }
    first -= std::min(first, sizes[k].count());
    begin[k + 1] = count;
  }
  each_pair([&](auto pair) {
    for (int k = 0; k < 4; k++)
      sizes[k].sized([&](auto height, auto width) {
        for (int in = 0; in < c.in; in++)
          for (int t = begin[k]; t < begin[k + 1]; t++) {
            V* at = windows + in * ADDED + t;
            window_numbers<pair>(height, width, window[t] + in * x.plane, x.row, at, at + WINDOW * windows_apart,
                                 windows_apart);
          }
        for (int o = 0; o < c.out; o++)
          for (int t = begin[k]; t < begin[k + 1]; t++) {
            V* at = gradients + o * ADDED + t;
            tile_numbers<pair>(height, width, tile[t] + o * dy.plane, dy.row, at, at + WINDOW * tiles_apart,
                               tiles_apart);
          }
      });
    for (int k = 0; k < 2 * WINDOW; k++) {
      const int row = k < WINDOW ? FIRST[pair] : SECOND[pair], column = k % WINDOW;
      const bool low = counts(row, sizes[3].height), narrow = counts(column, sizes[3].width);
      const int from = narrow ? 0 : begin[1], to = low ? (narrow ? count : begin[3]) : begin[2];
      V* sum = sums + (row * WINDOW + column) * size;
      each_block(c, [&](int in, int o, auto ins, auto outs) {
        V total[LANES]{};
        add_products<ins, outs>(windows + k * windows_apart + in * ADDED + from, ADDED,
                                gradients + k * tiles_apart + o * ADDED + from, ADDED, to - from, total);
        *sum++ = lane_sums<LANES>(total);
      });
    }
  });
}

}  // namespace

// Total count of numbers of all tiles along `outputs` outputs.
static int numbers_along(int outputs) {
  const int rest = outputs % TILE;
  return outputs / TILE * WINDOW + (rest > 0 ? rest + WINDOW - TILE : 0);
}

bool pays_in_tiles(const Convolution& c, int height, int width) {
  if (c.rows != 3 || c.columns != 3 || c.stride != 1 || c.row_padding > 2 || c.row_padding != c.column_padding) return false;
  // Costs of a tile per pair of channels, per input and per output channel, forward and in the kernel gradient,
  // relative to an output of a pair of channels in direct.h. Measured: 4.2, 17 and 14, on a processor with a vector
  // multiply-add per cycle (diary 116); increased by a third, because tiles gain less on processors
  // that multiply faster.
  constexpr double PAIR = 5.5, INPUT = 23, OUTPUT = 18;
  const double in = c.in, out = c.out, tiles = double(numbers_along(height)) * numbers_along(width) / NUMBERS;
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
  int count = 0;  // tiles of each part
  for (const Tiles& tiles : tiles_of(dy, 0, PARTS)) count += tiles.count();
  for (int first = 0; first < count; first += ADDED) {
    for (int part = 0; part < PARTS; part++) {
      V* sums_of_part = parts + part * NUMBERS * size;
      tile_sums(c, x, dy, tiles_of(dy, part, PARTS), first, sums_of_part, rest);
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
