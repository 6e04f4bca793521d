#include <cmath>
#include <type_traits>

#include "normalisation.h"

namespace engine {
namespace {

// Contribution of a value to the gradient of a learned slope.
INLINE V slope_share(V x, V g) { return x > V{} ? V{} : g * x; }

// Both slopes as vectors.
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
  const Dropped dropped(p);
  const Slopes slopes(p);
  const bool drops = p.dropout && training;
  for (int c = 0; c < y.channels; c++) {
    const Affine a = NORM ? affine_of<BEFORE>(p, norm, y, c, training) : Affine{};
    for (int n = 0; n < y.groups; n++) {
      const Bits* own = drops ? dropped.draw(drawn, y, n, c, random) : nullptr;
      for (int h = 0; h < y.height; h++) {
        const V* from = y.line(n, c, h);
        V* to = z.line(n, c, h);
        if (!drops) {
          for (int w = 0; w < y.width; w++) to[w] = activated<BEFORE, NORM, AFTER>(from[w], a, slopes);
        } else {
          for (int w = 0; w < y.width; w++)
            to[w] = activated<BEFORE, NORM, AFTER>(from[w], a, slopes) *
                    dropped.factor(own, size_t(h) * y.width + w);
        }
      }
    }
  }
}

template <Activation BEFORE, bool NORM, Activation AFTER>
void back(const Pointwise& p, const Norm& norm, const Map& y, const Map& dz, const Map& dy, const Bits* drawn,
          const PointwiseGradient& gradient) {
  const Dropped dropped(p);
  const Slopes slopes(p);
  for (int first = 0; first < y.channels; first += p.shared) {
    // Channels that share a mean also share the scale, so the subtracted terms are sums over these channels.
    const Affine a = NORM ? affine(norm, first) : Affine{};
    const V mean = splat(NORM ? norm.mean[first] : 0);
    V all_sums[PARTS], all_products[PARTS], before_slopes[PARTS], after_slopes[PARTS];
    for (int part = 0; part < PARTS; part++) {
      V sums{}, products{}, before_slope{}, after_slope{};
      for (int c = first; c < first + p.shared; c++)
        for (int n = part; n < y.groups; n += PARTS) {
          const Bits* own = p.dropout ? drawn + drawn_at(y, n, c) : nullptr;
          for (int h = 0; h < y.height; h++) {
            const V* from = y.line(n, c, h);
            V* d = dz.line(n, c, h);
            V* to = dy.line(n, c, h);
            for (int w = 0; w < y.width; w++) {
              V g = d[w];
              if (p.dropout) g *= dropped.factor(own, size_t(h) * y.width + w);
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
    const NormGradient taken = norm_gradient(p, norm, y, first, sum(all_sums), sum(all_products), gradient);
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
            const V g = (d[w] - taken.constant - (u - mean) * taken.slope) * a.slope;
            if (BEFORE == PRELU) share += slope_share(from[w], g);
            to[w] = passed<BEFORE>(from[w], g, slopes.before);
          }
          clear_unused(p, n, to, y.width);
        }
        if (BEFORE == PRELU) {
          shares = sum(share, used_lanes(p, n), n % PARTS ? shares : 0);
          if (n % PARTS == PARTS - 1) *gradient.before_slope += shares;
        }
      }
    }
  }
}

// Calls f with the activation as a compile-time constant, which selects a template.
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
