/* What Python cannot do: raise from a callback, look at many red zones at once, and compare memory quickly. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct object object; /* PyObject; Python itself is in the process already */
extern object *PyExc_BaseException;
extern int PyObject_IsInstance(object *, object *);
extern object *PyObject_Type(object *);
extern void PyErr_SetObject(object *, object *);
extern void Py_DecRef(object *);

typedef object *launch(intptr_t, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, intptr_t,
                       intptr_t, intptr_t, int);
static launch *python;

void set_launch(launch *callback) { python = callback; }

/* driver.launchKernel: raises what the callback returns, if that is an exception. */
object *guarded_launch(intptr_t function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, intptr_t stream, intptr_t parameters, intptr_t extra, int skip) {
    object *result = python(function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra, skip);
    if (!result || PyObject_IsInstance(result, PyExc_BaseException) != 1)
        return result;
    object *type = PyObject_Type(result);
    PyErr_SetObject(type, result); /* which holds both from now on */
    Py_DecRef(type);
    Py_DecRef(result);
    return 0;
}

typedef struct { uintptr_t address, size, device; } place; /* an allocation */

/* The first allocation with red zones that are not as they were: 2 i before it, 2 i + 1 behind; or −1. ``poison`` is
   what is in both, one behind the other. */
long damaged(long count, const place *places, size_t zone, const unsigned char *poison) {
    for (long i = 0; i < count; i++)
        for (int behind = 0; behind < 2; behind++) {
            const unsigned char *start = (const unsigned char *)places[i].address + (behind ? places[i].size : -zone);
            if (memcmp(start, poison + (behind ? zone : 0), zone))
                return 2 * i + behind;
        }
    return -1;
}

/* A kernel of cuda_on_cpu.h; 0 if all is well. */
typedef int run(const void *how, long first, long last, long only, bool backwards);

typedef struct { /* an allocation; behind ``before`` lie as many bytes each of ``after`` and ``writers`` */
    unsigned char *now, *before;
    size_t size;
} piece;

/* Keep what a thread has changed, put memory back as it was, and count who wrote what. */
static void set_aside(const piece *p, bool counts) {
    unsigned char *after = p->before + p->size, *writers = after + p->size;
    if (!memcmp(p->now, p->before, p->size))
        return;
    for (size_t i = 0; i < p->size; i++)
        if (p->now[i] != p->before[i]) {
            after[i] = p->now[i];
            p->now[i] = p->before[i];
            writers[i] += counts && writers[i] < 2;
        }
}

/* Run a launch and look for races. A thread at a time (a block, if ``alone`` is 0) runs on memory as it was; two that
   write to the same byte, and not by atomics, are a race. Put together, that must be what comes of running all on one
   memory, forwards and backwards: or else one reads what another writes. That is not asked of kernels with atomics.

   0: no race, and the launch is done; -1: bytes have several writers; -2: bytes depend on the order of turns, and
   ``bytes`` says how many; otherwise what the kernel gave. */
int find_race(run *kernel, const void *how, long blocks, long alone, const long *atomics, const place *places,
              long count, long *bytes) {
    piece *pieces = calloc(count + 1, sizeof *pieces);
    const long first_atomics = *atomics;
    int found = 0;
    for (long i = 0; i < count; i++) {
        piece *p = &pieces[i];
        *p = (piece){(unsigned char *)places[i].address, calloc(3, places[i].size + 1), places[i].size};
        memcpy(p->before, p->now, p->size);
        memcpy(p->before + p->size, p->now, p->size);
    }
    for (long block = 0; !found && block < blocks; block++)
        for (long thread = 0; !found && thread < (alone ? alone : 1); thread++) {
            const long earlier = *atomics;
            found = kernel(how, block, block + 1, alone ? thread : -1, false);
            for (long i = 0; i < count; i++)
                set_aside(&pieces[i], *atomics == earlier);
        }
    *bytes = 0;
    for (long i = 0; i < count; i++)
        for (size_t k = 0; k < pieces[i].size; k++)
            *bytes += pieces[i].before[2 * pieces[i].size + k] > 1;
    if (!found && *bytes)
        found = -1;
    const bool compares = *atomics == first_atomics;
    for (int backwards = compares; !found && backwards >= 0; backwards--) { /* forwards at last: what a launch does */
        found = kernel(how, 0, blocks, -1, backwards);
        for (long i = 0; compares && i < count; i++) {
            const piece *p = &pieces[i];
            for (size_t k = 0; k < p->size; k++)
                *bytes += p->now[k] != p->before[p->size + k];
            if (backwards)
                memcpy(p->now, p->before, p->size);
        }
        if (!found && *bytes)
            found = -2;
    }
    for (long i = 0; i < count; i++)
        free(pieces[i].before);
    free(pieces);
    return found;
}
