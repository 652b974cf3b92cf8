// The gated recurrent unit (Eqs 34-37, 75-78): the equations of ../gru.py for one unit, with the reset gate before or
// after the product with U_n.
#pragma once
#include "unit.cuh"
template <class T> struct GRUBefore {
  static constexpr int GATES = 3, WEIGHTS = 0;
  static constexpr bool HAS_C = false, KEEPS = false, KEEPS_GATES = true, APART = false, OWN = true;
  static __device__ T activate(int gate, T z) { return gate < 2 ? sigmoid(z) : z; }
  static __device__ T own(const T (&gates)[3], const Prev<T>& prev) { return gates[0] * prev.h_in; }  // for prev.hU
  static __device__ void step(T (&gates)[3], const Prev<T>& prev, New<T>& next, T&, const T*) {
    auto& [r, z, n] = gates;             // r = sigmoid(z_r), z = sigmoid(z_z)  Eqs 35, 34; 75, 76
    n = tanh(n + prev.hU);               // hU: (r h_prev) U_n  Eq. 36, 77
    next.h = z * prev.h + (T(1) - z) * n;  // Eq. 78 (Eq. 37 with z and 1 - z exchanged)
  }
  static __device__ void step_back(const T (&gates)[3], const Prev<T>& prev, const New<T>&, T, D<T>& d, T (&dz)[3], const T*) {
    auto& [r, z, n] = gates;
    dz[1] = d.h * (prev.h - n) * dsigmoid_from_output(z);  // h = z h_prev + (1 - z) n  Eq. 78 through Eq. 25
    dz[2] = d.h * (T(1) - z) * dtanh_from_output(n);       // Eq. 78 through Eq. 27
    d.h *= z;                                              // Eq. 78: the direct path
  }
  static __device__ void own_back(const T (&gates)[3], const Prev<T>& prev, D<T>& d, T (&dz)[3]) {
    auto& [r, z, n] = gates;
    dz[0] = d.hU * prev.h_in * dsigmoid_from_output(r);  // hU: r h_prev, given dz_n U_n  Eq. 77 through Eq. 25
    d.h_in = d.hU * r;
  }
};

template <class T> struct GRUAfter : OneProduct<T, 3> {
  static constexpr int GATES = 3, WEIGHTS = 1;
  static constexpr bool HAS_C = false, KEEPS = true, KEEPS_GATES = true, APART = true;
  static __device__ T activate(int gate, T z) { return gate < 2 ? sigmoid(z) : z; }
  static __device__ void step(T (&gates)[3], const Prev<T>& prev, New<T>& next, T& hn, const T* w) {
    auto& [r, z, n] = gates;             // r = sigmoid(z_r), z = sigmoid(z_z)  Eqs 35, 34; 75, 76
    hn = prev.hU + w[0];                 // hU: h_prev U_n; w: bn
    n = tanh(n + r * hn);                // Eq. 36, 77, with r after the product
    next.h = z * prev.h + (T(1) - z) * n;  // Eq. 78
  }
  static __device__ void step_back(const T (&gates)[3], const Prev<T>& prev, const New<T>&, T hn, D<T>& d, T (&dz)[3], const T*) {
    auto& [r, z, n] = gates;
    dz[1] = d.h * (prev.h - n) * dsigmoid_from_output(z);  // h = z h_prev + (1 - z) n  Eq. 78 through Eq. 25
    dz[2] = d.h * (T(1) - z) * dtanh_from_output(n);       // Eq. 78 through Eq. 27
    d.h *= z;                                              // Eq. 78: the direct path
    dz[0] = dz[2] * hn * dsigmoid_from_output(r);          // the product r hn, through Eq. 25
    d.hU = dz[2] * r;                                      // the product r hn, and hn = h_prev U_n + bn
  }
};
