// Pooling over windows without overlap or over the whole map, unshuffle (windows moved into channels), and the linear
// layer, which reads a map as a vector.
#pragma once
#include "layout.h"

namespace engine {

// Maxima over windows of height x width.
void max_pool(int height, int width, const Map& x, const Map& y);
// The gradient goes to the first of the largest values of a window, as in torch.
void max_pool_back(int height, int width, const Map& x, const Map& y, const Map& dy, const Map& dx);

// Means over windows of height x width; the global pool has one window.
void average_pool(int height, int width, const Map& x, const Map& y);
void average_pool_back(int height, int width, const Map& dy, const Map& dx);

// Channel c * size^2 + row * size + column of y has the value at (row, column) of each window of channel c of x.
void unshuffle(int size, const Map& x, const Map& y);
void unshuffle_back(int size, const Map& dy, const Map& dx);

// Weights are stored [out][channel][row][column].
void linear(const real* weights, const real* bias, const Map& x, const Map& y);
void linear_back(const real* weights, const Map& x, const Map& dy, const Map& dx, real* weights_gradient,
                 real* bias_gradient);

// to = from, or to += from.
void copy(const Map& from, const Map& to);
void sum(const Map& a, const Map& b, const Map& to);
void add(const Map& from, const Map& to);

}  // namespace engine
