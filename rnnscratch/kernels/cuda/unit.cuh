// What a cell's step sees of one unit of one sequence. Names are those of ../sequence.py.
#pragma once
template <class T> struct Prev {  // before the step
  T h, c;
  T h_in;  // h, times the mask of recurrent dropout: what the products with U take
  T hU;    // the product that is not added to z: of the last gate, where that stands apart or is the cell's own
};
template <class T> struct New {  // after the step
  T h, c;
};
template <class T> struct D {  // gradients of the states: of those after the step, then of those before it
  T h, c;
  T h_in, hU;
};

template <class T> __device__ T square(T y) { return y * y; }
// sigmoid(z) = tanh(z/2)/2 + 1/2 or tanh(z): one tanh for both, so that a warp takes one way (Eqs 24, 26).
template <class T> __device__ T sigmoid_or_tanh(T z, bool sigmoid) {
  const T s = sigmoid ? T(0.5) : T(1);
  return s * tanh(s * z) + (T(1) - s);
}
template <class T> __device__ T sigmoid(T z) { return sigmoid_or_tanh(z, true); }
template <class T> __device__ T dsigmoid_from_output(T y) { return y - square(y); }  // Eq. 25
template <class T> __device__ T dtanh_from_output(T y) { return T(1) - square(y); }  // Eq. 27

// A cell whose products with U are all of h_in; the GRU with the reset gate before the product is not.
template <class T, int G> struct OneProduct {
  static constexpr bool OWN = false;
  static __device__ T own(const T (&)[G], const Prev<T>&) { return T(0); }
  static __device__ void own_back(const T (&)[G], const Prev<T>&, D<T>&, T (&)[G]) {}
};
