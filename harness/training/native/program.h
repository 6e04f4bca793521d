// A network as a flat program over buffers that are allocated once.
#pragma once
#include <memory>
#include <vector>

#include "convolution.h"
#include "images.h"
#include "instruction.h"
#include "layout.h"
#include "learning.h"
#include "poses.h"
#include "random.h"

namespace engine {

struct Value {
  Map map, gradient;
};

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
template <class T> using Block = std::unique_ptr<T[], Free>;

// A kernel, prepared once per pass for all instructions that use the kernel in the same way.
struct Kernel {
  int32_t at, groups, poses;  // offset in the state, number of groups and poses
  Posed posed;
  const real* values;  // in all poses
  Block<V> packed, packed_back;  // groups, packed for convolutions in tiles; null if not needed
  bool ready;
};

// An instruction with all data besides the values.
struct Step {
  Instruction code;
  std::vector<real> mean, inverse;  // batch statistics, for the backward pass
  Block<Bits> drawn;                // draws of dropout
  Map spread;                       // dy with zeros between the positions, for strides above 1
  int kernel;                       // index in `kernels`
  bool tiled, tiled_back;           // use of tiles (winograd.h) for the convolution, and for the gradient of the input
  Code pool;                        // pool fused with a pointwise instruction (pooled.cpp), or the code itself
  bool summed;                      // pointwise instruction fused with the following sum and ReLU (summed.cpp)
  bool stem;                        // gradients go to the preceding convolution, without a map
  Posed bias, scale, shift;
  PoseMatrix matrix;  // matrix of a linear layer
};

class Program {
 public:
  Program(const ValueRow* values, int value_count, const Instruction* instructions, int instruction_count, int batch,
          int state_size, int parameter_count, Normalisation normalisation, bool pairs);

  const int batch, parameter_count;
  const bool pairs;  // convolve in bf16 if this is faster
  const Normalisation normalisation;
  Random random{0};
  std::vector<real> gradient;  // gradient of the parameters, to which `back` adds

  const Map& input() const { return values[0].map; }
  int64_t image_size() const { return int64_t(input().channels) * input().height * input().width; }
  const Map& logits() const { return values.back().map; }
  const Map& logits_gradient() const { return values.back().gradient; }

  // `state` has the parameters, followed by the running statistics, which training updates.
  void forward(real* state, bool training);
  void back(const real* state);

 private:
  std::vector<Value> values;
  std::vector<Step> steps;
  std::vector<Kernel> kernels;
  std::vector<Block<V>> memory;
  std::vector<real> packed;  // a kernel with weights in the order of use
  std::vector<uint32_t> packed_pairs;
  Block<V> sums;  // sums of a kernel gradient
  Block<V> room;  // buffer for maps in pairs or in tiles

  Map allocate_map(const ValueRow& row, int margin);
  void allocate_maps(const ValueRow* rows, int value_count, const Instruction* instructions, int count);
  void allocate_gradients(const ValueRow* rows, const Instruction* instructions, int count);
  void convolve_groups(Step& step, const Map& x, const Map& y, const real* state);
  void convolve_groups_back(Step& step, const real* state);
  bool tiled(const Instruction& i, const ValueRow* rows) const;
  bool tiled_back(const Instruction& i, const ValueRow* rows) const;
  int kernel_of(const Step& step, const Convolution& c);
  const Kernel& ready(const Step& step, const Convolution& c, const real* state, bool back);
  real* kernel_gradient_of(const Step& step);
  real* slope_gradient(int32_t activation, int32_t slope);
};

}  // namespace engine
