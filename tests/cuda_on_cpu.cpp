// Runs CUDA kernels on the CPU: every thread of the grid is a fiber, run in turn up to its next barrier, or until it pauses
// for others. A seed shuffles the turns, lets threads miss some and makes blocks slower than others, so that a missing barrier shows
// as another result; shared memory starts as NaN; a block whose threads do not all come to a barrier, and threads that pause for ever,
// end the process.
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
struct Fiber { ucontext_t context; std::unique_ptr<char[]> stack; unsigned block, thread; bool done, waits; };
static Fiber* now;
static ucontext_t scheduler;
static void (*work)(void*);
static void* work_data;
static bool paused;
char* shared_memory;
void wait() { now->waits = true; swapcontext(&now->context, &scheduler); }
void pause() { paused = true; swapcontext(&now->context, &scheduler); }
void run(void (*body)(void*), void* data, dim3 blocks, unsigned block, size_t bytes, unsigned seed) {
  work = body; work_data = data; gridDim = blocks; blockDim = {block};
  const unsigned grid = blocks.x * blocks.y;
  const size_t room = (bytes + 127) / 64 * 64;
  std::unique_ptr<char, void (*)(void*)> shared((char*)aligned_alloc(64, grid * room), free);
  memset(shared.get(), 0xff, grid * room);  // NaN until written
  std::vector<Fiber> fibers(grid * block);
  std::vector<unsigned> order(grid * block);
  std::mt19937 random(seed);
  std::vector<unsigned> speed(grid, 4);  // of four turns, how many the threads of a block take
  if (seed) for (unsigned& each : speed) each = 1 + random() % 4;
  for (unsigned i = 0; i < order.size(); i++) {
    Fiber& f = fibers[order[i] = i];
    f.block = i / block; f.thread = i % block; f.done = f.waits = false;
    f.stack.reset(new char[65536]); getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get(); f.context.uc_stack.ss_size = 65536; f.context.uc_link = &scheduler;
    makecontext(&f.context, (void (*)())+[] { work(work_data); now->done = true; }, 0);
  }
  for (unsigned left = order.size(), in_vain = 0; left;) {  // a round: every thread up to its next barrier or pause
    if (seed) std::shuffle(order.begin(), order.end(), random);
    bool moved = false;
    for (unsigned i : order) {
      Fiber& f = fibers[i];
      if (f.done || f.waits || random() % 4 >= speed[f.block]) continue;
      now = &f; threadIdx = {f.thread}; blockIdx = {f.block % blocks.x, f.block / blocks.x};
      shared_memory = shared.get() + f.block * room;
      paused = false;
      swapcontext(&scheduler, &f.context);
      left -= f.done;
      moved |= !paused;
    }
    if ((in_vain = moved ? 0 : in_vain + 1) > 1000) { fprintf(stderr, "threads pause for ever\n"); abort(); }
    for (unsigned b = 0; b < grid; b++) {
      unsigned waiting = 0, done = 0;
      for (unsigned i = b * block; i < (b + 1) * block; i++) { waiting += fibers[i].waits; done += fibers[i].done; }
      if (waiting && waiting + done == block) {
        if (done) { fprintf(stderr, "block %u: %u of %u threads at a barrier\n", b, waiting, block); abort(); }
        for (unsigned i = b * block; i < (b + 1) * block; i++) fibers[i].waits = false;
      }
    }
  }
}
}  // namespace cpu
