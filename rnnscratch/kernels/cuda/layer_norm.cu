// The layer-normalised LSTM: one step of n sequences and its reverse, and what it does with all inputs before and after
// (../layer_norm.py, under the same names). A mean and a variance are of all units of a row, so a block has one row: a
// thread takes every blockDim.x-th unit of it, and what the threads add up is added in one order, so results repeat bit
// for bit. The products with U are cuBLAS's, between these kernels.
//
//   xW         (n, 4H)       x W comes, N(x W) gx + b goes; inputs_backward: dz comes, the gradient of x W goes
//   gates      (n, 4H)       forward: z = N(x W) gx + b comes, the activated gates go
//   hU         (n, 4H)       h_in U
//   c          (n, H)        _prev before, _new after the step, as h
//   x_hat      (4, rows, H)  N(x W), gate by gate, from its first row of these; h_hat: N(h_in U)
//   c_hat      (n, H)        N(c);  tanh_a (n, H): tanh(N(c) gc + bc)
//   x_scale    (n,)          1 / sqrt(var + eps); so h_scale and c_scale. Hats, scales and tanh_a are null where nothing is kept
//   mask       (n, H)        or null; h_in_new (n, H), h_new times the mask
//   gx, gh     (4H,)         gains, gc (H,); biases b (4H,), bc (H,)
//   dhs        (n, H)        or null
//   dh, dc     (n, H)        gradients of the states, but for the way through U, which is
//   through    (n, H)        dhU U^T of the step that follows, not yet times the mask
//   dz         (n, 4H)       gradients of z;  dhU (n, 4H): of h_in U;  da (n, H): of a = N(c) gc + bc
//
// Shared memory has a number for each thread, whose count is a power of 2.
#include "unit.cuh"
typedef SCALAR T;
typedef long long Int;
static constexpr T EPS = T(1e-5);
static constexpr int G = 4;

// The sum of what each thread of the block has, for all of them.
__device__ T add_up(T mine) {
  extern __shared__ SCALAR shared[];
  const unsigned thread = threadIdx.x;
  __syncthreads();
  shared[thread] = mine;
  for (unsigned half = blockDim.x / 2; half; half /= 2) {
    __syncthreads();
    if (thread < half) shared[thread] += shared[thread + half];
  }
  __syncthreads();
  return shared[0];
}

// The mean of a(q, j) over units j < H and gates q < Q.
template <int Q, class A> __device__ T mean_of(Int H, A a) {
  T sum = T(0);
  for (Int j = threadIdx.x; j < H; j += blockDim.x)
    for (int q = 0; q < Q; q++) sum += a(q, j);
  return add_up(sum) * (T(1) / T(Q * H));
}

struct Norm {
  T mean, scale;
  __device__ T hat(T a) const { return (a - mean) * scale; }
};
template <int Q, class A> __device__ Norm normalize(Int H, A a) {
  const T mean = mean_of<Q>(H, a);
  const T variance = mean_of<Q>(H, [&](int q, Int j) { return square(a(q, j) - mean); });
  return {mean, T(1) / sqrt(variance + EPS)};
}

// The gradient of a, from that of hat: a moves its own entry, the mean and the variance of its row.
struct NormBack {
  T mean, along, scale;
  __device__ T da(T dhat, T hat) const { return (dhat - mean - hat * along) * scale; }
};
template <int Q, class A, class B> __device__ NormBack normalize_back(Int H, A dhat, B hat, T scale) {
  const T mean = mean_of<Q>(H, dhat);
  const T along = mean_of<Q>(H, [&](int q, Int j) { return dhat(q, j) * hat(q, j); });
  return {mean, along, scale};
}

extern "C" __global__ void inputs_forward(T* xW, T* x_hat, T* x_scale, const T* gx, const T* b, Int rows, Int H) {
  const Int row = blockIdx.x;
  xW += row * G * H;
  const Norm norm = normalize<G>(H, [&](int q, Int j) { return xW[q * H + j]; });
  for (Int j = threadIdx.x; j < H; j += blockDim.x)
    for (int q = 0; q < G; q++) {
      const T hat = norm.hat(xW[q * H + j]);
      if (x_hat) x_hat[(q * rows + row) * H + j] = hat;
      xW[q * H + j] = hat * gx[q * H + j] + b[q * H + j];
    }
  if (x_hat && threadIdx.x == 0) x_scale[row] = norm.scale;
}

extern "C" __global__ void inputs_backward(T* xW, const T* x_hat, const T* x_scale, const T* gx, Int rows, Int H) {
  const Int row = blockIdx.x;
  xW += row * G * H;
  x_hat += row * H;
  auto dx_hat = [&](int q, Int j) { return xW[q * H + j] * gx[q * H + j]; };
  auto hat = [&](int q, Int j) { return x_hat[q * rows * H + j]; };
  const NormBack back = normalize_back<G>(H, dx_hat, hat, x_scale[row]);
  for (Int j = threadIdx.x; j < H; j += blockDim.x)
    for (int q = 0; q < G; q++) xW[q * H + j] = back.da(dx_hat(q, j), hat(q, j));
}

extern "C" __global__ void step_forward(T* gates, const T* hU, const T* c_prev, T* h_new, T* c_new, T* h_hat, T* h_scale, T* c_hat,
                                        T* c_scale, T* tanh_a, const T* mask, T* h_in_new, const T* gh, const T* gc, const T* bc,
                                        Int rows, Int H) {
  const Int row = blockIdx.x;
  gates += row * G * H;
  hU += row * G * H;
  c_new += row * H;
  const Norm of_hU = normalize<G>(H, [&](int q, Int j) { return hU[q * H + j]; });
  for (Int j = threadIdx.x; j < H; j += blockDim.x) {
    T y[G];
    for (int q = 0; q < G; q++) {
      const T hat = of_hU.hat(hU[q * H + j]);
      if (h_hat) h_hat[(q * rows + row) * H + j] = hat;
      y[q] = sigmoid_or_tanh(gates[q * H + j] + hat * gh[q * H + j], q < 3);  // Eqs 29, 28, 32, 30
      gates[q * H + j] = y[q];
    }
    const T i = y[0], f = y[1], g = y[3];
    c_new[j] = f * c_prev[row * H + j] + i * g;  // Eq. 31, 69
  }
  const Norm of_c = normalize<1>(H, [&](int, Int j) { return c_new[j]; });
  for (Int j = threadIdx.x; j < H; j += blockDim.x) {
    const Int k = row * H + j;
    const T hat = of_c.hat(c_new[j]), tanh_a_j = tanh(hat * gc[j] + bc[j]);  // in Eq. 33, 71, of the normalised c
    const T h = gates[2 * H + j] * tanh_a_j;                                 // Eq. 33, 71
    if (h_hat) {
      c_hat[k] = hat;
      tanh_a[k] = tanh_a_j;
    }
    h_new[k] = h;
    if (mask) h_in_new[k] = h * mask[k];
  }
  if (h_hat && threadIdx.x == 0) {
    h_scale[row] = of_hU.scale;
    c_scale[row] = of_c.scale;
  }
}

extern "C" __global__ void step_backward(const T* gates, const T* c_prev, const T* h_hat, const T* h_scale, const T* c_hat,
                                         const T* c_scale, const T* tanh_a, const T* gh, const T* gc, const T* dhs, const T* mask,
                                         const T* through, T* dh, T* dc, T* dz, T* dhU, T* da, Int rows, Int H) {
  const Int row = blockIdx.x;
  gates += row * G * H;
  dz += row * G * H;
  dhU += row * G * H;
  h_hat += row * H;
  c_hat += row * H;
  da += row * H;
  for (Int j = threadIdx.x; j < H; j += blockDim.x) {
    const Int k = row * H + j;
    const T o = gates[2 * H + j], dh_j = dh[k] + (mask ? through[k] * mask[k] : through[k]) + (dhs ? dhs[k] : T(0));
    da[j] = dh_j * o * dtanh_from_output(tanh_a[k]);          // h = o tanh(a), a = N(c) gc + bc
    dz[2 * H + j] = dh_j * tanh_a[k] * dsigmoid_from_output(o);  // Eq. 33 through Eq. 25
    dh[k] = T(0);                                             // h_prev is used in the product with U alone
  }
  auto dc_hat = [&](int, Int j) { return da[j] * gc[j]; };
  const NormBack of_c = normalize_back<1>(H, dc_hat, [&](int, Int j) { return c_hat[j]; }, c_scale[row]);
  for (Int j = threadIdx.x; j < H; j += blockDim.x) {
    const Int k = row * H + j;
    const T i = gates[j], f = gates[H + j], g = gates[3 * H + j];
    const T dc_j = dc[k] + of_c.da(dc_hat(0, j), c_hat[j]);  // c is used twice: by h and by the next c
    dz[j] = dc_j * g * dsigmoid_from_output(i);              // c = f c_prev + i g  Eq. 31 through Eq. 25
    dz[H + j] = dc_j * c_prev[k] * dsigmoid_from_output(f);
    dz[3 * H + j] = dc_j * i * dtanh_from_output(g);         // Eq. 31 through Eq. 27
    dc[k] = dc_j * f;                                        // Eq. 31: the direct path
  }
  auto dh_hat = [&](int q, Int j) { return dz[q * H + j] * gh[q * H + j]; };
  auto hat = [&](int q, Int j) { return h_hat[q * rows * H + j]; };
  const NormBack of_hU = normalize_back<G>(H, dh_hat, hat, h_scale[row]);
  for (Int j = threadIdx.x; j < H; j += blockDim.x)
    for (int q = 0; q < G; q++) dhU[q * H + j] = of_hU.da(dh_hat(q, j), hat(q, j));
}
