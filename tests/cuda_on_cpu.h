// CUDA's words for g++: kernels on the CPU, for tests. cuda_on_cpu.cpp runs them, cuda_shim.py compiles them.
#pragma once
#include <math.h>
#include <stddef.h>
#include <utility>
#define __global__
#define __device__
#define __launch_bounds__(...)
struct dim3 { unsigned x = 1, y = 1, z = 1; };
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
namespace cpu {
extern char* shared_memory;  // of the block whose thread runs now
void wait();                 // for the other threads of the block
void pause();                // lets other threads go on
// body(data) once for each thread, in an order that `seed` draws; 0: in their own
void run(void (*body)(void*), void* data, dim3 grid, unsigned block, size_t bytes, unsigned seed);
template <class... A, size_t... I> void call(void (*kernel)(A...), void** p, std::index_sequence<I...>) { kernel(*(A*)p[I]...); }
template <class... A> void launch(void (*kernel)(A...), void** p, dim3 grid, unsigned block, size_t bytes, unsigned seed) {
  struct Data { void (*kernel)(A...); void** p; } data = {kernel, p};
  auto body = [](void* d) { call(((Data*)d)->kernel, ((Data*)d)->p, std::index_sequence_for<A...>()); };
  run(body, &data, grid, block, bytes, seed);
}
}  // namespace cpu
static inline void __syncthreads() { cpu::wait(); }
static inline void __threadfence() {}
static inline void __nanosleep(unsigned) { cpu::pause(); }
static inline unsigned atomicAdd(unsigned* at, unsigned value) { *at += value; return *at - value; }
