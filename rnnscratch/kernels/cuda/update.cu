// One update of a parameter, or of the mean of a parameter, in one launch: the rules of rnnscratch/optimizers.py, for one of
// its numbers p and its gradient g.
// `slot` is the optimizer's state, in the order of its `slots`; `a` are the numbers that its `_twin` returns.
typedef SCALAR T;
typedef long long Int;

__device__ T scaled(T direction, T squares, T rate, T eps) { return rate * (direction / (sqrt(squares) + eps)); }

struct SGD {
  static __device__ void step(T& p, T g, T (&)[2], const T (&a)[7]) { p -= a[0] * g; }
};
struct Momentum {
  static __device__ void step(T& p, T g, T (&slot)[2], const T (&a)[7]) {
    const T rate = a[0], momentum = a[1];
    T& velocity = slot[0];
    velocity = momentum * velocity + g;
    p -= rate * velocity;
  }
};
struct Nesterov {
  static __device__ void step(T& p, T g, T (&slot)[2], const T (&a)[7]) {
    const T rate = a[0], momentum = a[1];
    T& velocity = slot[0];
    velocity = momentum * velocity + g;
    p -= rate * (g + momentum * velocity);
  }
};
struct Adagrad {
  static __device__ void step(T& p, T g, T (&slot)[2], const T (&a)[7]) {
    const T rate = a[0], eps = a[1];
    T& squares = slot[0];
    squares += g * g;
    p -= scaled(g, squares, rate, eps);
  }
};
struct RMSProp {
  static __device__ void step(T& p, T g, T (&slot)[2], const T (&a)[7]) {
    const T rate = a[0], eps = a[1], decay = a[2], rest = a[3];  // rest: 1 - decay
    T& squares = slot[0];
    squares = decay * squares + rest * (g * g);
    p -= scaled(g, squares, rate, eps);
  }
};
struct Adam {  // and AdamW
  static __device__ void step(T& p, T g, T (&slot)[2], const T (&a)[7]) {
    const T rate = a[0], eps = a[1], beta1 = a[2], beta2 = a[3], rest1 = a[4], rest2 = a[5], shrink = a[6];  // rest: 1 - beta
    T &mean = slot[0], &squares = slot[1];
    p *= shrink;
    mean = beta1 * mean + rest1 * g;
    squares = beta2 * squares + rest2 * (g * g);
    p -= scaled(mean, squares, rate, eps);
  }
};
struct Average {  // p: the mean, g: the parameter
  static __device__ void step(T& p, T g, T (&)[2], const T (&a)[7]) { p += a[0] * (g - p); }
};

extern "C" __global__ void update(T* param, const T* grad, T* slot0, T* slot1, double a0, double a1, double a2, double a3, double a4,
                                  double a5, double a6, Int size) {
  const T a[7] = {T(a0), T(a1), T(a2), T(a3), T(a4), T(a5), T(a6)};
  const Int k = (Int)blockIdx.x * blockDim.x + threadIdx.x;
  if (k >= size) return;
  T slot[2] = {slot0 ? slot0[k] : T(0), slot1 ? slot1[k] : T(0)};
  RULE::step(param[k], grad[k], slot, a);
  if (slot0) slot0[k] = slot[0];
  if (slot1) slot1[k] = slot[1];
}
