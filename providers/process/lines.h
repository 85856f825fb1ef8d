/* The log of one container: a file of lines "MILLISECONDS STREAM TEXT", STREAM 'o' or 'e', replaced by
 * a new one when it has LIMIT_PROCESS_LOG_BYTES; the older ones are NAME.log.1 and on. Text is valid
 * UTF-8 without control characters but tab: what else a program writes becomes '?'. A line longer than
 * LIMIT_PROCESS_LOG_LINE is cut into several. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "orchestrator/base/error.h"
#include "orchestrator/base/str.h"

typedef struct Lines {
        int dir_fd; /* borrowed: the folder */
        char *name; /* owned: the container's */
        int fd;     /* -1: not open */
        off_t size;
        /* also told of each line; may be NULL */
        void (*on_line)(void *userdata, char stream, const char *text, size_t size);
        void *userdata;
} Lines;

/* One of the two streams; starts zeroed, as Lines does. */
typedef struct LinesStream {
        char stream;
        char *text; /* owned: the line so far; NULL when there is none */
        size_t size;
} LinesStream;

int lines_open(Lines *l, int dir_fd, const char *name, Error *reterr);
void lines_close(Lines *l);
/* A full disk loses lines, never the container. */
void lines_feed(Lines *l, LinesStream *s, const char *data, size_t size);
/* Ends the line that has no newline yet. */
void lines_flush(Lines *l, LinesStream *s);
/* A line of the keeper's own, in the stream 'e'. */
void lines_say(Lines *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Makes text printable in place; sizes stay. */
void lines_clean(char *text, size_t size);

/* The last n lines of a container (at most LIMIT_PROCESS_LOG_BYTES), oldest first, raw as in the file,
 * owned; "" when there are none. */
int lines_tail(int dir_fd, const char *name, size_t n, char **ret);
/* The texts alone, each after indent. */
int lines_tail_text(int dir_fd, const char *name, size_t n, const char *indent, char **ret);
/* Splits one raw line (NUL-terminated, without newline). */
bool lines_parse(const char *line, int64_t *ret_ms, char *ret_stream, const char **ret_text);
