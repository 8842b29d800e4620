/*
 * Log lines to stderr: `time=… level=… event=… key=value` or JSON, one line an event. Lines of level info and debug are
 * gathered in a bounded buffer that a thread of its own writes out every 100 ms; warn and error go out at once, with
 * all that was gathered before them. Any thread. The one global of the program: its level, format and buffer.
 */
#pragma once

#include "base/auto.h"

#include <stdbool.h>
#include <stdint.h>

/* A notice is no trouble, and is written whatever is wanted: who changed what. */
enum log_level { LOG_NOTICE, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

void log_configure(enum log_level level, enum log_format format);
/* Starts the thread; before it and after log_stop() every line is written at once. */
MUST_CHECK int log_start(void);
void log_stop(void);
bool log_wanted(enum log_level level);

/* A field of a line; made by the macros below. */
struct log_field {
    const char *key;
    enum { LOG_FIELD_STRING, LOG_FIELD_INT, LOG_FIELD_UINT } type;
    union {
        const char *string; /* NULL is left out of the line */
        int64_t integer;
        uint64_t number;
    };
};

#define LOG_S(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_STRING, .string = (v)})
#define LOG_I(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_INT, .integer = (int64_t)(v)})
#define LOG_U(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_UINT, .number = (uint64_t)(v)})

/* log_event(LOG_INFO, "ready", LOG_S("listen", address)); */
#define log_event(level, event, ...)                                                                                   \
    log_write(level, event, (const struct log_field[]){__VA_ARGS__},                                                   \
              sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

void log_write(enum log_level level, const char *event, const struct log_field *fields, unsigned count);
