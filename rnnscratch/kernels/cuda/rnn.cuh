// The vanilla recurrent network (Eqs 1, 6, 62): the equations of ../rnn.py for one unit.
#pragma once
#include "unit.cuh"
template <class T> struct Tanh {
  static __device__ T function(T z) { return tanh(z); }
  static __device__ T slope_from_output(T y) { return dtanh_from_output(y); }
};
template <class T> struct Relu {
  static __device__ T function(T z) { return z > T(0) || z != z ? z : T(0); }  // NaN stays NaN
  static __device__ T slope_from_output(T y) { return y > T(0) ? T(1) : T(0); }
};
template <class T> struct Sigmoid {
  static __device__ T function(T z) { return sigmoid(z); }
  static __device__ T slope_from_output(T y) { return dsigmoid_from_output(y); }
};

template <class T, template <class> class F> struct RNN : OneProduct<T, 1> {
  static constexpr int GATES = 1, WEIGHTS = 0;
  static constexpr bool HAS_C = false, KEEPS = false, KEEPS_GATES = false, APART = false;
  static __device__ T activate(int, T z) { return z; }
  static __device__ void step(T (&gates)[1], const Prev<T>&, New<T>& next, T&, const T*) {
    auto& [z] = gates;  // x W + h_prev U + b
    next.h = F<T>::function(z);  // Eq. 1, 62
  }
  static __device__ void step_back(const T (&)[1], const Prev<T>&, const New<T>& next, T, D<T>& d, T (&dz)[1], const T*) {
    dz[0] = d.h * F<T>::slope_from_output(next.h);  // one factor of the product in Eq. 6; U is the other
    d.h = T(0);  // h_prev is used in the product with U alone
  }
};
template <class T> using RNNTanh = RNN<T, Tanh>;
template <class T> using RNNRelu = RNN<T, Relu>;
template <class T> using RNNSigmoid = RNN<T, Sigmoid>;
