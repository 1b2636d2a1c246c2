// CUDA C++ for a CPU: what kernels use of the language and of its library, so that g++ compiles them.
//
// The threads of a block take turns. A kernel without barriers is called once for each thread. In one with barriers
// each thread has a stack of its own, and runs until it comes to a barrier or to its end. Those at __syncwarp or a
// shuffle go on when all threads of their warp are there, those at __syncthreads when all of the block are. Stacks come
// from ucontext.h, and turns change by setjmp.h, which asks nothing of the system. Blocks run one after the other.
// Shared memory is memory of the system's thread, which no other variables have here: so it can be found, and is full of
// NaN for each block. One block at a time has it.
//
// Subnormal float32 numbers are flushed to zero, as NVRTC has it under CuPy. The processor knows one switch for both
// precisions, so it is left off in kernels of float64 alone; where both are used, float64's are flushed, too.
#pragma once

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include <link.h>
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>
#include <xmmintrin.h>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static thread_local
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __forceinline__ inline
#define __noinline__
#define __restrict__
#define __launch_bounds__(...)

struct dim3 { unsigned x, y, z; };
static dim3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

namespace on_cpu {

struct Place { jmp_buf here; };
static Place turns;               // where the threads' turns are dealt out
static std::vector<Place> places; // where each thread goes on
static unsigned present;          // the thread whose turn it is
enum State : char { ready, at_warp, at_block, done };
static std::vector<State> states;
static std::vector<char> dynamic_shared;
enum Outcome : int { well, stuck, divided }; // threads wait at a barrier to which others do not come; by zero

__shared__ char some_shared;

struct Shared { // all shared memory of this library: it begins so far before ``some_shared``, and has so many bytes
    ptrdiff_t before = 0;
    size_t bytes = 0;
    Shared() { dl_iterate_phdr(look, this); }
    void fill() const { memset(&some_shared - before, 0xFF, bytes); }

    static int look(dl_phdr_info *library, size_t, void *found) {
        Shared &shared = *(Shared *)found;
        char *here = &some_shared; // which also makes the system provide it
        for (int i = 0; i < library->dlpi_phnum; i++) {
            const ElfW(Phdr) &part = library->dlpi_phdr[i];
            char *start = (char *)library->dlpi_tls_data;
            if (part.p_type != PT_TLS || !start || here < start || here >= start + part.p_memsz) continue;
            shared.before = here - start;
            shared.bytes = part.p_memsz;
        }
        return shared.bytes != 0;
    }
};
static const Shared &shared() {
    static const Shared found;
    return found;
}

inline unsigned lane() { return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x; }

inline void barrier(State kind) {
    const dim3 thread = threadIdx;
    states[present] = kind;
    if (!_setjmp(places[present].here)) _longjmp(turns.here, 1);
    threadIdx = thread;
}

template <class T> T of_thread(T value, unsigned source) { // what the thread ``source`` of the warp has for ``value``
    static T values[1024];
    values[lane()] = value;
    barrier(at_warp);
    T result = values[source];
    barrier(at_warp);
    return result;
}

} // namespace on_cpu

// --- Barriers, shuffles ---------------------------------------------------------------------------------

static inline void __syncthreads() { on_cpu::barrier(on_cpu::at_block); }
static inline void __syncwarp(unsigned = ~0u) { on_cpu::barrier(on_cpu::at_warp); }

template <class T> T __shfl_sync(unsigned, T value, int source, int width = 32) {
    const unsigned lane = on_cpu::lane();
    return on_cpu::of_thread(value, lane / width * width + source % width);
}
template <class T> T __shfl_xor_sync(unsigned, T value, int mask, int = 32) {
    return on_cpu::of_thread(value, on_cpu::lane() ^ mask);
}
template <class T> T __shfl_down_sync(unsigned, T value, unsigned delta, int width = 32) {
    const unsigned lane = on_cpu::lane();
    return on_cpu::of_thread(value, lane % width + delta < unsigned(width) ? lane + delta : lane);
}
template <class T> T __shfl_up_sync(unsigned, T value, unsigned delta, int width = 32) {
    const unsigned lane = on_cpu::lane();
    return on_cpu::of_thread(value, lane % width >= delta ? lane - delta : lane);
}

// --- Atomics: one thread runs at a time -----------------------------------------------------------------

extern "C" { long on_cpu_atomics = 0; }

template <class T, class U> T atomicAdd(T *place, U value) { on_cpu_atomics++; T old = *place; *place = old + T(value); return old; }
template <class T, class U> T atomicSub(T *place, U value) { on_cpu_atomics++; T old = *place; *place = old - T(value); return old; }
template <class T, class U> T atomicMax(T *place, U value) { on_cpu_atomics++; T old = *place; *place = std::max<T>(old, value); return old; }
template <class T, class U> T atomicMin(T *place, U value) { on_cpu_atomics++; T old = *place; *place = std::min<T>(old, value); return old; }
template <class T, class U> T atomicExch(T *place, U value) { on_cpu_atomics++; T old = *place; *place = value; return old; }
template <class T, class U, class V> T atomicCAS(T *place, U expected, V value) {
    on_cpu_atomics++;
    T old = *place;
    if (old == T(expected)) *place = value;
    return old;
}
static inline void __threadfence() {}

// --- Arithmetic -----------------------------------------------------------------------------------------

using std::isfinite;
using std::isinf;
using std::isnan;
using std::max;
using std::min;
using std::signbit;

static inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
static inline float rsqrt(float x) { return 1.f / sqrtf(x); }
static inline double rsqrt(double x) { return 1. / ::sqrt(x); }
static inline float __fdividef(float a, float b) { return a / b; }
#define __expf expf // glibc has names of its own like these
#define __logf logf
template <class T> T __ldg(const T *place) { return *place; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }

template <class To, class From> To on_cpu_bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "of one size");
    To result;
    memcpy((void *)&result, (const void *)&x, sizeof result);
    return result;
}
static inline float __int_as_float(int x) { return on_cpu_bits<float>(x); }
static inline int __float_as_int(float x) { return on_cpu_bits<int>(x); }
static inline float __uint_as_float(unsigned x) { return on_cpu_bits<float>(x); }
static inline unsigned __float_as_uint(float x) { return on_cpu_bits<unsigned>(x); }
static inline double __longlong_as_double(long long x) { return on_cpu_bits<double>(x); }
static inline long long __double_as_longlong(double x) { return on_cpu_bits<long long>(x); }

// Half precision: CuPy's own struct ``half`` in cupy/float16.cuh asks for these.
static inline unsigned short __float2half_rn(float x) { return on_cpu_bits<unsigned short>((_Float16)x); }
static inline float __half2float(unsigned short x) { return (float)on_cpu_bits<_Float16>(x); }
struct on_cpu_half {
    unsigned short bits;
    template <class Half> operator Half() const { return on_cpu_bits<Half>(bits); }
};
static inline on_cpu_half __ushort_as_half(unsigned short bits) { return {bits}; }
template <class Half> unsigned short __half_as_ushort(const Half &x) { return on_cpu_bits<unsigned short>(x); }

// --- Launches -------------------------------------------------------------------------------------------

template <int ndim, bool narrow> class CIndexer; // of CuPy's; what it is given are sizes, and words that nobody has set

namespace on_cpu {

template <class... Parameters, size_t... I>
void call(void (*kernel)(Parameters...), void **parameters, std::index_sequence<I...>) {
    kernel(*(typename std::remove_reference<Parameters>::type *)parameters[I]...);
}
template <class... Parameters> void call(void (*kernel)(Parameters...), void **parameters) {
    call(kernel, parameters, std::make_index_sequence<sizeof...(Parameters)>());
}

static void (*thread)(); // the kernel, with the parameters of this launch

struct Subnormals { // flushed, while this lives, or not
    const unsigned before = _mm_getcsr();
    explicit Subnormals(bool flushed) { _mm_setcsr(flushed ? before | 0x8040 : before & ~0x8040u); }
    ~Subnormals() { _mm_setcsr(before); }
};

static void begin(unsigned number) { // the thread with this number in its block
    threadIdx = {number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y};
}

static void first_turn() {
    thread();
    _longjmp(turns.here, 1);
}

__attribute__((noinline)) static void take_turn(unsigned t, ucontext_t *fresh) { // until a barrier or the end
    present = t;
    begin(t);
    states[t] = done;
    if (_setjmp(turns.here)) return;
    if (fresh) setcontext(fresh);
    _longjmp(places[t].here, 1);
}

static bool release(unsigned first, unsigned last, State kind) { // threads that have all come to a barrier, or ended
    bool any = false;
    for (unsigned t = first; t < last; t++) {
        if (states[t] != kind && states[t] != done) return false;
        any |= states[t] == kind;
    }
    for (unsigned t = first; any && t < last; t++)
        if (states[t] == kind) states[t] = ready;
    return any;
}

static long turned(long i, long first, long last, bool backwards) { return backwards ? first + last - 1 - i : i; }

static bool run_by_turns(unsigned threads, bool backwards) { // whether all came to an end
    const size_t size = 64 << 10;
    static std::vector<char> stacks;
    stacks.resize(size * threads);
    places.resize(threads);
    states.assign(threads, ready);
    ucontext_t fresh;
    getcontext(&fresh);
    for (unsigned i = 0; i < threads; i++) {
        const unsigned t = turned(i, 0, threads, backwards);
        fresh.uc_stack.ss_sp = &stacks[size * t];
        fresh.uc_stack.ss_size = size;
        makecontext(&fresh, first_turn, 0);
        take_turn(t, &fresh);
    }
    for (bool any = true; any;) {
        any = false;
        for (unsigned t = 0; t < threads; t += 32) any |= release(t, std::min(t + 32, threads), at_warp);
        any = any || release(0, threads, at_block);
        for (unsigned i = 0; i < threads; i++) {
            const unsigned t = turned(i, 0, threads, backwards);
            if (states[t] == ready) take_turn(t, nullptr);
        }
    }
    return std::all_of(states.begin(), states.end(), [](State state) { return state == done; });
}

template <class... Parameters> struct Kernel {
    static void (*kernel)(Parameters...);
    static void **parameters;
    static void run() { call(kernel, parameters); }
};
template <class... Parameters> void (*Kernel<Parameters...>::kernel)(Parameters...);
template <class... Parameters> void **Kernel<Parameters...>::parameters;

// The bytes of each parameter in which there may be an address, and −1 behind the last.
template <class Parameter> constexpr size_t with_addresses = sizeof(Parameter);
template <int ndim, bool narrow> constexpr size_t with_addresses<CIndexer<ndim, narrow>> = 0;
template <class... Parameters> void sizes(void (*)(Parameters...), size_t *bytes) {
    ((*bytes++ = with_addresses<Parameters>), ...);
    *bytes = -1;
}

struct Started { // a launch
    void **parameters;
    unsigned grid[3], block[3], shared;
    bool flushes, barriers; // whether it flushes subnormal numbers, and whether its threads wait for each other
};

static sigjmp_buf before_division;
static void divides(int) { siglongjmp(before_division, 1); }

struct Divisions { // of integers by zero, which the system would end the process for: none, while this lives
    struct sigaction before;
    Divisions() {
        struct sigaction here = {};
        here.sa_handler = divides;
        sigaction(SIGFPE, &here, &before);
    }
    ~Divisions() { sigaction(SIGFPE, &before, nullptr); }
};

// Run blocks ``first`` to ``last`` of a grid; of each only thread ``only``, if it is not negative. Backwards, the last
// block and the last thread come first.
template <class... Parameters>
Outcome launch(void (*kernel)(Parameters...), const Started &how, long first, long last, long only, bool backwards) {
    Subnormals subnormals(how.flushes);
    Divisions divisions;
    if (sigsetjmp(before_division, 1)) return divided;
    const unsigned *grid = how.grid, *block = how.block;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    Kernel<Parameters...>::kernel = kernel;
    Kernel<Parameters...>::parameters = how.parameters;
    thread = &Kernel<Parameters...>::run;
    const unsigned threads = block[0] * block[1] * block[2];
    for (long i = first; i < last; i++) {
        const long b = turned(i, first, last, backwards);
        blockIdx = {unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]), unsigned(b / grid[0] / grid[1])};
        dynamic_shared.assign(how.shared, char(0xFF));
        shared().fill();
        if (only >= 0) { begin(only); thread(); }
        else if (how.barriers) {
            if (!run_by_turns(threads, backwards)) return stuck;
        }
        else for (unsigned t = 0; t < threads; t++) { begin(turned(t, 0, threads, backwards)); thread(); }
    }
    return well;
}

} // namespace on_cpu
