// What happens to each value by itself between two convolutions: rectifier, batch normalisation, rectifier, dropout, in
// this order, each optional (the second rectifier only after a normalisation).
#pragma once
#include "program.h"

namespace persistent {

// torch's defaults (torch.nn.BatchNorm2d).
constexpr real EPSILON = real(1e-5), MOMENTUM = real(0.1);

// A rectifier is a slope for what is negative; none has slope 1. Comparisons with nan are false, and nan must come
// through: a diverged run is to be seen.
DEVICE real rectified(real x, real slope) { return x < 0 ? slope * x : x; }
DEVICE real passed(real x, real g, real slope) { return x > 0 ? g : slope * g; }
// What one value adds to the gradient of a learned slope.
DEVICE real slope_share(real x, real g) { return x > 0 ? real(0) : g * x; }

DEVICE real slope_of(int rectifier, int slope, const real* state) {
  if (rectifier == PRELU) return state[slope];
  return rectifier == NONE ? real(1) : rectifier == RELU ? real(0) : real(slope / 1e9);
}

constexpr uint64 GOLDEN = 0x9e3779b97f4a7c15u;

// The output function of splitmix64 (Steele, Lea and Flood, 2014); its stream at position n is mixed(key + n * GOLDEN).
DEVICE uint64 mixed(uint64 z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Masks of dropout are drawn anew where they are needed: a number depends on its place and on the key only. Each value
// takes 16 bits; whole channels share those of their first value.
struct Dropout {
  int kind;  // 0 none, 1 single values, 2 whole channels
  int rate;  // in parts of 65,536
  uint64 key;

  DEVICE real factor(int item, int width, int height, int images, int w) const {
    if (kind == 0) return 1;
    const int image = item % images, channel = item / images / height;
    const uint64 value = kind == 2 ? uint64(channel) * images + image : uint64(item) * width + w;
    const uint64 drawn = mixed(key + (value / 4 + 1) * GOLDEN) >> (16 * (value % 4)) & 0xffffu;
    return drawn >= uint64(rate) ? 1 / (1 - rate / real(65536)) : real(0);
  }
};

// One instruction: what it does to the values, and what it needs of the state.
struct Pointwise {
  int before, after;  // rectifiers
  real before_slope, after_slope;
  bool norm;
  const real *scale, *shift;                // of BN, which may have no scale
  real *running_mean, *running_variance;
  real *mean, *inverse;                     // of this batch; `inverse` is 1 / sqrt(variance + epsilon)
  Dropout dropout;
};

DEVICE Pointwise pointwise_of(const Job& job, const Instruction& i, int number, int64 step) {
  const bool norm = i.shift >= 0;
  real* statistics = job.statistics - job.parameter_count;
  const uint64 seed = job.seed ? uint64(*job.seed) : 0;
  const uint64 key = mixed(mixed(seed + uint64(step) * GOLDEN) + uint64(number) * GOLDEN);
  return {i.before,
          i.after,
          slope_of(i.before, i.before_slope, job.state),
          slope_of(i.after, i.after_slope, job.state),
          norm,
          i.scale < 0 ? nullptr : job.state + i.scale,
          norm ? job.state + i.shift : nullptr,
          norm ? job.state + i.mean : nullptr,
          norm ? job.state + i.variance : nullptr,
          norm ? statistics + i.mean : nullptr,
          norm ? statistics + i.variance : nullptr,
          {i.dropout, i.rate, key}};
}

struct Affine {
  real slope, offset;
};

DEVICE Affine affine(const Pointwise& p, int c) {
  if (!p.norm) return {1, 0};
  const real slope = p.scale ? p.scale[c] * p.inverse[c] : p.inverse[c];
  return {slope, p.shift[c] - slope * p.mean[c]};
}

PHASE void batch_statistics(Team team, Pointwise p, Map y, real* scratch, int images) {
  const int terms = y.height * images, items = y.channels * terms;
  real* squares = scratch + items;
  for (int item = team.thread; item < items; item += team.threads) {
    const Line l = line_of(item, y.height, images);
    const real* from = y.line(l.channel, l.y) + l.image;
    // Deviations from the running mean, not the values themselves: squares of large numbers would cancel.
    const real pivot = p.running_mean[l.channel];
    real total = 0, square = 0;
    for (int w = 0; w < y.width; w++) {
      const real u = rectified(from[w * images], p.before_slope) - pivot;
      total += u;
      square += u * u;
    }
    scratch[item] = total;
    squares[item] = square;
  }
  team.barrier();
  fold(team, scratch, 2 * y.channels, terms);
  for (int c = team.thread; c < y.channels; c += team.threads) {
    const real count = real(terms) * y.width;
    const real offset = scratch[c * terms] / count, spread = squares[c * terms] / count - offset * offset;
    const real variance = spread < 0 ? real(0) : spread;  // rounding may fall below zero; a nan stays
    p.mean[c] = p.running_mean[c] + offset;
    p.inverse[c] = 1 / sqrt(variance + EPSILON);
    p.running_mean[c] += MOMENTUM * offset;
    const real unbiased = variance * count / (count > 2 ? count - 1 : real(1));
    p.running_variance[c] += MOMENTUM * (unbiased - p.running_variance[c]);
  }
  team.barrier();
}

// z from y; the statistics are the batch's and move the running ones.
PHASE void pointwise(Team team, Pointwise p, Map y, Map z, real* scratch, int images) {
  if (p.norm) batch_statistics(team, p, y, scratch, images);
  for (int item = team.thread; item < y.channels * y.height * images; item += team.threads) {
    const Line l = line_of(item, y.height, images);
    const Affine a = affine(p, l.channel);
    const real* from = y.line(l.channel, l.y) + l.image;
    real* to = z.line(l.channel, l.y) + l.image;
    for (int w = 0; w < y.width; w++) {
      const real v = rectified(from[w * images], p.before_slope) * a.slope + a.offset;
      to[w * images] =
          (p.norm ? rectified(v, p.after_slope) : v) * p.dropout.factor(item, y.width, y.height, images, w);
    }
  }
  team.barrier();
}

// Where the gradients of what is learned are added to; null where there is nothing.
struct PointwiseGradient {
  real *scale, *shift, *before_slope, *after_slope;
};

DEVICE PointwiseGradient pointwise_gradient(real* gradient, const Instruction& i) {
  return {i.scale < 0 ? nullptr : gradient + i.scale, i.shift < 0 ? nullptr : gradient + i.shift,
          i.before == PRELU ? gradient + i.before_slope : nullptr,
          i.after == PRELU ? gradient + i.after_slope : nullptr};
}

PHASE void add_slope(Team team, real* gradient, real* shares, int count) {
  if (!gradient) return;
  fold(team, shares, 1, count);
  if (team.thread == 0) *gradient += shares[0];
  team.barrier();
}

// What the normalisation hands back, in place of the gradient behind it in dy; `scratch` holds the folded sums.
PHASE void normalisation_back(Team team, Pointwise p, Map y, Map dy, const real* scratch, real* shares, int images) {
  const int terms = y.height * images;
  const real count = real(terms) * y.width;
  for (int item = team.thread; item < y.channels * terms; item += team.threads) {
    const Line l = line_of(item, y.height, images);
    const real inverse = p.inverse[l.channel], mean = p.mean[l.channel];
    const real constant = scratch[l.channel * terms] / count;
    const real slope = scratch[(y.channels + l.channel) * terms] * inverse / count * inverse;
    const real factor = affine(p, l.channel).slope;
    const real* from = y.line(l.channel, l.y) + l.image;
    real* d = dy.line(l.channel, l.y) + l.image;
    real share = 0;
    for (int w = 0; w < y.width; w++) {
      const real x = from[w * images], u = rectified(x, p.before_slope);
      const real g = (d[w * images] - constant - (u - mean) * slope) * factor;
      share += slope_share(x, g);
      d[w * images] = passed(x, g, p.before_slope);
    }
    shares[item] = share;
  }
  team.barrier();
}

// dy from dz, which is the same map; adds the gradients of what is learned.
PHASE void pointwise_back(Team team, Pointwise p, Map y, Map dy, PointwiseGradient gradient, real* scratch,
                          int images) {
  const int terms = y.height * images, items = y.channels * terms;
  real *products = scratch + items, *after = products + items, *before = after + items;
  for (int item = team.thread; item < items; item += team.threads) {
    const Line l = line_of(item, y.height, images);
    const Affine a = affine(p, l.channel);
    const real mean = p.norm ? p.mean[l.channel] : real(0);
    const real* from = y.line(l.channel, l.y) + l.image;
    real* d = dy.line(l.channel, l.y) + l.image;
    real sum = 0, product = 0, after_share = 0, before_share = 0;
    for (int w = 0; w < y.width; w++) {
      real g = d[w * images] * p.dropout.factor(item, y.width, y.height, images, w);
      const real x = from[w * images], u = rectified(x, p.before_slope);
      if (p.norm) {
        const real v = u * a.slope + a.offset;
        after_share += slope_share(v, g);
        g = passed(v, g, p.after_slope);
        sum += g;
        product += g * (u - mean);
        d[w * images] = g;
      } else {
        before_share += slope_share(x, g);
        d[w * images] = passed(x, g, p.before_slope);
      }
    }
    scratch[item] = sum;
    products[item] = product;
    after[item] = after_share;
    before[item] = before_share;
  }
  team.barrier();
  if (p.norm) {
    fold(team, scratch, 2 * y.channels, terms);
    for (int c = team.thread; c < y.channels; c += team.threads) {
      if (gradient.scale) gradient.scale[c] += products[c * terms] * p.inverse[c];
      gradient.shift[c] += scratch[c * terms];
    }
    normalisation_back(team, p, y, dy, scratch, before, images);
  }
  add_slope(team, gradient.after_slope, after, items);
  add_slope(team, gradient.before_slope, before, items);
}

}  // namespace persistent
