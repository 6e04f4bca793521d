#include "poses.h"

#include <utility>

namespace engine {

namespace {

// Pose k of eight: k % 4 counterclockwise quarter turns, after a horizontal reflection if k >= 4.
bool mirrored(int pose) { return pose >= 4; }
int turns(int pose, int poses) { return pose * (poses == 2 ? 2 : 1) % 4; }

// Composition of poses: `first`, then `second`.
int composed(int second, int first, int poses) {
  if (poses < 8) return (first + second) % poses;
  const int turned = second % 4 + (mirrored(second) ? 4 - first % 4 : first % 4);
  return turned % 4 + (mirrored(first) != mirrored(second) ? 4 : 0);
}

// Index, in a pose of the kernel, of the weight at (row, column) of the learned kernel.
int moved(int row, int column, int edge, int pose, int poses) {
  if (mirrored(pose)) column = edge - 1 - column;
  for (int turn = turns(pose, poses); turn > 0; turn--) {
    const int before = row;
    row = edge - 1 - column;
    column = before;
  }
  return row * edge + column;
}

Posed of_size(size_t size) { return {std::vector<int32_t>(size), std::vector<real>(size), std::vector<real>(size)}; }

}  // namespace

Posed posed_kernel(int poses, int outputs, int channels, int edge) {
  if (poses == 1) return {};
  const int area = edge * edge;
  Posed kernel = of_size(size_t(outputs) * channels * area);
  for (int out = 0; out < outputs; out++)
    for (int c = 0; c < channels; c++) {
      const int pose = out % poses;
      const int in = channels == 1 ? 0 : c / poses * poses + composed(pose, c % poses, poses);
      for (int at = 0; at < area; at++)
        kernel.source[(out * channels + in) * area + moved(at / edge, at % edge, edge, pose, poses)] =
            (out / poses * channels + c) * area + at;
    }
  return kernel;
}

Posed posed_numbers(int poses, int outputs) {
  if (poses == 1) return {};
  Posed numbers = of_size(outputs);
  for (int out = 0; out < outputs; out++) numbers.source[out] = out / poses;
  return numbers;
}

const real* in_poses(Posed& posed, const real* learned) {
  if (posed.source.empty() || !learned) return learned;
  for (size_t k = 0; k < posed.source.size(); k++) posed.values[k] = learned[posed.source[k]];
  return posed.values.data();
}

real* gradient_in_poses(Posed& posed, real* learned) {
  if (posed.source.empty() || !learned) return learned;
  return posed.gradient.data();
}

void return_gradient(Posed& posed, real* learned) {
  if (!learned) return;
  for (size_t k = 0; k < posed.source.size(); k++) learned[posed.source[k]] += std::exchange(posed.gradient[k], real(0));
}

PoseMatrix pose_matrix(int poses, int outputs, int features) {
  const size_t size = poses == 1 ? 0 : size_t(outputs) * features;
  return {outputs, features / poses, poses, std::vector<real>(size), std::vector<real>(size)};
}

const real* in_poses(PoseMatrix& matrix, const real* learned) {
  if (matrix.values.empty()) return learned;
  real* value = matrix.values.data();
  for (int o = 0; o < matrix.outputs; o++) {
    const real *a = learned + o * (matrix.channels + matrix.poses), *b = a + matrix.channels;
    for (int c = 0; c < matrix.channels; c++)
      for (int p = 0; p < matrix.poses; p++) *value++ = a[c] * (1 + b[p]);
  }
  return matrix.values.data();
}

real* gradient_in_poses(PoseMatrix& matrix, real* gradient) {
  return matrix.values.empty() ? gradient : matrix.gradient.data();
}

void return_gradient(PoseMatrix& matrix, const real* learned, real* gradient) {
  if (matrix.values.empty()) return;
  real* from = matrix.gradient.data();
  for (int o = 0; o < matrix.outputs; o++) {
    const ptrdiff_t first = o * (matrix.channels + matrix.poses);
    const real *a = learned + first, *b = a + matrix.channels;
    real *da = gradient + first, *db = da + matrix.channels;
    for (int c = 0; c < matrix.channels; c++)
      for (int p = 0; p < matrix.poses; p++) {
        const real d = std::exchange(*from++, real(0));
        da[c] += d * (1 + b[p]);
        db[p] += d * a[c];
      }
  }
}

}  // namespace engine
