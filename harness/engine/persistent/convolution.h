// Convolutions of any window, padding, stride and number of groups; a depthwise one has as many groups as channels.
#pragma once
#include "program.h"

namespace persistent {

// `in` and `out` are channels of one group. Kernels are stored as torch stores them: [group][out][in][row][column].
struct Convolution {
  int rows, columns, stride, row_padding, column_padding, groups, in, out;

  DEVICE int taps() const { return rows * columns; }
};

DEVICE Convolution convolution_of(const Instruction& i, const Map& x, const Map& y) {
  return {i.rows, i.columns, i.stride, i.row_padding, i.column_padding, i.groups, x.channels / i.groups,
          y.channels / i.groups};
}

// The way back is a convolution of the gradients, `stride` apart, with the kernel turned half round.
DEVICE Convolution turned(const Convolution& c) {
  return {c.rows, c.columns, 1, c.rows - 1 - c.row_padding, c.columns - 1 - c.column_padding, c.groups, c.out, c.in};
}

// Output channels that one thread computes: those that waste least of 8, 4 and 1.
DEVICE int block_of(int out) {
  if (out == 1) return 1;
  return blocks_of(out, 8) * 8 > blocks_of(out, 4) * 4 ? 4 : 8;
}

// Writes a kernel in the order of use, [group][in][row][column][out], the last filled up to whole blocks with zeros.
// `back` says that c is the way back of the convolution whose kernel it is.
PHASE void pack(Team team, Convolution c, const real* kernel, bool back, real* packed) {
  const int taps = c.taps(), wide = blocks_of(c.out, block_of(c.out)) * block_of(c.out);
  const int count = c.groups * c.in * taps * wide;
  for (int item = team.thread; item < count; item += team.threads) {
    const int o = item % wide, tap = item / wide % taps, from = item / wide / taps;
    const int g = from / c.in, i = from % c.in;
    const int forth = ((g * c.out + o) * c.in + i) * taps + tap;
    const int turn = ((g * c.in + i) * c.out + o) * taps + taps - 1 - tap;
    packed[item] = o < c.out ? kernel[back ? turn : forth] : real(0);
  }
  team.barrier();
}

// Weights that are read in one piece.
template <int OUT>
struct alignas((OUT > 4 ? 4 : OUT) * sizeof(real)) Weights {
  real of[OUT];
};

// y from x. One thread computes OUT channels of WIDE columns of one image, so that each value that it reads is used OUT
// times and each weight WIDE times.
template <int OUT, int WIDE>
PHASE void convolve(Team team, Convolution c, Map x, const real* packed, const real* bias, Map y, int images) {
  const int blocks = blocks_of(c.out, OUT), across = blocks_of(y.width, WIDE);
  const int count = c.groups * blocks * y.height * across * images;
  for (int item = team.thread; item < count; item += team.threads) {
    int rest = item / images;
    const int image = item % images, first = rest % across * WIDE;
    rest /= across;
    const int h = rest % y.height;
    rest /= y.height;
    const int begin = rest % blocks * OUT, g = rest / blocks;
    // What is left over of the last block is computed like its neighbours and thrown away.
    real total[OUT][WIDE];
    int column[WIDE];
    for (int o = 0; o < OUT; o++)
      for (int p = 0; p < WIDE; p++)
        total[o][p] = bias ? bias[g * c.out + least(begin + o, c.out - 1)] : real(0);
    for (int p = 0; p < WIDE; p++)
      column[p] = (least(first + p, y.width - 1) * c.stride - c.column_padding) * images + image;
    const Weights<OUT>* weights = reinterpret_cast<const Weights<OUT>*>(packed) +
                                  (g * c.in * c.taps() * blocks + begin / OUT);
    for (int i = 0; i < c.in; i++)
      for (int ky = 0; ky < c.rows; ky++) {
        const real* line = x.line(g * c.in + i, h * c.stride - c.row_padding + ky);
        for (int kx = 0; kx < c.columns; kx++, line += images, weights += blocks) {
          const Weights<OUT> w = *weights;
          for (int p = 0; p < WIDE; p++) {
            const real value = line[column[p]];
            for (int o = 0; o < OUT; o++) total[o][p] += w.of[o] * value;
          }
        }
      }
    for (int o = 0; o < least(OUT, c.out - begin); o++)
      for (int p = 0; p < least(WIDE, y.width - first); p++)
        y.line(g * c.out + begin + o, h)[(first + p) * images + image] = total[o][p];
  }
  team.barrier();
}

PHASE void convolve(Team team, Convolution c, Map x, const real* kernel, bool back, const real* bias, Map y,
                    real* packed, int images) {
  pack(team, c, kernel, back, packed);
  const int block = block_of(c.out);
  const bool wide = y.width > 2;
  if (block == 8 && wide) convolve<8, 4>(team, c, x, packed, bias, y, images);
  if (block == 8 && !wide) convolve<8, 1>(team, c, x, packed, bias, y, images);
  if (block == 4 && wide) convolve<4, 4>(team, c, x, packed, bias, y, images);
  if (block == 4 && !wide) convolve<4, 1>(team, c, x, packed, bias, y, images);
  if (block == 1 && wide) convolve<1, 4>(team, c, x, packed, bias, y, images);
  if (block == 1 && !wide) convolve<1, 1>(team, c, x, packed, bias, y, images);
}

// Copies a dense gradient to positions `stride` apart; what lies between stays zero.
PHASE void spread(Team team, Map dense, Map wide, int stride, int images) {
  for (int item = team.thread; item < dense.channels * dense.height * images; item += team.threads) {
    const Line l = line_of(item, dense.height, images);
    const real* from = dense.line(l.channel, l.y) + l.image;
    real* to = wide.line(l.channel, l.y * stride) + l.image;
    for (int w = 0; w < dense.width; w++) to[w * stride * images] = from[w * images];
  }
  team.barrier();
}

// Rows of dy that one thread walks through for the gradient of a kernel; arena.py knows the number too.
constexpr int CHUNK = 7;

// Adds the gradient of a kernel. One thread gathers all taps of OUT output channels and one input channel, over some rows
// of one image; then the images and rows are added up.
template <int ROWS, int COLUMNS>
PHASE void kernel_gradient(Team team, Convolution c, Map x, Map dy, real* gradient, real* scratch, int images) {
  constexpr int TAPS = ROWS * COLUMNS, OUT = TAPS > 9 ? 2 : TAPS > 3 ? 4 : 8;
  const int blocks = blocks_of(c.out, OUT), terms = blocks_of(dy.height, CHUNK) * images;
  for (int item = team.thread; item < c.groups * blocks * c.in * terms; item += team.threads) {
    const int term = item % terms, image = term % images, top = term / images * CHUNK;
    int rest = item / terms;
    const int i = rest % c.in;
    rest /= c.in;
    const int begin = rest % blocks * OUT, g = rest / blocks;
    real total[OUT][TAPS] = {};
    for (int h = top; h < least(top + CHUNK, dy.height); h++) {
      const real* d = dy.line(g * c.out + begin, h) + image;
      const real* from = x.line(g * c.in + i, h * c.stride - c.row_padding) + image - c.column_padding * images;
      for (int w = 0; w < dy.width; w++, d += images, from += c.stride * images) {
        real own[OUT];
        for (int o = 0; o < OUT; o++) own[o] = d[least(o, c.out - 1 - begin) * dy.plane];
        for (int ky = 0; ky < ROWS; ky++)
          for (int kx = 0; kx < COLUMNS; kx++) {
            const real value = from[ky * x.row + kx * images];
            for (int o = 0; o < OUT; o++) total[o][ky * COLUMNS + kx] += own[o] * value;
          }
      }
    }
    for (int o = 0; o < least(OUT, c.out - begin); o++)
      for (int tap = 0; tap < TAPS; tap++)
        scratch[(((g * c.out + begin + o) * c.in + i) * TAPS + tap) * terms + term] = total[o][tap];
  }
  team.barrier();
  const int count = c.groups * c.out * c.in * TAPS;
  fold(team, scratch, count, terms);
  for (int item = team.thread; item < count; item += team.threads) gradient[item] += scratch[item * terms];
  team.barrier();
}

PHASE void kernel_gradient(Team team, Convolution c, Map x, Map dy, real* gradient, real* scratch, int images) {
  if (c.rows == 1 && c.columns == 1) kernel_gradient<1, 1>(team, c, x, dy, gradient, scratch, images);
  if (c.rows == 3 && c.columns == 3) kernel_gradient<3, 3>(team, c, x, dy, gradient, scratch, images);
  if (c.rows == 5 && c.columns == 5) kernel_gradient<5, 5>(team, c, x, dy, gradient, scratch, images);
  if (c.rows == 3 && c.columns == 1) kernel_gradient<3, 1>(team, c, x, dy, gradient, scratch, images);
  if (c.rows == 1 && c.columns == 3) kernel_gradient<1, 3>(team, c, x, dy, gradient, scratch, images);
}

// Adds the gradient of the biases.
PHASE void bias_gradient(Team team, Map dy, real* gradient, real* scratch, int images) {
  const int terms = dy.height * images;
  for (int item = team.thread; item < dy.channels * terms; item += team.threads) {
    const Line l = line_of(item, dy.height, images);
    const real* d = dy.line(l.channel, l.y) + l.image;
    real total = 0;
    for (int w = 0; w < dy.width; w++) total += d[w * images];
    scratch[item] = total;
  }
  team.barrier();
  fold(team, scratch, dy.channels, terms);
  for (int o = team.thread; o < dy.channels; o += team.threads) gradient[o] += scratch[o * terms];
  team.barrier();
}

}  // namespace persistent
