#include "pooling.h"

namespace engine {
namespace {

// Rows and columns beyond the last whole window have no gradient.
void clear(const Map& map) {
  for (int n = 0; n < map.groups; n++)
    for (int c = 0; c < map.channels; c++)
      for (int h = 0; h < map.height; h++) std::memset(map.line(n, c, h), 0, sizeof(V) * map.width);
}

}  // namespace

void max_pool(int height, int width, const Map& x, const Map& y) {
  for (int n = 0; n < y.groups; n++)
    for (int c = 0; c < y.channels; c++)
      for (int h = 0; h < y.height; h++)
        for (int w = 0; w < y.width; w++) {
          V most = x.line(n, c, h * height)[w * width];
          for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++) {
              const V value = x.line(n, c, h * height + i)[w * width + j];
              most = (value > most) | (value != value) ? value : most;  // keeps NaN
            }
          y.line(n, c, h)[w] = most;
        }
}

void max_pool_back(int height, int width, const Map& x, const Map& y, const Map& dy, const Map& dx) {
  if (x.height % height || x.width % width) clear(dx);
  for (int n = 0; n < y.groups; n++)
    for (int c = 0; c < y.channels; c++)
      for (int h = 0; h < y.height; h++)
        for (int w = 0; w < y.width; w++) {
          const V most = y.line(n, c, h)[w];
          V left = dy.line(n, c, h)[w];
          for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++) {
              const auto hit = x.line(n, c, h * height + i)[w * width + j] == most;
              dx.line(n, c, h * height + i)[w * width + j] = hit ? left : V{};
              left = hit ? V{} : left;
            }
        }
}

void average_pool(int height, int width, const Map& x, const Map& y) {
  const V share = splat(real(1) / (height * width));
  for (int n = 0; n < y.groups; n++)
    for (int c = 0; c < y.channels; c++)
      for (int h = 0; h < y.height; h++)
        for (int w = 0; w < y.width; w++) {
          V total{};
          for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++) total += x.line(n, c, h * height + i)[w * width + j];
          y.line(n, c, h)[w] = total * share;
        }
}

void average_pool_back(int height, int width, const Map& dy, const Map& dx) {
  if (dx.height % height || dx.width % width) clear(dx);
  const V share = splat(real(1) / (height * width));
  for (int n = 0; n < dy.groups; n++)
    for (int c = 0; c < dy.channels; c++)
      for (int h = 0; h < dy.height; h++)
        for (int w = 0; w < dy.width; w++) {
          const V value = dy.line(n, c, h)[w] * share;
          for (int i = 0; i < height; i++)
            for (int j = 0; j < width; j++) dx.line(n, c, h * height + i)[w * width + j] = value;
        }
}

void unshuffle(int size, const Map& x, const Map& y) {
  for (int n = 0; n < y.groups; n++)
    for (int c = 0; c < y.channels; c++)
      for (int h = 0; h < y.height; h++) {
        const int i = c / size % size, j = c % size;
        const V* from = x.line(n, c / (size * size), h * size + i) + j;
        for (int w = 0; w < y.width; w++) y.line(n, c, h)[w] = from[w * size];
      }
}

void unshuffle_back(int size, const Map& dy, const Map& dx) {
  for (int n = 0; n < dy.groups; n++)
    for (int c = 0; c < dy.channels; c++)
      for (int h = 0; h < dy.height; h++) {
        const int i = c / size % size, j = c % size;
        V* to = dx.line(n, c / (size * size), h * size + i) + j;
        for (int w = 0; w < dy.width; w++) to[w * size] = dy.line(n, c, h)[w];
      }
}

void linear(const real* weights, const real* bias, const Map& x, const Map& y) {
  for (int n = 0; n < x.groups; n++) {
    const real* w = weights;
    for (int o = 0; o < y.channels; o++) {
      V total = splat(bias[o]);
      for (int c = 0; c < x.channels; c++)
        for (int h = 0; h < x.height; h++)
          for (int k = 0; k < x.width; k++) total += x.line(n, c, h)[k] * *w++;
      y.line(n, o, 0)[0] = total;
    }
  }
}

void linear_back(const real* weights, const Map& x, const Map& dy, const Map& dx, real* weights_gradient,
                 real* bias_gradient) {
  clear(dx);
  for (int n = 0; n < x.groups; n += PARTS) {
    ptrdiff_t index = 0;
    for (int o = 0; o < dy.channels; o++) {
      V d[PARTS];
      for (int part = 0; part < PARTS; part++) d[part] = dy.line(n + part, o, 0)[0];
      bias_gradient[o] += sum(d);
      for (int c = 0; c < x.channels; c++)
        for (int h = 0; h < x.height; h++)
          for (int k = 0; k < x.width; k++, index++) {
            V products[PARTS];
            for (int part = 0; part < PARTS; part++) {
              products[part] = x.line(n + part, c, h)[k] * d[part];
              dx.line(n + part, c, h)[k] += d[part] * weights[index];
            }
            weights_gradient[index] += sum(products);
          }
    }
  }
}

void copy(const Map& from, const Map& to) {
  for (int n = 0; n < to.groups; n++)
    for (int c = 0; c < to.channels; c++)
      for (int h = 0; h < to.height; h++)
        for (int w = 0; w < to.width; w++) to.line(n, c, h)[w] = from.line(n, c, h)[w];
}

void sum(const Map& a, const Map& b, const Map& to) {
  for (int n = 0; n < to.groups; n++)
    for (int c = 0; c < to.channels; c++)
      for (int h = 0; h < to.height; h++)
        for (int w = 0; w < to.width; w++) to.line(n, c, h)[w] = a.line(n, c, h)[w] + b.line(n, c, h)[w];
}

void add(const Map& from, const Map& to) {
  for (int n = 0; n < to.groups; n++)
    for (int c = 0; c < to.channels; c++)
      for (int h = 0; h < to.height; h++)
        for (int w = 0; w < to.width; w++) to.line(n, c, h)[w] += from.line(n, c, h)[w];
}

}  // namespace engine
