#include "normalisation.h"

#include <type_traits>

namespace engine {
namespace {

// A 2x2 window of the pool: values before BN, after the activation, and after dropout.
template <Activation BEFORE, Activation AFTER, bool DROPS>
struct Window {
  V before[4], after[4], out[4], factors[4];

  // Window of row h and column w of the output. `plane` is the channel, `own` are the draws of the channel.
  INLINE Window(const Map& y, const V* plane, int h, int w, const Affine& a, const Dropped& dropped, const Bits* own) {
    const V* at = plane + 2 * (h * y.row + w);
    const V values[4] = {at[0], at[1], at[y.row], at[y.row + 1]};
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
      before[k] = activate<BEFORE>(values[k], V{});
      after[k] = activate<AFTER>(before[k] * a.slope + a.offset, V{});
      if (DROPS) factors[k] = dropped.factor(own, size_t(2 * h + k / 2) * y.width + 2 * w + k % 2);
      out[k] = DROPS ? after[k] * factors[k] : after[k];
    }
  }

  INLINE V largest() const {
    V most = out[0];
#pragma GCC unroll 4
    for (int k = 1; k < 4; k++) most = (out[k] > most) | (out[k] != out[k]) ? out[k] : most;  // keeps NaN
    return most;
  }
  INLINE V sum() const { return ((out[0] + out[1]) + out[2]) + out[3]; }

  // Gradients of the outputs of BN. The output of a ReLU is positive exactly if the input is positive.
  template <bool LARGEST>
  INLINE void gradients(V d, V (&g)[4]) const {
    const V most = LARGEST ? largest() : V{};
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
      g[k] = d;
      if (LARGEST) {
        const auto hit = out[k] == most;
        g[k] = hit ? d : V{};
        d = hit ? V{} : d;
      }
      if (DROPS) g[k] *= factors[k];
      g[k] = passed<AFTER>(after[k], g[k], V{});
    }
  }
};

template <Activation BEFORE, Activation AFTER, bool LARGEST, bool DROPS>
void pooled(const Pointwise& p, const Norm& norm, const Map& y, const Map& z, Bits* drawn, Random& random,
            bool training) {
  const Dropped dropped(p);
  for (int c = 0; c < y.channels; c++) {
    const Affine a = affine_of<BEFORE>(p, norm, y, c, training);
    for (int n = 0; n < y.groups; n++) {
      const Bits* own = DROPS ? dropped.draw(drawn, y, n, c, random) : nullptr;
      for (int h = 0; h < z.height; h++)
        for (int w = 0; w < z.width; w++) {
          const Window<BEFORE, AFTER, DROPS> window(y, y.line(n, c, 0), h, w, a, dropped, own);
          z.line(n, c, h)[w] = LARGEST ? window.largest() : window.sum() * real(0.25);
        }
    }
  }
}

// Writes the gradients of a channel, window by window, to a map.
struct ToMap {
  const Pointwise& p;
  const Map& dy;
  int c;

  INLINE void take(int n, int h, int w, const V (&gradients)[4]) {
    V* to = dy.line(n, c, 2 * h) + 2 * w;
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) to[k / 2 * dy.row + k % 2] = gradients[k];
  }
  void end() const {
    for (int n = 0; n < dy.groups; n++)
      for (int h = 0; h < dy.height; h++) clear_unused(p, n, dy.line(n, c, h), dy.width);
  }
};

// Adds the gradients of a channel to the kernel gradient of a stem. Unused lanes have images of zeros.
struct ToStem {
  const Stem& stem;
  int c;
  V sums[9][PARTS]{};

  ToStem(const Stem& stem_, int c_) : stem(stem_), c(c_) {}
  INLINE void take(int n, int h, int w, const V (&gradients)[4]) {
    const Map& x = stem.images;
    const V* from = x.line(n, 0, 2 * h - stem.padding) + 2 * w - stem.padding;
#pragma GCC unroll 9
    for (int t = 0; t < 9; t++)
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++) sums[t][n % PARTS] += from[(k / 2 + t / 3) * x.row + k % 2 + t % 3] * gradients[k];
  }
  void end() const {
    for (int t = 0; t < 9; t++) stem.gradient[c * 9 + t] += sum(sums[t]);
  }
};

// `target(c)` returns the object that takes the gradients of channel c.
template <Activation BEFORE, Activation AFTER, bool LARGEST, bool DROPS, class Target>
void pooled_back(const Pointwise& p, const Norm& norm, const Map& y, const Map& dz, const Target& target,
                 const Bits* drawn, const PointwiseGradient& gradient) {
  const Dropped dropped(p);
  const real share = LARGEST ? 1 : real(0.25);
  for (int first = 0; first < y.channels; first += p.shared) {
    const Affine a = affine(norm, first);
    const V mean = splat(norm.mean[first]);
    V all_sums[PARTS], all_products[PARTS];
    for (int part = 0; part < PARTS; part++) {
      V sums{}, products{};
      for (int c = first; c < first + p.shared; c++)
        for (int n = part; n < y.groups; n += PARTS) {
          const Bits* own = DROPS ? drawn + drawn_at(y, n, c) : nullptr;
          for (int h = 0; h < dz.height; h++)
            for (int w = 0; w < dz.width; w++) {
              const Window<BEFORE, AFTER, DROPS> window(y, y.line(n, c, 0), h, w, a, dropped, own);
              V g[4];
              window.template gradients<LARGEST>(dz.line(n, c, h)[w] * share, g);
#pragma GCC unroll 4
              for (int k = 0; k < 4; k++) {
                sums += g[k];
                products += g[k] * (window.before[k] - mean);
              }
            }
        }
      all_sums[part] = sums;
      all_products[part] = products;
    }
    const NormGradient taken = norm_gradient(p, norm, y, first, sum(all_sums), sum(all_products), gradient);
    for (int c = first; c < first + p.shared; c++) {
      auto taker = target(c);
      for (int n = 0; n < y.groups; n++) {
        const Bits* own = DROPS ? drawn + drawn_at(y, n, c) : nullptr;
        for (int h = 0; h < dz.height; h++)
          for (int w = 0; w < dz.width; w++) {
            const Window<BEFORE, AFTER, DROPS> window(y, y.line(n, c, 0), h, w, a, dropped, own);
            V g[4];
            window.template gradients<LARGEST>(dz.line(n, c, h)[w] * share, g);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) {
              const V u = window.before[k];
              g[k] = passed<BEFORE>(u, (g[k] - taken.constant - (u - mean) * taken.slope) * a.slope, V{});
            }
            taker.take(n, h, w, g);
          }
      }
      taker.end();
    }
  }
}

// Calls f with both activations, the kind of pooling and the use of dropout as compile-time constants.
template <class F>
void pooled_by(const Pointwise& p, bool largest, bool drops, F f) {
  const auto dropping = [&](auto before, auto after, auto by_largest) {
    drops ? f(before, after, by_largest, std::true_type{}) : f(before, after, by_largest, std::false_type{});
  };
  const auto by = [&](auto before, auto after) {
    largest ? dropping(before, after, std::true_type{}) : dropping(before, after, std::false_type{});
  };
  const std::integral_constant<Activation, NONE> none;
  const std::integral_constant<Activation, RELU> relu;
  if (p.before == RELU)
    p.after == RELU ? by(relu, relu) : by(relu, none);
  else
    p.after == RELU ? by(none, relu) : by(none, none);
}

}  // namespace

void pooled_pointwise(const Pointwise& p, bool largest, const Norm& norm, const Map& y, const Map& z, Bits* drawn,
                      Random& random, bool training) {
  pooled_by(p, largest, p.dropout && training, [&](auto before, auto after, auto by_largest, auto drops) {
    pooled<before.value, after.value, by_largest.value, drops.value>(p, norm, y, z, drawn, random, training);
  });
}

void pooled_pointwise_back(const Pointwise& p, bool largest, const Norm& norm, const Map& y, const Map& dz,
                           const Map& dy, const Stem* stem, const Bits* drawn, const PointwiseGradient& gradient) {
  pooled_by(p, largest, p.dropout, [&](auto before, auto after, auto by_largest, auto drops) {
    if (stem)
      pooled_back<before.value, after.value, by_largest.value, drops.value>(
          p, norm, y, dz, [&](int c) { return ToStem(*stem, c); }, drawn, gradient);
    else
      pooled_back<before.value, after.value, by_largest.value, drops.value>(
          p, norm, y, dz, [&](int c) { return ToMap{p, dy, c}; }, drawn, gradient);
  });
}

}  // namespace engine
