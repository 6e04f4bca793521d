#include "learning.h"

#include <algorithm>
#include <cmath>

namespace engine {

double cross_entropy(const Map& logits, const int64_t* labels, int used, real smoothing, const Map& d) {
  const int classes = logits.channels;
  double total = 0;
  for (int n = 0; n < logits.groups * LANES; n++) {
    if (n >= used) {
      for (int c = 0; c < classes; c++) d.value(c, n) = 0;
      continue;
    }
    real most = logits.value(0, n), sum = 0, all = 0;
    for (int c = 1; c < classes; c++) most = std::max(most, logits.value(c, n));
    for (int c = 0; c < classes; c++) {
      const real shifted = logits.value(c, n) - most;
      all += shifted;
      const real e = std::exp(shifted);
      sum += e;
      d.value(c, n) = e;
    }
    const real log_sum = std::log(sum);
    const real right = logits.value(int(labels[n]), n) - most - log_sum;
    const real mean = all / classes - log_sum;
    total -= double((1 - smoothing) * right + smoothing * mean);
    for (int c = 0; c < classes; c++) {
      const real target = (c == labels[n] ? 1 - smoothing : 0) + smoothing / classes;
      d.value(c, n) = (d.value(c, n) / sum - target) / used;
    }
  }
  return total / used;
}

void update(const Update& u, real rate, int64_t step, size_t count, const real* decay, const real* gradient,
            real* parameters, real* first, real* second) {
  if (u.adam) {
    constexpr real BETA2 = real(0.999), TINY = real(1e-8);
    const real correction1 = real(1 - std::pow(double(u.momentum), double(step)));
    const real correction2 = real(std::sqrt(1 - std::pow(double(BETA2), double(step))));
    for (size_t i = 0; i < count; i++) {
      const real g = gradient[i] + decay[i] * parameters[i];
      first[i] += (1 - u.momentum) * (g - first[i]);
      second[i] = BETA2 * second[i] + (1 - BETA2) * g * g;
      parameters[i] -= rate / correction1 * first[i] / (std::sqrt(second[i]) / correction2 + TINY);
    }
    return;
  }
  for (size_t i = 0; i < count; i++) {
    const real g = gradient[i] + decay[i] * parameters[i];
    first[i] = u.momentum * first[i] + g;
    parameters[i] -= rate * (u.nesterov ? g + u.momentum * first[i] : first[i]);
  }
}

void round_weights(real largest_weight, size_t count, real* weights) {
  real largest = 0;
  for (size_t i = 0; i < count; i++) largest = std::max(largest, std::abs(weights[i]));
  if (largest == 0) return;
  const real scale = largest / largest_weight;
  for (size_t i = 0; i < count; i++) weights[i] = std::nearbyint(weights[i] / scale) * scale;
}

}  // namespace engine
