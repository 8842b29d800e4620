/*
 * Replays a fuzz target's corpus without a fuzzing engine: every file of the directories named on the command line goes
 * through LLVMFuzzerTestOneInput() once, under whatever sanitizer the build has. Prints TAP; an empty corpus fails.
 */
#include "base/auto.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REPLAY_MAX (8u << 20)

static int replay(const char *path)
{
    AUTO_FCLOSE FILE *f = fopen(path, "rb");
    AUTO_FREE uint8_t *data = malloc(REPLAY_MAX);
    if (!f || !data)
        return -1;
    size_t n = fread(data, 1, REPLAY_MAX, f);
    AUTO_FREE uint8_t *exact = malloc(n ? n : 1); /* so that a read past the end is seen */
    if (!exact || ferror(f))
        return -1;
    memcpy(exact, data, n);
    return LLVMFuzzerTestOneInput(exact, n);
}

int main(int argc, char **argv)
{
    int count = 0, failed = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (!dir) {
            printf("Bail out! %s cannot be read\n", argv[i]);
            return 1;
        }
        for (struct dirent *e; (e = readdir(dir));) {
            if (e->d_name[0] == '.')
                continue;
            char path[4096];
            (void)snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
            int r = replay(path);
            printf("%s %d - %s\n", r == 0 ? "ok" : "not ok", ++count, e->d_name);
            (void)fflush(stdout);
            failed += r != 0;
        }
        (void)closedir(dir);
    }
    if (count == 0)
        printf("not ok %d - the corpus is empty\n", ++count);
    printf("1..%d\n", count);
    return failed != 0;
}
