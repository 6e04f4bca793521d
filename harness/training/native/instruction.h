// Written by `python -m harness.training.native.instruction`, whose file says what each number means.
#pragma once
#include <cstdint>

namespace engine {

constexpr int32_t RATE_PARTS = 65536, SLOPE_PARTS = 1000000000;

enum class Code : int32_t {
  CONVOLUTION = 0,
  DEPTHWISE = 1,
  POINTWISE = 2,
  MAX_POOL = 3,
  AVERAGE_POOL = 4,
  LINEAR = 5,
  BRANCH = 6,
  SUM = 7,
  UNSHUFFLE = 8,
};

enum Activation : int32_t {
  NONE = 0,
  RELU = 1,
  LEAKY = 2,
  PRELU = 3,
  SWISH = 4,
};

struct ValueRow {
  int32_t channels;
  int32_t height;
  int32_t width;
  int32_t margin;
  int32_t gradient_margin;
};

struct Instruction {
  int32_t code;
  int32_t source;
  int32_t target;
  int32_t other;
  int32_t rows;
  int32_t columns;
  int32_t stride;
  int32_t row_padding;
  int32_t column_padding;
  int32_t groups;
  int32_t poses;
  int32_t shared;
  int32_t kernel;
  int32_t bias;
  int32_t scale;
  int32_t shift;
  int32_t mean;
  int32_t variance;
  int32_t before;
  int32_t after;
  int32_t before_slope;
  int32_t after_slope;
  int32_t dropout;
  int32_t rate;
};

}  // namespace engine
