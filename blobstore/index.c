/*
 * LMDB as we use it (pitfalls: a map that is never grown, no thread-local readers, no DUPSORT, no WRITEMAP, full sync).
 *
 * A read transaction costs a reader slot and an allocation; ended ones are kept reset in a small pool and renewed, so
 * that a look-up takes no lock and allocates nothing. A pooled transaction belongs to whoever has taken it out of its
 * slot.
 *
 * LMDB checks little of what it reads and aborts the process where an assertion of its own fails. So that this does
 * not happen at every start: damage that is met leaves the file index/damaged, and index_open() refuses an index with
 * it.
 */
#include "blobstore/index.h"

#include "blobstore/records.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define POOL_SLOTS 32
#define CACHE_LINE 64
#define DATA "data.mdb"
#define LOCK "lock.mdb"
#define DAMAGED "damaged"

static const char *const table_names[] = {
    "meta", "blobs", "access", "tags", "manifests", "repositories", "references", "pins", "budgets", "jobs",
};
static_assert(ARRAY_SIZE(table_names) == INDEX_TABLES, "a name for each table");

struct pool_slot {
    _Alignas(CACHE_LINE) _Atomic(MDB_txn *) txn;
};

struct index {
    /* set at open */
    MDB_env *env;
    int directory;
    MDB_dbi tables[INDEX_TABLES];
    bool is_new;
    bool is_suspect;

    /* any thread */
    atomic_bool failed;
    struct pool_slot pool[POOL_SLOTS];
};

static void mark_damaged(struct index *x)
{
    atomic_store(&x->failed, true);
    int fd = openat(x->directory, DAMAGED, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)close(fd);
}

static void on_assert(MDB_env *env, const char *message)
{
    (void)message; /* LMDB prints it */
    mark_damaged(mdb_env_get_userctx(env));
}

/* The one place where results of LMDB become ours. */
static int translate(struct index *x, int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return 0;
    case MDB_NOTFOUND:
        return -ENOENT;
    case MDB_MAP_FULL:
    case EDQUOT:
        return -ENOSPC;
    case MDB_TXN_FULL:
    case MDB_BAD_VALSIZE:
        return -EFBIG;
    case MDB_READERS_FULL:
        return -EBUSY;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PAGE_FULL:
    case MDB_CURSOR_FULL:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
        mark_damaged(x);
        return -EIO;
    case MDB_PANIC:
        atomic_store(&x->failed, true);
        return -EIO;
    default:
        return rc > 0 ? -rc : -EIO;
    }
}

/* ------------------------------------------------------------------ opening */

static void index_destroy(struct index *x)
{
    if (!x)
        return;
    for (size_t i = 0; i < POOL_SLOTS; i++) {
        MDB_txn *txn = atomic_load(&x->pool[i].txn);
        if (txn)
            mdb_txn_abort(txn);
    }
    if (x->env)
        mdb_env_close(x->env);
    if (x->directory >= 0)
        (void)close(x->directory);
    free(x);
}
AUTO_DEFINE(struct index, index_destroy);

/* Whether this result of opening means that what is there is no index of ours. */
static bool is_unusable(int rc)
{
    switch (rc) {
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PAGE_FULL:
    case MDB_CURSOR_FULL:
    case MDB_INCOMPATIBLE:
    case MDB_NOTFOUND:
    case EIO:
    case EISDIR:
    case ENOTDIR:
        return true;
    default:
        return false;
    }
}

PRINTF_LIKE(2, 3) static int unusable(char *why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, INDEX_WHY_MAX, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

static int open_failed(struct index *x, int rc, char *why)
{
    if (!is_unusable(rc))
        return translate(x, rc);
    return unusable(why, "the index cannot be read (%s)", mdb_strerror(rc));
}

/* Pages beyond the end of the file would be SIGBUS; as a hole they are zero, which LMDB knows for damage. (A file may
 * be short by pages that nobody refers to, so being short alone proves nothing.) */
static int fill_up(struct index *x)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat st;
    int fd;
    int rc = mdb_env_info(x->env, &info);
    if (rc == 0)
        rc = mdb_env_stat(x->env, &stat);
    if (rc == 0)
        rc = mdb_env_get_fd(x->env, &fd);
    if (rc != 0)
        return translate(x, rc);
    off_t need = (off_t)(info.me_last_pgno + 1) * (off_t)stat.ms_psize;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size >= need)
        return 0;
    x->is_suspect = true;
    return ftruncate(fd, need) < 0 ? -errno : 0;
}

/* LMDB writes to its lock file through a map. Where that meets a hole and the disk is full the process is killed, so
 * the file gets its room before; beyond its end, for LMDB goes by its length. Where it cannot have all of it, the first
 * page will do for as many readers as there are as a rule. */
static int reserve_lock(const struct index *x, unsigned max_readers)
{
    AUTO_CLOSE int fd = openat(x->directory, LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return 0; /* what that means LMDB will say */
    const off_t page = sysconf(_SC_PAGESIZE);
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, page + (off_t)max_readers * CACHE_LINE) == 0)
        return 0;
    bool is_full = errno == ENOSPC || errno == EDQUOT; /* else the file system cannot tell */
    return is_full && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, page) < 0 ? -ENOSPC : 0;
}

static int open_environment(struct index *x, const char *root, int root_fd, size_t map_size, unsigned max_readers,
                            char *why)
{
    AUTO_FREE char *path = NULL;
    if (asprintf(&path, "%s/" INDEX_DIRECTORY, root) < 0) {
        path = NULL; /* glibc leaves it undefined */
        return -ENOMEM;
    }
    if (mkdirat(root_fd, INDEX_DIRECTORY, 0700) < 0 && errno != EEXIST)
        return -errno;
    x->directory = openat(root_fd, INDEX_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (x->directory < 0)
        return errno == ENOTDIR ? unusable(why, "the index is not a directory") : -errno;
    if (faccessat(x->directory, DAMAGED, F_OK, 0) == 0)
        return unusable(why, "the index was found damaged");
    /* LMDB begins a file with two pages in one write: where they are not whole, it was cut short at that. */
    struct stat st;
    x->is_new =
        fstatat(x->directory, DATA, &st, 0) < 0 || (S_ISREG(st.st_mode) && st.st_size < 2 * sysconf(_SC_PAGESIZE));
    if (x->is_new && unlinkat(x->directory, DATA, 0) < 0 && errno != ENOENT)
        return -errno;

    int r = reserve_lock(x, max_readers);
    if (r < 0)
        return r;
    int rc = mdb_env_create(&x->env);
    if (rc == 0)
        rc = mdb_env_set_userctx(x->env, x);
    if (rc == 0)
        rc = mdb_env_set_assert(x->env, on_assert);
    if (rc == 0)
        rc = mdb_env_set_mapsize(x->env, map_size);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(x->env, max_readers);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(x->env, INDEX_TABLES);
    if (rc != 0)
        return translate(x, rc);
    rc = mdb_env_open(x->env, path, MDB_NOTLS, 0600);
    if (rc != 0)
        return open_failed(x, rc, why);
    int dead;
    (void)mdb_reader_check(x->env, &dead); /* nobody else has the store: whatever is there is dead */
    if (x->is_new && (fsync(x->directory) < 0 || fsync(root_fd) < 0))
        return -errno;
    return fill_up(x);
}

static int check_schema(MDB_txn *txn, MDB_dbi meta, char *why)
{
    MDB_val key = {.mv_data = (void *)(uintptr_t) "schema", .mv_size = strlen("schema")}, value;
    uint32_t schema;
    int rc = mdb_get(txn, meta, &key, &value);
    if (rc != 0 || schema_record_decode(value.mv_data, value.mv_size, &schema) < 0)
        return unusable(why, "the index has no schema version");
    if (schema != RECORD_SCHEMA)
        return unusable(why, "the index has schema %u, this program has %d", schema, RECORD_SCHEMA);
    return 0;
}

static int open_tables(struct index *x, char *why)
{
    MDB_txn *txn;
    MDB_stat stat;
    int rc = mdb_env_stat(x->env, &stat);
    if (rc == 0)
        rc = mdb_txn_begin(x->env, NULL, 0, &txn);
    if (rc != 0)
        return open_failed(x, rc, why);
    x->is_new |= stat.ms_entries == 0; /* whoever made it was cut short before it had tables */
    /* The schema comes first: nothing is made in an index that is not ours. */
    int r = 0;
    rc = mdb_dbi_open(txn, table_names[INDEX_META], x->is_new ? MDB_CREATE : 0, &x->tables[INDEX_META]);
    if (rc == 0 && !x->is_new)
        r = check_schema(txn, x->tables[INDEX_META], why);
    for (int i = INDEX_META + 1; rc == 0 && r == 0 && i < INDEX_TABLES; i++)
        rc = mdb_dbi_open(txn, table_names[i], MDB_CREATE, &x->tables[i]);
    if (rc == 0 && r == 0 && x->is_new) {
        uint8_t bytes[SCHEMA_RECORD_SIZE];
        schema_record_encode(RECORD_SCHEMA, bytes);
        MDB_val key = {.mv_data = (void *)(uintptr_t) "schema", .mv_size = strlen("schema")};
        MDB_val value = {.mv_data = bytes, .mv_size = sizeof(bytes)};
        rc = mdb_put(txn, x->tables[INDEX_META], &key, &value, 0);
    }
    if (rc != 0 || r < 0) {
        mdb_txn_abort(txn);
        return r < 0 ? r : open_failed(x, rc, why);
    }
    return translate(x, mdb_txn_commit(txn)); /* an index that cannot be written to is not one that cannot be read */
}

int index_open(const char *root, int root_fd, size_t map_size, unsigned max_readers, struct index **ret_index,
               char why[INDEX_WHY_MAX])
{
    AUTO(auto_index_destroy) struct index *x = aligned_alloc(CACHE_LINE, sizeof(*x));
    if (!x)
        return -ENOMEM;
    memset(x, 0, sizeof(*x));
    x->directory = -1;
    int r = open_environment(x, root, root_fd, map_size, max_readers, why);
    if (r == 0)
        r = open_tables(x, why);
    if (r < 0)
        return r;
    *ret_index = TAKE_PTR(x);
    return 0;
}

void index_close(struct index *x)
{
    index_destroy(x);
}

bool index_is_new(const struct index *x)
{
    return x->is_new;
}

bool index_is_suspect(const struct index *x)
{
    return x->is_suspect;
}

bool index_has_failed(const struct index *x)
{
    return atomic_load(&x->failed);
}

int index_condemn(struct index *x)
{
    mark_damaged(x);
    return -EIO;
}

int index_check(struct index *x)
{
    AUTO_INDEX_TXN struct index_txn t = {0};
    int r = index_begin_read(x, &t);
    for (int i = 0; r == 0 && i < INDEX_TABLES; i++) {
        AUTO_INDEX_CURSOR struct index_cursor c = {0};
        r = index_cursor_open(&t, (enum index_table)i, &c);
        if (r == 0)
            r = index_cursor_seek(&c, NULL, 0);
        while (r == 0)
            r = index_cursor_next(&c);
        if (r == -ENOENT)
            r = 0;
    }
    return r < 0 && index_has_failed(x) ? -EBADMSG : r;
}

/* ------------------------------------------------------------------ transactions */

static size_t first_slot(void)
{
    int cpu = sched_getcpu();
    return cpu > 0 ? (size_t)cpu : 0;
}

static MDB_txn *take_pooled(struct index *x)
{
    size_t first = first_slot();
    for (size_t i = 0; i < POOL_SLOTS; i++) {
        struct pool_slot *slot = &x->pool[(first + i) % POOL_SLOTS];
        if (!atomic_load_explicit(&slot->txn, memory_order_relaxed))
            continue;
        MDB_txn *txn = atomic_exchange_explicit(&slot->txn, NULL, memory_order_acquire);
        if (txn)
            return txn;
    }
    return NULL;
}

static void give_pooled(struct index *x, MDB_txn *txn)
{
    size_t first = first_slot();
    mdb_txn_reset(txn);
    for (size_t i = 0; i < POOL_SLOTS; i++) {
        MDB_txn *none = NULL;
        if (atomic_compare_exchange_strong_explicit(&x->pool[(first + i) % POOL_SLOTS].txn, &none, txn,
                                                    memory_order_release, memory_order_relaxed))
            return;
    }
    mdb_txn_abort(txn);
}

int index_begin_read(struct index *x, struct index_txn *ret_txn)
{
    if (index_has_failed(x))
        return -EIO;
    MDB_txn *txn = take_pooled(x);
    int rc;
    if (txn) {
        rc = mdb_txn_renew(txn);
        if (rc != 0)
            mdb_txn_abort(txn);
    } else {
        rc = mdb_txn_begin(x->env, NULL, MDB_RDONLY, &txn);
        if (rc == MDB_READERS_FULL) {
            int dead;
            (void)mdb_reader_check(x->env, &dead);
            rc = mdb_txn_begin(x->env, NULL, MDB_RDONLY, &txn);
        }
    }
    if (rc != 0)
        return translate(x, rc);
    *ret_txn = (struct index_txn){.index = x, .handle = txn};
    return 0;
}

int index_begin_write(struct index *x, struct index_txn *ret_txn)
{
    if (index_has_failed(x))
        return -EIO;
    MDB_txn *txn;
    int rc = mdb_txn_begin(x->env, NULL, 0, &txn);
    if (rc != 0)
        return translate(x, rc);
    *ret_txn = (struct index_txn){.index = x, .handle = txn, .writes = true};
    return 0;
}

/* LMDB has EIO for a write that was cut short, as the last one is that a disk has room for a part of. */
static bool is_disk_full(const struct index *x)
{
    struct statvfs fs;
    return fstatvfs(x->directory, &fs) == 0 && fs.f_bavail == 0;
}

int index_commit(struct index_txn *t)
{
    assert(t->writes && t->handle);
    int r = t->error;
    if (r < 0) {
        index_end(t);
        return r;
    }
    MDB_txn *txn = TAKE_PTR(t->handle); /* LMDB frees it, whatever it returns */
    r = translate(t->index, mdb_txn_commit(txn));
    if (r < 0) {
        /* Where the meta page could not be written LMDB goes on with nothing more, which the next transaction learns.
         */
        struct index_txn probe = {0};
        if (index_begin_read(t->index, &probe) == 0)
            index_end(&probe);
    }
    return r == -EIO && !index_has_failed(t->index) && is_disk_full(t->index) ? -ENOSPC : r;
}

void index_end(struct index_txn *t)
{
    MDB_txn *txn = TAKE_PTR(t->handle);
    if (!txn)
        return;
    if (t->writes)
        mdb_txn_abort(txn);
    else
        give_pooled(t->index, txn);
}

static MDB_val val(const void *data, size_t len)
{
    return (MDB_val){.mv_data = (void *)(uintptr_t)data, .mv_size = len};
}

int index_find(struct index_txn *t, enum index_table table, const void *key, size_t key_len, const void **ret_value,
               size_t *ret_value_len)
{
    if (t->error < 0)
        return t->error;
    MDB_val k = val(key, key_len), v;
    int rc = mdb_get(t->handle, t->index->tables[table], &k, &v);
    if (rc != 0)
        return translate(t->index, rc);
    *ret_value = v.mv_data;
    *ret_value_len = v.mv_size;
    return 0;
}

void index_put(struct index_txn *t, enum index_table table, const void *key, size_t key_len, const void *value,
               size_t value_len)
{
    if (t->error < 0)
        return;
    MDB_val k = val(key, key_len), v = val(value, value_len);
    t->error = translate(t->index, mdb_put(t->handle, t->index->tables[table], &k, &v, 0));
}

void index_delete(struct index_txn *t, enum index_table table, const void *key, size_t key_len)
{
    if (t->error < 0)
        return;
    MDB_val k = val(key, key_len);
    int r = translate(t->index, mdb_del(t->handle, t->index->tables[table], &k, NULL));
    if (r != -ENOENT)
        t->error = r;
}

int index_count(struct index_txn *t, enum index_table table, uint64_t *ret_count)
{
    MDB_stat stat;
    int rc = mdb_stat(t->handle, t->index->tables[table], &stat);
    if (rc != 0)
        return translate(t->index, rc);
    *ret_count = stat.ms_entries;
    return 0;
}

/* ------------------------------------------------------------------ cursors */

int index_cursor_open(struct index_txn *t, enum index_table table, struct index_cursor *ret_cursor)
{
    MDB_cursor *cursor;
    assert(t && t->index);
    int rc = mdb_cursor_open(t->handle, t->index->tables[table], &cursor);
    if (rc != 0)
        return translate(t->index, rc);
    *ret_cursor = (struct index_cursor){.txn = t, .handle = cursor};
    return 0;
}

static int step(struct index_cursor *c, MDB_val k, MDB_cursor_op op)
{
    MDB_val v;
    assert(c->txn);
    int rc = mdb_cursor_get(c->handle, &k, &v, op);
    if (rc != 0)
        return translate(c->txn->index, rc);
    c->key = k.mv_data;
    c->key_len = k.mv_size;
    c->value = v.mv_data;
    c->value_len = v.mv_size;
    return 0;
}

int index_cursor_seek(struct index_cursor *c, const void *key, size_t key_len)
{
    return step(c, val(key, key_len), key_len ? MDB_SET_RANGE : MDB_FIRST);
}

int index_cursor_next(struct index_cursor *c)
{
    return step(c, val(NULL, 0), MDB_NEXT);
}

void index_cursor_close(struct index_cursor *c)
{
    MDB_cursor *cursor = TAKE_PTR(c->handle);
    if (cursor)
        mdb_cursor_close(cursor);
}
