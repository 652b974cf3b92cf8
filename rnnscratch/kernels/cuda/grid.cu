// All steps of a cell in one launch, and all in reverse, where U is too large for one multiprocessor: it is spread over all
// of them. Block (x, y) keeps the columns of UNITS units, of all gates, in shared memory throughout, and takes these units
// of the `sequences` sequences from y*sequences on. Blocks of one y, a group, need one another's h (backward: dz) at each
// step and wait for one another; groups do not. All blocks must run at once, or they would wait for ever: the launch is
// cooperative, which the driver refuses otherwise, and of no more blocks than multiprocessors, each of which has room for
// one. What one block writes and another reads, h, own and dz, has a wait of the group between; no two steps write to the
// same place, but for `own`, which two waits a step keep apart. Sums are added up in one order, so results repeat bit for bit.
//
// Buffers are those of sequence.cu, with the same arguments first; further
//   own        (B, H)      forward, OWN: r h_in
//   arrived    (groups, APART_BY)  zeros: how often the group's blocks have come to a wait
// dh and dc hold each step's gradients from step to step.
//
// A block takes R sequences at a time. In shared memory, rows padded with zeros to PADDED numbers, taken four at a time:
//   weights    (FOURS, COLUMNS, 4)  the block's columns of U
//   vector     (R, 1 or G, STRIDE)  forward: h_in, or own;  backward: dz of each gate
//   sums       (SPLIT, R, COLUMNS)  the products: a thread adds up every SPLIT-th four of 4 rows and 2 columns
#include "gru.cuh"
#include "lstm.cuh"
#include "peephole.cuh"
#include "rnn.cuh"
#include "rows.cuh"
typedef SCALAR T;
typedef CELL<T> Cell;
static constexpr int H = HIDDEN, G = Cell::GATES, LAST = G - 1, JOINT = G - Cell::OWN, ADDED = JOINT - Cell::APART;
static constexpr int COLUMNS = G * UNITS, HALF = COLUMNS / 2, FOURS = (H + 3) / 4, PADDED = 4 * FOURS;
static constexpr int STRIDE = PADDED + 4;  // else four rows would lie in the same banks
static constexpr int PASSES = Cell::OWN ? 2 : 1;  // products a step that must wait for one another
static constexpr int UNROLL = sizeof(T) == 4 ? 4 : 1;  // more, and registers spill in double
static constexpr int APART_BY = 32;  // so that groups do not wait in one line of the cache

// The blocks of one y.
struct Group {
  unsigned *arrived, awaited;
  __device__ void wait() {  // until all have come; what they wrote can be read then
    __syncthreads();
    if (threadIdx.x == 0) {
      awaited += gridDim.x;
      __threadfence();
      atomicAdd(arrived, 1u);
      while (*(volatile unsigned*)arrived < awaited) __nanosleep(20);
      __threadfence();
    }
    __syncthreads();
  }
};

// The products of R rows with this block's columns of U. VECTORS: one row for all gates, or one for each of G.
template <int R, int VECTORS> struct Product {
  static constexpr int TILES = HALF * (R / 4), MOST = THREADS / TILES, SPLIT = MOST < FOURS ? MOST : FOURS;
  const int column = threadIdx.x % HALF, row = threadIdx.x / HALF % (R / 4) * 4, part = threadIdx.x / TILES;
  const int gate = column / (UNITS / 2);
  T *weights, *vector, *sums;
  // Where column u of gate q is: a thread takes columns HALF apart, both of one gate.
  static __device__ int place(int q, int u) { return u / (UNITS / 2) * HALF + q * (UNITS / 2) + u % (UNITS / 2); }
  __device__ Product(const T* U, T* shared) : weights(shared), vector(shared + PADDED * COLUMNS), sums(vector + R * VECTORS * STRIDE) {
    for (int i = threadIdx.x; i < PADDED * COLUMNS; i += THREADS) {
      const int k = i / COLUMNS, q = i % COLUMNS / UNITS, u = i % UNITS, unit = blockIdx.x * UNITS + u;
      weights[(k / 4 * COLUMNS + place(q, u)) * 4 + k % 4] = k < H && unit < H ? U[(Int)k * G * H + q * H + unit] : T(0);
    }
  }
  // Rows `from` of H numbers each, of gates from `begin` to `end`; zeros for the rows r that do not run.
  template <class Runs> __device__ void fetch(const T* from, Runs runs, int begin = 0, int end = VECTORS) {
#pragma unroll H % 4 ? 1 : UNROLL
    for (int i = threadIdx.x; i < R * VECTORS * FOURS; i += THREADS) {
      const int at = i / FOURS, k = i % FOURS * 4, q = at % VECTORS;
      if (q < begin || q >= end) continue;
      Four<T> four = {};
      if (runs(at / VECTORS)) {
        if (H % 4 == 0) four = *(const Four<T>*)(from + (Int)at * H + k);
        else for (int a = 0; a < 4; a++) if (k + a < H) four.at[a] = from[(Int)at * H + k + a];
      }
      *(Four<T>*)(vector + at * STRIDE + k) = four;
    }
    __syncthreads();
  }
  __device__ void multiply(int begin, int end) {
    if (part < SPLIT && gate >= begin && gate < end) {
      const T* rows = vector + (row * VECTORS + (VECTORS > 1 ? gate : 0)) * STRIDE;
      T sum[4][2] = {};
#pragma unroll (UNROLL + 1) / 2
      for (int k = part; k < FOURS; k += SPLIT) {
        const Four<T>* columns = (const Four<T>*)weights + k * COLUMNS + column;
        const Four<T> first = columns[0], second = columns[HALF];
        for (int r = 0; r < 4; r++) {
          const Four<T> v = *(const Four<T>*)(rows + r * VECTORS * STRIDE + 4 * k);
          for (int a = 0; a < 4; a++) {
            sum[r][0] += v.at[a] * first.at[a];
            sum[r][1] += v.at[a] * second.at[a];
          }
        }
      }
      for (int r = 0; r < 4; r++)
        for (int i = 0; i < 2; i++) sums[(part * R + row + r) * COLUMNS + column + i * HALF] = sum[r][i];
    }
    __syncthreads();
  }
  __device__ T of(int r, int q, int u) const {
    T sum = T(0);
#pragma unroll UNROLL
    for (int i = 0; i < SPLIT; i++) sum += sums[(i * R + r) * COLUMNS + place(q, u)];
    return sum;
  }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1) grid_forward(
    T* gates, T* h, T* c, T* h_in, T* kept, const T* U, const T* mask, const T* further, const Int* first, const Int* lengths,
    Int T_, Int B, Int begin, Int end, Int backwards, Int keep, T* own, unsigned* arrived, Int sequences) {
  extern __shared__ SCALAR shared[];
  constexpr int R = ROWS_FORWARD;
  Product<R, 1> product(U, shared);
  const Rows rows = {first, lengths, T_, B};
  const int r = threadIdx.x / UNITS, u = threadIdx.x % UNITS, unit = blockIdx.x * UNITS + u;
  const bool mine = r < R && unit < H;
  const Int from = blockIdx.y * sequences, until = smaller(from + sequences, B);
  auto runs = [&](Int t, Int position) { return position < until && t < rows.length(position); };
  Group group = {arrived + blockIdx.y * APART_BY, 0};
  T w[Cell::WEIGHTS + 1];
  if (mine) for (int i = 0; i < Cell::WEIGHTS; i++) w[i] = further[i * H + unit];
  const Int last = smaller(rows.length(from), end);
  for (Int s = begin; s < last; s++) {
    const Int t = backwards ? last - 1 - (s - begin) : s;
    for (int pass = 0; pass < PASSES; pass++) {
      if (s > begin || pass) group.wait();
      for (Int at = from; runs(t, at); at += R) {
        const Int position = at + r, row = rows.packed(t, position), early = rows.slot(t, position), late = rows.slot(t + 1, position);
        const Int before = (backwards ? late : early) * H + unit, after = (backwards ? early : late) * H + unit;
        const bool running = mine && runs(t, position);
        T y[G], m = T(1);
        Prev<T> prev = {};
        if (running) {  // on its way while the product runs
          for (int i = 0; i < G; i++) y[i] = gates[(row * G + i) * H + unit];
          if (mask) m = mask[position * H + unit];
          prev.h = h[before];
          prev.h_in = h_in ? h_in[before] : prev.h;
          if (Cell::HAS_C) prev.c = c[before];
        }
        const T* vectors = pass ? own + at * H : (h_in ? h_in : h) + rows.slot(backwards ? t + 1 : t, at) * H;
        product.fetch(vectors, [&](int k) { return runs(t, at + k); });
        product.multiply(pass ? LAST : 0, pass ? G : JOINT);
        if (!running) continue;
        if (!pass) for (int i = 0; i < G; i++) y[i] = Cell::activate(i, i < ADDED ? y[i] + product.of(r, i, u) : y[i]);
        if (Cell::OWN && !pass) {
          own[position * H + unit] = Cell::own(y, prev);
          for (int i = 0; i < G; i++) gates[(row * G + i) * H + unit] = y[i];
          continue;
        }
        if (Cell::APART || Cell::OWN) prev.hU = product.of(r, LAST, u);
        New<T> next;
        T kept_t = T(0);
        Cell::step(y, prev, next, kept_t, w);
        if (Cell::KEEPS_GATES && keep) for (int i = 0; i < G; i++) gates[(row * G + i) * H + unit] = y[i];
        if (Cell::KEEPS && keep) kept[row * H + unit] = kept_t;
        h[after] = next.h;
        if (Cell::HAS_C) c[after] = next.c;
        if (h_in) h_in[after] = next.h * m;
      }
    }
  }
}

// Each step takes dz of the step before it, in the order of the way back, through U, and finds its own; after the last
// there is one product more.
extern "C" __global__ void __launch_bounds__(THREADS, 1) grid_backward(
    const T* gates, const T* h, const T* c, const T* h_in, const T* kept, const T* U, const T* mask, const T* further,
    const T* dhs, T* dh, T* dc, T* dz, T* aside, const Int* first, const Int* lengths, Int T_, Int B, Int begin, Int end,
    Int backwards, Int truncate, unsigned* arrived, Int sequences) {
  extern __shared__ SCALAR shared[];
  constexpr int R = ROWS_BACKWARD;
  Product<R, G> product(U, shared);
  const Rows rows = {first, lengths, T_, B};
  const int r = threadIdx.x / UNITS, u = threadIdx.x % UNITS, unit = blockIdx.x * UNITS + u;
  const bool mine = r < R && unit < H;
  const Int from = blockIdx.y * sequences, until = smaller(from + sequences, B);
  auto runs = [&](Int t, Int position) { return t >= begin && position < until && t < rows.length(position); };
  Group group = {arrived + blockIdx.y * APART_BY, 0};
  T w[Cell::WEIGHTS + 1];
  if (mine) for (int i = 0; i < Cell::WEIGHTS; i++) w[i] = further[i * H + unit];
  const Int last = smaller(rows.length(from), end), none = -1;
  auto time = [&](Int s) { return s < begin || s >= last ? none : backwards ? s : last - 1 - (s - begin); };
  for (Int s = begin; s <= last; s++) {
    const Int t = time(s), done = time(s - 1);
    for (int pass = 0; pass < (t == none ? 1 : PASSES); pass++) {
      if (s > begin || pass) group.wait();
      for (Int at = from; runs(t, at) || (!pass && runs(done, at)); at += R) {
        const Int position = at + r, row = rows.packed(t, position);
        const bool running = mine && runs(t, position), ran = mine && !pass && runs(done, position);
        T y[G], dz_t[G], m = T(1), keep = T(0), dh_t = T(0);
        D<T> d = {};
        Prev<T> prev = {};
        New<T> next = {};
        if (running || ran) {  // on its way while the product runs
          if (mask) m = mask[position * H + unit];
          d.h = dh[position * H + unit];
          if (Cell::HAS_C) d.c = dc[position * H + unit];
        }
        if (running) {
          const Int early = rows.slot(t, position), late = rows.slot(t + 1, position);
          const Int before = (backwards ? late : early) * H + unit, after = (backwards ? early : late) * H + unit;
          if (Cell::KEEPS_GATES) for (int i = 0; i < G; i++) y[i] = gates[(row * G + i) * H + unit];
          if (Cell::KEEPS) keep = kept[row * H + unit];
          if (Cell::HAS_C) prev.c = c[before];
          prev.h = h[before];
          prev.h_in = h_in ? h_in[row * H + unit] : prev.h;
          next.h = h[after];
          if (dhs) dh_t = dhs[row * H + unit];
        }
        if (pass || done != none) {
          const Int of = pass ? t : done;
          const int begins = pass ? LAST : 0, ends = pass ? G : JOINT;
          product.fetch(dz + rows.packed(of, at) * G * H, [&](int k) { return runs(of, at + k); }, begins, ends);
          product.multiply(begins, ends);
        }
        if (pass) {
          if (!running) continue;
          d.hU = product.of(r, LAST, u);
          Cell::own_back(y, prev, d, dz_t);
          dh[position * H + unit] = d.h + d.h_in * m;
          dz[row * G * H + unit] = dz_t[0];
          continue;
        }
        if (ran) {
          T through_U = T(0);
          for (int i = 0; i < JOINT; i++) through_U += product.of(r, i, u);
          d.h += through_U * m;
          const Int number = backwards ? rows.length(position) - 1 - done : done;  // of that step, as the sequence is read
          if (truncate && number > 0 && number % truncate == 0) d.h = d.c = T(0);
        }
        if (running) {
          d.h += dh_t;
          Cell::step_back(y, prev, next, keep, d, dz_t, w);
          if (Cell::APART) {
            aside[row * H + unit] = dz_t[LAST];
            dz_t[LAST] = d.hU;
          }
          for (int i = Cell::OWN ? 1 : 0; i < G; i++) dz[(row * G + i) * H + unit] = dz_t[i];
        }
        if (running || ran) {
          dh[position * H + unit] = d.h;
          if (Cell::HAS_C) dc[position * H + unit] = d.c;
        }
      }
    }
  }
}
