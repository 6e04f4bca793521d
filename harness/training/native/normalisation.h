// Activations, batch normalisation and dropout for single values and channels, used by the passes over maps.
#pragma once
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "pointwise.h"

namespace engine {

// Number of lanes of group `n` with images of the batch; the values in the remaining lanes are unused.
INLINE int used_lanes(const Pointwise& p, int n) { return std::clamp(p.images - n * LANES, 0, LANES); }

// Clears unused lanes: normalisation spreads gradients over all lanes.
INLINE void clear_unused(const Pointwise& p, int n, V* line, int width) {
  const int used = used_lanes(p, n);
  if (used == LANES) return;
  for (int w = 0; w < width; w++)
    for (int lane = used; lane < LANES; lane++) line[w][lane] = 0;
}

// Number of values of the batch that enter a mean.
INLINE real values_of_a_mean(const Pointwise& p, const Map& y) {
  return real(y.positions() * size_t(p.shared)) * p.images;
}

// Terms of the series of e^r for r up to log(2) / 2; the remainder is below the rounding error.
constexpr int TERMS = sizeof(real) == 4 ? 7 : 13;
constexpr real inverse_factorial(int k) { return k < 2 ? real(1) : inverse_factorial(k - 1) / k; }

// 1 / (1 + e^-x); keeps NaN. With n = round(-x / log 2) the power is 2^n e^r, and 2^n is composed from bits.
INLINE V sigmoid(V x) {
  constexpr bool SINGLE = sizeof(real) == 4;
  typedef std::conditional_t<SINGLE, uint32_t, uint64_t> Whole;
  typedef Whole Wholes __attribute__((vector_size(VECTOR_BYTES)));
  constexpr int MANTISSA = SINGLE ? 23 : 52;
  constexpr Whole EXPONENT_OF_ONE = SINGLE ? 127 : 1023;
  // Beyond this value the exponent of 2^n would overflow; the sigmoid is 0 or 1 there.
  constexpr real MOST = SINGLE ? real(87) : real(708);
  // log(2) in two parts; n times the first part is exact (Cody and Waite).
  constexpr real HIGH = SINGLE ? real(0.693359375) : real(6.93147180369123816490e-01);
  constexpr real LOW = SINGLE ? real(-2.12194440054690583e-4) : real(1.90821492927058770002e-10);
  // Adding this number rounds to an integer, which is in the lowest bits of the sum.
  constexpr real ROUNDS = real(3) * real(Whole(1) << (MANTISSA - 1));

  V y = -x;
  y = y < splat(-MOST) ? splat(-MOST) : y;
  y = y > splat(MOST) ? splat(MOST) : y;
  const V rounded = y * real(1.44269504088896340736) + ROUNDS;
  const V n = rounded - ROUNDS;
  const V r = y - n * HIGH - n * LOW;
  V power = splat(inverse_factorial(TERMS));
#pragma GCC unroll 16
  for (int k = TERMS - 1; k >= 0; k--) power = power * r + inverse_factorial(k);
  Wholes bits;
  std::memcpy(&bits, &rounded, sizeof bits);
  bits = (bits + EXPONENT_OF_ONE) << MANTISSA;
  V scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return 1 / (1 + power * scale);
}

// Comparisons with NaN are false, so this form keeps NaN, as in relu.
template <Activation A>
INLINE V activate(V x, V slope) {
  if (A == NONE) return x;
  if (A == RELU) return relu(x);
  if (A == SWISH) return x * sigmoid(x);
  return x < V{} ? x * slope : x;
}

// Gradient of the input x of an activation from the gradient g of the output.
template <Activation A>
INLINE V passed(V x, V g, V slope) {
  if (A == NONE) return g;
  if (A == SWISH) {
    const V s = sigmoid(x);
    return g * (s + x * s * (1 - s));
  }
  return x > V{} ? g : A == RELU ? V{} : g * slope;
}

// Computes the common statistics of the channels from `first`.
template <Activation BEFORE>
void batch_statistics(const Pointwise& p, const Norm& norm, const Map& y, int first) {
  real &running_mean = norm.running_mean[first / p.shared], &running_variance = norm.running_variance[first / p.shared];
  // Sum deviations from the running mean, because the squares of large values would cancel.
  const V pivot = splat(running_mean), slope = splat(p.before_slope);
  real total = 0, squares = 0;
  for (int n = 0; n < y.groups; n += PARTS) {
    real here = 0, squares_here = 0;
    for (int part = n; part < n + PARTS; part++) {
      V s{}, q{};
      for (int c = first; c < first + p.shared; c++)
        for (int h = 0; h < y.height; h++) {
          const V* line = y.line(part, c, h);
          for (int w = 0; w < y.width; w++) {
            const V u = activate<BEFORE>(line[w], slope) - pivot;
            s += u;
            q += u * u;
          }
        }
      here = sum(s, used_lanes(p, part), here);
      squares_here = sum(q, used_lanes(p, part), squares_here);
    }
    total += here;
    squares += squares_here;
  }
  const real count = values_of_a_mean(p, y);
  const real offset = total / count, spread = squares / count - offset * offset;
  const real variance = spread < 0 ? 0 : spread;  // rounding may give a negative value; keeps NaN
  std::fill_n(norm.mean + first, p.shared, running_mean + offset);
  std::fill_n(norm.inverse + first, p.shared, 1 / std::sqrt(variance + EPSILON));
  running_mean += MOMENTUM * offset;
  running_variance += MOMENTUM * (variance * count / std::max(real(1), count - 1) - running_variance);
}

struct Affine {
  V slope, offset;
};

INLINE Affine affine(const Norm& norm, int c) {
  const real slope = norm.scale ? norm.scale[c] * norm.inverse[c] : norm.inverse[c];
  return {splat(slope), splat(norm.shift[c] - slope * norm.mean[c])};
}

// Returns the affine map of BN for channel c, from the batch statistics in training, else from the running statistics.
// Of channels that share statistics, the first channel must come first.
template <Activation BEFORE>
Affine affine_of(const Pointwise& p, const Norm& norm, const Map& y, int c, bool training) {
  if (training && c % p.shared == 0) batch_statistics<BEFORE>(p, norm, y, c);
  if (!training) {
    norm.mean[c] = norm.running_mean[c / p.shared];
    norm.inverse[c] = 1 / std::sqrt(norm.running_variance[c / p.shared] + EPSILON);
  }
  return affine(norm, c);
}

// Terms that BN subtracts from the gradients: a constant, and a multiple of the deviation from the mean.
struct NormGradient {
  V constant, slope;
};

// Returns these terms for the channels from `first` that share statistics; adds the gradients of scale and shift.
INLINE NormGradient norm_gradient(const Pointwise& p, const Norm& norm, const Map& y, int first, real total,
                                  real products, const PointwiseGradient& gradient) {
  const real count = values_of_a_mean(p, y), inverse = norm.inverse[first], product = products * inverse;
  if (gradient.scale) gradient.scale[first] += product;
  gradient.shift[first] += total;
  return {splat(total / count), splat(product / count * inverse)};
}

// Index of the first draw for channel c of group n.
INLINE size_t drawn_at(const Map& y, int n, int c) { return (size_t(n) * y.channels + c) * draws(y.positions()); }

// Factors of dropout from the draws. With dropout of whole channels, the values of a channel share a draw.
struct Dropped {
  bool whole;
  Bits threshold;
  V kept;  // factor of values that are not dropped

  explicit Dropped(const Pointwise& p)
      : whole(p.dropout == 2),
        threshold(Bits{} + uint32_t(std::lround(double(p.rate) * 65536))),
        kept(splat(1 / (1 - p.rate))) {}

  // Draws for the values of channel c of group n; returns a pointer to the first draw.
  INLINE const Bits* draw(Bits* drawn, const Map& y, int n, int c, Random& random) const {
    Bits* own = drawn + drawn_at(y, n, c);
    for (size_t k = 0; k < (whole ? 1 : y.positions()); k += SERVED) own[k / SERVED] = random.next(n % PARTS);
    return own;
  }

  // Factor of the value at `position` of the channel.
  INLINE V factor(const Bits* own, size_t position) const {
    const size_t index = whole ? 0 : position;
    const Bits half = (own[index / SERVED] >> uint32_t(16 * (index % SERVED))) & 0xffffu;
    return __builtin_convertvector((half >= threshold) & 1, V) * kept;
  }
};

}  // namespace engine
