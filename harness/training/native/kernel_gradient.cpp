#include "blocks.h"
#include "direct.h"

namespace engine {
namespace {

// The gradient of 1x1 kernels at stride 1 is a sum of products of equal positions.
void pointwise_gradient(const Convolution& c, const Map& x, const Map& dy, real* kernel, V* sums) {
  const ptrdiff_t size = block_vectors(c);
  for (int part = 0; part < PARTS; part++) {
    V* at = sums + part * size;
    each_block(c, [&](int in, int o, auto ins, auto outs) {
      V total[LANES]{};
      for (int n = part; n < dy.groups; n += PARTS)
        for (int h = 0; h < dy.height; h++)
          add_products<ins, outs>(x.line(n, in, h - c.row_padding) - c.column_padding, x.plane, dy.line(n, o, h),
                                  dy.plane, dy.width, total);
      *at++ = lane_sums<LANES>(total);
    });
  }
  for (ptrdiff_t k = 0; k < size; k++) sums[k] = sum_parts(sums + k, size);
  add_blocks<1>(c, sums, kernel);
}

}  // namespace

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

size_t gradient_room(const Convolution& c) {
  return PARTS * std::max(size_t(c.in) * c.rows * c.columns * BLOCK, size_t(block_vectors(c)));
}

void kernel_gradient(const Convolution& c, const Map& x, const Map& dy, real* kernel, real* bias, V* sums) {
  if (c.rows == 1 && c.columns == 1 && c.stride == 1)
    pointwise_gradient(c, x, dy, kernel, sums);
  else
    switch (c.columns) {
      case 1: kernel_gradients<Single, 1>(c, x, dy, kernel, sums); break;
      case 3: kernel_gradients<Single, 3>(c, x, dy, kernel, sums); break;
      case 5: kernel_gradients<Single, 5>(c, x, dy, kernel, sums); break;
      case 7: kernel_gradients<Single, 7>(c, x, dy, kernel, sums); break;
      case 9: kernel_gradients<Single, 9>(c, x, dy, kernel, sums); break;
    }
  if (bias) bias_gradient(dy, bias);
}

}  // namespace engine
