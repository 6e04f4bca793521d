// The memory layout that all kernels share: group of images, channel, row, column, image.
//
// The images of a group are innermost: one vector holds the same position of the same channel for LANES images, so
// every operation is a vector operation, whatever the number of channels; a network with four channels runs as fast per
// multiply-add as one with sixteen.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(VECTOR_BYTES)  // by a test
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

#if defined(DOUBLE)  // in the builds whose gradients are compared with torch's
using real = double;
#else
using real = float;
#endif
typedef real V __attribute__((vector_size(VECTOR_BYTES)));
constexpr size_t LARGE_PAGE = size_t(1) << 21;
constexpr int LANES = VECTOR_BYTES / sizeof(real);
// Sums over the images of a batch are made as with vectors of 64 bytes, whatever the processor has: so many groups, one
// after the other, stand for one such vector, and their sums are kept apart until the end. So processors whose vectors
// differ give the same bits.
constexpr int PARTS = 64 / VECTOR_BYTES;
// Groups of a batch; whole vectors of 64 bytes, so that the lanes beyond it draw what they draw elsewhere.
INLINE int groups_of(int images) { return (images + LANES * PARTS - 1) / (LANES * PARTS) * PARTS; }
// Accumulators that fit into the registers beside the operands: 32 registers with AVX-512, 16 without.
constexpr int ACCUMULATORS = VECTOR_BYTES == 64 ? 24 : 12;
// Output channels that one kernel call computes at most.
constexpr int BLOCK = VECTOR_BYTES == 64 ? 8 : 4;

// Less zero, not plus: that is the value itself, and compilers leave it out.
INLINE V splat(real value) { return value - V{}; }
// Comparisons with nan are false, and nan must come through: a diverged run is to be seen.
INLINE V relu(V x) { return x < V{} ? V{} : x; }

// The sum of `used` lanes, added to what the parts before have given.
INLINE real sum(V x, int used = LANES, real total = 0) {
  for (int lane = 0; lane < used; lane++) total += x[lane];
  return total;
}

// The sum of all lanes of all parts, in order.
INLINE real sum(const V (&parts)[PARTS]) {
  real total = 0;
  for (int part = 0; part < PARTS; part++) total = sum(parts[part], LANES, total);
  return total;
}

// A map of one batch, LANES images a group. `at` is the position (0, 0) of channel 0 of the first group; with a margin
// of zeros around each channel, negative positions are valid too. Strides count vectors.
struct Map {
  V* at;
  int channels, height, width, groups;
  ptrdiff_t row, plane, group;

  INLINE V* line(int n, int channel, int y) const { return at + n * group + channel * plane + y * row; }
  // The value of one image in a 1x1 map.
  INLINE real& value(int channel, int image) const {
    return reinterpret_cast<real*>(line(image / LANES, channel, 0))[image % LANES];
  }
  size_t positions() const { return size_t(height) * width; }
};

// Memory for vectors, zeroed. What is large begins on a large page, where the system has them: a kernel walks through
// as many places of a map as it has channels and rows, more than the processor has entries for small pages.
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
