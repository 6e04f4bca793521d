// Two values a lane in bf16: rounded to eight bits of mantissa, multiplied and added up in fp32 by one instruction.
//
// A vector of pairs has the bits of sixteen words, the first value in the low half of each. It is carried about as a V.
#pragma once
#include "layout.h"

// Whether this build multiplies pairs; one in float64, which is compared with torch, does not.
#if defined(__AVX512BF16__) && !defined(DOUBLE)
#define PAIRS 1
#include <immintrin.h>
#else
#define PAIRS 0
#endif

namespace engine {

// Two weights as one word; `second` may be 0 where there is none.
uint32_t pair(float first, float second);

// Vectors that a map in pairs takes at most.
size_t pairs_room(const Map& map);

// A map of half the channels: a word holds one image's values of channels 2p and 2p + 1. A missing last one is zero.
// Margins come along. `room` holds what is returned.
Map pair_channels(const Map& map, V* room);

// A map of half the groups: a word holds the values of two images of one channel, in an order of its own.
Map pair_groups(const Map& map, V* room);

#if PAIRS
// What a convolution is computed with, where it is in pairs: `total` plus the products of both halves of each word.
struct Pairs {
  using Weight = uint32_t;
  static INLINE V splat(Weight weight) { return V(_mm512_set1_epi32(int(weight))); }
  static INLINE V add(V total, V values, V weight) {
    return V(_mm512_dpbf16_ps(__m512(total), __m512bh(values), __m512bh(weight)));
  }
};
#endif

}  // namespace engine
