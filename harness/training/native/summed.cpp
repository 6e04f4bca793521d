#include "normalisation.h"

namespace engine {

void summed_pointwise(const Pointwise& p, const Norm& norm, const Map& y, const Map& summand, const Map& r,
                      bool training) {
  for (int c = 0; c < y.channels; c++) {
    const Affine a = affine_of<NONE>(p, norm, y, c, training);
    for (int n = 0; n < y.groups; n++)
      for (int h = 0; h < y.height; h++) {
        const V *from = y.line(n, c, h), *row = summand.line(n, c, h);
        V* to = r.line(n, c, h);
        for (int w = 0; w < y.width; w++) to[w] = relu(from[w] * a.slope + a.offset + row[w]);
      }
  }
}

void summed_pointwise_back(const Pointwise& p, const Norm& norm, const Map& y, const Map& r, const Map& dy,
                           const Map& d_summand, const PointwiseGradient& gradient) {
  for (int first = 0; first < y.channels; first += p.shared) {
    const Affine a = affine(norm, first);
    const V mean = splat(norm.mean[first]);
    V all_sums[PARTS], all_products[PARTS];
    for (int part = 0; part < PARTS; part++) {
      V sums{}, products{};
      for (int c = first; c < first + p.shared; c++)
        for (int n = part; n < y.groups; n += PARTS)
          for (int h = 0; h < y.height; h++) {
            const V *from = y.line(n, c, h), *out = r.line(n, c, h);
            V *d = dy.line(n, c, h), *to = d_summand.line(n, c, h);
            for (int w = 0; w < y.width; w++) {
              const V g = passed<RELU>(out[w], d[w], V{});
              sums += g;
              products += g * (from[w] - mean);
              to[w] = d[w] = g;
            }
          }
      all_sums[part] = sums;
      all_products[part] = products;
    }
    const NormGradient taken = norm_gradient(p, norm, y, first, sum(all_sums), sum(all_products), gradient);
    for (int c = first; c < first + p.shared; c++)
      for (int n = 0; n < y.groups; n++)
        for (int h = 0; h < y.height; h++) {
          const V* from = y.line(n, c, h);
          V* d = dy.line(n, c, h);
          for (int w = 0; w < y.width; w++) d[w] = (d[w] - taken.constant - (from[w] - mean) * taken.slope) * a.slope;
          clear_unused(p, n, d, y.width);
        }
  }
}

}  // namespace engine
