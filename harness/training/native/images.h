// From stored images to the first map: lookup, random affine move, normalisation, transposition to batch-innermost.
#pragma once
#include <vector>

#include "layout.h"

namespace engine {

// Mean and standard deviation per channel, of pixels on a scale from 0 to 1.
struct Normalisation {
  std::vector<real> mean, deviation;
};

// Writes an image with the channels, rows and columns of the map as image `image_number` of the batch. `move` is the
// 2x3 map from output to input coordinates in units of half an edge, as in torch's affine_grid (align_corners=False),
// or null for no move; pixels outside are 0, the background.
void place(const uint8_t* image, const float* move, const Normalisation& normalisation, const Map& x,
           int image_number);

}  // namespace engine
