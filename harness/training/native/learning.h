// The two ends of a step: the loss with its gradient, and the update of the weights.
#pragma once
#include "layout.h"

namespace engine {

// Returns the mean cross-entropy of the batch and writes its gradient into `d`; lanes beyond the batch get zero.
// `smoothing` is the share of each target that is spread over all classes (torch.nn.CrossEntropyLoss).
double cross_entropy(const Map& logits, const int64_t* labels, int used, real smoothing, const Map& d);

// What the update of all parameters depends on, as torch.optim.SGD and torch.optim.Adam define it.
struct Update {
  int adam, nesterov;
  real momentum;  // SGD's momentum, Adam's first beta
};

// One step for `count` parameters. `decay` is each parameter's L2 coefficient; `first` and `second` are the
// optimizer's memories; `step` counts from 1.
void update(const Update& u, real rate, int64_t step, size_t count, const real* decay, const real* gradient,
            real* parameters, real* first, real* second);

}  // namespace engine
