// Random bits a vector at a time: xoshiro128+ (Blackman and Vigna, 2018), one stream a lane, 32 bits a step.
#pragma once
#include "layout.h"

namespace engine {

typedef uint32_t Bits __attribute__((vector_size(LANES * 4)));

struct Random {
  Bits s[4];

  // Streams are seeded by splitmix64, as the authors of xoshiro advise.
  explicit Random(uint64_t seed) {
    for (auto& word : s)
      for (int lane = 0; lane < LANES; lane++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        word[lane] = uint32_t((z ^ (z >> 31)) >> 32);
      }
  }

  INLINE Bits next() {
    const Bits result = s[0] + s[3], t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >> 21);
    return result;
  }
};

}  // namespace engine
