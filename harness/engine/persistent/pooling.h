// Pools, space to depth, the linear layer, copies and sums.
#pragma once
#include "program.h"

namespace persistent {

PHASE void max_pool(Team team, int size, Map x, Map y, int images) {
  for (int item = team.thread; item < y.channels * y.height * images; item += team.threads) {
    const Line l = line_of(item, y.height, images);
    real* to = y.line(l.channel, l.y) + l.image;
    for (int w = 0; w < y.width; w++) {
      const real* from = x.line(l.channel, l.y * size) + w * size * images + l.image;
      real most = *from;
      for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
          const real value = from[i * x.row + j * images];
          most = value > most || value != value ? value : most;  // a nan stays
        }
      to[w * images] = most;
    }
  }
  team.barrier();
}

// One thread writes all rows of dx that belong to its row of dy; rows and columns beyond the last whole window have no
// gradient. The first of equal values has it all.
PHASE void max_pool_back(Team team, int size, Map x, Map y, Map dy, Map dx, int images) {
  const int height = blocks_of(dx.height, size), width = blocks_of(dx.width, size);
  for (int item = team.thread; item < y.channels * height * images; item += team.threads) {
    const Line l = line_of(item, height, images);
    for (int w = 0; w < width; w++) {
      const bool whole = l.y < y.height && w < y.width;
      const int at = w * images + l.image;
      const real most = whole ? y.line(l.channel, l.y)[at] : real(0);
      real left = whole ? dy.line(l.channel, l.y)[at] : real(0);
      for (int i = l.y * size; i < least(l.y * size + size, dx.height); i++)
        for (int j = w * size; j < least(w * size + size, dx.width); j++) {
          const bool hit = whole && x.line(l.channel, i)[j * images + l.image] == most;
          dx.line(l.channel, i)[j * images + l.image] = hit ? left : real(0);
          if (hit) left = 0;
        }
    }
  }
  team.barrier();
}

PHASE void average_pool(Team team, int height, int width, Map x, Map y, int images) {
  for (int item = team.thread; item < y.channels * y.height * images; item += team.threads) {
    const Line l = line_of(item, y.height, images);
    real* to = y.line(l.channel, l.y) + l.image;
    for (int w = 0; w < y.width; w++) {
      real total = 0;
      for (int i = 0; i < height; i++) {
        const real* from = x.line(l.channel, l.y * height + i) + w * width * images + l.image;
        for (int j = 0; j < width; j++) total += from[j * images];
      }
      to[w * images] = total / (height * width);
    }
  }
  team.barrier();
}

PHASE void average_pool_back(Team team, int height, int width, Map dy, Map dx, int images) {
  for (int item = team.thread; item < dx.channels * dx.height * images; item += team.threads) {
    const Line l = line_of(item, dx.height, images);
    const int h = l.y / height;
    real* to = dx.line(l.channel, l.y) + l.image;
    for (int w = 0; w < dx.width; w++) {
      const bool whole = h < dy.height && w / width < dy.width;
      to[w * images] =
          whole ? dy.line(l.channel, h)[w / width * images + l.image] / (height * width) : real(0);
    }
  }
  team.barrier();
}

// Channel c of the result is position (c / size % size, c % size) of the windows of channel c / size / size.
PHASE void unshuffle(Team team, int size, Map x, Map y, int images) {
  for (int item = team.thread; item < y.channels * y.height * images; item += team.threads) {
    const Line l = line_of(item, y.height, images);
    const int c = l.channel;
    const real* from = x.line(c / (size * size), l.y * size + c / size % size) + c % size * images + l.image;
    real* to = y.line(c, l.y) + l.image;
    for (int w = 0; w < y.width; w++) to[w * images] = from[w * size * images];
  }
  team.barrier();
}

// Windows are whole here: shapes.py lets nothing else pass.
PHASE void unshuffle_back(Team team, int size, Map dy, Map dx, int images) {
  for (int item = team.thread; item < dy.channels * dy.height * images; item += team.threads) {
    const Line l = line_of(item, dy.height, images);
    const int c = l.channel;
    const real* from = dy.line(c, l.y) + l.image;
    real* to = dx.line(c / (size * size), l.y * size + c / size % size) + c % size * images + l.image;
    for (int w = 0; w < dy.width; w++) to[w * size * images] = from[w * images];
  }
  team.barrier();
}

PHASE void linear(Team team, const real* weights, const real* bias, Map x, Map y, int images) {
  const int positions = x.height * x.width;
  for (int item = team.thread; item < y.channels * images; item += team.threads) {
    const int image = item % images, o = item / images;
    const real* w = weights + o * x.channels * positions;
    real total = bias[o];
    for (int c = 0; c < x.channels; c++)
      for (int h = 0; h < x.height; h++)
        for (int k = 0; k < x.width; k++) total += x.line(c, h)[k * images + image] * *w++;
    y.line(o, 0)[image] = total;
  }
  team.barrier();
}

PHASE void linear_back(Team team, const real* weights, Map x, Map dy, Map dx, real* weights_gradient,
                       real* bias_gradient, int images) {
  const int inputs = x.channels * x.height * x.width;
  for (int item = team.thread; item < inputs * images; item += team.threads) {
    const int image = item % images, k = item / images, w = k % x.width, h = k / x.width % x.height;
    real total = 0;
    for (int o = 0; o < dy.channels; o++) total += dy.line(o, 0)[image] * weights[o * inputs + k];
    dx.line(k / x.width / x.height, h)[w * images + image] = total;
  }
  for (int item = team.thread; item < dy.channels * inputs; item += team.threads) {
    const int k = item % inputs, w = k % x.width, h = k / x.width % x.height;
    const real *from = x.line(k / x.width / x.height, h) + w * images, *d = dy.line(item / inputs, 0);
    real total = 0;
    for (int image = 0; image < images; image++) total += from[image] * d[image];
    weights_gradient[item] += total;
  }
  for (int o = team.thread; o < dy.channels; o += team.threads) {
    real total = 0;
    for (int image = 0; image < images; image++) total += dy.line(o, 0)[image];
    bias_gradient[o] += total;
  }
  team.barrier();
}

// Copies a map, or adds it.
PHASE void copy(Team team, Map from, Map to, bool add, int images) {
  for (int item = team.thread; item < to.channels * to.height * images; item += team.threads) {
    const Line l = line_of(item, to.height, images);
    const real* source = from.line(l.channel, l.y) + l.image;
    real* target = to.line(l.channel, l.y) + l.image;
    for (int w = 0; w < to.width; w++)
      target[w * images] = add ? target[w * images] + source[w * images] : source[w * images];
  }
  team.barrier();
}

}  // namespace persistent
