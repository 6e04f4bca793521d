#include "direct.h"

namespace engine {

void bias_gradient(const Map& dy, real* bias) {
  for (int o = 0; o < dy.channels; o++) {
    V totals[PARTS];
    for (int part = 0; part < PARTS; part++) {
      V total{};
      for (int n = part; n < dy.groups; n += PARTS)
        for (int h = 0; h < dy.height; h++)
          for (int w = 0; w < dy.width; w++) total += dy.line(n, o, h)[w];
      totals[part] = total;
    }
    bias[o] += sum(totals);
  }
}

size_t gradient_room(const Convolution& c) { return size_t(c.in) * c.rows * c.columns * BLOCK * PARTS; }

void kernel_gradient(const Convolution& c, const Map& x, const Map& dy, real* kernel, real* bias, V* sums) {
  switch (c.columns) {
    case 1: kernel_gradients<Single, 1>(c, x, dy, kernel, sums); break;
    case 3: kernel_gradients<Single, 3>(c, x, dy, kernel, sums); break;
    case 5: kernel_gradients<Single, 5>(c, x, dy, kernel, sums); break;
  }
  if (bias) bias_gradient(dy, bias);
}

}  // namespace engine
