// One step of n sequences of a cell, and its reverse: a thread for each unit of each sequence. The products with U are
// cuBLAS's, between these kernels.
//
//   gates      (n, G*H)   forward: z = x W + b comes, the activated gates go
//   hU         (n, J*H)   forward: h_in U of the J gates whose product the loop takes; step_forward of a cell with a product
//                         of its own: that product (n, H)
//   h, c       (n, H)     states; _prev before, _new after the step; c is null in a cell without
//   h_in       (n, H)     h times the mask; h_prev itself where there is none
//   kept       (n, H)     what the cell keeps, or null where nothing is kept; mask (n, H) or null; weights (WEIGHTS, H), the cell's further ones
//   dh, dc     (n, H)     gradients of the states, but for the way through U, which is
//   through    (n, H)     dz U^T of the step that follows, not yet times the mask
//   dz         (n, G*H)   gradients of z; with APART the last gate's place has those of hU, and `aside` (n, H) its own
#include "gru.cuh"
#include "lstm.cuh"
#include "peephole.cuh"
#include "rnn.cuh"
typedef SCALAR T;
typedef CELL<T> Cell;
typedef long long Int;
static constexpr int G = Cell::GATES, LAST = G - 1, JOINT = G - Cell::OWN, ADDED = JOINT - Cell::APART;

extern "C" __global__ void step_forward(T* gates, const T* hU, const T* h_prev, const T* c_prev, const T* h_in, T* h_new, T* c_new,
                                T* kept, const T* mask, T* h_in_new, const T* weights, Int n, Int H) {
  const Int k = (Int)blockIdx.x * blockDim.x + threadIdx.x, row = k / H, unit = k % H;
  if (row >= n) return;
  T* z_row = gates + row * G * H + unit;
  const T* hU_row = hU + row * JOINT * H + unit;
  T z[G], w[Cell::WEIGHTS + 1], keep = T(0);
  for (int q = 0; q < G; q++) z[q] = z_row[q * H];
  for (int q = 0; q < Cell::WEIGHTS; q++) w[q] = weights[q * H + unit];
  if (!Cell::OWN) {  // else own_forward has done so
    for (int q = 0; q < ADDED; q++) z[q] += hU_row[q * H];
    for (int q = 0; q < G; q++) z[q] = Cell::activate(q, z[q]);
  }
  Prev<T> prev = {h_prev[k], Cell::HAS_C ? c_prev[k] : T(0), h_in[k], T(0)};
  if (Cell::APART) prev.hU = hU_row[LAST * H];
  if (Cell::OWN) prev.hU = hU[k];
  New<T> next;
  Cell::step(z, prev, next, keep, w);
  if (Cell::KEEPS_GATES) for (int q = 0; q < G; q++) z_row[q * H] = z[q];
  if (Cell::KEEPS && kept) kept[k] = keep;
  if (Cell::HAS_C) c_new[k] = next.c;
  h_new[k] = next.h;
  if (mask) h_in_new[k] = next.h * mask[k];
}

extern "C" __global__ void step_backward(const T* gates, const T* h_prev, const T* c_prev, const T* h_in, const T* h_new, const T* kept,
                                     const T* weights, const T* dhs, const T* mask, const T* through, T* dh, T* dc, T* dz,
                                     T* aside, Int n, Int H) {
  const Int k = (Int)blockIdx.x * blockDim.x + threadIdx.x, row = k / H, unit = k % H;
  if (row >= n) return;
  T y[G], dz_k[G], w[Cell::WEIGHTS + 1];
  for (int q = 0; q < G; q++) y[q] = Cell::KEEPS_GATES ? gates[(row * G + q) * H + unit] : T(0);
  for (int q = 0; q < Cell::WEIGHTS; q++) w[q] = weights[q * H + unit];
  const Prev<T> prev = {h_prev[k], Cell::HAS_C ? c_prev[k] : T(0), h_in[k], T(0)};
  const New<T> next = {h_new[k], T(0)};
  D<T> d = {dh[k] + (mask ? through[k] * mask[k] : through[k]) + (dhs ? dhs[k] : T(0)), Cell::HAS_C ? dc[k] : T(0), T(0), T(0)};
  Cell::step_back(y, prev, next, Cell::KEEPS ? kept[k] : T(0), d, dz_k, w);
  dh[k] = d.h;
  if (Cell::HAS_C) dc[k] = d.c;
  if (Cell::APART || Cell::OWN) aside[k] = dz_k[LAST];
  if (Cell::APART) dz_k[LAST] = d.hU;
  for (int q = Cell::OWN ? 1 : 0; q < G; q++) dz[(row * G + q) * H + unit] = dz_k[q];
}

// Of a cell that is OWN: its last gate's product is of something that depends on the other gates, and comes after theirs.
extern "C" __global__ void own_forward(T* gates, const T* hU, const T* h_in, T* into_U, Int n, Int H) {
  const Int k = (Int)blockIdx.x * blockDim.x + threadIdx.x, row = k / H, unit = k % H;
  if (row >= n) return;
  T z[G];
  for (int q = 0; q < JOINT; q++) {
    T& z_q = gates[(row * G + q) * H + unit];
    z_q = z[q] = Cell::activate(q, z_q + hU[(row * JOINT + q) * H + unit]);
  }
  z[LAST] = T(0);
  into_U[k] = Cell::own(z, {T(0), T(0), h_in[k], T(0)});
}

// dhU (n, H): the last gate's dz U^T. joint (n, J*H): dz of the other gates, in a place of their own for the product.
extern "C" __global__ void own_backward(const T* gates, const T* h_in, const T* dhU, const T* mask, T* dh, T* dz, T* joint, Int n, Int H) {
  const Int k = (Int)blockIdx.x * blockDim.x + threadIdx.x, row = k / H, unit = k % H;
  if (row >= n) return;
  T y[G], dz_k[G];
  for (int q = 0; q < G; q++) y[q] = gates[(row * G + q) * H + unit];
  D<T> d = {T(0), T(0), T(0), dhU[k]};
  Cell::own_back(y, {T(0), T(0), h_in[k], T(0)}, d, dz_k);
  dh[k] += mask ? d.h_in * mask[k] : d.h_in;
  dz[row * G * H + unit] = dz_k[0];
  joint[row * JOINT * H + unit] = dz_k[0];
  for (int q = 1; q < JOINT; q++) joint[(row * JOINT + q) * H + unit] = dz[(row * G + q) * H + unit];
}
