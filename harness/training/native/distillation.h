// What teachers say of a batch, and a student's loss with it (Hinton, Vinyals and Dean, arXiv 1503.02531).
#pragma once
#include <vector>

#include "program.h"

namespace engine {

// Teachers: one program, a state each. Python writes this row (harness/training/native/engine.py).
struct Teacher {
  Program* program;
  real* states;
  int64_t state_size, count;
  double weight, temperature;  // share of the loss; what logits are divided by
};

// Writes, image by image, the mean over the teachers of their softened probabilities for a student's batch.
void soft_targets(const Teacher& t, const Map& images, int used, std::vector<real>& targets);

// Returns the loss with the teachers' share, given that of the labels alone, and turns `d` from the gradient of the one
// into that of the other. The teachers' part is the divergence from their targets, times the temperature squared.
double distil(const Teacher& t, const Map& logits, const std::vector<real>& targets, int used, double loss,
              const Map& d);

}  // namespace engine
