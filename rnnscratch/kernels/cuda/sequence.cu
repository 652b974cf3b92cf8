// All steps of a cell in one launch, and all in reverse. A block owns ROWS sequences and all their units for all steps, so
// blocks need not wait for each other; U lies in registers and shared memory throughout, and sums are added up in one
// order, so results repeat bit for bit. COLUMNS = G*H threads: thread (q, j) takes the products of column j of gate q;
// the first ROWS*H of them look after a unit of a sequence each, and hold its state.
//
// Rows as in ../packing.py: sequences are sorted by decreasing length, step t has packed rows first[t+1] - B + position,
// and states stand in slots, from first[t] + position before step t and from first[t+1] + position after it. Where `first`
// is null all sequences have T steps, and first[t] is t*B.
//
//   gates      (N, G*H)    forward: z = x W + b comes, the activated gates go
//   h, c       (B+N, H)    states in slots; c null in a cell without
//   h_in       (B+N, H)    h times the mask, in slots; backward: (N, H), before each step; null where there is no mask
//   kept       (N, H)      what the cell keeps; without `keep`, neither it nor the activated gates are written
//   U          (H, G*H)    forward; backward: U_q^T of each gate q, beside each other
//   mask       (B, H)      or null; weights (WEIGHTS, H), the cell's further ones
//   dhs        (N, H)      or null
//   dh, dc     (B, H)      gradients of the states: of those after the last step, then of those before the first
//   dz         (N, G*H)    gradients of z; with APART the last gate's place has those of hU, and `aside` (N, H) its own
//   order      T, B; the steps from `begin` to `end` are done, in reverse where `backwards`
//
// In shared memory, each row padded with zeros to PADDED numbers, which are taken four at a time:
//   weights    (IN_SHARED, COLUMNS)     rows of U that are not in registers; those that fit in neither come from global memory
//   vector     (ROWS, PADDED)           forward: h_in;  (ROWS, G, PADDED) backward: dz
//   own        (ROWS, PADDED)           forward, OWN: r h_in
//   product    (ROWS, COLUMNS)          forward: z, activated;  backward: dz_q U_q^T of each gate q
//   hU         (ROWS, H)                forward: the product that is not added
#include "gru.cuh"
#include "lstm.cuh"
#include "peephole.cuh"
#include "rnn.cuh"
#include "rows.cuh"
typedef SCALAR T;
typedef CELL<T> Cell;
static constexpr int H = HIDDEN, G = Cell::GATES, LAST = G - 1, JOINT = G - Cell::OWN, ADDED = JOINT - Cell::APART;
static constexpr int COLUMNS = G * H, PADDED = (H + 3) / 4 * 4;
static constexpr int UNROLL = sizeof(T) == 4 ? 4 : 1;  // more, and registers spill in double

// This thread's column of U, row by row.
struct Weights {
  T registers[IN_REGISTERS];
  const T *shared, *rest;
  __device__ Weights(const T* U, T* shared) : shared(shared), rest(U) {
#pragma unroll
    for (int k = 0; k < IN_REGISTERS; k++) registers[k] = row(k);
    for (int k = 0; k < IN_SHARED; k++) shared[k * COLUMNS + threadIdx.x] = row(IN_REGISTERS + k);
  }
  __device__ T row(int k) const { return k < H ? rest[k * COLUMNS + threadIdx.x] : T(0); }
};

// sums[r] = vector[r] . column, for all ROWS vectors, `stride` apart.
__device__ void multiply(const Weights& weights, const T* vector, int stride, T (&sums)[ROWS]) {
  Four<T> sum[ROWS] = {};
#pragma unroll
  for (int k = 0; k < IN_REGISTERS; k += 4)
    for (int r = 0; r < ROWS; r++) {
      const Four<T> v = *(const Four<T>*)(vector + r * stride + k);
      for (int a = 0; a < 4; a++) sum[r].at[a] += v.at[a] * weights.registers[k + a];
    }
#pragma unroll UNROLL
  for (int k = 0; k < IN_SHARED; k += 4)
    for (int r = 0; r < ROWS; r++) {
      const Four<T> v = *(const Four<T>*)(vector + r * stride + IN_REGISTERS + k);
      for (int a = 0; a < 4; a++) sum[r].at[a] += v.at[a] * weights.shared[(k + a) * COLUMNS + threadIdx.x];
    }
#pragma unroll 1
  for (int k = IN_REGISTERS + IN_SHARED; k < PADDED; k += 4)
    for (int r = 0; r < ROWS; r++)
      for (int a = 0; a < 4; a++) sum[r].at[a] += vector[r * stride + k + a] * weights.row(k + a);
  for (int r = 0; r < ROWS; r++) sums[r] = (sum[r].at[0] + sum[r].at[1]) + (sum[r].at[2] + sum[r].at[3]);
}

extern "C" __global__ void __launch_bounds__(COLUMNS) sequence_forward(
    T* gates, T* h, T* c, T* h_in, T* kept, const T* U, const T* mask, const T* further, const Int* first, const Int* lengths,
    Int T_, Int B, Int begin, Int end, Int backwards, Int keep) {
  extern __shared__ SCALAR shared[];
  T *vector = shared + IN_SHARED * COLUMNS, *own = vector + ROWS * PADDED, *product = own + (Cell::OWN ? ROWS * PADDED : 0);
  T* hU = product + ROWS * COLUMNS;
  const Weights weights(U, shared);
  const Rows rows = {first, lengths, T_, B};
  const int thread = threadIdx.x, q = thread / H, r = thread / H, unit = thread % H;  // (q, unit) and (r, unit)
  const Int block = (Int)blockIdx.x * ROWS, position = block + r;
  const Int length = r < ROWS ? smaller(rows.length(position), end) : 0;  // 0: this thread looks after no unit
  const bool mine = length > begin;
  for (int k = thread; k < ROWS * PADDED; k += COLUMNS) {
    vector[k] = T(0);
    if (Cell::OWN) own[k] = T(0);
  }
  __syncthreads();
  Prev<T> prev = {};
  T w[Cell::WEIGHTS + 1], m = T(1);
  for (int i = 0; i < Cell::WEIGHTS; i++) w[i] = further[i * H + unit];
  if (mine) {
    const Int at = rows.slot(backwards ? length : begin, position) * H + unit;
    if (mask) m = mask[position * H + unit];
    prev.h = h[at];
    if (Cell::HAS_C) prev.c = c[at];
    prev.h_in = vector[r * PADDED + unit] = prev.h * m;
  }
  __syncthreads();
  const Int last = smaller(rows.length(block), end);
  for (Int s = begin; s < last; s++) {
    const Int t = backwards ? last - 1 - (s - begin) : s;
    T z[ROWS], sums[ROWS];
    for (int k = 0; k < ROWS; k++)  // on its way while the product runs
      z[k] = t < rows.length(block + k) ? gates[rows.packed(t, block + k) * COLUMNS + thread] : T(0);
    if (q < JOINT) multiply(weights, vector, PADDED, sums);
    for (int k = 0; k < ROWS; k++) {
      if (q < ADDED) z[k] += sums[k];
      if (Cell::APART && q == LAST) hU[k * H + unit] = sums[k];
      product[k * COLUMNS + thread] = Cell::activate(q, z[k]);
    }
    __syncthreads();
    const bool running = mine && t < length;
    T y[G];
    if (running) for (int i = 0; i < G; i++) y[i] = product[r * COLUMNS + i * H + unit];
    if (Cell::OWN) {
      if (running) own[r * PADDED + unit] = Cell::own(y, prev);
      __syncthreads();
      if (q == LAST) {
        multiply(weights, own, PADDED, sums);
        for (int k = 0; k < ROWS; k++) hU[k * H + unit] = sums[k];
      }
      __syncthreads();
    }
    if (running) {
      const Int row = rows.packed(t, position), at = rows.slot(backwards ? t : t + 1, position) * H + unit;
      New<T> next;
      T kept_t = T(0);
      if (Cell::APART || Cell::OWN) prev.hU = hU[r * H + unit];
      Cell::step(y, prev, next, kept_t, w);
      if (Cell::KEEPS_GATES && keep) for (int i = 0; i < G; i++) gates[row * COLUMNS + i * H + unit] = y[i];
      if (Cell::KEEPS && keep) kept[row * H + unit] = kept_t;
      prev.h = h[at] = next.h;
      if (Cell::HAS_C) prev.c = c[at] = next.c;
      prev.h_in = vector[r * PADDED + unit] = next.h * m;
      if (h_in) h_in[at] = prev.h_in;
    }
    __syncthreads();
  }
}

extern "C" __global__ void __launch_bounds__(COLUMNS) sequence_backward(
    const T* gates, const T* h, const T* c, const T* h_in, const T* kept, const T* U, const T* mask, const T* further,
    const T* dhs, T* dh, T* dc, T* dz, T* aside, const Int* first, const Int* lengths, Int T_, Int B, Int begin, Int end,
    Int backwards, Int truncate) {
  extern __shared__ SCALAR shared[];
  T *vector = shared + IN_SHARED * COLUMNS, *product = vector + ROWS * G * PADDED;
  const Weights weights(U, shared);
  const Rows rows = {first, lengths, T_, B};
  const int thread = threadIdx.x, q = thread / H, r = thread / H, unit = thread % H;
  const Int block = (Int)blockIdx.x * ROWS, position = block + r;
  const Int whole = r < ROWS ? rows.length(position) : 0, length = smaller(whole, end);
  const bool mine = length > begin;
  for (int k = thread; k < ROWS * G * PADDED; k += COLUMNS) vector[k] = T(0);
  __syncthreads();
  T* dz_mine = vector + r * G * PADDED + unit;  // of gate q at q*PADDED
  D<T> d = {};
  T w[Cell::WEIGHTS + 1], m = T(1);
  for (int i = 0; i < Cell::WEIGHTS; i++) w[i] = further[i * H + unit];
  if (mine) {
    if (mask) m = mask[position * H + unit];
    d.h = dh[position * H + unit];
    if (Cell::HAS_C) d.c = dc[position * H + unit];
  }
  // What a step of this unit left behind.
  struct Past { T gates[G], keep, dh; Prev<T> prev; New<T> next; };
  auto recall = [&](Int t) {
    Past past = {};
    if (mine && t >= begin && t < length) {
      const Int row = rows.packed(t, position), early = rows.slot(t, position) * H + unit, late = rows.slot(t + 1, position) * H + unit;
      const Int before = backwards ? late : early;
      if (Cell::KEEPS_GATES) for (int i = 0; i < G; i++) past.gates[i] = gates[row * COLUMNS + i * H + unit];
      if (Cell::KEEPS) past.keep = kept[row * H + unit];
      if (Cell::HAS_C) past.prev.c = c[before];
      past.prev.h = h[before];
      past.prev.h_in = h_in ? h_in[row * H + unit] : past.prev.h;
      past.next.h = h[backwards ? early : late];
      if (dhs) past.dh = dhs[row * H + unit];
    }
    return past;
  };
  const Int last = smaller(rows.length(block), end);
  Past past = recall(backwards ? begin : last - 1);
  for (Int s = begin; s < last; s++) {
    const Int t = backwards ? s : last - 1 - (s - begin), row = rows.packed(t, position);
    const bool running = mine && t < length;
    T dz_t[G];
    if (running) {
      d.h += past.dh;
      Cell::step_back(past.gates, past.prev, past.next, past.keep, d, dz_t, w);
      if (Cell::APART) {
        aside[row * H + unit] = dz_t[LAST];
        dz_t[LAST] = d.hU;
      }
      for (int i = Cell::OWN ? 1 : 0; i < G; i++) dz[row * COLUMNS + i * H + unit] = dz_mine[i * PADDED] = dz_t[i];
    }
    T sums[ROWS];
    if (Cell::OWN) {
      __syncthreads();
      if (q == LAST) {
        multiply(weights, vector + q * PADDED, G * PADDED, sums);
        for (int k = 0; k < ROWS; k++) product[k * COLUMNS + thread] = sums[k];
      }
      __syncthreads();
      if (running) {
        d.hU = product[r * COLUMNS + LAST * H + unit];
        Cell::own_back(past.gates, past.prev, d, dz_t);
        d.h += d.h_in * m;
        dz[row * COLUMNS + unit] = dz_mine[0] = dz_t[0];
      }
    }
    past = recall(backwards ? t + 1 : t - 1);  // on its way while the product runs
    __syncthreads();
    if (q < JOINT) {
      multiply(weights, vector + q * PADDED, G * PADDED, sums);
      for (int k = 0; k < ROWS; k++) product[k * COLUMNS + thread] = sums[k];
    }
    __syncthreads();
    if (running) {
      T through_U = T(0);
      for (int i = 0; i < JOINT; i++) through_U += product[r * COLUMNS + i * H + unit];
      d.h += through_U * m;
      const Int number = backwards ? whole - 1 - t : t;  // of this step, as the sequence is read
      if (truncate && number > 0 && number % truncate == 0) d.h = d.c = T(0);
    }
  }
  if (mine) {
    dh[position * H + unit] = d.h;
    if (Cell::HAS_C) dc[position * H + unit] = d.c;
  }
}
