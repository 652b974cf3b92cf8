// The LSTM with peepholes: the equations of ../peephole.py for one unit; i, f and o come to a step as z.
#pragma once
#include "unit.cuh"
template <class T> struct Peephole : OneProduct<T, 4> {
  static constexpr int GATES = 4, WEIGHTS = 3;
  static constexpr bool HAS_C = true, KEEPS = true, KEEPS_GATES = true, APART = false;
  static __device__ T activate(int gate, T z) { return gate < 3 ? z : tanh(z); }
  static __device__ void step(T (&gates)[4], const Prev<T>& prev, New<T>& next, T& tanh_c, const T* w) {
    auto& [i, f, o, g] = gates;
    const T P_i = w[0], P_f = w[1], P_o = w[2];
    i = sigmoid(i + P_i * prev.c);  // Eq. 29 with a peephole
    f = sigmoid(f + P_f * prev.c);  // Eq. 28 with a peephole
    next.c = f * prev.c + i * g;    // Eq. 31, 69
    o = sigmoid(o + P_o * next.c);  // Eq. 32 with a peephole
    tanh_c = tanh(next.c);          // in Eq. 33, 71
    next.h = o * tanh_c;            // Eq. 33, 71
  }
  static __device__ void step_back(const T (&gates)[4], const Prev<T>& prev, const New<T>&, T tanh_c, D<T>& d, T (&dz)[4], const T* w) {
    auto& [i, f, o, g] = gates;
    auto& [dz_i, dz_f, dz_o, dz_g] = dz;
    const T P_i = w[0], P_f = w[1], P_o = w[2];
    dz_o = d.h * tanh_c * dsigmoid_from_output(o);
    d.c += d.h * o * dtanh_from_output(tanh_c) + dz_o * P_o;  // c is used three times: by h, by o, and by the next step
    dz_i = d.c * g * dsigmoid_from_output(i);
    dz_f = d.c * prev.c * dsigmoid_from_output(f);
    dz_g = d.c * i * dtanh_from_output(g);
    d.c = d.c * f + dz_i * P_i + dz_f * P_f;  // c_prev is used by c (Eq. 31), by i and by f
    d.h = T(0);
  }
};
