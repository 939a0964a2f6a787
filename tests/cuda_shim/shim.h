// What a C++ compiler needs to build a CUDA source for the host.
//
// A launch runs block after block, and the threads of a block one after the other. The
// threads of a kernel with barriers or shuffles are fibers, which take turns at those.
// Not seen are races within a warp, limits of launches, and the flushing of subnormals.
#pragma once
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <type_traits>
#include <ucontext.h>
#include <utility>

#define __global__
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __shared__ static __attribute__((section("shim_shared")))

struct Index {
  unsigned x, y, z;
};

static Index threadIdx, blockIdx, blockDim, gridDim;

static inline float __uint_as_float(unsigned bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline unsigned __float_as_uint(float x) {
  unsigned bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

// Shared memory is filled with NaNs before each block.
extern "C" char __start_shim_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_shim_shared[] __attribute__((weak, visibility("hidden")));

namespace shim {

enum State { READY, AT_BARRIER, IN_SHUFFLE, DONE };

struct Fiber {
  ucontext_t context;
  State state;
  unsigned long long offered;  // to the other threads of its warp
};

constexpr int MOST = 1024, STACK = 1 << 16, WARP = 32;
static Fiber fibers[MOST];
static char* stacks = nullptr;
static ucontext_t scheduler;
static int running = -1;     // -1 where threads are not fibers
static bool waited = false;  // whether this launch has met a barrier
static int order = 0;        // of threads and blocks: 0 forward, 1 backward, else mixed
static void (*body)();

[[noreturn]] static void fail(const char* problem) {
  fprintf(stderr, "shim: %s in block %u\n", problem, blockIdx.x);
  abort();
}

static unsigned place(unsigned i, unsigned count) {
  if (order == 0) return i;
  if (order == 1) return count - 1 - i;
  return count % 7919 ? (unsigned)((i * 7919ull + order) % count) : i;
}

static void wait(State state) {
  if (running < 0) fail("a barrier that the first launch had not met");
  waited = true;
  Fiber& self = fibers[running];
  self.state = state;
  swapcontext(&self.context, &scheduler);
}

static void start() {
  body();
  fibers[running].state = DONE;
  swapcontext(&fibers[running].context, &scheduler);
}

// Let the fibers in [first, last) go on if all that are not done wait in `state`.
static bool release(int first, int last, State state) {
  bool some = false;
  for (int i = first; i < last; ++i) {
    if (fibers[i].state == state) some = true;
    else if (fibers[i].state != DONE) return false;
  }
  for (int i = first; some && i < last; ++i)
    if (fibers[i].state == state) fibers[i].state = READY;
  return some;
}

static void run_fibers(int count) {
  if (count > MOST) fail("too many threads");
  if (!stacks) stacks = (char*)malloc((size_t)MOST * STACK);
  for (int i = 0; i < count; ++i) {
    Fiber& fiber = fibers[i];
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks + (size_t)i * STACK;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    fiber.state = READY;
    makecontext(&fiber.context, start, 0);
  }
  for (bool moved = true; moved;) {
    moved = false;
    for (int i = 0; i < count; ++i) {
      running = place(i, count);
      if (fibers[running].state != READY) continue;
      threadIdx.x = running;
      swapcontext(&scheduler, &fibers[running].context);
      moved = true;
    }
    for (int first = 0; first < count; first += WARP)
      moved |= release(first, first + WARP < count ? first + WARP : count, IN_SHUFFLE);
    moved |= release(0, count, AT_BARRIER);
  }
  running = -1;
  for (int i = 0; i < count; ++i)
    if (fibers[i].state != DONE) fail("threads wait for each other");
}

template <class T>
static T shuffle(T value, int lane) {
  static_assert(sizeof(T) <= sizeof(Fiber::offered), "");
  const int self = running, source = self / WARP * WARP + lane;
  memcpy(&fibers[self].offered, &value, sizeof value);
  wait(IN_SHUFFLE);
  memcpy(&value, &fibers[source].offered, sizeof value);
  wait(IN_SHUFFLE);
  return value;
}

// `arguments` are pointers to the values, as the driver gets them.
template <auto KERNEL, class... Arguments, size_t... I>
static void launch(void (*)(Arguments...), const unsigned* sizes, void** arguments,
                   std::index_sequence<I...>) {
  static bool known = false, barriers;
  static void** values;
  values = arguments;
  gridDim = {sizes[0], 1, 1};
  blockDim = {sizes[1], 1, 1};
  body = [] { KERNEL(*(std::remove_reference_t<Arguments>*)values[I]...); };
  waited = false;
  for (unsigned i = 0; i < sizes[0]; ++i) {
    blockIdx = {place(i, sizes[0]), 0, 0};
    if (__start_shim_shared)
      memset(__start_shim_shared, 0xff, __stop_shim_shared - __start_shim_shared);
    if (!known || barriers) {
      run_fibers(sizes[1]);
    } else {
      for (unsigned j = 0; j < sizes[1]; ++j) {
        threadIdx = {place(j, sizes[1]), 0, 0};
        body();
      }
    }
  }
  barriers = (known && barriers) || waited;
  known = true;
}

template <auto KERNEL, class... Arguments>
static void launch(void (*kernel)(Arguments...), const unsigned* sizes, void** values) {
  launch<KERNEL>(kernel, sizes, values, std::index_sequence_for<Arguments...>());
}

}  // namespace shim

static inline void __syncthreads() { shim::wait(shim::AT_BARRIER); }

template <class T>
static T __shfl_down_sync(unsigned, T value, int distance) {
  const int lane = shim::running % shim::WARP, source = lane + distance;
  return shim::shuffle(value, source < shim::WARP ? source : lane);
}

extern "C" __attribute__((visibility("default"))) void shim_order(int order) {
  shim::order = order;
}

#define EXPORT(kernel)                                                        \
  extern "C" __attribute__((visibility("default"))) void run_##kernel(        \
      const unsigned* sizes, void** values) {                                 \
    shim::launch<kernel>(kernel, sizes, values);                              \
  }
