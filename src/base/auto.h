/*
 * Cleanup attributes: what a function acquires is released when it goes out of scope, and handed over by TAKE_PTR() or
 * TAKE_FD(). Any thread; no state.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AUTO(fn) __attribute__((cleanup(fn)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Defines auto_<fn>(), the cleanup handler of a variable of type `type *` that `fn` destroys. `fn` accepts NULL. */
#define AUTO_DEFINE(type, fn)                                                                                          \
    static inline void auto_##fn(type **p)                                                                             \
    {                                                                                                                  \
        fn(*p);                                                                                                        \
    }                                                                                                                  \
    struct auto_semicolon_##fn

static inline void auto_free_(void *p)
{
    free(*(void **)p);
}

static inline void auto_close_(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static inline void auto_fclose_(FILE **f)
{
    if (*f)
        (void)fclose(*f);
}

#define AUTO_FREE AUTO(auto_free_)
#define AUTO_CLOSE AUTO(auto_close_)
#define AUTO_FCLOSE AUTO(auto_fclose_)

/* Hands over what a cleanup variable holds: its value is returned and the variable emptied. */
#define TAKE_PTR(p)                                                                                                    \
    __extension__({                                                                                                    \
        __typeof__(p) *take_at_ = &(p);                                                                                \
        __typeof__(p) taken_ = *take_at_;                                                                              \
        *take_at_ = NULL;                                                                                              \
        taken_;                                                                                                        \
    })
#define TAKE_FD(fd)                                                                                                    \
    __extension__({                                                                                                    \
        int *take_at_ = &(fd);                                                                                         \
        int taken_ = *take_at_;                                                                                        \
        *take_at_ = -1;                                                                                                \
        taken_;                                                                                                        \
    })
