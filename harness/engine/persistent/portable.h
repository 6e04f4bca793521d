// What the sources here need of CUDA or of the host: one text for both, so that what runs on a GPU is tested without one.
//
// A team of threads trains one network. Work is dealt out in loops `for (i = team.thread; i < n; i += team.threads)`, and
// nothing that an item computes depends on who takes it, so any number of threads gives the same bits.
#pragma once

#ifndef REAL
#define REAL float  // double in the builds whose gradients are compared with torch's
#endif

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define DEVICE __device__ __forceinline__
#define PHASE __device__ __noinline__  // each gets the registers that it needs, and no more
#else
#include <cmath>
#include <condition_variable>
#include <mutex>
#define DEVICE inline
#define PHASE inline
#endif

namespace persistent {

using real = REAL;
using byte = unsigned char;
using int64 = long long;
using uint64 = unsigned long long;

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

struct Team {
  int thread, threads;
  DEVICE void barrier() const { __syncthreads(); }
};

#else

using std::exp;
using std::log;
using std::sqrt;

// Lets nobody on before all have come.
struct Meeting {
  const int expected;
  int present = 0, round = 0;
  std::mutex mutex;
  std::condition_variable over;

  explicit Meeting(int threads) : expected(threads) {}

  void wait() {
    std::unique_lock<std::mutex> lock(mutex);
    const int mine = round;
    if (++present == expected) {
      present = 0;
      round++;
      over.notify_all();
    } else {
      over.wait(lock, [&] { return round != mine; });
    }
  }
};

struct Team {
  int thread, threads;
  Meeting* meeting;
  void barrier() const { meeting->wait(); }
};

#endif

DEVICE int least(int a, int b) { return a < b ? a : b; }
DEVICE int blocks_of(int count, int size) { return (count + size - 1) / size; }

}  // namespace persistent
