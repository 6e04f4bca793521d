// A team trains one network: all steps of a job, each of them the flat program forward and back.
#pragma once
#include "convolution.h"
#include "learning.h"
#include "pointwise.h"
#include "pooling.h"

namespace persistent {

DEVICE const real* at(const real* state, int offset) { return offset < 0 ? nullptr : state + offset; }

PHASE void forward(Team team, const Job& job, int64 step, real* packed) {
  const int images = int(job.batch);
  real* state = job.state;
  for (int number = 0; number < job.instruction_count; number++) {
    const Instruction i = job.instructions[number];
    const Map x = map_of(job, job.maps[i.in]), y = map_of(job, job.maps[i.out]);
    switch (Code(i.code)) {
      case Code::CONVOLUTION:
      case Code::DEPTHWISE:
        convolve(team, convolution_of(i, x, y), x, state + i.kernel, false, at(state, i.bias), y, packed, images);
        break;
      case Code::POINTWISE:
        pointwise(team, pointwise_of(job, i, number, step), x, y, job.scratch, images);
        break;
      case Code::MAX_POOL: max_pool(team, i.rows, x, y, images); break;
      case Code::AVERAGE_POOL:
        average_pool(team, i.rows ? i.rows : x.height, i.rows ? i.columns : x.width, x, y, images);
        break;
      case Code::UNSHUFFLE: unshuffle(team, i.rows, x, y, images); break;
      case Code::LINEAR: linear(team, state + i.kernel, state + i.bias, x, y, images); break;
      case Code::BRANCH: copy(team, x, y, false, images); break;
      case Code::SUM:
        copy(team, x, y, false, images);
        copy(team, map_of(job, job.maps[i.other]), y, true, images);
        break;
    }
  }
}

PHASE void back(Team team, const Job& job, int64 step, real* packed) {
  const int images = int(job.batch);
  const real* state = job.state;
  real* gradient = job.gradient;
  for (int number = int(job.instruction_count) - 1; number >= 0; number--) {
    const Instruction i = job.instructions[number];
    const Map x = map_of(job, job.maps[i.in]), y = map_of(job, job.maps[i.out]);
    const Map dx = map_of(job, job.gradients[i.in]), dy = map_of(job, job.gradients[i.out]);
    switch (Code(i.code)) {
      case Code::CONVOLUTION:
      case Code::DEPTHWISE: {
        const Convolution c = convolution_of(i, x, y);
        kernel_gradient(team, c, x, dy, gradient + i.kernel, job.scratch, images);
        if (i.bias >= 0) bias_gradient(team, dy, gradient + i.bias, job.scratch, images);
        // Nothing needs the gradient of the images.
        if (i.in == 0) break;
        const Map wide = i.stride == 1 ? dy : map_of(job, job.spreads[number]);
        if (i.stride > 1) spread(team, dy, wide, i.stride, images);
        convolve(team, turned(c), wide, state + i.kernel, true, nullptr, dx, packed, images);
        break;
      }
      case Code::POINTWISE:
        pointwise_back(team, pointwise_of(job, i, number, step), x, dy, pointwise_gradient(gradient, i), job.scratch,
                       images);
        break;
      case Code::MAX_POOL: max_pool_back(team, i.rows, x, y, dy, dx, images); break;
      case Code::AVERAGE_POOL:
        average_pool_back(team, i.rows ? i.rows : x.height, i.rows ? i.columns : x.width, dy, dx, images);
        break;
      case Code::UNSHUFFLE: unshuffle_back(team, i.rows, dy, dx, images); break;
      case Code::LINEAR:
        linear_back(team, state + i.kernel, x, dy, dx, gradient + i.kernel, gradient + i.bias, images);
        break;
      // A sum comes before the branch that feeds it here, so its gradient is written and the branch's added.
      case Code::BRANCH: copy(team, dy, dx, true, images); break;
      case Code::SUM:
        copy(team, dy, dx, false, images);
        copy(team, dy, map_of(job, job.gradients[i.other]), false, images);
        break;
    }
  }
}

PHASE void train(Team team, const Job& job, real* fast) {
  real* packed = job.packed ? job.packed : fast;
  const int last = job.instructions[job.instruction_count - 1].out;
  for (int64 step = 0; step < job.steps; step++) {
    place(team, job, step, map_of(job, job.maps[0]));
    for (int64 i = team.thread; i < job.parameter_count; i += team.threads) job.gradient[i] = 0;
    team.barrier();
    forward(team, job, job.done + step, packed);
    cross_entropy(team, job, step, map_of(job, job.maps[last]), map_of(job, job.gradients[last]), job.scratch);
    back(team, job, job.done + step, packed);
    learn(team, job, step);
  }
}

}  // namespace persistent
