#include "images.h"

#include <algorithm>
#include <cmath>

namespace engine {
namespace {

constexpr int COLUMNS = 32;  // that are sampled together

// One channel of an image, four neighbours in one word, so that a bilinear sample takes one load: (y, x), (y, x+1),
// (y+1, x), (y+1, x+1), the lowest byte first. Row and column 0 stand for -1.
struct Neighbours {
  int rows, columns, stride;  // words from one row to the next
  std::vector<uint32_t> words;
  std::vector<uint8_t> padded;

  void gather(const uint8_t* image, int height, int width) {
    rows = height, columns = width, stride = (width + COLUMNS) / COLUMNS * COLUMNS;
    words.resize(size_t(rows + 1) * stride);
    padded.assign(size_t(rows + 2) * (stride + 1), 0);
    for (int y = 0; y < rows; y++) std::memcpy(&padded[(y + 1) * (stride + 1) + 1], image + y * columns, columns);
    for (int y = 0; y <= rows; y++) {
      const uint8_t *above = &padded[y * (stride + 1)], *below = above + stride + 1;
      for (int x = 0; x < stride; x++)
        words[y * stride + x] = above[x] | above[x + 1] << 8 | below[x] << 16 | uint32_t(below[x + 1]) << 24;
    }
  }
};

// Neighbouring columns of one row of the moved image, pixels from 0 to 255. Written as plain loops over arrays: compilers make
// vectors of them.
void sample(const Neighbours& from, const float* move, int row, int first, float* out) {
  const float height = float(from.rows), width = float(from.columns);
  const float base_y = (2 * row + 1) / height - 1, half_height = height / 2, half_width = width / 2;
  const float x0 = move[1] * base_y + move[2], y0 = move[4] * base_y + move[5];
  const int rows = from.rows, columns = from.columns, stride = from.stride;
  const uint32_t* words = from.words.data();
  float right[COLUMNS], down[COLUMNS];
  int32_t index[COLUMNS];
  for (int j = 0; j < COLUMNS; j++) {
    const float base_x = (2 * (first + j) + 1) / width - 1;
    // One unit more than torch's coordinates: the table begins at -1. What lies further out is all background.
    const float x = std::clamp((move[0] * base_x + x0 + 1) * half_width + 0.5f, 0.0f, width + 1);
    const float y = std::clamp((move[3] * base_x + y0 + 1) * half_height + 0.5f, 0.0f, height + 1);
    const int column = std::min(int(x), columns), line = std::min(int(y), rows);
    right[j] = x - float(column);
    down[j] = y - float(line);
    index[j] = line * stride + column;
  }
  for (int j = 0; j < COLUMNS; j++) {
    const uint32_t four = words[index[j]];
    const float a = float(int32_t(four & 255)), b = float(int32_t(four >> 8 & 255));
    const float c = float(int32_t(four >> 16 & 255)), d = float(int32_t(four >> 24));
    const float top = a + (b - a) * right[j], bottom = c + (d - c) * right[j];
    out[j] = top + (bottom - top) * down[j];
  }
}

}  // namespace

void place(const uint8_t* image, const float* move, const Normalisation& normalisation, const Map& x,
           int image_number) {
  thread_local Neighbours from;
  for (int channel = 0; channel < x.channels; channel++, image += x.height * x.width) {
    const real mean = normalisation.mean[channel], deviation = normalisation.deviation[channel];
    const real factor = 1 / (255 * deviation), offset = -mean / deviation;
    if (move) from.gather(image, x.height, x.width);
    for (int row = 0; row < x.height; row++) {
      real* to = reinterpret_cast<real*>(x.line(image_number / LANES, channel, row)) + image_number % LANES;
      for (int first = 0; first < x.width; first += COLUMNS, to += COLUMNS * LANES) {
        const int count = std::min(COLUMNS, x.width - first);
        float pixels[COLUMNS];
        if (move)
          sample(from, move, row, first, pixels);
        else
          for (int j = 0; j < count; j++) pixels[j] = image[row * x.width + first + j];
        for (int j = 0; j < count; j++) to[j * LANES] = pixels[j] * factor + offset;
      }
    }
  }
}

}  // namespace engine
