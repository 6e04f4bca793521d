// Blocks of channels, and kernel gradients as sums over all positions and lanes, for a block of kernels at once.
#pragma once
#include <utility>

#include "convolution.h"

namespace engine {

// Calls f with each number of a sequence, as a constant.
template <class F, int... I>
INLINE void each(F f, std::integer_sequence<int, I...>) {
  (f(std::integral_constant<int, I>{}), ...);
}

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

// Input and output channels whose kernels are summed together: as many kernels as a vector has lanes.
constexpr int INS = LANES >= 16 ? 4 : LANES >= 4 ? 2 : 1, OUTS = LANES / INS;

// Adds the products of `count` positions of IN inputs and OUT gradients. `x_apart` and `dy_apart` are the vectors from one
// channel to the next.
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

// Vectors that hold so many numbers.
INLINE size_t whole_vectors(size_t count) { return (count + LANES - 1) / LANES; }

// Sums of neighbouring lanes, those of a before those of b.
template <size_t... I>
INLINE V neighbours(const V& a, const V& b, std::index_sequence<I...>) {
  return V{a[2 * I]..., b[2 * I]...} + V{a[2 * I + 1]..., b[2 * I + 1]...};
}

// The sums of the lanes of COUNT neighbouring vectors: in each lane that of another vector.
template <int COUNT>
INLINE V lane_sums(const V* v) {
  if constexpr (COUNT == 1)
    return v[0];
  else
    return neighbours(lane_sums<COUNT / 2>(v), lane_sums<COUNT / 2>(v + COUNT / 2),
                      std::make_index_sequence<LANES / 2>{});
}

// How many vectors hold one number of each kernel, in blocks.
INLINE ptrdiff_t block_vectors(const Convolution& c) {
  return ptrdiff_t((c.in + INS - 1) / INS) * ((c.out + OUTS - 1) / OUTS);
}

// Calls f with the first channels of each block of kernels and their numbers, constants, in the order of their vectors.
template <class F>
INLINE void each_block(const Convolution& c, F f) {
  in_blocks<OUTS>(c.out, [&](int o, auto outs) { in_blocks<INS>(c.in, [&](int in, auto ins) { f(in, o, ins, outs); }); });
}

// The sum of all parts, which are `apart`.
INLINE V sum_parts(const V* part, ptrdiff_t apart) {
  if constexpr (PARTS == 1)
    return part[0];
  else if constexpr (PARTS == 2)
    return part[0] + part[apart];
  else
    return (part[0] + part[apart]) + (part[2 * apart] + part[3 * apart]);
}

// Adds the TAPS numbers of each kernel, which are in blocks, to gradients in torch's order.
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
