// What one team is handed: a flat program (harness/engine/program.py), where its maps lie (harness/engine/arena.py), and a recipe.
#pragma once
#include "portable.h"

namespace persistent {

enum class Code : int { CONVOLUTION, DEPTHWISE, POINTWISE, MAX_POOL, AVERAGE_POOL, LINEAR, BRANCH, SUM, UNSHUFFLE };

enum Rectifier : int { NONE, RELU, LEAKY, PRELU };

// As in the native engine (engine/program.h).
struct Instruction {
  int code, in, out, other;
  int rows, columns, stride, row_padding, column_padding;
  int groups, poses, shared;
  int kernel, bias;
  int scale, shift, mean, variance;
  int before, after, before_slope, after_slope;
  int dropout, rate;
};

// Where a map lies in the memory of its network; `at` counts numbers, margin included.
struct MapRow {
  int64 at;
  int channels, height, width, margin;
};

// What changes from step to step.
struct StepRow {
  real rate;         // learning rate
  real first_scale;  // Adam's corrections of its two means
  real second_scale;
  real share;  // of the new state in the average
};

// One network in training. The state holds parameters and, behind them, running statistics; all arrays are the caller's.
struct Job {
  const Instruction* instructions;
  const MapRow *maps, *gradients, *spreads;  // one a value, one a value, one an instruction
  real* memory;      // all maps, zeroed
  real* statistics;  // of the batch in hand: means and inverse deviations, in the order of the running statistics
  real* scratch;     // partial sums
  real* packed;      // one kernel in the order of use; null where fast memory holds it
  real *state, *gradient, *first, *second, *averaged;
  const real* decay;
  const byte* pixels;
  const int64 *labels, *order;
  const float* moves;  // a 2x3 map an image, or null
  const StepRow* schedule;
  double* loss;       // the sum over all steps
  const int64* seed;  // of dropout; null where nothing is dropped
  int64 instruction_count, batch, parameter_count, state_size, steps, done, adam, nesterov, averages;
  double momentum, smoothing, mean, deviation;
};

// A map of one batch: channel, row, column, image. The images are innermost, so threads that follow each other read
// numbers that follow each other. `at` is position (0, 0); around each channel lies a margin of zeros, so negative
// positions are valid too.
struct Map {
  real* at;
  int channels, height, width, row, plane;

  DEVICE real* line(int channel, int y) const { return at + channel * plane + y * row; }
};

DEVICE Map map_of(const Job& job, const MapRow& row) {
  const int images = int(job.batch), wide = (row.width + 2 * row.margin) * images;
  return {job.memory + row.at + row.margin * (wide + images), row.channels, row.height, row.width, wide,
          wide * (row.height + 2 * row.margin)};
}

// One item of work on a map: a row of one channel of one image. Items follow each other image by image.
struct Line {
  int image, y, channel;
};

DEVICE Line line_of(int item, int height, int images) {
  const int rest = item / images;
  return {item % images, rest % height, rest / height};
}

// Adds up `terms` numbers that follow each other, for each of `count` sums, into the first of them. The tree has one
// shape whoever adds, and each group is read and written by one thread only.
constexpr int FAN = 16;

PHASE void fold(Team team, real* values, int count, int terms) {
  for (int stride = 1; stride < terms; stride *= FAN) {
    const int groups = blocks_of(terms, stride * FAN);
    for (int item = team.thread; item < count * groups; item += team.threads) {
      const int begin = item % groups * stride * FAN;
      real* own = values + item / groups * terms;
      real total = own[begin];
      for (int k = 1; k < FAN && begin + k * stride < terms; k++) total += own[begin + k * stride];
      own[begin] = total;
    }
    team.barrier();
  }
}

}  // namespace persistent
