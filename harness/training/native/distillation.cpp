#include "distillation.h"

#include <algorithm>
#include <cmath>

#include "pooling.h"

namespace engine {

namespace {

// The logarithm of the sum of the exponentials of one image's softened logits.
real log_sum(const Map& logits, int image, real temperature) {
  real most = logits.value(0, image), sum = 0;
  for (int c = 1; c < logits.channels; c++) most = std::max(most, logits.value(c, image));
  for (int c = 0; c < logits.channels; c++) sum += std::exp((logits.value(c, image) - most) / temperature);
  return most / temperature + std::log(sum);
}

}  // namespace

void soft_targets(const Teacher& t, const Map& images, int used, std::vector<real>& targets) {
  const Map& logits = t.program->logits();
  const real temperature = real(t.temperature);
  targets.assign(size_t(used) * logits.channels, 0);
  copy(images, t.program->input());
  for (int64_t k = 0; k < t.count; k++) {
    t.program->forward(t.states + k * t.state_size, false);
    for (int n = 0; n < used; n++) {
      const real whole = log_sum(logits, n, temperature);
      for (int c = 0; c < logits.channels; c++)
        targets[n * logits.channels + c] += std::exp(logits.value(c, n) / temperature - whole) / t.count;
    }
  }
}

double distil(const Teacher& t, const Map& logits, const std::vector<real>& targets, int used, double loss,
              const Map& d) {
  const real temperature = real(t.temperature), weight = real(t.weight);
  double divergence = 0;
  for (int n = 0; n < used; n++) {
    const real whole = log_sum(logits, n, temperature);
    for (int c = 0; c < logits.channels; c++) {
      const real target = targets[n * logits.channels + c], said = logits.value(c, n) / temperature - whole;
      if (target > 0) divergence += double(target * (std::log(target) - said));
      const real pull = temperature * (std::exp(said) - target) / used;
      d.value(c, n) += weight * (pull - d.value(c, n));
    }
  }
  return loss + t.weight * (t.temperature * t.temperature * divergence / used - loss);
}

}  // namespace engine
