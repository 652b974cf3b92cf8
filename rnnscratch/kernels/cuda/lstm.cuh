// Long short-term memory (Eqs 28-33, 66-71): the equations of ../lstm.py for one unit.
#pragma once
#include "unit.cuh"
template <class T> struct LSTM : OneProduct<T, 4> {
  static constexpr int GATES = 4, WEIGHTS = 0;
  static constexpr bool HAS_C = true, KEEPS = true, KEEPS_GATES = true, APART = false;
  static __device__ T activate(int gate, T z) { return sigmoid_or_tanh(z, gate < 3); }
  static __device__ void step(T (&gates)[4], const Prev<T>& prev, New<T>& next, T& tanh_c, const T*) {
    auto& [i, f, o, g] = gates;  // sigmoid(z_i), sigmoid(z_f), sigmoid(z_o), tanh(z_g)  Eqs 29, 28, 32, 30; 67, 66, 70, 68
    next.c = f * prev.c + i * g;  // Eq. 31, 69
    tanh_c = tanh(next.c);        // in Eq. 33, 71
    next.h = o * tanh_c;          // Eq. 33, 71
  }
  static __device__ void step_back(const T (&gates)[4], const Prev<T>& prev, const New<T>&, T tanh_c, D<T>& d, T (&dz)[4], const T*) {
    auto& [i, f, o, g] = gates;
    auto& [dz_i, dz_f, dz_o, dz_g] = dz;
    d.c += d.h * o * dtanh_from_output(tanh_c);    // h = o tanh(c)  Eq. 33 through Eq. 27; c is used by the next c too
    dz_i = d.c * g * dsigmoid_from_output(i);      // c = f c_prev + i g  Eq. 31 through Eq. 25
    dz_f = d.c * prev.c * dsigmoid_from_output(f);
    dz_o = d.h * tanh_c * dsigmoid_from_output(o); // Eq. 33 through Eq. 25
    dz_g = d.c * i * dtanh_from_output(g);         // Eq. 31 through Eq. 27
    d.c *= f;                                      // Eq. 31: the direct path
    d.h = T(0);                                    // h_prev is used in the product with U alone
  }
};
