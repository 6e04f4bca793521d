// Functions that Python calls (harness/training/native/engine.py). All arrays belong to the caller.
#include <algorithm>
#include <exception>

#include "pairs.h"
#include "program.h"

using namespace engine;

// Settings of a training besides the network, from the recipe.
struct Training {
  Update update;
  real smoothing;
  real largest_weight;  // largest magnitude of a rounded weight, in scales
};

namespace {

// Averages weights and statistics: `share` is the weight of the new state, 1 until the average begins.
void average(real share, size_t count, const real* state, real* averaged) {
  if (share == 1) {
    std::memcpy(averaged, state, count * sizeof(real));
    return;
  }
  for (size_t i = 0; i < count; i++) averaged[i] += share * (state[i] - averaged[i]);
}

}  // namespace

extern "C" {

int engine_lanes() { return LANES; }

int engine_pairs() { return PAIRS; }

void* engine_new(const ValueRow* values, int value_count, const Instruction* instructions, int instruction_count,
                 int batch, int state_size, int parameter_count, const real* mean, const real* deviation,
                 int pairs) {
  try {
    const int channels = values[0].channels;
    return new Program(values, value_count, instructions, instruction_count, batch, state_size, parameter_count,
                       {{mean, mean + channels}, {deviation, deviation + channels}}, pairs != 0);
  } catch (const std::exception&) {
    return nullptr;
  }
}

void engine_free(void* program) { delete static_cast<Program*>(program); }

void engine_seed(void* program, uint64_t seed) { static_cast<Program*>(program)->random = Random(seed); }

// Trains for `steps` steps and returns the sum of the losses. `order` has the indices of the images, `moves` a 2x3 map
// per image, or null; `rates` has the learning rate of each step, `shares` the weight of the new state in the average.
// `done` is the number of earlier steps. Each step computes with rounded weights of the kernels in `rounded`, and updates
// the weights before rounding.
double engine_train(void* program, const uint8_t* pixels, const int64_t* labels, const int64_t* order,
                    const float* moves, const real* rates, const real* shares, int64_t steps, int64_t done,
                    const Training* training, const real* decay, const Range* rounded, size_t rounded_count,
                    size_t state_size, real* state, real* first, real* second, real* averaged) {
  Program& p = *static_cast<Program*>(program);
  std::vector<int64_t> batch_labels(p.batch);
  std::vector<real> latent(rounded_count ? p.parameter_count : 0);
  double total = 0;
  for (int64_t step = 0; step < steps; step++) {
    for (int n = 0; n < p.batch; n++) {
      const int64_t at = step * p.batch + n, image = order[at];
      place(pixels + image * p.image_size(), moves ? moves + at * 6 : nullptr, p.normalisation, p.input(), n);
      batch_labels[n] = labels[image];
    }
    std::copy_n(state, latent.size(), latent.begin());
    for (size_t k = 0; k < rounded_count; k++)
      round_weights(training->largest_weight, size_t(rounded[k].count), state + rounded[k].first);
    p.forward(state, true);
    total += cross_entropy(p.logits(), batch_labels.data(), p.batch, training->smoothing, p.logits_gradient());
    std::fill(p.gradient.begin(), p.gradient.end(), real(0));
    p.back(state);
    std::copy(latent.begin(), latent.end(), state);
    update(training->update, rates[step], done + step + 1, p.parameter_count, decay, p.gradient.data(), state, first,
           second);
    average(shares[step], state_size, state, averaged);
  }
  return total;
}

// Writes the logits of `count` images, one image after the other.
void engine_predict(void* program, const uint8_t* pixels, int64_t count, real* state, real* logits) {
  Program& p = *static_cast<Program*>(program);
  for (int64_t first = 0; first < count; first += p.batch) {
    const int used = int(count - first < p.batch ? count - first : p.batch);
    for (int n = 0; n < used; n++)
      place(pixels + (first + n) * p.image_size(), nullptr, p.normalisation, p.input(), n);
    p.forward(state, false);
    const Map& outputs = p.logits();
    for (int n = 0; n < used; n++)
      for (int c = 0; c < outputs.channels; c++) *logits++ = outputs.value(c, n);
  }
}

// Returns the loss of a batch of unmoved images and writes the gradients, for tests.
double engine_gradients(void* program, const uint8_t* pixels, const int64_t* labels, const Training* training,
                        real* state, real* gradient) {
  Program& p = *static_cast<Program*>(program);
  for (int n = 0; n < p.batch; n++) place(pixels + n * p.image_size(), nullptr, p.normalisation, p.input(), n);
  p.forward(state, true);
  const double loss = cross_entropy(p.logits(), labels, p.batch, training->smoothing, p.logits_gradient());
  std::fill(p.gradient.begin(), p.gradient.end(), real(0));
  p.back(state);
  std::memcpy(gradient, p.gradient.data(), p.parameter_count * sizeof(real));
  return loss;
}

}  // extern "C"
