#include "depthwise.h"

namespace engine {
namespace {

constexpr int K = 3;

// Convolves a channel of a group; `x` points to the start of the first window.
void channel(const V* x, ptrdiff_t x_row, const real* w, real bias, V* y, const Map& to, int stride) {
  for (int h = 0; h < to.height; h++)
    for (int column = 0; column < to.width; column++) {
      V total = splat(bias);
#pragma GCC unroll 3
      for (int ky = 0; ky < K; ky++)
#pragma GCC unroll 3
        for (int kx = 0; kx < K; kx++)
          total += x[(h * stride + ky) * x_row + column * stride + kx] * w[ky * K + kx];
      y[h * to.row + column] = total;
    }
}

}  // namespace

void convolve_depthwise(const Depthwise& c, const Map& x, const real* kernel, const real* bias, const Map& y) {
  for (int n = 0; n < x.groups; n++)
    for (int i = 0; i < x.channels; i++)
      channel(x.line(n, i, -c.padding) - c.padding, x.row, kernel + i * K * K, bias ? bias[i] : 0, y.line(n, i, 0), y,
              c.stride);
}

void convolve_depthwise_back(const Depthwise& c, const Map& dy, const real* kernel, const Map& dx) {
  const int margin = K - 1 - c.padding;
  for (int i = 0; i < dx.channels; i++) {
    real turned[K * K];
    for (int k = 0; k < K * K; k++) turned[K * K - 1 - k] = kernel[i * K * K + k];
    for (int n = 0; n < dx.groups; n++)
      channel(dy.line(n, i, -margin) - margin, dy.row, turned, 0, dx.line(n, i, 0), dx, 1);
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
