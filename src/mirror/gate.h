/*
 * Gates: where sessions wait without a thread for something that another thread brings about. A gate is the lock and
 * the list of waiters of one flight or one question; `struct gates` is all of them, with the one thread that wakes
 * whoever waits too long (libmicrohttpd sees neither a timeout nor a client that left while a connection is suspended:
 * pitfalls.md 1).
 *
 * The rule against lost wake-ups: the condition is checked, the waiter entered and the connection suspended inside one
 * critical section of gate->lock; the producer changes the condition and wakes inside another. Lock order: gates, then
 * a gate, then whatever suspend() and wake() take. Never two gates.
 */
#pragma once

#include "mirror/mirror.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* One session's place in line. Belongs to the session; zero before its first use. */
struct waiter {
    struct mirror_waiter call; /* set at create */
    /* under the gate's lock */
    struct waiter *prev, *next;
    int64_t due; /* monotonic ms; woken then, come what may */
    /* of the session's thread */
    struct gate *gate; /* where it waited last; NULL when nowhere */
};

struct gates;

struct gate {
    pthread_mutex_t lock;
    struct gates *all;
    struct waiter *waiting;   /* under lock */
    struct gate *prev, *next; /* under the lock of all */
};

struct gates {
    pthread_mutex_t lock;
    struct gate *first; /* under lock */
    pthread_t thread;
    bool running;
    pthread_mutex_t alarm_lock; /* the last lock of all */
    pthread_cond_t alarm;
    int64_t next; /* under alarm_lock: monotonic ms of the next round */
    bool stopping;
    atomic_bool cut;
};

/* Somebody who waits is woken at the latest after this. */
#define GATE_PATIENCE_MS 1000

MUST_CHECK int gates_start(struct gates *all);
/* From now on nobody waits: gate_wait() refuses, and everybody is woken. Any thread; idempotent. */
void gates_cut(struct gates *all);
bool gates_are_cut(const struct gates *all);
/* Ends the thread. Every gate must have been finished. */
void gates_stop(struct gates *all);

void gate_init(struct gate *g, struct gates *all);
/* Nobody waits at it any more. No gate lock may be held. */
void gate_finish(struct gate *g);
void gate_lock(struct gate *g);
void gate_unlock(struct gate *g);
/* Under the lock: enters `w` and suspends its connection, until `due` (monotonic ms) at the latest. False when nothing
 * may wait any more (gates_cut()): then nothing was done. */
MUST_CHECK bool gate_wait(struct gate *g, struct waiter *w, int64_t due);
/* Under the lock: wakes everybody. */
void gate_wake(struct gate *g);
/* By the session's thread, no lock held: takes `w` out of line without waking it. Idempotent. */
void gate_forget(struct waiter *w);
