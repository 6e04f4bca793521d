// The limits of one core: multiply-adds of fp32 vectors a second, and bytes a second read from memory.
// Prints two numbers: GFLOP/s and GB/s. Compiled by measurements/throughput.py with the options of the engine.
#include <chrono>
#include <cstdio>
#include <vector>

#include "../harness/training/native/layout.h"

using namespace engine;

static double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int main() {
  // Enough independent sums to hide the latency of a multiply-add.
  constexpr int SUMS = ACCUMULATORS < 16 ? 10 : 16, STEPS = 4'000'000;
  V sums[SUMS], factor = splat(real(0.999)), term = splat(real(0.001));
#pragma GCC unroll 16
  for (int k = 0; k < SUMS; k++) sums[k] = splat(real(k));
  double best = 0;
  for (int round = 0; round < 5; round++) {
    const double began = seconds();
    for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 16
      for (int k = 0; k < SUMS; k++) sums[k] = sums[k] * factor + term;
    }
    const double speed = 2.0 * LANES * SUMS * STEPS / (seconds() - began) / 1e9;
    best = speed > best ? speed : best;
  }
  // Only wholly unrolled loops leave the sums in registers.
  V all{};
#pragma GCC unroll 16
  for (int k = 0; k < SUMS; k++) all += sums[k];

  // Four times the largest third-level cache of today's desktop machines.
  const size_t vectors = (size_t(512) << 20) / sizeof(V);
  V* memory = allocate(vectors);
  double widest = 0;
  for (int round = 0; round < 4; round++) {
    V totals[4] = {};
    const double began = seconds();
    for (size_t k = 0; k + 4 <= vectors; k += 4)
      for (int j = 0; j < 4; j++) totals[j] += memory[k + j];
    const double speed = vectors * sizeof(V) / (seconds() - began) / 1e9;
    widest = speed > widest ? speed : widest;
    for (int j = 0; j < 4; j++) all += totals[j];
  }
  std::printf("%.1f %.1f\n", best, widest);
  return sum(all) == real(-1);
}
