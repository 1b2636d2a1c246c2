/* What Python cannot do: raise from a callback, and look at many red zones at once. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct object object; /* PyObject; Python itself is in the process already */
extern object *PyExc_BaseException;
extern int PyObject_IsInstance(object *, object *);
extern object *PyObject_Type(object *);
extern void PyErr_SetObject(object *, object *);

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
    PyErr_SetObject(PyObject_Type(result), result);
    return 0;
}

/* The first allocation with a byte in its red zones that is not ``poison``: 2 i before it, 2 i + 1 behind; or −1.
   An address of 0 is no allocation. */
long damaged(long count, const uintptr_t *addresses, const uintptr_t *sizes, size_t zone, unsigned char poison) {
    for (long i = 0; i < count; i++)
        for (int behind = 0; addresses[i] && behind < 2; behind++) {
            const unsigned char *start = (const unsigned char *)addresses[i] + (behind ? sizes[i] : -zone);
            if (*start != poison || memcmp(start, start + 1, zone - 1))
                return 2 * i + behind;
        }
    return -1;
}
