#include "pairs.h"

namespace engine {
namespace {

#if PAIRS
// Rounds both vectors: `first` to the low half of the register, `second` to the high half.
INLINE __m512i halves(V first, V second) { return __m512i(_mm512_cvtne2ps_pbh(__m512(second), __m512(first))); }

// Rounds both vectors and interleaves the lanes.
INLINE V interleaved(V first, V second) {
  alignas(64) static constexpr int16_t ORDER[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                    8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return V(_mm512_permutexvar_epi16(_mm512_load_si512(ORDER), halves(first, second)));
}
INLINE V side_by_side(V first, V second) { return V(halves(first, second)); }
#else
// Never called in builds without pairs.
INLINE V interleaved(V, V) { return V{}; }
INLINE V side_by_side(V, V) { return V{}; }
#endif

// Start of the plane of a channel, including the margin.
V* plane_of(const Map& map, int n, int channel) {
  const ptrdiff_t margin = (map.row - map.width) / 2;
  return map.line(n, channel, 0) - margin * (map.row + 1);
}

// Map with `channels` and `groups`, dense in `room`, with the margins of `like`.
Map laid_out(const Map& like, int channels, int groups, V* room) {
  const ptrdiff_t margin = (like.row - like.width) / 2;
  return {room + margin * (like.row + 1), channels, like.height, like.width, groups,
          like.row, like.plane, channels * like.plane};
}

uint32_t rounded(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return bits >> 16 | 0x40;  // keeps NaN
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

}  // namespace

uint32_t pair(float first, float second) { return rounded(first) | rounded(second) << 16; }

size_t pairs_room(const Map& map) {
  return size_t(map.plane) * std::max((map.channels + 1) / 2 * map.groups, map.channels * ((map.groups + 1) / 2));
}

Map pair_channels(const Map& map, V* room) {
  const Map paired = laid_out(map, (map.channels + 1) / 2, map.groups, room);
  for (int n = 0; n < map.groups; n++)
    for (int c = 0; c < map.channels; c += 2) {
      const V* first = plane_of(map, n, c);
      V* to = plane_of(paired, n, c / 2);
      if (c + 1 == map.channels) {
        for (ptrdiff_t k = 0; k < map.plane; k++) to[k] = interleaved(first[k], V{});
        continue;
      }
      const V* second = plane_of(map, n, c + 1);
      for (ptrdiff_t k = 0; k < map.plane; k++) to[k] = interleaved(first[k], second[k]);
    }
  return paired;
}

Map pair_groups(const Map& map, V* room) {
  const Map paired = laid_out(map, map.channels, (map.groups + 1) / 2, room);
  for (int n = 0; n < map.groups; n += 2)
    for (int c = 0; c < map.channels; c++) {
      const V* first = plane_of(map, n, c);
      V* to = plane_of(paired, n / 2, c);
      if (n + 1 == map.groups) {
        for (ptrdiff_t k = 0; k < map.plane; k++) to[k] = side_by_side(first[k], V{});
        continue;
      }
      const V* second = plane_of(map, n + 1, c);
      for (ptrdiff_t k = 0; k < map.plane; k++) to[k] = side_by_side(first[k], second[k]);
    }
  return paired;
}

}  // namespace engine
