// Loss with gradient, and update of the weights.
#pragma once
#include "layout.h"

namespace engine {

// Returns the mean cross-entropy of the batch and writes the gradient to `d`; lanes beyond the batch get zero.
// `smoothing` is the share of each target that is spread over all classes (torch.nn.CrossEntropyLoss).
double cross_entropy(const Map& logits, const int64_t* labels, int used, real smoothing, const Map& d);

// Settings of the optimizer, as defined by torch.optim.SGD and torch.optim.Adam.
struct Update {
  int adam, nesterov;
  real momentum;  // SGD's momentum, Adam's first beta
};

// Updates `count` parameters. `decay` has the L2 coefficient of each parameter; `first` and `second` are the moments of
// the optimizer; `step` counts from 1.
void update(const Update& u, real rate, int64_t step, size_t count, const real* decay, const real* gradient,
            real* parameters, real* first, real* second);

// Neighbouring weights of a kernel.
struct Range {
  int64_t first, count;
};

// Rounds weights to multiples of their scale: the largest magnitude is `largest_weight` scales.
void round_weights(real largest_weight, size_t count, real* weights);

}  // namespace engine
