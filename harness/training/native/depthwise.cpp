#include "depthwise.h"

#include "direct.h"

namespace engine {
namespace {

constexpr int K = 3;

// Convolves channel i; the first window begins `padding` rows and columns outside the map.
void convolve_channel(const Map& x, int i, const real* kernel, const real* bias, const Map& y, int stride, int padding) {
  const Map from = part(x, i, 1), to = part(y, i, 1);
  const Walk walk{K, K, stride, padding, padding};
  for (int n = 0; n < y.groups; n++)
    for (int h = 0; h < y.height; h++)
      stride == 1 ? line<Single, 1, Fixed<K, K>>(from, kernel, bias, to, walk, 0, n, h)
                  : line<Single, 1, Any>(from, kernel, bias, to, walk, 0, n, h);
}

}  // namespace

void convolve_depthwise(const Depthwise& c, const Map& x, const real* kernel, const real* bias, const Map& y) {
  for (int i = 0; i < x.channels; i++)
    convolve_channel(x, i, kernel + i * K * K, bias ? bias + i : nullptr, y, c.stride, c.padding);
}

void convolve_depthwise_back(const Depthwise& c, const Map& dy, const real* kernel, const Map& dx) {
  for (int i = 0; i < dx.channels; i++, kernel += K * K) {
    real turned[K * K];
    std::reverse_copy(kernel, kernel + K * K, turned);
    convolve_channel(dy, i, turned, nullptr, dx, 1, K - 1 - c.padding);
  }
}

void depthwise_gradient(const Depthwise& c, const Map& x, const Map& dy, real* kernel, real* bias) {
  for (int i = 0; i < x.channels; i++) {
    V totals[K * K][PARTS], wholes[PARTS];
    for (int part = 0; part < PARTS; part++) {
      V total[K * K] = {}, whole{};
      for (int n = part; n < dy.groups; n += PARTS)
        for (int h = 0; h < dy.height; h++) {
          const V* from = x.line(n, i, h * c.stride - c.padding) - c.padding;
          for (int w = 0; w < dy.width; w++) {
            const V d = dy.line(n, i, h)[w];
            whole += d;
#pragma GCC unroll 3
            for (int ky = 0; ky < K; ky++)
#pragma GCC unroll 3
              for (int kx = 0; kx < K; kx++) total[ky * K + kx] += from[ky * x.row + w * c.stride + kx] * d;
          }
        }
      for (int k = 0; k < K * K; k++) totals[k][part] = total[k];
      wholes[part] = whole;
    }
    for (int k = 0; k < K * K; k++) kernel[i * K * K + k] += sum(totals[k]);
    if (bias) bias[i] += sum(wholes);
  }
}

}  // namespace engine
