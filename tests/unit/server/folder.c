#include "folder.h"

#include "tree.h"

#include "base/auto.h"

#include <check.h>
#include <stdio.h>
#include <sys/stat.h>

static char directory[64];

void folder_create(void)
{
    (void)snprintf(directory, sizeof(directory), "/tmp/entrepot-server-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

void folder_remove(void)
{
    tree_remove(directory);
}

const char *folder_path(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % ARRAY_SIZE(paths)];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

void folder_put(const char *name, const char *text)
{
    AUTO_FCLOSE FILE *f = fopen(folder_path(name), "w");
    ck_assert(f && fputs(text, f) >= 0);
}

void folder_make(const char *name)
{
    ck_assert_int_eq(mkdir(folder_path(name), 0700), 0);
}

void folder_link(const char *target, const char *name)
{
    ck_assert_int_eq(symlink(target, folder_path(name)), 0);
}

void folder_rename(const char *from, const char *to)
{
    ck_assert_int_eq(rename(folder_path(from), folder_path(to)), 0);
}
