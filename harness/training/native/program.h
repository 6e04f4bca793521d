// A network as one flat program over buffers that are allocated once.
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

// A kernel, made ready once a pass for all instructions that use it in the same way.
struct Kernel {
  int32_t at, groups, poses;  // its place in the state, and how it is used
  Posed posed;
  const real* values;  // in all poses
  Block<V> packed, packed_back;  // its groups for convolutions in tiles, null where no instruction needs them
  bool ready;
};

// One instruction with what it needs beside the values.
struct Step {
  Instruction code;
  std::vector<real> mean, inverse;  // batch statistics, for the way back
  Block<Bits> drawn;                // of dropout
  Map spread;                       // dy with zeros between its positions, for strides above 1
  int kernel;                       // which of the program's
  bool tiled, tiled_back;           // convolved in tiles (winograd.h), and its inputs' gradient
  Code pool;                        // what a pointwise one does at once with its own (pooled.cpp), or that itself
  bool summed;                      // a pointwise one and the sum and rectifier behind it (summed.cpp)
  bool stem;                        // its gradients go to the convolution before it, without a map between
  Posed bias, scale, shift;
  PoseMatrix matrix;  // of a linear layer
};

class Program {
 public:
  Program(const ValueRow* values, int value_count, const Instruction* instructions, int instruction_count, int batch,
          int state_size, int parameter_count, Normalisation normalisation, bool pairs);

  const int batch, parameter_count;
  const bool pairs;  // convolve in bf16 where that pays
  const Normalisation normalisation;
  Random random{0};
  std::vector<real> gradient;  // of the state's parameters, added to by `back`

  const Map& input() const { return values[0].map; }
  int64_t image_size() const { return int64_t(input().channels) * input().height * input().width; }
  const Map& logits() const { return values.back().map; }
  const Map& logits_gradient() const { return values.back().gradient; }

  // `state` holds the parameters and, behind them, the running statistics, which training moves.
  void forward(real* state, bool training);
  void back(const real* state);

 private:
  std::vector<Value> values;
  std::vector<Step> steps;
  std::vector<Kernel> kernels;
  std::vector<Block<V>> memory;
  std::vector<real> packed;  // one kernel, its weights in the order of use
  std::vector<uint32_t> packed_pairs;
  Block<V> sums;  // of a kernel's gradient
  Block<V> room;  // of maps in pairs or in tiles

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
