/* Runs a fuzz target over the files of its corpus, so that what the fuzzers found stays found in every
 * build. Prints TAP. Usage: replay-NAME FOLDER */
#undef NDEBUG
#include <assert.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int by_name(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_file(const struct dirent *entry) {
        return entry->d_name[0] != '.';
}

/* In a block of exactly its size, so that a read behind the end is seen. */
static void run(const char *folder, const char *name) {
        auto_cleanup(freep) char *path = path_join(folder, name), *text = NULL;
        auto_cleanup(freep) uint8_t *data = NULL;
        size_t size;

        assert(read_file(path, 16 * 1024 * 1024, &text, &size, NULL) == 0);
        data = malloc(size > 0 ? size : 1);
        assert(data);
        memcpy(data, text, size);
        LLVMFuzzerTestOneInput(data, size);
}

int main(int argc, char **argv) {
        struct dirent **entries;
        int n = argc == 2 ? scandir(argv[1], &entries, is_file, by_name) : -1;

        if (n <= 0) {
                printf("1..1\nnot ok 1 - there is no corpus\n");
                return 1;
        }
        printf("1..%d\n", n);
        for (int i = 0; i < n; i++) {
                run(argv[1], entries[i]->d_name);
                printf("ok %d - %s\n", i + 1, entries[i]->d_name);
                fflush(stdout);
                free(entries[i]);
        }
        free(entries);
        return 0;
}
