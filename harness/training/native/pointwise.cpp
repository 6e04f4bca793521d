#include "pointwise.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace engine {
namespace {

// What dropout does with a value, from what was drawn for it. Whole channels share one draw.
struct Dropped {
  Bits threshold;
  V kept;  // what a value that stays is multiplied by

  explicit Dropped(real rate) : threshold(Bits{} + uint32_t(std::lround(double(rate) * 65536))),
                                kept(splat(1 / (1 - rate))) {}

  // What the value of that index is multiplied by.
  INLINE V factor(const Bits* drawn, size_t index) const {
    const Bits half = (drawn[index / SERVED] >> uint32_t(16 * (index % SERVED))) & 0xffffu;
    return __builtin_convertvector((half >= threshold) & 1, V) * kept;
  }
};

// Draws for the values of one channel of a group.
void draw(Bits* drawn, size_t values, int part, Random& random) {
  for (size_t k = 0; k < values; k += SERVED) drawn[k / SERVED] = random.next(part);
}

// The images of a group that belong to the batch; the lanes beyond them hold values that belong to nobody.
INLINE int used_lanes(const Pointwise& p, int n) { return std::clamp(p.images - n * LANES, 0, LANES); }

// Of how many values of the batch one mean is.
INLINE real values_of_a_mean(const Pointwise& p, const Map& y) {
  return real(y.positions() * size_t(p.shared)) * p.images;
}

// e^r by its series, for r up to half the logarithm of 2: so many terms that the rest is below the rounding.
constexpr int TERMS = sizeof(real) == 4 ? 7 : 13;
constexpr real inverse_factorial(int k) { return k < 2 ? real(1) : inverse_factorial(k - 1) / k; }

// 1 / (1 + e^-x); nan comes through. With n = round(-x / log 2) the power is 2^n e^r, and 2^n is made of its bits.
INLINE V sigmoid(V x) {
  constexpr bool SINGLE = sizeof(real) == 4;
  typedef std::conditional_t<SINGLE, uint32_t, uint64_t> Whole;
  typedef Whole Wholes __attribute__((vector_size(VECTOR_BYTES)));
  constexpr int MANTISSA = SINGLE ? 23 : 52;
  constexpr Whole EXPONENT_OF_ONE = SINGLE ? 127 : 1023;
  // Beyond it the exponent of 2^n would overflow; the sigmoid is 0 or 1 there.
  constexpr real MOST = SINGLE ? real(87) : real(708);
  // The logarithm of 2 in two parts, of which n times the first is exact (Cody and Waite).
  constexpr real HIGH = SINGLE ? real(0.693359375) : real(6.93147180369123816490e-01);
  constexpr real LOW = SINGLE ? real(-2.12194440054690583e-4) : real(1.90821492927058770002e-10);
  // What is added to this number is rounded to a whole one, which is then in its lowest bits.
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

// Comparisons with nan are false, and nan must come through: see relu.
template <Activation A>
INLINE V activate(V x, V slope) {
  if (A == NONE) return x;
  if (A == RELU) return relu(x);
  if (A == SWISH) return x * sigmoid(x);
  return x < V{} ? x * slope : x;
}

// The gradient before an activation that had x, from that after it.
template <Activation A>
INLINE V passed(V x, V g, V slope) {
  if (A == NONE) return g;
  if (A == SWISH) {
    const V s = sigmoid(x);
    return g * (s + x * s * (1 - s));
  }
  return x > V{} ? g : A == RELU ? V{} : g * slope;
}

// What one value adds to the gradient of a learned slope.
INLINE V slope_share(V x, V g) { return x > V{} ? V{} : g * x; }

// Statistics of the channels from `first` on that share them.
template <Activation BEFORE>
void batch_statistics(const Pointwise& p, const Norm& norm, const Map& y, int first) {
  real &running_mean = norm.running_mean[first / p.shared], &running_variance = norm.running_variance[first / p.shared];
  // Deviations from the running mean, not the values themselves: squares of large numbers would cancel.
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
  const real variance = spread < 0 ? 0 : spread;  // rounding may fall below zero; a nan stays
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

// The two slopes as vectors.
struct Slopes {
  V before, after;
  explicit Slopes(const Pointwise& p) : before(splat(p.before_slope)), after(splat(p.after_slope)) {}
};

template <Activation BEFORE, bool NORM, Activation AFTER>
INLINE V activated(V y, const Affine& a, const Slopes& slopes) {
  V v = activate<BEFORE>(y, slopes.before);
  if (NORM) v = v * a.slope + a.offset;
  return activate<AFTER>(v, slopes.after);
}

template <Activation BEFORE, bool NORM, Activation AFTER>
void forward(const Pointwise& p, const Norm& norm, const Map& y, const Map& z, Bits* drawn, Random& random,
             bool training) {
  const Dropped dropped(p.rate);
  const Slopes slopes(p);
  const bool drops = p.dropout && training;
  for (int c = 0; c < y.channels; c++) {
    if (NORM && training && c % p.shared == 0) batch_statistics<BEFORE>(p, norm, y, c);
    if (NORM && !training) {
      norm.mean[c] = norm.running_mean[c / p.shared];
      norm.inverse[c] = 1 / std::sqrt(norm.running_variance[c / p.shared] + EPSILON);
    }
    const Affine a = NORM ? affine(norm, c) : Affine{};
    for (int n = 0; n < y.groups; n++) {
      Bits* own = drops ? drawn + (size_t(n) * y.channels + c) * draws(y.positions()) : nullptr;
      if (drops) draw(own, p.dropout == 2 ? 1 : y.positions(), n % PARTS, random);
      for (int h = 0; h < y.height; h++) {
        const V* from = y.line(n, c, h);
        V* to = z.line(n, c, h);
        if (!drops) {
          for (int w = 0; w < y.width; w++) to[w] = activated<BEFORE, NORM, AFTER>(from[w], a, slopes);
        } else {
          for (int w = 0; w < y.width; w++)
            to[w] = activated<BEFORE, NORM, AFTER>(from[w], a, slopes) *
                    dropped.factor(own, p.dropout == 2 ? 0 : size_t(h) * y.width + w);
        }
      }
    }
  }
}

template <Activation BEFORE, bool NORM, Activation AFTER>
void back(const Pointwise& p, const Norm& norm, const Map& y, const Map& dz, const Map& dy, const Bits* drawn,
          const PointwiseGradient& gradient) {
  const Dropped dropped(p.rate);
  const Slopes slopes(p);
  for (int first = 0; first < y.channels; first += p.shared) {
    // Channels that share a mean have one scale too, so what is taken from their gradients is one sum.
    const Affine a = NORM ? affine(norm, first) : Affine{};
    const V mean = splat(NORM ? norm.mean[first] : 0);
    V all_sums[PARTS], all_products[PARTS], before_slopes[PARTS], after_slopes[PARTS];
    for (int part = 0; part < PARTS; part++) {
      V sums{}, products{}, before_slope{}, after_slope{};
      for (int c = first; c < first + p.shared; c++)
        for (int n = part; n < y.groups; n += PARTS) {
          const Bits* own = p.dropout ? drawn + (size_t(n) * y.channels + c) * draws(y.positions()) : nullptr;
          for (int h = 0; h < y.height; h++) {
            const V* from = y.line(n, c, h);
            V* d = dz.line(n, c, h);
            V* to = dy.line(n, c, h);
            for (int w = 0; w < y.width; w++) {
              V g = d[w];
              if (p.dropout) g *= dropped.factor(own, p.dropout == 2 ? 0 : size_t(h) * y.width + w);
              const V u = activate<BEFORE>(from[w], slopes.before);
              const V v = NORM ? u * a.slope + a.offset : u;
              if (AFTER == PRELU) after_slope += slope_share(v, g);
              g = passed<AFTER>(v, g, slopes.after);
              if (NORM) {
                sums += g;
                products += g * (u - mean);
                d[w] = g;
              } else {
                if (BEFORE == PRELU) before_slope += slope_share(from[w], g);
                to[w] = passed<BEFORE>(from[w], g, slopes.before);
              }
            }
          }
        }
      all_sums[part] = sums;
      all_products[part] = products;
      before_slopes[part] = before_slope;
      after_slopes[part] = after_slope;
    }
    if (AFTER == PRELU) *gradient.after_slope += sum(after_slopes);
    if (BEFORE == PRELU && !NORM) *gradient.before_slope += sum(before_slopes);
    if (!NORM) continue;
    const real count = values_of_a_mean(p, y), inverse = norm.inverse[first];
    const real total = sum(all_sums), product = sum(all_products) * inverse;
    if (gradient.scale) gradient.scale[first] += product;
    gradient.shift[first] += total;
    const V constant = splat(total / count), slope = splat(product / count * inverse);
    for (int c = first; c < first + p.shared; c++) {
      real shares = 0;
      for (int n = 0; n < y.groups; n++) {
        V share{};
        for (int h = 0; h < y.height; h++) {
          const V* from = y.line(n, c, h);
          const V* d = dz.line(n, c, h);
          V* to = dy.line(n, c, h);
          for (int w = 0; w < y.width; w++) {
            const V u = activate<BEFORE>(from[w], slopes.before);
            const V g = (d[w] - constant - (u - mean) * slope) * a.slope;
            if (BEFORE == PRELU) share += slope_share(from[w], g);
            to[w] = passed<BEFORE>(from[w], g, slopes.before);
          }
          // Normalisation spreads gradients over the whole batch, and so into the lanes beyond it.
          if (used_lanes(p, n) < LANES)
            for (int w = 0; w < y.width; w++)
              for (int lane = used_lanes(p, n); lane < LANES; lane++) to[w][lane] = 0;
        }
        if (BEFORE == PRELU) {
          shares = sum(share, used_lanes(p, n), n % PARTS ? shares : 0);
          if (n % PARTS == PARTS - 1) *gradient.before_slope += shares;
        }
      }
    }
  }
}

// Calls f with the activation as a type, so that it can choose a template.
template <class F>
void chosen(Activation activation, F f) {
  switch (activation) {
    case NONE: return f(std::integral_constant<Activation, NONE>{});
    case RELU: return f(std::integral_constant<Activation, RELU>{});
    case LEAKY: return f(std::integral_constant<Activation, LEAKY>{});
    case PRELU: return f(std::integral_constant<Activation, PRELU>{});
    case SWISH: return f(std::integral_constant<Activation, SWISH>{});
  }
}

template <class F>
void chosen(const Pointwise& p, F f) {
  chosen(p.before, [&](auto before) {
    if (!p.norm) return f(before, std::false_type{}, std::integral_constant<Activation, NONE>{});
    chosen(p.after, [&](auto after) { f(before, std::true_type{}, after); });
  });
}

}  // namespace

void pointwise(const Pointwise& p, const Norm& norm, const Map& y, const Map& z, Bits* drawn, Random& random,
               bool training) {
  chosen(p, [&](auto before, auto normed, auto after) {
    forward<before.value, normed.value, after.value>(p, norm, y, z, drawn, random, training);
  });
}

void pointwise_back(const Pointwise& p, const Norm& norm, const Map& y, const Map& dz, const Map& dy,
                    const Bits* drawn, const PointwiseGradient& gradient) {
  chosen(p, [&](auto before, auto normed, auto after) {
    back<before.value, normed.value, after.value>(p, norm, y, dz, dy, drawn, gradient);
  });
}

}  // namespace engine
