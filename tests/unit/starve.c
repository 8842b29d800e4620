#include "starve.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

/* The linker's: what others call malloc() is __wrap_malloc(), and the C library's is __real_malloc(). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
/* What the test's own files call. */
void *spared_malloc(size_t size);
void *spared_calloc(size_t count, size_t size);
void *spared_realloc(void *p, size_t size);
char *spared_strdup(const char *s);
int spared_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

static struct {
    atomic_bool armed, fired;
    _Atomic enum starve_extent extent;
    atomic_int countdown;
} starve;

static _Thread_local bool is_spared;

static bool fails(void)
{
    if (!starve.armed || is_spared)
        return false;
    int left = starve.countdown--;
    if (left > 0 || (left < 0 && starve.extent == STARVE_ONE))
        return false;
    starve.fired = true;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    return fails() ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

void *spared_malloc(size_t size)
{
    return __real_malloc(size);
}

void *spared_calloc(size_t count, size_t size)
{
    return __real_calloc(count, size);
}

void *spared_realloc(void *p, size_t size)
{
    return __real_realloc(p, size);
}

char *spared_strdup(const char *s)
{
    return __real_strdup(s);
}

int spared_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    return __real_pthread_create(thread, attr, run, arg);
}

void *starve_malloc(size_t size)
{
    return __wrap_malloc(size);
}

void *starve_calloc(size_t count, size_t size)
{
    return __wrap_calloc(count, size);
}

void *starve_realloc(void *p, size_t size)
{
    return __wrap_realloc(p, size);
}

char *starve_strdup(const char *s)
{
    return __wrap_strdup(s);
}

void starve_arm(unsigned countdown, enum starve_extent extent)
{
    starve.countdown = (int)countdown;
    starve.extent = extent;
    starve.fired = false;
    is_spared = true;
    starve.armed = true;
}

void starve_enter(bool inside)
{
    is_spared = !inside;
}

bool starve_disarm(void)
{
    starve.armed = false;
    return starve.fired;
}
