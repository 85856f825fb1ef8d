/* Request heads: whatever the bytes, the reader stays within them, gives the same answer however they
 * are cut, and what it writes again it reads as the same request. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/gateway/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_host(const char *host) {
        size_t n = strlen(host);

        assert(n >= 1 && n <= HEAD_HOST_MAX);
        assert(strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n);
        assert(host[0] != '.' && host[n - 1] != '.' && !strstr(host, ".."));
}

static void check_written(const char *text, const Head *head) {
        const char *reason;
        char *to = malloc(head->size + HEAD_CLOSE_EXTRA);
        Head again;
        int status, r;
        size_t n;

        n = head_write_close(text, head, to);
        assert(n <= head->size + HEAD_CLOSE_EXTRA);
        r = head_parse(to, n, &again, &status, &reason);
        /* one line more may be one too many; it is never read as another request */
        assert(r == 1 || status == 431);
        if (r == 1) {
                assert(again.size == n && !again.keep_alive && !again.upgrade);
                assert(strcmp(again.host, head->host) == 0);
                assert(again.n_path == head->n_path &&
                       memcmp(again.path, head->path, head->n_path) == 0);
                assert(again.content_length == head->content_length &&
                       again.chunked == head->chunked);
        }
        free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *) data, *reason = NULL;
        Head head, part;
        int r, status = 0;

        r = head_parse(text, size, &head, &status, &reason);
        if (r < 0) {
                assert(status >= 400 && status < 600 && reason);
                return 0;
        }
        if (r == 0) {
                assert(size < LIMIT_DOOR_HEAD_BYTES);
                return 0;
        }
        assert(head.size <= size && head.size <= LIMIT_DOOR_HEAD_BYTES);
        assert(memcmp(text + head.size - 4, "\r\n\r\n", 4) == 0 && !memchr(text, 0, head.size));
        check_host(head.host);
        assert(head_parse(text, head.size, &part, &status, &reason) == 1 && part.size == head.size);
        assert(head_parse(text, head.size - 1, &part, &status, &reason) == 0);
        check_written(text, &head);
        return 0;
}
