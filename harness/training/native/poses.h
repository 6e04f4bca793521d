// Numbers that are learned once and used in several poses; search_spaces/modules.py says which poses there are.
#pragma once
#include <vector>

#include "layout.h"

namespace engine {

// Numbers in all their poses, and their gradients; empty where each number is learned for itself.
struct Posed {
  std::vector<int32_t> source;  // which learned number each of them is
  std::vector<real> values, gradient;
};

// A kernel of `outputs` x `channels` x `edge` x `edge`, the poses of a learned one side by side.
Posed posed_kernel(int poses, int outputs, int channels, int edge);

// One number an output: a bias, a scale or a shift.
Posed posed_numbers(int poses, int outputs);

// The numbers in all poses; the learned ones themselves where there is one pose, null where these are null.
const real* in_poses(Posed& posed, const real* learned);

// Where their gradients are to be added, once or more often; `return_gradient` adds what is found there to those of the
// learned ones and leaves zeros.
real* gradient_in_poses(Posed& posed, real* learned);
void return_gradient(Posed& posed, real* learned);

// The matrix of a linear layer whose features are channels in poses, the poses of a channel side by side. The weight of
// a feature is a (1 + b), of a learned number a of its channel and b of its pose. What is learned for an output are all
// its a, then all its b. Without poses the matrix itself is learned.
struct PoseMatrix {
  int outputs, channels, poses;
  std::vector<real> values, gradient;
};

PoseMatrix pose_matrix(int poses, int outputs, int features);

// The same as for numbers in poses; a gradient of a product needs the learned numbers, too.
const real* in_poses(PoseMatrix& matrix, const real* learned);
real* gradient_in_poses(PoseMatrix& matrix, real* gradient);
void return_gradient(PoseMatrix& matrix, const real* learned, real* gradient);

}  // namespace engine
