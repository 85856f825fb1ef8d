/* Reading the shared samples where they lie. A test whose samples are absent skips. */
#pragma once

#include <stdlib.h>
#include <sys/stat.h>

#include <jansson.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"

/* "$MAYFLY_SHARED/score/NAME", owned. */
static inline char *shared_score(const char *name) {
        const char *shared = getenv("MAYFLY_SHARED");

        return str_format("%s/score/%s", shared ? shared : "../shared", name);
}

/* Skips the running test when the sample is not there; says so once. */
static inline char *shared_or_skip(const char *name) {
        char *path = shared_score(name);

        assert_non_null(path);
        if (!path_exists(path)) {
                print_message("# skipped: there is no %s\n", path);
                free(path);
                skip();
        }
        return path;
}

static inline char *read_text(const char *path, size_t *ret_size) {
        auto_error e = { 0 };
        char *text = NULL;

        if (read_file(path, 4 * 1024 * 1024, &text, ret_size, &e) < 0)
                fail_msg("%s: %s", path, e.message);
        return text;
}
