// Memory layout of all kernels: group of images, channel, row, column, image.
//
// The images of a group are innermost: a vector holds the same position of the same channel for LANES images. Every
// operation is a vector operation for any number of channels; a network with four channels is as fast per multiply-add
// as a network with sixteen.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(VECTOR_BYTES)  // set by a test
#elif defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif
#define INLINE inline __attribute__((always_inline))

namespace engine {

#if defined(DOUBLE)  // for builds whose gradients are compared with torch
using real = double;
#else
using real = float;
#endif
typedef real V __attribute__((vector_size(VECTOR_BYTES)));
constexpr size_t LARGE_PAGE = size_t(1) << 21;
constexpr int LANES = VECTOR_BYTES / sizeof(real);
// Sums over the images of a batch are computed as with vectors of 64 bytes on every processor: PARTS consecutive groups
// represent such a vector, with separate sums until the end. Processors with different vectors therefore give equal
// bits.
constexpr int PARTS = 64 / VECTOR_BYTES;
// Number of groups of a batch, in whole vectors of 64 bytes, so that all processors draw equally for unused lanes.
INLINE int groups_of(int images) { return (images + LANES * PARTS - 1) / (LANES * PARTS) * PARTS; }
// Accumulators that fit into the registers beside the operands: 32 registers with AVX-512, 16 without.
constexpr int ACCUMULATORS = VECTOR_BYTES == 64 ? 24 : 12;
// Largest number of output channels of a kernel call.
constexpr int BLOCK = VECTOR_BYTES == 64 ? 8 : 4;

// Minus zero instead of plus zero: the result is exactly the value, so compilers omit the operation.
INLINE V splat(real value) { return value - V{}; }
// Comparisons with NaN are false, so this form keeps NaN; a diverged run must be visible.
INLINE V relu(V x) { return x < V{} ? V{} : x; }

// Returns `total`, the sum of the preceding parts, plus the first `used` lanes.
INLINE real sum(V x, int used = LANES, real total = 0) {
  for (int lane = 0; lane < used; lane++) total += x[lane];
  return total;
}

// Sum over all lanes of all parts, in order.
INLINE real sum(const V (&parts)[PARTS]) {
  real total = 0;
  for (int part = 0; part < PARTS; part++) total = sum(parts[part], LANES, total);
  return total;
}

// Map of a batch, LANES images per group. `at` is position (0, 0) of channel 0 of the first group; with a margin of
// zeros around each channel, negative positions are valid, too. Strides are numbers of vectors.
struct Map {
  V* at;
  int channels, height, width, groups;
  ptrdiff_t row, plane, group;

  INLINE V* line(int n, int channel, int y) const { return at + n * group + channel * plane + y * row; }
  // Value of an image in a 1x1 map.
  INLINE real& value(int channel, int image) const {
    return reinterpret_cast<real*>(line(image / LANES, channel, 0))[image % LANES];
  }
  size_t positions() const { return size_t(height) * width; }
};

// Group g of the channels of a map, `count` channels.
INLINE Map part(Map map, int g, int count) {
  map.at += g * count * map.plane;
  map.channels = count;
  return map;
}

// Returns zeroed memory for vectors. Large blocks begin on a large page, if the system has large pages: a kernel reads
// as many places of a map as the map has channels and rows, more than the TLB has entries for small pages.
inline V* allocate(size_t vectors) {
  const size_t wanted = vectors * sizeof(V), alignment = wanted < LARGE_PAGE ? 64 : LARGE_PAGE;
  const size_t bytes = std::max(size_t(1), (wanted + alignment - 1) / alignment) * alignment;
  void* memory = std::aligned_alloc(alignment, bytes);
  if (!memory) throw std::bad_alloc();
#if defined(__linux__)
  if (alignment == LARGE_PAGE) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  std::memset(memory, 0, bytes);
  return static_cast<V*>(memory);
}

}  // namespace engine
