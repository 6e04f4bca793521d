// Both ends of a step: images in, with their moves; the loss; the optimizer and the average.
#pragma once
#include "program.h"

namespace persistent {

constexpr int EDGE = 28;

// A pixel of an image; outside is 0, the background.
DEVICE real pixel(const byte* image, int y, int x) {
  return 0 <= y && y < EDGE && 0 <= x && x < EDGE ? real(image[y * EDGE + x]) : real(0);
}

// A moved pixel, by bilinear interpolation as torch's grid_sample (align_corners=False). `move` maps output to input
// coordinates in units of half an edge.
DEVICE real sampled(const byte* image, const float* move, int row, int column) {
  const float base_x = (2 * column + 1) / float(EDGE) - 1, base_y = (2 * row + 1) / float(EDGE) - 1;
  const float half = EDGE / 2.0f;
  // One pixel more than torch's coordinates, so that rounding down is cutting off; what lies further out is background.
  const float x = (move[0] * base_x + move[1] * base_y + move[2] + 1) * half + 0.5f;
  const float y = (move[3] * base_x + move[4] * base_y + move[5] + 1) * half + 0.5f;
  if (!(0 <= x && x < EDGE + 1 && 0 <= y && y < EDGE + 1)) return 0;
  const int left = int(x), top = int(y);
  const real right = x - left, down = y - top;
  const real a = pixel(image, top - 1, left - 1), b = pixel(image, top - 1, left);
  const real c = pixel(image, top, left - 1), d = pixel(image, top, left);
  const real above = a + (b - a) * right, below = c + (d - c) * right;
  return above + (below - above) * down;
}

// Writes the images of a step into the first map, moved and normalised.
PHASE void place(Team team, const Job& job, int64 step, Map x) {
  const int images = int(job.batch);
  const real factor = real(1 / (255 * job.deviation)), offset = real(-job.mean / job.deviation);
  for (int item = team.thread; item < EDGE * images; item += team.threads) {
    const int image = item % images, row = item / images;
    const int64 at = step * images + image;
    const byte* own = job.pixels + job.order[at] * EDGE * EDGE;
    real* to = x.line(0, row) + image;
    for (int column = 0; column < EDGE; column++) {
      const real value = job.moves ? sampled(own, job.moves + at * 6, row, column) : real(own[row * EDGE + column]);
      to[column * images] = value * factor + offset;
    }
  }
}

// Adds the mean loss of a batch and writes the gradient of its logits.
PHASE void cross_entropy(Team team, const Job& job, int64 step, Map logits, Map d, real* scratch) {
  const int images = int(job.batch), classes = logits.channels;
  const real smoothing = real(job.smoothing);
  for (int image = team.thread; image < images; image += team.threads) {
    const int label = int(job.labels[job.order[step * images + image]]);
    real most = logits.line(0, 0)[image], sum = 0, all = 0;
    for (int c = 1; c < classes; c++) {
      const real value = logits.line(c, 0)[image];
      most = value > most ? value : most;
    }
    for (int c = 0; c < classes; c++) {
      const real shifted = logits.line(c, 0)[image] - most;
      all += shifted;
      sum += exp(shifted);
    }
    const real log_sum = log(sum), right = logits.line(label, 0)[image] - most - log_sum;
    scratch[image] = -((1 - smoothing) * right + smoothing * (all / classes - log_sum));
    for (int c = 0; c < classes; c++) {
      const real target = (c == label ? 1 - smoothing : real(0)) + smoothing / classes;
      d.line(c, 0)[image] = (exp(logits.line(c, 0)[image] - most) / sum - target) / images;
    }
  }
  team.barrier();
  fold(team, scratch, 1, images);
  if (team.thread == 0) *job.loss += double(scratch[0]) / images;
  team.barrier();
}

// What the optimizer does to one parameter, as torch.optim.SGD and torch.optim.Adam.
DEVICE void update(const Job& job, const StepRow& now, int64 i) {
  constexpr real SQUARES = real(0.999), TINY = real(1e-8);
  const real momentum = real(job.momentum), g = job.gradient[i] + job.decay[i] * job.state[i];
  if (job.adam) {
    job.first[i] += (1 - momentum) * (g - job.first[i]);
    job.second[i] = SQUARES * job.second[i] + (1 - SQUARES) * g * g;
    job.state[i] -= now.rate / now.first_scale * job.first[i] / (sqrt(job.second[i]) / now.second_scale + TINY);
    return;
  }
  job.first[i] = momentum * job.first[i] + g;
  job.state[i] -= now.rate * (job.nesterov ? g + momentum * job.first[i] : job.first[i]);
}

// Updates parameters, and the average of all that the state holds.
PHASE void learn(Team team, const Job& job, int64 step) {
  const StepRow now = job.schedule[step];
  for (int64 i = team.thread; i < job.state_size; i += team.threads) {
    if (i < job.parameter_count) update(job, now, i);
    if (!job.averages) continue;
    const real value = job.state[i];
    job.averaged[i] = now.share < 1 ? job.averaged[i] + now.share * (value - job.averaged[i]) : value;
  }
  team.barrier();
}

}  // namespace persistent
