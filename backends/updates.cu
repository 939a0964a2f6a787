// The in-place updates of all optimizers on CUDA, one launch for many tensors.
//
// Each update is written once, per family, for every storage type and for the parts of
// a tensor that can be read 16 bytes at a time as well as for those that cannot. The
// sequence of operations is that of `_updates.py`; compiled with --fmad=false it gives
// the same bits. `_cuda_updates.py` is the host's side and mirrors the structs.
//
// There is no #include: NVRTC then needs no headers, and a C++ compiler can build the
// file for the host, where the tests compare it with NumPy.

#ifndef SPACE
#define SPACE 4096  // bytes for the parameters of a kernel
#endif

typedef long long i64;

constexpr int THREADS = 256;

// What the host passes ---------------------------------------------------------------

enum Flag {
  MAXIMIZE = 1,
  L1 = 2,
  WEIGHT_DECAY = 4,
  DECOUPLED = 8,
  MOMENTUM = 16,
  NESTEROV = 32,
  TORCH = 64,
  PROXIMAL = 128,
  AMSGRAD = 256,
  CENTERED = 512
};

template <class T>
struct Coefficients {
  T lr, weight_decay, alpha, decay, threshold, momentum, gain;
  T beta1, rest1, beta2, rest2, eps, lr_decay;
};

struct Update {
  Coefficients<double> coefficients;
  i64 flags;
};

// An update in device memory, where a captured graph sees a new learning rate. It is
// read where it is needed, which costs less than registers that hold all of it.
struct Hyper {
  Coefficients<double> wide;
  Coefficients<float> narrow;
  int flags;
};

__device__ __forceinline__ const Coefficients<double>& coefficients(const Hyper& h,
                                                                    double) {
  return h.wide;
}

__device__ __forceinline__ const Coefficients<float>& coefficients(const Hyper& h,
                                                                   float) {
  return h.narrow;
}

// The two numbers in which one step of a tensor differs from others.
struct Rates {
  double first, second;
};

enum Kind { VALUE, BOOL, FLOAT, DOUBLE };

// A number that the host knows, or one in device memory, which it never reads.
struct Scalar {
  double value;
  void* at;
  i64 kind;
};

// Tensors of one launch, passed by value: there is no upload that could come late.
template <int POINTERS>
struct Table {
  static constexpr int CAPACITY = (SPACE - 160) / (8 * POINTERS + 20);
  void* at[POINTERS][CAPACITY];  // gradient, parameter, states, master
  i64 size[CAPACITY];
  int tile[CAPACITY + 1];  // the first tile of each tensor, and the number of all
  int index[CAPACITY];     // in the batch, for its rates and its count
  int group[CAPACITY];
  int count;
};

// What else all launches of a step share.
struct Step {
  const Hyper* hypers;
  Rates* rates;
  i64* steps;
  i64 advanced;  // whether an earlier kernel of this step has counted
  Scalar grad_scale, clip, found_inf;
};

__device__ __forceinline__ double read(const Scalar& scalar) {
  switch (scalar.kind) {
    case BOOL: return *(const unsigned char*)scalar.at;
    case FLOAT: return *(const float*)scalar.at;
    case DOUBLE: return *(const double*)scalar.at;
  }
  return scalar.value;
}

__device__ __forceinline__ void write(const Scalar& scalar, double value) {
  if (scalar.kind == FLOAT)
    *(float*)scalar.at = (float)value;
  else
    *(double*)scalar.at = value;
}

// Storage types ----------------------------------------------------------------------

struct half {
  unsigned short bits;
};

struct bfloat16 {
  unsigned short bits;
};

__device__ __forceinline__ float widen(float x) { return x; }

__device__ __forceinline__ double widen(double x) { return x; }

__device__ __forceinline__ float widen(bfloat16 x) {
  return __uint_as_float((unsigned)x.bits << 16);
}

__device__ __forceinline__ float widen(half x) {
  const unsigned sign = (x.bits & 0x8000u) << 16, magnitude = (x.bits & 0x7fffu) << 13;
  float y;
  if (magnitude >= 0x0f800000u)  // infinity or NaN: the largest exponent in float too
    y = __uint_as_float(magnitude | 0x7f800000u);
  else if (magnitude >= 0x00800000u)  // normal: the exponents' biases differ by 112
    y = __uint_as_float(magnitude + (112u << 23));
  else  // subnormal: multiples of 2**-24, made beside 2**-14 and brought down by it
    y = __uint_as_float(magnitude + (113u << 23)) - __uint_as_float(113u << 23);
  return __uint_as_float(__float_as_uint(y) | sign);
}

__device__ __forceinline__ void narrow(float x, float& y) { y = x; }

__device__ __forceinline__ void narrow(double x, double& y) { y = x; }

// To the nearest, ties to even, and NaNs stay NaNs.
__device__ __forceinline__ void narrow(float x, bfloat16& y) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    y.bits = (unsigned short)(bits >> 16 | 0x40u);
  else
    y.bits = (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

__device__ __forceinline__ void narrow(float x, half& y) {
  const unsigned bits = __float_as_uint(x), magnitude = bits & 0x7fffffffu;
  unsigned rounded;
  if (magnitude > 0x7f800000u)
    rounded = 0x7e00u;
  else if (magnitude >= 0x47800000u)  // 2**16 and more
    rounded = 0x7c00u;
  else if (magnitude >= 0x38800000u)  // 2**-14 and more: normal, or rounded up to inf
    rounded = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  else  // subnormal: the last place of numbers from 0.5 to 1 is 2**-24
    rounded = __float_as_uint(__uint_as_float(magnitude) + 0.5f) - 0x3f000000u;
  y.bits = (unsigned short)(rounded | (bits >> 16 & 0x8000u));
}

// The type in which a storage type is updated, and that of its states.
template <class S>
using Wide = decltype(widen(S()));

template <class S>
constexpr bool IS_NARROW = sizeof(S) == 2;

// Elements that a block takes at a time, 8 KiB of the wide type.
template <class S>
constexpr int TILE = 8192 / sizeof(Wide<S>);

// Arithmetic -------------------------------------------------------------------------

// Elements that are loaded and stored together. The formulas are written for packs, so
// that a variant is decided on once for all elements of one.
template <class T, int N>
struct __align__(sizeof(T) * N) Pack {
  T x[N];
};

#define OPERATOR(op)                                                                 \
  template <class T, int N>                                                          \
  __device__ __forceinline__ Pack<T, N> operator op(Pack<T, N> a, Pack<T, N> b) {    \
    _Pragma("unroll") for (int i = 0; i < N; ++i) a.x[i] = a.x[i] op b.x[i];         \
    return a;                                                                        \
  }                                                                                  \
  template <class T, int N>                                                          \
  __device__ __forceinline__ Pack<T, N> operator op(Pack<T, N> a, T b) {             \
    _Pragma("unroll") for (int i = 0; i < N; ++i) a.x[i] = a.x[i] op b;              \
    return a;                                                                        \
  }

OPERATOR(+)
OPERATOR(-)
OPERATOR(*)
OPERATOR(/)

__device__ __forceinline__ float root(float x) { return sqrtf(x); }

__device__ __forceinline__ double root(double x) { return sqrt(x); }

template <class T, int N>
__device__ __forceinline__ Pack<T, N> root(Pack<T, N> a) {
#pragma unroll
  for (int i = 0; i < N; ++i) a.x[i] = root(a.x[i]);
  return a;
}

template <class T, int N>
__device__ __forceinline__ Pack<T, N> operator-(Pack<T, N> a) {
#pragma unroll
  for (int i = 0; i < N; ++i) a.x[i] = -a.x[i];
  return a;
}

template <class T, int N>
__device__ __forceinline__ Pack<T, N> sign(Pack<T, N> a) {
#pragma unroll
  for (int i = 0; i < N; ++i)
    a.x[i] = a.x[i] > 0 ? T(1) : a.x[i] < 0 ? T(-1) : a.x[i] == 0 ? T(0) : a.x[i];
  return a;
}

template <class T, int N>
__device__ __forceinline__ Pack<T, N> clamp(Pack<T, N> a, T bound) {
#pragma unroll
  for (int i = 0; i < N; ++i)
    a.x[i] = a.x[i] > bound ? bound : a.x[i] < -bound ? -bound : a.x[i];
  return a;
}

template <class T, int N>
__device__ __forceinline__ Pack<T, N> larger(Pack<T, N> a, Pack<T, N> b) {
#pragma unroll
  for (int i = 0; i < N; ++i)
    a.x[i] = a.x[i] >= b.x[i] || a.x[i] != a.x[i] ? a.x[i] : b.x[i];
  return a;
}

template <class S, int N>
__device__ __forceinline__ Pack<Wide<S>, N> widen(Pack<S, N> a) {
  Pack<Wide<S>, N> wide;
#pragma unroll
  for (int i = 0; i < N; ++i) wide.x[i] = widen(a.x[i]);
  return wide;
}

template <class S, int N>
__device__ __forceinline__ Pack<S, N> narrow(Pack<Wide<S>, N> a) {
  Pack<S, N> out;
#pragma unroll
  for (int i = 0; i < N; ++i) narrow(a.x[i], out.x[i]);
  return out;
}

// A natural power by repeated squaring, the same sequence of roundings everywhere.
__device__ __forceinline__ double power(double base, i64 exponent) {
  double result = 1.0;
  for (; exponent; exponent >>= 1) {
    if (exponent & 1) result = result * base;
    base = base * base;
  }
  return result;
}

// The families -----------------------------------------------------------------------

// What belongs to one step of one tensor, rounded to the type of the arithmetic.
template <class T>
struct Now {
  T scale, clip;
  const Rates& rates;
};

// The regularized gradient; decoupled weight decay shrinks the parameter here.
template <class T, class V>
__device__ __forceinline__ V direction(V& p, V g, int flags, const Coefficients<T>& c,
                                       const Now<T>& now) {
  if (now.scale != 1) g = g / now.scale;
  if (now.clip != 1) g = g * now.clip;
  if (flags & MAXIMIZE) g = -g;
  if (flags & L1) g = g + sign(p) * c.alpha;
  if (flags & DECOUPLED)
    p = p * c.decay;
  else if (flags & WEIGHT_DECAY)
    g = g + p * c.weight_decay;
  return g;
}

template <class T, class V>
__device__ __forceinline__ V mean(V average, V value, T beta, T rest) {
  return average * beta + value * rest;
}

// Each has its states, of which the first REQUIRED are always there, and the BYTES of a
// state that a thread takes at once: 16 unless the formula leaves too few registers.

struct Sgd {
  static constexpr int STATES = 1, REQUIRED = 0;  // momentum_buffer
  template <class S>
  static constexpr int BYTES = 16;

  static __device__ __forceinline__ Rates rates(const Coefficients<double>&, i64 step) {
    return {step == 1 ? 1.0 : 0.0, 0.0};
  }

  template <class T, class V>
  static __device__ __forceinline__ void update(V& p, V g, V* s, int flags,
                                                const Coefficients<T>& c,
                                                const Now<T>& now) {
    V& v = s[0];
    if (flags & PROXIMAL) {
      V q;
      if (flags & MOMENTUM) {
        v = v * c.momentum - g * c.lr;
        q = p + v;
      } else {
        q = p - g * c.lr;
      }
      q = q - clamp(q, c.threshold);
      v = q - p;
      p = q;
    } else if (!(flags & MOMENTUM)) {
      p = p - g * c.lr;
    } else if (!(flags & TORCH)) {
      v = v * c.momentum - g * c.gain;
      p = p + (flags & NESTEROV ? v * c.momentum - g * c.lr : v);
    } else {
      v = (T)now.rates.first != 0 ? g : v * c.momentum + g * c.gain;
      p = p - (flags & NESTEROV ? g + v * c.momentum : v) * c.lr;
    }
  }
};

struct Adam {
  // exp_avg, exp_avg_sq, max_exp_avg_sq
  static constexpr int STATES = 3, REQUIRED = 2;
  template <class S>
  static constexpr int BYTES = sizeof(S) == 4 ? 16 : 8;

  static __device__ __forceinline__ Rates rates(const Coefficients<double>& c,
                                                i64 step) {
    return {c.lr / (1.0 - power(c.beta1, step)), sqrt(1.0 - power(c.beta2, step))};
  }

  template <class T, class V>
  static __device__ __forceinline__ void update(V& p, V g, V* s, int flags,
                                                const Coefficients<T>& c,
                                                const Now<T>& now) {
    s[0] = mean(s[0], g, c.beta1, c.rest1);
    s[1] = mean(s[1], g * g, c.beta2, c.rest2);
    if (flags & AMSGRAD) s[2] = larger(s[2], s[1]);
    const V square = flags & AMSGRAD ? s[2] : s[1];
    p = p - s[0] / (root(square) / (T)now.rates.second + c.eps) * (T)now.rates.first;
  }
};

struct Rmsprop {
  // square_avg, momentum_buffer, grad_avg
  static constexpr int STATES = 3, REQUIRED = 1;
  template <class S>
  static constexpr int BYTES = 8;

  template <class T, class V>
  static __device__ __forceinline__ void update(V& p, V g, V* s, int flags,
                                                const Coefficients<T>& c,
                                                const Now<T>& now) {
    s[0] = mean(s[0], g * g, c.beta2, c.rest2);
    V square = s[0];
    if (flags & CENTERED) {
      s[2] = mean(s[2], g, c.beta2, c.rest2);
      square = square - s[2] * s[2];
    }
    V d = g / (root(square) + c.eps);
    if (flags & MOMENTUM) {
      s[1] = s[1] * c.momentum + d;
      d = s[1];
    }
    p = p - d * c.lr;
  }
};

struct Adagrad {
  static constexpr int STATES = 1, REQUIRED = 1;  // sum
  template <class S>
  static constexpr int BYTES = 16;

  static __device__ __forceinline__ Rates rates(const Coefficients<double>& c,
                                                i64 step) {
    return {c.lr / (1.0 + (double)(step - 1) * c.lr_decay), 0.0};
  }

  template <class T, class V>
  static __device__ __forceinline__ void update(V& p, V g, V* s, int flags,
                                                const Coefficients<T>& c,
                                                const Now<T>& now) {
    s[0] = s[0] + g * g;
    p = p - g / (root(s[0]) + c.eps) * (T)now.rates.first;
  }
};

// The way through a table ------------------------------------------------------------

// Call `body(tensor, begin, end)` for what this block has to do. Each block has equally
// many tiles in a row; `begin` is at the start of one.
template <int TILE, class Tensors, class Body>
__device__ __forceinline__ void each_part(const Tensors& table, const Body& body) {
  const i64 tiles = table.tile[table.count];
  i64 tile = tiles * blockIdx.x / gridDim.x;
  const i64 stop = tiles * (blockIdx.x + 1) / gridDim.x;
  int k = 0;  // the last tensor whose first tile is not after `tile`
  for (int high = table.count; high - k > 1;) {
    const int middle = (k + high) / 2;
    if (table.tile[middle] <= tile)
      k = middle;
    else
      high = middle;
  }
  for (; tile < stop; tile = table.tile[++k]) {
    const i64 last = stop < table.tile[k + 1] ? stop : table.tile[k + 1];
    const i64 begin = (tile - table.tile[k]) * TILE;
    const i64 end = (last - table.tile[k]) * TILE;
    body(k, begin, end < table.size[k] ? end : table.size[k]);
  }
}

// The arrays of one tensor; null where there is none.
template <class Family, class S>
struct Arrays {
  using T = Wide<S>;
  static constexpr int POINTERS = 2 + Family::STATES + IS_NARROW<S>;
  const S* g;
  S* p;
  T* states[Family::STATES];
  T* master;

  __device__ __forceinline__ Arrays(const Table<POINTERS>& table, int k)
      : g((const S*)table.at[0][k]), p((S*)table.at[1][k]), master(nullptr) {
#pragma unroll
    for (int i = 0; i < Family::STATES; ++i) states[i] = (T*)table.at[2 + i][k];
    if constexpr (IS_NARROW<S>) master = (T*)table.at[POINTERS - 1][k];
  }

  __device__ __forceinline__ bool aligned() const {
    unsigned long long places = (unsigned long long)g | (unsigned long long)p;
#pragma unroll
    for (int i = 0; i < Family::STATES; ++i) places |= (unsigned long long)states[i];
    return ((places | (unsigned long long)master) & 15) == 0;
  }
};

template <int N, class T>
__device__ __forceinline__ Pack<T, N> load(const T* at) {
  return *(const Pack<T, N>*)at;
}

template <int N, class T>
__device__ __forceinline__ void store(T* at, const Pack<T, N>& pack) {
  *(Pack<T, N>*)at = pack;
}

// Update N elements from the i-th on; all loads come before the first store.
template <int N, class Family, class S>
__device__ __forceinline__ void update(const Arrays<Family, S>& a, i64 i,
                                       const Hyper& hyper, const Now<Wide<S>>& now) {
  using T = Wide<S>;
  constexpr int STATES = Family::STATES, REQUIRED = Family::REQUIRED;
  const Coefficients<T>& c = coefficients(hyper, T());
  const int flags = hyper.flags;
  const Pack<S, N> g = load<N>(a.g + i);
  Pack<T, N> x, states[STATES] = {};
  if (IS_NARROW<S> && a.master)
    x = load<N>(a.master + i);
  else
    x = widen(load<N>((const S*)a.p + i));
#pragma unroll
  for (int k = 0; k < STATES; ++k)
    if (k < REQUIRED || a.states[k]) states[k] = load<N>(a.states[k] + i);
  const Pack<T, N> d = direction(x, widen(g), flags, c, now);
  Family::update(x, d, states, flags, c, now);
  store<N>(a.p + i, narrow<S>(x));
  if (IS_NARROW<S> && a.master) store<N>(a.master + i, x);
#pragma unroll
  for (int k = 0; k < STATES; ++k)
    if (k < REQUIRED || a.states[k]) store<N>(a.states[k] + i, states[k]);
}

// The same number, of which the compiler does not know that it is: what is read with it
// is read again, and holds no registers meanwhile.
__device__ __forceinline__ int again(int k) {
  asm volatile("" : "+r"(k));
  return k;
}

template <class Family, class S>
__device__ __forceinline__ void update_all(
    const Table<Arrays<Family, S>::POINTERS>& table, const Step& step) {
  using T = Wide<S>;
  constexpr int N = Family::template BYTES<S> / sizeof(T);
  if (read(step.found_inf) != 0) return;
  const T scale = (T)read(step.grad_scale), clip = (T)read(step.clip);
  each_part<TILE<S>>(table, [&](int k, i64 begin, i64 end) {
    const int index = table.index[k];
    const Hyper& hyper = step.hypers[table.group[k]];
    const Now<T> now = {scale, clip, step.rates[index]};
    i64 i = begin;
    if (Arrays<Family, S>(table, k).aligned())
#pragma unroll 1
      for (; i + THREADS * N <= end; i += THREADS * N)
        update<N>(Arrays<Family, S>(table, again(k)), i + threadIdx.x * N, hyper, now);
#pragma unroll 1
    for (i += threadIdx.x; i < end; i += THREADS)
      update<1>(Arrays<Family, S>(table, again(k)), i, hyper, now);
    if (!step.advanced && begin == 0 && threadIdx.x == 0) ++step.steps[index];
  });
}

// Count a step of each tensor, and compute the numbers that depend on it.
template <class Family>
__device__ __forceinline__ void advance(const Table<1>& table, const Step& step) {
  const int k = blockIdx.x * THREADS + threadIdx.x;
  if (k >= table.count || read(step.found_inf) != 0) return;
  const int index = table.index[k];
  const i64 count = ++step.steps[index];
  step.rates[index] = Family::rates(step.hypers[table.group[k]].wide, count);
}

// Norms ------------------------------------------------------------------------------

// The sum over a block, in its first thread; always added up in the same order.
__device__ __forceinline__ double block_sum(double x) {
  __shared__ double of_warp[THREADS / 32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int step = 16; step; step /= 2) x += __shfl_down_sync(0xffffffffu, x, step);
  if (lane == 0) of_warp[warp] = x;
  __syncthreads();
  if (warp == 0) {
    x = lane < THREADS / 32 ? of_warp[lane] : 0.0;
#pragma unroll
    for (int step = 16; step; step /= 2) x += __shfl_down_sync(0xffffffffu, x, step);
  }
  return x;
}

template <class S, int N>
__device__ __forceinline__ void add_squares(double& sum, const Pack<S, N>& pack) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const double x = widen(pack.x[i]);
    sum += x * x;
  }
}

template <class S>
__device__ __forceinline__ void square_sum(const Table<1>& table, double* sums) {
  double sum = 0.0;
  each_part<TILE<S>>(table, [&](int k, i64 begin, i64 end) {
    constexpr int N = 16 / sizeof(S);
    const S* g = (const S*)table.at[0][k];
    i64 i = begin;
    if (((unsigned long long)g & 15) == 0)
      for (; i + THREADS * N <= end; i += THREADS * N)
        add_squares(sum, load<N>(g + i + threadIdx.x * N));
    for (i += threadIdx.x; i < end; i += THREADS) add_squares(sum, load<1>(g + i));
  });
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// Sums of squares, each in its place.
struct Sums {
  const double* at[64];
  i64 count;
};

__device__ __forceinline__ double norm(const Sums& sums, const Scalar& grad_scale) {
  double sum = 0.0;
  for (int i = 0; i < sums.count; ++i) sum += *sums.at[i];
  return sqrt(sum) / read(grad_scale);
}

// The kernels ------------------------------------------------------------------------

#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)

#define UPDATE(Family, family, S, dtype)                                             \
  KERNEL gradlite_##family##_##dtype(                                                \
      const __grid_constant__ Table<Arrays<Family, S>::POINTERS> table,              \
      const __grid_constant__ Step step) {                                           \
    update_all<Family, S>(table, step);                                              \
  }

#define UPDATES(Family, family)              \
  UPDATE(Family, family, float, float32)     \
  UPDATE(Family, family, double, float64)    \
  UPDATE(Family, family, half, float16)      \
  UPDATE(Family, family, bfloat16, bfloat16)

UPDATES(Sgd, sgd)
UPDATES(Adam, adam)
UPDATES(Rmsprop, rmsprop)
UPDATES(Adagrad, adagrad)

#define ADVANCE(Family, family)                                                      \
  KERNEL gradlite_advance_##family(const __grid_constant__ Table<1> table,           \
                                   const __grid_constant__ Step step) {              \
    advance<Family>(table, step);                                                    \
  }

ADVANCE(Sgd, sgd)
ADVANCE(Adam, adam)
ADVANCE(Adagrad, adagrad)

#define SQUARE_SUM(S, dtype)                                                         \
  KERNEL gradlite_square_sum_##dtype(const __grid_constant__ Table<1> table,         \
                                     double* sums) {                                 \
    square_sum<S>(table, sums);                                                      \
  }

SQUARE_SUM(float, float32)
SQUARE_SUM(double, float64)
SQUARE_SUM(half, float16)
SQUARE_SUM(bfloat16, bfloat16)

KERNEL gradlite_total(const double* sums, i64 count, double* total) {
  double sum = 0.0;
  for (i64 i = threadIdx.x; i < count; i += THREADS) sum += sums[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *total = sum;
}

KERNEL gradlite_norm(const __grid_constant__ Sums sums, const Scalar grad_scale,
                     const Scalar out) {
  write(out, norm(sums, grad_scale));
}

// A NaN stays one, so that it reaches the parameters or is found.
KERNEL gradlite_clip_factor(const __grid_constant__ Sums sums, const Scalar grad_scale,
                            const Scalar out, double max_norm) {
  const double factor = max_norm / (norm(sums, grad_scale) + 1e-6);
  write(out, factor > 1.0 ? 1.0 : factor);
}

KERNEL gradlite_set_hyper(Hyper* at, const __grid_constant__ Update update) {
  constexpr int COUNT = sizeof(Coefficients<double>) / sizeof(double);
  const int i = threadIdx.x;
  if (i < COUNT) {
    const double value = ((const double*)&update.coefficients)[i];
    ((double*)&at->wide)[i] = value;
    ((float*)&at->narrow)[i] = (float)value;
  }
  if (i == 0) at->flags = (int)update.flags;
}
