// The kernel: each block of threads takes a job. Compiled by NVRTC (harness/engine/cuda_kernel.py).
#include "training.h"

// Half of the registers of a multiprocessor at 256 threads, so two blocks fit; all of them at 512.
extern "C" __global__ void __launch_bounds__(512) persistent_train(const persistent::Job* jobs) {
  extern __shared__ __align__(16) unsigned char fast[];
  const persistent::Team team{int(threadIdx.x), int(blockDim.x)};
  persistent::train(team, jobs[blockIdx.x], reinterpret_cast<persistent::real*>(fast));
}
