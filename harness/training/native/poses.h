// Numbers that are learned once and used in several poses; harness/spaces/modules.py defines the poses.
#pragma once
#include <vector>

#include "layout.h"

namespace engine {

// Numbers in all poses, and the gradients; empty if every number is learned separately.
struct Posed {
  std::vector<int32_t> source;  // index of the learned number of each value
  std::vector<real> values, gradient;
};

// A kernel of `outputs` x `channels` x `edge` x `edge`; the poses of a learned kernel are adjacent.
Posed posed_kernel(int poses, int outputs, int channels, int edge);

// A number per output: a bias, a scale or a shift.
Posed posed_numbers(int poses, int outputs);

// Returns the numbers in all poses; `learned` itself for a single pose or if null.
const real* in_poses(Posed& posed, const real* learned);

// Returns the accumulators for the gradients in all poses; `return_gradient` adds the accumulators to the gradients of
// the learned numbers and resets the accumulators to zero.
real* gradient_in_poses(Posed& posed, real* learned);
void return_gradient(Posed& posed, real* learned);

// The matrix of a linear layer whose features are channels in poses; the poses of a channel are adjacent. The weight of
// a feature is a (1 + b), with learned numbers a of the channel and b of the pose. The learned numbers of an output are
// all a, then all b. Without poses the matrix itself is learned.
struct PoseMatrix {
  int outputs, channels, poses;
  std::vector<real> values, gradient;
};

PoseMatrix pose_matrix(int poses, int outputs, int features);

// Same as for numbers in poses; the gradient of a product also needs the learned numbers.
const real* in_poses(PoseMatrix& matrix, const real* learned);
real* gradient_in_poses(PoseMatrix& matrix, real* gradient);
void return_gradient(PoseMatrix& matrix, const real* learned, real* gradient);

}  // namespace engine
