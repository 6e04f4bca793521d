// Random bits, a vector at a time: xoshiro128+ (Blackman and Vigna, 2018), a stream per lane, 32 bits per step. Each
// part has separate lanes.
#pragma once
#include "layout.h"

namespace engine {

typedef uint32_t Bits __attribute__((vector_size(LANES * 4)));

struct Random {
  Bits s[PARTS][4];

  // Streams are seeded by splitmix64, as recommended by the authors of xoshiro.
  explicit Random(uint64_t seed) {
    for (int word = 0; word < 4; word++)
      for (int lane = 0; lane < LANES * PARTS; lane++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        s[lane / LANES][word][lane % LANES] = uint32_t((z ^ (z >> 31)) >> 32);
      }
  }

  INLINE Bits next(int part) {
    Bits(&own)[4] = s[part];
    const Bits result = own[0] + own[3], t = own[1] << 9;
    own[2] ^= own[0];
    own[3] ^= own[1];
    own[1] ^= own[2];
    own[0] ^= own[3];
    own[2] ^= t;
    own[3] = (own[3] << 11) | (own[3] >> 21);
    return result;
  }
};

}  // namespace engine
