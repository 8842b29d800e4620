#include "mirror/jobs.h"

#include "base/limits.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* version u8; began_at, ended_at, blobs, bytes, failures u64; text to the end */
#define JOB_VERSION 1
#define NUMBERS 5
#define TEXT_AT (1 + NUMBERS * sizeof(uint64_t))

int job_report_get(struct blobstore *store, const char *job, struct job_report *ret_report)
{
    AUTO_BUF struct buf value = BUF_INIT(4 * KIB);
    uint64_t n[NUMBERS];
    int r = blobstore_record_get(store, BLOBSTORE_JOBS, job, strlen(job), &value);
    if (r < 0)
        return r;
    if (value.len < TEXT_AT || value.data[0] != JOB_VERSION || value.len - TEXT_AT >= JOB_TEXT_MAX)
        return -ENOENT;
    memcpy(n, value.data + 1, sizeof(n));
    *ret_report = (struct job_report){
        .began_at = (int64_t)be64toh(n[0]),
        .ended_at = (int64_t)be64toh(n[1]),
        .blobs = be64toh(n[2]),
        .bytes = be64toh(n[3]),
        .failures = be64toh(n[4]),
    };
    memcpy(ret_report->text, value.data + TEXT_AT, value.len - TEXT_AT);
    return 0;
}

void job_report_put(struct blobstore_batch *batch, const char *job, const struct job_report *report)
{
    const uint64_t n[NUMBERS] = {htobe64((uint64_t)report->began_at), htobe64((uint64_t)report->ended_at),
                                 htobe64(report->blobs), htobe64(report->bytes), htobe64(report->failures)};
    char value[TEXT_AT + JOB_TEXT_MAX];
    size_t len = strnlen(report->text, JOB_TEXT_MAX - 1);
    value[0] = JOB_VERSION;
    memcpy(value + 1, n, sizeof(n));
    memcpy(value + TEXT_AT, report->text, len);
    blobstore_batch_put(batch, BLOBSTORE_JOBS, job, strlen(job), value, TEXT_AT + len);
}
