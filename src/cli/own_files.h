/*
 * Files of ours in a directory that belongs to another program. Ours are those whose first line begins with
 * HOSTS_MARK; no other is written or removed. A file is there as a whole or not at all, whoever reads meanwhile and
 * whenever we die. No symbolic link below the directory is followed. One thread at a time for a directory.
 */
#pragma once

#include "cli/hosts.h"

/* Puts the text at `path` below the directory, and makes the directories between. 0, 1 where that changed something,
 * -EEXIST where somebody else's file is there (with another text), or another negative errno. */
MUST_CHECK int own_file_write(int directory, const char *path, const char *text);
/* Removes ours but those in `keep` (NULL: all), and the directories that are empty then. How many files went, or a
 * negative errno, with others removed all the same. */
MUST_CHECK int own_files_remove(int directory, const struct hosts_files *keep);
