// The same training on a processor, for tests: threads of the host stand for those of a block.
#include <cstddef>
#include <cstdlib>
#include <thread>
#include <vector>

#include "training.h"

extern "C" {

// Trains one job after the other, each by so many threads. `fast_bytes` stands for a block's shared memory. Returns 0,
// or 1 where there is no memory.
int persistent_train(const persistent::Job* jobs, int count, int threads, size_t fast_bytes) {
  void* fast = std::aligned_alloc(64, (fast_bytes + 63) / 64 * 64 + 64);
  if (!fast) return 1;
  for (int job = 0; job < count; job++) {
    persistent::Meeting meeting(threads);
    std::vector<std::thread> team;
    for (int thread = 0; thread < threads; thread++)
      team.emplace_back([&, thread] {
        persistent::train({thread, threads, &meeting}, jobs[job], static_cast<persistent::real*>(fast));
      });
    for (std::thread& member : team) member.join();
  }
  std::free(fast);
  return 0;
}

}  // extern "C"
