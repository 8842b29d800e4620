/*
 * Included first in every file that clang-tidy reads, and never compiled: it tells the analyser what it cannot know,
 * that errno is positive after a failure, so that `return -errno;` is no success that left its outputs unset. This
 * version cannot reason about the sign of a negated unknown, hence the two values, either of which it takes errno to
 * have.
 */
#ifdef __clang_analyzer__
#include <errno.h>

int analysed_either(void);

static inline int *analysed_errno(void)
{
    int *e = __errno_location();
    *e = analysed_either() ? EIO : ENOENT;
    return e;
}

#undef errno
#define errno (*analysed_errno())
#endif
