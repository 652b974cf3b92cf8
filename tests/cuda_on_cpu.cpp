// Runs CUDA kernels on the CPU: every thread of the grid is a fiber, run in turn up to its next barrier. A seed shuffles the
// turns, so that a missing barrier shows as another result; shared memory starts as NaN; a block whose threads do not all
// come to a barrier ends the process.
#include "cuda_on_cpu.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <algorithm>
#include <memory>
#include <random>
#include <vector>
dim3 threadIdx, blockIdx, blockDim, gridDim;
namespace cpu {
struct Fiber { ucontext_t context; std::unique_ptr<char[]> stack; unsigned block, thread; bool done; };
static Fiber* now;
static ucontext_t scheduler;
static void (*work)(void*);
static void* work_data;
char* shared_memory;
void wait() { swapcontext(&now->context, &scheduler); }
void run(void (*body)(void*), void* data, unsigned grid, unsigned block, size_t bytes, unsigned seed) {
  work = body; work_data = data; gridDim = {grid}; blockDim = {block};
  const size_t room = (bytes + 127) / 64 * 64;
  std::unique_ptr<char, void (*)(void*)> shared((char*)aligned_alloc(64, grid * room), free);
  memset(shared.get(), 0xff, grid * room);  // NaN until written
  std::vector<Fiber> fibers(grid * block);
  std::vector<unsigned> order(grid * block);
  std::mt19937 random(seed);
  for (unsigned i = 0; i < order.size(); i++) {
    Fiber& f = fibers[order[i] = i];
    f.block = i / block; f.thread = i % block; f.done = false;
    f.stack.reset(new char[65536]); getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get(); f.context.uc_stack.ss_size = 65536; f.context.uc_link = &scheduler;
    makecontext(&f.context, (void (*)())+[] { work(work_data); now->done = true; }, 0);
  }
  for (size_t left = order.size(); left;) {  // a round: every thread up to its next barrier
    if (seed) std::shuffle(order.begin(), order.end(), random);
    std::vector<unsigned> waiting(grid);
    for (unsigned i : order) {
      Fiber& f = fibers[i];
      if (f.done) continue;
      now = &f; threadIdx = {f.thread}; blockIdx = {f.block}; shared_memory = shared.get() + f.block * room;
      swapcontext(&scheduler, &f.context);
      if (f.done) left--; else waiting[f.block]++;
    }
    for (unsigned b = 0; b < grid; b++)
      if (waiting[b] && waiting[b] != block) { fprintf(stderr, "block %u: %u of %u threads at a barrier\n", b, waiting[b], block); abort(); }
  }
}
}  // namespace cpu
