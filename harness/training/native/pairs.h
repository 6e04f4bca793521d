// Two values per lane in bf16: rounded to eight bits of mantissa, multiplied and summed in fp32 by a single
// instruction.
//
// A vector of pairs has sixteen words, with the first value in the low half of each word. The C++ type is V.
#pragma once
#include "layout.h"

// Whether this build multiplies pairs; builds in float64, for the comparison with torch, do not.
#if defined(__AVX512BF16__) && !defined(DOUBLE)
#define PAIRS 1
#include <immintrin.h>
#else
#define PAIRS 0
#endif

namespace engine {

// Packs two weights into a word; `second` is 0 if there is no second weight.
uint32_t pair(float first, float second);

// Largest number of vectors of a map in pairs.
size_t pairs_room(const Map& map);

// Returns a map with half the channels: a word has the values of channels 2p and 2p + 1 of an image; a missing last
// channel is zero. Margins are copied, too. `room` is the buffer of the result.
Map pair_channels(const Map& map, V* room);

// Returns a map with half the groups: a word has the values of two images of a channel, in an internal order.
Map pair_groups(const Map& map, V* room);

#if PAIRS
// Arithmetic of a convolution in pairs: `total` plus the products of both halves of each word.
struct Pairs {
  using Weight = uint32_t;
  static INLINE V splat(Weight weight) { return V(_mm512_set1_epi32(int(weight))); }
  static INLINE V add(V total, V values, V weight) {
    return V(_mm512_dpbf16_ps(__m512(total), __m512bh(values), __m512bh(weight)));
  }
};
#endif

}  // namespace engine
