#include "images.h"

#include <algorithm>
#include <cmath>

namespace engine {
namespace {

constexpr int WIDTH = 32;  // a row of the table: 29 words, rounded up

// Four neighbours in one word, so that a bilinear sample takes one load: (y, x), (y, x+1), (y+1, x), (y+1, x+1),
// the lowest byte first. Row and column 0 stand for -1.
void gather_neighbours(const uint8_t* image, uint32_t* table) {
  uint8_t padded[EDGE + 2][WIDTH + 1] = {};
  for (int y = 0; y < EDGE; y++) std::memcpy(&padded[y + 1][1], image + y * EDGE, EDGE);
  for (int y = 0; y <= EDGE; y++)
    for (int x = 0; x < WIDTH; x++)
      table[y * WIDTH + x] = padded[y][x] | padded[y][x + 1] << 8 | padded[y + 1][x] << 16 |
                             uint32_t(padded[y + 1][x + 1]) << 24;
}

// One row of the moved image, pixels from 0 to 255. Written as plain loops over arrays: compilers make vectors of them.
void sample_row(const uint32_t* table, const float* move, int row, float* out) {
  const float base_y = (2 * row + 1) / float(EDGE) - 1, half = EDGE / 2.0f;
  const float x0 = move[1] * base_y + move[2], y0 = move[4] * base_y + move[5];
  float right[WIDTH], down[WIDTH];
  int32_t index[WIDTH];
  for (int j = 0; j < WIDTH; j++) {
    const float base_x = (2 * j + 1) / float(EDGE) - 1;
    // One unit more than torch's coordinates: the table begins at -1. What lies further out is all background.
    const float x = std::clamp((move[0] * base_x + x0 + 1) * half + 0.5f, 0.0f, EDGE + 1.0f);
    const float y = std::clamp((move[3] * base_x + y0 + 1) * half + 0.5f, 0.0f, EDGE + 1.0f);
    const int column = std::min(int(x), EDGE), line = std::min(int(y), EDGE);
    right[j] = x - float(column);
    down[j] = y - float(line);
    index[j] = line * WIDTH + column;
  }
  for (int j = 0; j < WIDTH; j++) {
    const uint32_t four = table[index[j]];
    const float a = float(int32_t(four & 255)), b = float(int32_t(four >> 8 & 255));
    const float c = float(int32_t(four >> 16 & 255)), d = float(int32_t(four >> 24));
    const float top = a + (b - a) * right[j], bottom = c + (d - c) * right[j];
    out[j] = top + (bottom - top) * down[j];
  }
}

}  // namespace

void place(const uint8_t* image, const float* move, Normalisation normalisation, const Map& x, int image_number) {
  const real factor = 1 / (255 * normalisation.deviation), offset = -normalisation.mean / normalisation.deviation;
  uint32_t table[(EDGE + 1) * WIDTH];
  if (move) gather_neighbours(image, table);
  for (int row = 0; row < EDGE; row++) {
    float pixels[WIDTH];
    if (move)
      sample_row(table, move, row, pixels);
    else
      for (int j = 0; j < EDGE; j++) pixels[j] = image[row * EDGE + j];
    real* to = reinterpret_cast<real*>(x.line(image_number / LANES, 0, row)) + image_number % LANES;
    for (int j = 0; j < EDGE; j++) to[j * LANES] = pixels[j] * factor + offset;
  }
}

}  // namespace engine
