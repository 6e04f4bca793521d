// Loops over blocks of channels, and kernel gradients as sums over positions and lanes for a block of kernels at once.
#pragma once
#include <utility>

#include "convolution.h"

namespace engine {

// Calls f with each number of a sequence as a compile-time constant.
template <class F, int... I>
INLINE void each(F f, std::integer_sequence<int, I...>) {
  (f(std::integral_constant<int, I>{}), ...);
}

// Splits `count` items into blocks of nearly equal size, at most MOST. Calls f with the first item and the size, a
// compile-time constant, of each block.
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

// Input and output channels of a block of kernels: a block has as many kernels as a vector has lanes.
constexpr int INS = LANES >= 16 ? 4 : LANES >= 4 ? 2 : 1, OUTS = LANES / INS;

// Adds the products of IN inputs and OUT gradients over `count` positions. `x_apart` and `dy_apart` are the distances
// of neighbouring channels in vectors.
template <int IN, int OUT>
INLINE void add_products(const V* x, ptrdiff_t x_apart, const V* dy, ptrdiff_t dy_apart, int count,
                         V (&total)[LANES]) {
  for (int t = 0; t < count; t++) {
    V gradients[OUT];
#pragma GCC unroll 4
    for (int o = 0; o < OUT; o++) gradients[o] = dy[o * dy_apart + t];
#pragma GCC unroll 4
    for (int c = 0; c < IN; c++) {
      const V value = x[c * x_apart + t];
#pragma GCC unroll 4
      for (int o = 0; o < OUT; o++) total[c * OUTS + o] += value * gradients[o];
    }
  }
}

// Number of vectors that hold `count` numbers.
INLINE size_t whole_vectors(size_t count) { return (count + LANES - 1) / LANES; }

// Sums of neighbouring lanes: the sums of a, then the sums of b.
template <size_t... I>
INLINE V neighbours(const V& a, const V& b, std::index_sequence<I...>) {
  return V{a[2 * I]..., b[2 * I]...} + V{a[2 * I + 1]..., b[2 * I + 1]...};
}

// Sums over the lanes of COUNT neighbouring vectors; for COUNT = LANES, lane i is the sum of vector i.
template <int COUNT>
INLINE V lane_sums(const V* v) {
  if constexpr (COUNT == 1)
    return v[0];
  else
    return neighbours(lane_sums<COUNT / 2>(v), lane_sums<COUNT / 2>(v + COUNT / 2),
                      std::make_index_sequence<LANES / 2>{});
}

// Number of vectors that hold a number of each kernel, in blocks.
INLINE ptrdiff_t block_vectors(const Convolution& c) {
  return ptrdiff_t((c.in + INS - 1) / INS) * ((c.out + OUTS - 1) / OUTS);
}

// Calls f with the first input and output channel and the numbers of input and output channels, compile-time constants,
// of each block of kernels, in the order of the vectors.
template <class F>
INLINE void each_block(const Convolution& c, F f) {
  in_blocks<OUTS>(c.out, [&](int o, auto outs) { in_blocks<INS>(c.in, [&](int in, auto ins) { f(in, o, ins, outs); }); });
}

// Sum over all parts, which are `apart` vectors apart.
INLINE V sum_parts(const V* part, ptrdiff_t apart) {
  if constexpr (PARTS == 1)
    return part[0];
  else if constexpr (PARTS == 2)
    return part[0] + part[apart];
  else
    return (part[0] + part[apart]) + (part[2 * apart] + part[3 * apart]);
}

// Adds the TAPS numbers of each kernel, stored in blocks, to `gradient` in the order of torch.
template <int TAPS>
void add_blocks(const Convolution& c, const V* blocks, real* gradient) {
  const ptrdiff_t size = block_vectors(c) * LANES;
  const real* block = reinterpret_cast<const real*>(blocks);
  each_block(c, [&](int in, int o, auto ins, auto outs) {
    for (int k = 0; k < outs; k++)
      for (int i = 0; i < ins; i++)
        for (int tap = 0; tap < TAPS; tap++)
          gradient[(ptrdiff_t(o + k) * c.in + in + i) * TAPS + tap] += block[tap * size + i * OUTS + k];
    block += LANES;
  });
}

}  // namespace engine
