#include "providers/process/lines.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/time.h"

static char *file_name(const char *name, unsigned number) {
        return number ? str_format("%s.log.%u", name, number) : str_format("%s.log", name);
}

static int file_open(Lines *l) {
        auto_cleanup(freep) char *name = file_name(l->name, 0);
        struct stat st;

        if (!name)
                return -ENOMEM;
        l->fd = openat(l->dir_fd, name, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
                       0600);
        if (l->fd < 0)
                return -errno;
        l->size = fstat(l->fd, &st) == 0 ? st.st_size : 0;
        return 0;
}

static void files_rotate(Lines *l) {
        l->fd = fd_close(l->fd);
        for (unsigned i = LIMIT_PROCESS_LOG_FILES - 1; i > 0; i--) {
                auto_cleanup(freep) char *from = file_name(l->name, i - 1),
                                         *to = file_name(l->name, i);

                if (from && to)
                        (void) renameat(l->dir_fd, from, l->dir_fd, to);
        }
        (void) file_open(l); /* without a file lines are lost, and the next write tries again */
}

int lines_open(Lines *l, int dir_fd, const char *name, Error *reterr) {
        int r;

        l->fd = -1;
        l->dir_fd = dir_fd;
        l->name = strdup(name);
        if (!l->name)
                return -ENOMEM;
        r = file_open(l);
        return r < 0 ? error_set(reterr, r, "Cannot open the log of '%s': %s", name, strerror(-r))
                     : 0;
}

void lines_close(Lines *l) {
        l->fd = fd_close(l->fd);
        free(TAKE(l->name));
}

/* Bytes of the valid UTF-8 sequence at s, or 0. */
static size_t sequence_size(const char *s, size_t size) {
        for (size_t n = 2; n <= 4 && n <= size; n++)
                if (utf8_valid(s, n) && ((unsigned char) s[0] & 0xc0) == 0xc0)
                        return n;
        return 0;
}

void lines_clean(char *text, size_t size) {
        for (size_t i = 0; i < size;) {
                unsigned char c = (unsigned char) text[i];
                size_t n = c < 0x80 ? 1 : sequence_size(text + i, size - i);

                if (n == 0 || (c < 0x20 && c != '\t') || c == 0x7f) {
                        text[i] = '?';
                        n = 1;
                }
                i += n;
        }
}

static void line_end(Lines *l, LinesStream *s, StrBuf *out) {
        size_t size = s->size;

        if (size > 0 && s->text[size - 1] == '\r')
                size--;
        lines_clean(s->text, size);
        strbuf_addf(out, "%lld %c ", (long long) clock_wall_ms(&clock_system), s->stream);
        strbuf_addn(out, s->text, size);
        strbuf_addc(out, '\n');
        if (l->on_line)
                l->on_line(l->userdata, s->stream, s->text, size);
        s->size = 0;
}

static void out_write(Lines *l, StrBuf *out) {
        if (l->fd < 0)
                (void) file_open(l);
        if (l->fd < 0 || out->broken || !out->text)
                return;
        if (write_all(l->fd, out->text, out->size) == 0)
                l->size += (off_t) out->size;
        if (l->size >= LIMIT_PROCESS_LOG_BYTES)
                files_rotate(l);
}

void lines_feed(Lines *l, LinesStream *s, const char *data, size_t size) {
        auto_strbuf out = { 0 };

        for (size_t i = 0; i < size; i++) {
                if (!s->text)
                        s->text = malloc(LIMIT_PROCESS_LOG_LINE);
                if (!s->text)
                        return;
                if (data[i] == '\n') {
                        line_end(l, s, &out);
                        continue;
                }
                if (s->size == LIMIT_PROCESS_LOG_LINE)
                        line_end(l, s, &out);
                s->text[s->size++] = data[i];
        }
        out_write(l, &out);
        if (s->size == 0)
                free(TAKE(s->text)); /* many containers are silent for days */
}

void lines_flush(Lines *l, LinesStream *s) {
        if (s->size > 0)
                lines_feed(l, s, "\n", 1);
        free(TAKE(s->text));
}

void lines_say(Lines *l, const char *fmt, ...) {
        LinesStream s = { .stream = 'e' };
        auto_strbuf b = { 0 };
        va_list args;

        strbuf_add(&b, "[mayfly] ");
        va_start(args, fmt);
        strbuf_addv(&b, fmt, args);
        va_end(args);
        strbuf_add(&b, "\n");
        if (!b.broken)
                lines_feed(l, &s, b.text, b.size);
        lines_flush(l, &s);
}

/* Puts the file's last lines before what is there already; 1 when more are wanted. */
static int tail_add(int dir_fd, const char *name, unsigned number, size_t *n, char **text) {
        auto_cleanup(freep) char *file = file_name(name, number), *all = NULL, *both = NULL;
        size_t size, at;
        int r;

        if (!file)
                return -ENOMEM;
        r = read_file_at(dir_fd, file, 4 * LIMIT_PROCESS_LOG_BYTES, &all, &size, NULL);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        for (at = size; at > 0; at--)
                if (all[at - 1] == '\n' && at < size && --*n == 0)
                        break;
        if (at == 0 && size > 0)
                --*n;
        both = str_format("%s%s", all + at, *text);
        if (!both)
                return -ENOMEM;
        free(*text);
        *text = TAKE(both);
        return *n > 0 ? 1 : 0;
}

int lines_tail(int dir_fd, const char *name, size_t n, char **ret) {
        auto_cleanup(freep) char *text = strdup("");
        int r = n > 0;

        if (!text)
                return -ENOMEM;
        for (unsigned i = 0; r > 0 && i < LIMIT_PROCESS_LOG_FILES; i++)
                r = tail_add(dir_fd, name, i, &n, &text);
        if (r < 0)
                return r;
        *ret = TAKE(text);
        return 0;
}

bool lines_parse(const char *line, int64_t *ret_ms, char *ret_stream, const char **ret_text) {
        char *end;

        *ret_ms = strtoll(line, &end, 10);
        if (end == line || end[0] != ' ' || (end[1] != 'o' && end[1] != 'e') || end[2] != ' ')
                return false;
        *ret_stream = end[1];
        *ret_text = end + 3;
        return true;
}

int lines_tail_text(int dir_fd, const char *name, size_t n, const char *indent, char **ret) {
        auto_cleanup(freep) char *raw = NULL;
        auto_strbuf b = { 0 };
        char *at = NULL;
        int r = lines_tail(dir_fd, name, n, &raw);

        if (r < 0)
                return r;
        for (char *line = strtok_r(raw, "\n", &at); line; line = strtok_r(NULL, "\n", &at)) {
                const char *text;
                int64_t ms;
                char stream;

                if (lines_parse(line, &ms, &stream, &text))
                        strbuf_addf(&b, "%s%s%s", b.size ? "\n" : "", indent, text);
        }
        *ret = strbuf_take(&b);
        return *ret ? 0 : -ENOMEM;
}
