#include "program.h"

#include <algorithm>

#include "depthwise.h"
#include "pairs.h"
#include "pointwise.h"
#include "pooling.h"
#include "winograd.h"

namespace engine {

namespace {

// Convolution of a group of channels.
template <class T>  // T is Map or ValueRow
Convolution convolution_of(const Instruction& i, const T& x, const T& y) {
  return {i.rows, i.columns, i.stride, i.row_padding, i.column_padding, x.channels / i.groups, y.channels / i.groups};
}

// Copies a dense gradient to positions `stride` apart; the positions between stay zero.
const Map& spread(const Map& dense, const Map& wide, int stride) {
  if (stride == 1) return dense;
  for (int n = 0; n < dense.groups; n++)
    for (int c = 0; c < dense.channels; c++)
      for (int h = 0; h < dense.height; h++)
        for (int w = 0; w < dense.width; w++) wide.line(n, c, h * stride)[w * stride] = dense.line(n, c, h)[w];
  return wide;
}

real slope_of(Activation activation, int32_t slope, const real* state) {
  return activation == PRELU ? state[slope] : real(slope / double(SLOPE_PARTS));
}

Pointwise pointwise_of(const Instruction& i, int images, const real* state) {
  const Activation before = Activation(i.before), after = Activation(i.after);
  return {before, i.shift >= 0, after, slope_of(before, i.before_slope, state), slope_of(after, i.after_slope, state),
          i.dropout, i.rate / real(RATE_PARTS), images, i.shared};
}

// Number of reads of a value by instructions.
int readers(const Instruction* code, int count, int value) {
  int reads = 0;
  for (int k = 0; k < count; k++) reads += (code[k].source == value) + (code[k].summand == value);
  return reads;
}

// Whether a convolution can be a stem (pointwise.h).
bool is_stem(const Instruction& i, const Map& x) {
  return Code(i.code) == Code::CONVOLUTION && i.source == 0 && x.channels == 1 && i.rows == 3 && i.columns == 3 &&
         i.stride == 1 && i.row_padding == i.column_padding && i.bias < 0;
}

// Whether instruction k can be fused with the next instruction: a pool that is the only reader of the value.
bool pools_next(const Instruction* code, int k, int count, const Map& x) {
  if (Code(code[k].code) != Code::POINTWISE || k + 1 == count) return false;
  const Instruction& next = code[k + 1];
  if (Code(next.code) != Code::MAX_POOL && Code(next.code) != Code::AVERAGE_POOL) return false;
  if (readers(code, count, code[k].target) != 1) return false;
  return next.source == code[k].target && next.rows == 2 && next.columns == 2 && x.height % 2 == 0 && x.width % 2 == 0 &&
         code[k].shift >= 0 && code[k].before <= RELU && code[k].after <= RELU;
}

// Whether instruction k can be fused with the next two instructions: BN, a sum of the output, and a ReLU.
bool sums_next(const Instruction* code, int k, int count) {
  if (Code(code[k].code) != Code::POINTWISE || k + 2 >= count) return false;
  const Instruction &bn = code[k], &sum = code[k + 1], &rectifier = code[k + 2];
  if (Code(sum.code) != Code::SUM || sum.source != bn.target || readers(code, count, bn.target) != 1) return false;
  if (Code(rectifier.code) != Code::POINTWISE || rectifier.source != sum.target) return false;
  if (readers(code, count, sum.target) != 1) return false;
  return bn.shift >= 0 && !bn.before && !bn.after && !bn.dropout &&
         rectifier.shift < 0 && rectifier.before == RELU && !rectifier.dropout;
}

// Biases of group g; null without biases.
template <class T>
T* bias_at(T* bias, int g, const Convolution& c) {
  return bias ? bias + g * c.out : nullptr;
}

const real* at(const real* state, int32_t offset) { return offset < 0 ? nullptr : state + offset; }
real* at(std::vector<real>& gradient, int32_t offset) { return offset < 0 ? nullptr : gradient.data() + offset; }

}  // namespace

Map Program::allocate_map(const ValueRow& row, int margin) {
  Map map{nullptr, row.channels, row.height, row.width, groups_of(batch), 0, 0, 0};
  map.row = row.width + 2 * margin;
  map.plane = map.row * (row.height + 2 * margin);
  map.group = map.plane * row.channels;
  memory.emplace_back(allocate(size_t(map.group) * map.groups));
  map.at = memory.back().get() + margin * map.row + margin;
  return map;
}

Program::Program(const ValueRow* rows, int value_count, const Instruction* instructions, int instruction_count,
                 int batch_, int state_size, int parameter_count_, Normalisation normalisation_,
                 bool pairs_)
    : batch(batch_),
      parameter_count(parameter_count_),
      pairs(pairs_),
      normalisation(normalisation_),
      gradient(state_size) {
  allocate_maps(rows, value_count, instructions, instruction_count);
  allocate_gradients(rows, instructions, instruction_count);
  size_t largest = 0, most_sums = 0, most_room = 0;
  for (int k = 0; k < instruction_count; k++) {
    const Instruction& i = instructions[k];
    const Map &x = values[i.source].map, &y = values[i.target].map;
    Step step{i, {}, {}, nullptr, {}, -1, tiled(i, rows), tiled_back(i, rows), Code(i.code), false, false, {}, {}, {}, {}};
    if (pools_next(instructions, k, instruction_count, x)) {
      step.pool = Code(instructions[++k].code);
      step.code.target = instructions[k].target;
      step.stem = steps.size() == 1 && steps[0].code.target == i.source &&
                  is_stem(steps[0].code, values[0].map) && readers(instructions, instruction_count, i.source) == 1;
    }
    if (sums_next(instructions, k, instruction_count)) {
      step.summed = true;
      step.code.summand = instructions[k + 1].summand;
      step.code.target = instructions[k += 2].target;
    }
    if (Code(i.code) == Code::CONVOLUTION) {
      const Convolution c = convolution_of(i, x, y);
      largest = std::max(largest, kernel_size(c));
      most_sums = std::max(most_sums, gradient_room(c));
      step.kernel = kernel_of(step, c);
      if (step.tiled || step.tiled_back) most_room = std::max(most_room, tiled_room(c));
      step.bias = posed_numbers(i.poses, y.channels);
    }
    if (Code(i.code) == Code::LINEAR)
      step.matrix = pose_matrix(i.poses, y.channels, x.channels * x.height * x.width);
    if (Code(i.code) == Code::DEPTHWISE) {
      step.kernel = kernel_of(step, convolution_of(i, x, y));
      step.bias = posed_numbers(i.poses, y.channels);
    }
    if (Code(i.code) == Code::POINTWISE) {
      step.scale = posed_numbers(i.poses, y.channels);
      step.shift = posed_numbers(i.poses, y.channels);
      step.mean.resize(x.channels);
      step.inverse.resize(x.channels);
      const size_t bytes = x.channels * x.groups * draws(x.positions()) * sizeof(Bits);
      if (i.dropout) step.drawn.reset(reinterpret_cast<Bits*>(allocate((bytes + sizeof(V) - 1) / sizeof(V))));
    }
    if (i.stride > 1 && (Code(i.code) == Code::CONVOLUTION || Code(i.code) == Code::DEPTHWISE))
      // Rows and columns beyond the last window have zeros as gradient.
      step.spread = allocate_map({y.channels, x.height + 2 * i.row_padding - i.rows + 1,
                                  x.width + 2 * i.column_padding - i.columns + 1, 0, 0},
                                 std::max({0, i.rows - 1 - i.row_padding, i.columns - 1 - i.column_padding}));
    if (pairs && Code(i.code) == Code::CONVOLUTION && pays_in_pairs(convolution_of(i, x, y))) {
      const Map& dy = i.stride > 1 ? step.spread : values[i.target].gradient;
      const size_t back = std::max(pairs_room(values[i.target].gradient), pairs_room(dy));
      most_room = std::max(most_room, pairs_room(x) + back);
    }
    steps.push_back(std::move(step));
  }
  packed.resize(largest);
  sums.reset(allocate(most_sums));
  if (pairs) packed_pairs.resize(largest);
  room.reset(allocate(most_room));
}

bool Program::tiled(const Instruction& i, const ValueRow* rows) const {
  const ValueRow &x = rows[i.source], &y = rows[i.target];
  return Code(i.code) == Code::CONVOLUTION && !pairs && pays_in_tiles(convolution_of(i, x, y), y.height, y.width);
}

bool Program::tiled_back(const Instruction& i, const ValueRow* rows) const {
  const ValueRow &x = rows[i.source], &y = rows[i.target];
  return Code(i.code) == Code::CONVOLUTION && !pairs && pays_back_in_tiles(convolution_of(i, x, y), x.height, x.width);
}

int Program::kernel_of(const Step& step, const Convolution& c) {
  const Instruction& i = step.code;
  size_t k = 0;
  const auto used_alike = [&](const Kernel& other) {
    return other.at == i.kernel && other.groups == i.groups && other.poses == i.poses;
  };
  while (k < kernels.size() && !used_alike(kernels[k])) k++;
  if (k == kernels.size()) {
    Posed posed = posed_kernel(i.poses, c.out * i.groups, c.in, i.rows);
    kernels.push_back({i.kernel, i.groups, i.poses, std::move(posed), nullptr, {}, {}, false});
  }
  Kernel& kernel = kernels[k];
  const size_t size = i.groups * tiled_kernel(c);
  if (step.tiled && !kernel.packed) kernel.packed.reset(allocate(size));
  if (step.tiled_back && !kernel.packed_back) kernel.packed_back.reset(allocate(size));
  return int(k);
}

void Program::allocate_maps(const ValueRow* rows, int value_count, const Instruction* instructions, int count) {
  // A branch has the map of the source under a second index.
  std::vector<int> home(value_count), margin(value_count);
  for (int v = 0; v < value_count; v++) home[v] = v;
  for (int k = 0; k < count; k++)
    if (Code(instructions[k].code) == Code::BRANCH) home[instructions[k].target] = home[instructions[k].source];
  for (int v = 0; v < value_count; v++) margin[home[v]] = std::max(margin[home[v]], rows[v].margin);
  for (int v = 0; v < value_count; v++)
    values.push_back({home[v] == v ? allocate_map(rows[v], margin[v]) : values[home[v]].map, {}});
}

void Program::allocate_gradients(const ValueRow* rows, const Instruction* instructions, int count) {
  // A pointwise instruction converts the gradient of the output to the gradient of the input in place: the gradient of
  // the output is not read again, which saves a pass over memory. A sum passes the gradient on unchanged.
  std::vector<int> home(values.size()), margin(values.size());
  for (size_t v = 0; v < values.size(); v++) home[v] = int(v);
  for (int k = 0; k < count; k++)
    if (Code(instructions[k].code) == Code::POINTWISE || Code(instructions[k].code) == Code::SUM)
      home[instructions[k].target] = home[instructions[k].source];
  for (size_t v = 0; v < values.size(); v++)
    margin[home[v]] = std::max(margin[home[v]], rows[v].gradient_margin);
  // The backward pass needs a gradient from the last to the first instruction that uses the value. Gradients of equal
  // shape and disjoint lifetimes share memory, which is then cached more often. Sharing is safe, because the first
  // instruction of the backward pass that uses a map writes the whole map, and margins are never written.
  std::vector<int> first(values.size(), count), last(values.size(), -1);
  for (int k = 0; k < count; k++)
    for (int v : {instructions[k].source, instructions[k].target, instructions[k].summand})
      if (v >= 0) {
        first[home[v]] = std::min(first[home[v]], k);
        last[home[v]] = k;
      }
  const auto of_one_form = [&](size_t v, size_t w) {
    return rows[v].channels == rows[w].channels && rows[v].height == rows[w].height && rows[v].width == rows[w].width &&
           margin[v] == margin[w];
  };
  for (size_t v = 0; v < values.size(); v++) {
    if (home[v] == int(v)) {
      size_t shared = 0;
      while (shared < v && !(home[shared] == int(shared) && last[shared] < first[v] && of_one_form(shared, v))) shared++;
      last[shared] = last[v];
      home[v] = int(shared);
    }
    values[v].gradient = home[v] == int(v) ? allocate_map(rows[v], margin[v]) : values[home[v]].gradient;
  }
}

const Kernel& Program::ready(const Step& step, const Convolution& c, const real* state, bool back) {
  Kernel& kernel = kernels[step.kernel];
  if (kernel.ready) return kernel;
  kernel.values = in_poses(kernel.posed, state + kernel.at);
  V* packed = (back ? kernel.packed_back : kernel.packed).get();
  for (int g = 0; g < kernel.groups && packed; g++)
    pack_in_tiles(c, kernel.values + g * kernel_size(c), back, packed + g * tiled_kernel(c));
  kernel.ready = true;
  return kernel;
}

real* Program::kernel_gradient_of(const Step& step) {
  return gradient_in_poses(kernels[step.kernel].posed, at(gradient, step.code.kernel));
}

void Program::convolve_groups(Step& step, const Map& x, const Map& y, const real* state) {
  const Instruction& i = step.code;
  const Convolution c = convolution_of(i, x, y);
  const Kernel& ready_kernel = ready(step, c, state, false);
  const real* biases = in_poses(step.bias, at(state, i.bias));
  for (int g = 0; g < i.groups; g++) {
    const Map from = part(x, g, c.in), to = part(y, g, c.out);
    const real *kernel = ready_kernel.values + g * kernel_size(c), *bias = bias_at(biases, g, c);
    if (step.tiled)
      convolve_in_tiles(c, from, ready_kernel.packed.get() + g * tiled_kernel(c), bias, to, room.get());
    else if (pairs && pays_in_pairs(c))
      convolve_in_pairs(c, from, kernel, bias, to, packed_pairs.data(), room.get());
    else
      convolve(c, from, kernel, bias, to, packed.data());
  }
}

void Program::convolve_groups_back(Step& step, const real* state) {
  const Instruction& i = step.code;
  const Map &x = values[i.source].map, &dx = values[i.source].gradient, &dy = values[i.target].gradient;
  const Convolution c = convolution_of(i, x, dy);
  const bool paired = pairs && pays_in_pairs(c);
  real* learned_bias = at(gradient, i.bias);
  real* dkernels = kernel_gradient_of(step);
  real* dbiases = gradient_in_poses(step.bias, learned_bias);
  for (int g = 0; g < i.groups; g++) {
    const Map from = part(x, g, c.in), to = part(dy, g, c.out);
    real *dkernel = dkernels + g * kernel_size(c), *dbias = bias_at(dbiases, g, c);
    if (step.tiled)
      kernel_gradient_in_tiles(c, from, to, dkernel, dbias, room.get());
    else if (paired)
      kernel_gradient_in_pairs(c, from, to, dkernel, dbias, sums.get(), room.get());
    else
      kernel_gradient(c, from, to, dkernel, dbias, sums.get());
  }
  return_gradient(step.bias, learned_bias);
  // The gradient of the images is not needed.
  if (i.source == 0) return;
  const Map& wide = spread(dy, step.spread, i.stride);
  const Kernel& ready_kernel = ready(step, c, state, true);
  for (int g = 0; g < i.groups; g++) {
    const Map from = part(wide, g, c.out), to = part(dx, g, c.in);
    const real* kernel = ready_kernel.values + g * kernel_size(c);
    if (step.tiled_back)
      convolve_back_in_tiles(c, from, ready_kernel.packed_back.get() + g * tiled_kernel(c), to, room.get());
    else if (paired)
      convolve_back_in_pairs(c, from, kernel, to, packed_pairs.data(), room.get());
    else
      convolve_back(c, from, kernel, to, packed.data());
  }
}

void Program::forward(real* state, bool training) {
  for (Kernel& kernel : kernels) kernel.ready = false;
  for (Step& step : steps) {
    const Instruction& i = step.code;
    const Map &x = values[i.source].map, &y = values[i.target].map;
    switch (Code(i.code)) {
      case Code::CONVOLUTION: convolve_groups(step, x, y, state); break;
      case Code::DEPTHWISE:
        convolve_depthwise({i.stride, i.row_padding}, x, ready(step, convolution_of(i, x, y), state, false).values,
                           in_poses(step.bias, at(state, i.bias)), y);
        break;
      case Code::POINTWISE: {
        const bool norm = i.shift >= 0;
        const Pointwise p = pointwise_of(i, batch, state);
        const Norm by{in_poses(step.scale, at(state, i.scale)), in_poses(step.shift, at(state, i.shift)),
                      norm ? state + i.mean : nullptr, norm ? state + i.variance : nullptr, step.mean.data(),
                      step.inverse.data()};
        if (step.summed)
          summed_pointwise(p, by, x, values[i.summand].map, y, training);
        else if (step.pool == Code::POINTWISE)
          pointwise(p, by, x, y, step.drawn.get(), random, training);
        else
          pooled_pointwise(p, step.pool == Code::MAX_POOL, by, x, y, step.drawn.get(), random, training);
        break;
      }
      case Code::MAX_POOL: max_pool(i.rows, i.columns, x, y); break;
      case Code::AVERAGE_POOL: average_pool(i.rows ? i.rows : x.height, i.rows ? i.columns : x.width, x, y); break;
      case Code::UNSHUFFLE: unshuffle(i.rows, x, y); break;
      case Code::LINEAR: linear(in_poses(step.matrix, state + i.kernel), state + i.bias, x, y); break;
      case Code::BRANCH: break;
      case Code::SUM: sum(x, values[i.summand].map, y); break;
    }
  }
}

real* Program::slope_gradient(int32_t activation, int32_t slope) {
  return activation == PRELU ? gradient.data() + slope : nullptr;
}

void Program::back(const real* state) {
  for (Kernel& kernel : kernels) kernel.ready = false;
  for (size_t k = steps.size(); k-- > 0;) {
    Step& step = steps[k];
    const Instruction& i = step.code;
    const Map &x = values[i.source].map, &y = values[i.target].map;
    const Map &dx = values[i.source].gradient, &dy = values[i.target].gradient;
    switch (Code(i.code)) {
      case Code::CONVOLUTION:
        if (k + 1 == steps.size() || !steps[k + 1].stem) convolve_groups_back(step, state);
        break;
      case Code::DEPTHWISE: {
        const Depthwise c{i.stride, i.row_padding};
        real* learned_bias = at(gradient, i.bias);
        depthwise_gradient(c, x, dy, kernel_gradient_of(step), gradient_in_poses(step.bias, learned_bias));
        return_gradient(step.bias, learned_bias);
        if (i.source != 0) {
          const real* kernel = ready(step, convolution_of(i, x, y), state, true).values;
          convolve_depthwise_back(c, spread(dy, step.spread, i.stride), kernel, dx);
        }
        break;
      }
      case Code::POINTWISE: {
        real *scale = at(gradient, i.scale), *shift = at(gradient, i.shift);
        const Pointwise p = pointwise_of(i, batch, state);
        const Norm by{in_poses(step.scale, at(state, i.scale)), in_poses(step.shift, at(state, i.shift)), nullptr,
                      nullptr, step.mean.data(), step.inverse.data()};
        const PointwiseGradient of{gradient_in_poses(step.scale, scale), gradient_in_poses(step.shift, shift),
                                   slope_gradient(i.before, i.before_slope), slope_gradient(i.after, i.after_slope)};
        if (step.summed) {
          summed_pointwise_back(p, by, x, y, dy, values[i.summand].gradient, of);
        } else if (step.pool == Code::POINTWISE) {
          pointwise_back(p, by, x, dy, dx, step.drawn.get(), of);
        } else {
          const Instruction& first = steps[0].code;
          const Stem stem{input(), first.row_padding, step.stem ? kernel_gradient_of(steps[0]) : nullptr};
          pooled_pointwise_back(p, step.pool == Code::MAX_POOL, by, x, dy, dx, step.stem ? &stem : nullptr,
                                step.drawn.get(), of);
        }
        return_gradient(step.scale, scale);
        return_gradient(step.shift, shift);
        break;
      }
      case Code::MAX_POOL: max_pool_back(i.rows, i.columns, x, y, dy, dx); break;
      case Code::AVERAGE_POOL:
        average_pool_back(i.rows ? i.rows : x.height, i.rows ? i.columns : x.width, dy, dx);
        break;
      case Code::UNSHUFFLE: unshuffle_back(i.rows, dy, dx); break;
      case Code::LINEAR:
        linear_back(in_poses(step.matrix, state + i.kernel), x, dy, dx,
                    gradient_in_poses(step.matrix, gradient.data() + i.kernel), gradient.data() + i.bias);
        return_gradient(step.matrix, state + i.kernel, gradient.data() + i.kernel);
        break;
      // The backward pass visits a sum before the branch of the same source: the sum writes the gradient, the branch
      // adds.
      case Code::BRANCH: add(dy, dx); break;
      case Code::SUM: copy(dy, values[i.summand].gradient); break;
    }
  }
  for (Kernel& kernel : kernels) return_gradient(kernel.posed, at(gradient, kernel.at));
}

}  // namespace engine
