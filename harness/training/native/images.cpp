#include "images.h"

#include <algorithm>
#include <cmath>

namespace engine {
namespace {

constexpr int COLUMNS = 32;  // columns that are sampled together

// Rows and columns of an image, and words per row of the table. The sizes of MNIST are compile-time constants, which
// makes the loops twice as fast.
struct AnySize {
  int rows, columns, stride;
};
struct MnistSize {
  static constexpr int rows = 28, columns = 28, stride = 32;
};

// Packs four neighbours of a channel into a word, so that a bilinear sample needs a single load: (y, x), (y, x+1),
// (y+1, x), (y+1, x+1), the lowest byte first. Row and column 0 of the table are -1 of the image. `padded` is a buffer
// for the image with zeros around.
template <class Size>
INLINE void gather_neighbours(Size size, const uint8_t* image, uint8_t* padded, uint32_t* words) {
  const int line = size.stride + 1;
  std::memset(padded, 0, size_t(size.rows + 2) * line);
  for (int y = 0; y < size.rows; y++) std::memcpy(padded + (y + 1) * line + 1, image + y * size.columns, size.columns);
  for (int y = 0; y <= size.rows; y++) {
    const uint8_t *above = padded + y * line, *below = above + line;
    for (int x = 0; x < size.stride; x++)
      words[y * size.stride + x] = above[x] | above[x + 1] << 8 | below[x] << 16 | uint32_t(below[x + 1]) << 24;
  }
}

// Samples neighbouring columns of a row of the moved image, pixels from 0 to 255. The loops over arrays are plain, so
// that compilers vectorise the code.
template <class Size>
INLINE void sample(Size size, const uint32_t* words, const float* move, int row, int first, float* out) {
  const float height = float(size.rows), width = float(size.columns);
  const float base_y = (2 * row + 1) / height - 1, half_height = height / 2, half_width = width / 2;
  const float x0 = move[1] * base_y + move[2], y0 = move[4] * base_y + move[5];
  float right[COLUMNS], down[COLUMNS];
  int32_t index[COLUMNS];
  for (int j = 0; j < COLUMNS; j++) {
    const float base_x = (2 * (first + j) + 1) / width - 1;
    // The coordinates of torch plus 1, because the table begins at -1. All positions further outside are background.
    const float x = std::clamp((move[0] * base_x + x0 + 1) * half_width + 0.5f, 0.0f, width + 1);
    const float y = std::clamp((move[3] * base_x + y0 + 1) * half_height + 0.5f, 0.0f, height + 1);
    const int column = std::min(int(x), int(size.columns)), line = std::min(int(y), int(size.rows));
    right[j] = x - float(column);
    down[j] = y - float(line);
    index[j] = line * size.stride + column;
  }
  for (int j = 0; j < COLUMNS; j++) {
    const uint32_t four = words[index[j]];
    const float a = float(int32_t(four & 255)), b = float(int32_t(four >> 8 & 255));
    const float c = float(int32_t(four >> 16 & 255)), d = float(int32_t(four >> 24));
    const float top = a + (b - a) * right[j], bottom = c + (d - c) * right[j];
    out[j] = top + (bottom - top) * down[j];
  }
}

// Writes a channel of the moved and normalised image; `padded` and `words` are buffers.
template <class Size>
void place_channel(Size size, const uint8_t* image, const float* move, real factor, real offset, const Map& x,
                   int channel, int image_number, uint8_t* padded, uint32_t* words) {
  if (move) gather_neighbours(size, image, padded, words);
  for (int row = 0; row < size.rows; row++) {
    real* to = reinterpret_cast<real*>(x.line(image_number / LANES, channel, row)) + image_number % LANES;
    for (int first = 0; first < size.columns; first += COLUMNS, to += COLUMNS * LANES) {
      const int count = std::min(COLUMNS, size.columns - first);
      float pixels[COLUMNS];
      if (move)
        sample(size, words, move, row, first, pixels);
      else
        for (int j = 0; j < count; j++) pixels[j] = image[row * size.columns + first + j];
      for (int j = 0; j < count; j++) to[j * LANES] = pixels[j] * factor + offset;
    }
  }
}

}  // namespace

void place(const uint8_t* image, const float* move, const Normalisation& normalisation, const Map& x,
           int image_number) {
  for (int channel = 0; channel < x.channels; channel++, image += x.height * x.width) {
    const real mean = normalisation.mean[channel], deviation = normalisation.deviation[channel];
    const real factor = 1 / (255 * deviation), offset = -mean / deviation;
    if (x.height == MnistSize::rows && x.width == MnistSize::columns) {
      constexpr MnistSize size;
      uint8_t padded[(size.rows + 2) * (size.stride + 1)];
      uint32_t words[(size.rows + 1) * size.stride];
      place_channel(size, image, move, factor, offset, x, channel, image_number, padded, words);
    } else {
      const AnySize size = {x.height, x.width, (x.width + COLUMNS) / COLUMNS * COLUMNS};
      thread_local std::vector<uint8_t> padded;
      thread_local std::vector<uint32_t> words;
      padded.resize(size_t(size.rows + 2) * (size.stride + 1));
      words.resize(size_t(size.rows + 1) * size.stride);
      place_channel(size, image, move, factor, offset, x, channel, image_number, padded.data(), words.data());
    }
  }
}

}  // namespace engine
