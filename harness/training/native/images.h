// From stored images to the first map: lookup, random affine move, normalisation, transposition to batch-innermost.
#pragma once
#include <vector>

#include "layout.h"

namespace engine {

// Of pixels on a scale from 0 to 1, one of each a channel.
struct Normalisation {
  std::vector<real> mean, deviation;
};

// Writes an image of the map's channels, rows and columns as that of this number in the batch. `move` is the 2x3 map
// from output to input coordinates in units of half an edge, as torch's affine_grid takes it (align_corners=False), or
// null for no move; outside is 0, the background.
void place(const uint8_t* image, const float* move, const Normalisation& normalisation, const Map& x,
           int image_number);

}  // namespace engine
