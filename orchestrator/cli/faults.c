#include "orchestrator/cli/faults.h"

#include "orchestrator/glue/json.h"

#define WINDOW 120 /* characters of a line that are shown */

#define BOLD  "\x1b[1m"
#define RED   "\x1b[31m"
#define GREEN "\x1b[32m"
#define PLAIN "\x1b[0m"

/* The character at s, and its size in *ret_size; bytes that are no UTF-8 count one by one. */
static unsigned character_at(const char *s, const char *end, size_t *ret_size) {
        unsigned char first = (unsigned char) *s;
        size_t n = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        unsigned value = first;

        if (n > (size_t) (end - s) || !utf8_valid(s, n))
                n = 1;
        if (n > 1)
                value = first & (0xffu >> (n + 1));
        for (size_t i = 1; i < n; i++)
                value = value << 6 | ((unsigned char) s[i] & 0x3f);
        if (n == 1 && first >= 0x80)
                value = 0xfffd;
        *ret_size = n;
        return value;
}

static bool is_unsafe(unsigned c) {
        return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
               (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfffd;
}

void terminal_safe(StrBuf *b, const char *text, size_t size) {
        for (const char *s = text, *end = text + size; s < end;) {
                size_t n;
                unsigned c = character_at(s, end, &n);

                if (is_unsafe(c))
                        strbuf_addf(b, "\\u{%x}", c);
                else
                        strbuf_addn(b, s, n);
                s += n;
        }
}

/* The line of that number, without its end; NULL when there is none. */
static const char *line_of(const Input *input, unsigned number, size_t *ret_size) {
        const char *s = input->text, *end = s + input->size, *stop;

        for (; number > 1 && s; number--) {
                s = memchr(s, '\n', (size_t) (end - s));
                s = s ? s + 1 : NULL;
        }
        if (!s || s >= end)
                return NULL;
        stop = memchr(s, '\n', (size_t) (end - s));
        *ret_size = (size_t) ((stop ? stop : end) - s);
        if (*ret_size > 0 && s[*ret_size - 1] == '\r')
                (*ret_size)--;
        return s;
}

/* How many characters the thing at s has: a quoted text, or a word. */
static size_t width_of(const char *s, const char *end) {
        size_t n = 1;

        if (*s == '"' || *s == '\'') {
                for (const char *c = s + 1; c < end; c++) {
                        n += ((unsigned char) *c & 0xc0) != 0x80;
                        if (*c == *s)
                                return n;
                }
                return 1;
        }
        for (const char *c = s + 1;
             c < end && !strchr(" \t,{}[]", *c) && !(*c == ':' && (c + 1 == end || c[1] == ' '));
             c++)
                n += ((unsigned char) *c & 0xc0) != 0x80;
        return n;
}

/* The line, one column for each character whatever it is, and the mark below. */
static void print_excerpt(FILE *out, const SpecFault *fault, const Inputs *inputs, bool colour) {
        const Input *input = inputs_find(inputs, fault->file);
        size_t size = 0, n, column = 1, from, width = 1;
        const char *line = NULL;
        auto_strbuf shown = { 0 };

        if (input && input->text && fault->line > 0)
                line = line_of(input, fault->line, &size);
        if (!line)
                return;
        from = fault->column > WINDOW / 2 ? fault->column - WINDOW / 2 : 1;
        for (const char *s = line, *end = line + size; s < end && column < from + WINDOW;
             s += n, column++) {
                unsigned c = character_at(s, end, &n);

                if (column == fault->column)
                        width = width_of(s, end);
                if (column < from)
                        continue;
                if (c == '\t')
                        strbuf_addc(&shown, ' ');
                else if (is_unsafe(c))
                        strbuf_addc(&shown, '?');
                else
                        strbuf_addn(&shown, s, n);
        }
        fprintf(out, "%6u | %s\n       | %*s%s^", fault->line, shown.text ? shown.text : "",
                (int) (fault->column > from ? fault->column - from : 0), "", colour ? GREEN : "");
        for (size_t i = 1; i < width && fault->column - from + i < WINDOW; i++)
                fputc('~', out);
        fprintf(out, "%s\n", colour ? PLAIN : "");
}

static void print_one(FILE *out, const SpecFault *fault, const char *word, const Inputs *inputs,
                      bool colour) {
        auto_strbuf message = { 0 }, hint = { 0 }, file = { 0 };

        terminal_safe(&file, fault->file, strlen(fault->file));
        terminal_safe(&message, fault->message, strlen(fault->message));
        fprintf(out, "%s%s:", colour ? BOLD : "", file.text ? file.text : "");
        if (fault->line > 0)
                fprintf(out, "%u:%u:", fault->line, fault->column);
        fprintf(out, " %s%s:%s %s\n", colour && !word ? RED : "",
                word ? word : spec_stage_to_string(fault->stage), colour ? PLAIN : "",
                message.text ? message.text : "");
        print_excerpt(out, fault, inputs, colour);
        if (!fault->hint)
                return;
        terminal_safe(&hint, fault->hint, strlen(fault->hint));
        fprintf(out, "       = %s\n", hint.text ? hint.text : "");
}

void faults_print(FILE *out, const SpecFaults *faults, const char *word, const Inputs *inputs,
                  bool colour) {
        for (size_t i = 0; i < faults->n_items; i++)
                print_one(out, &faults->items[i], word, inputs, colour);
        if (faults->n_dropped > 0)
                fprintf(out, "and %zu more\n", faults->n_dropped);
}

int faults_print_json(FILE *out, const SpecFaults *faults, const SpecFaults *notices) {
        json_auto_t *answer = json_object();
        auto_strbuf b = { 0 };

        if (json_object_set_new(answer, "valid",
                                json_boolean(faults->n_items + faults->n_dropped == 0)) < 0 ||
            json_object_set_new(answer, "faults", spec_faults_to_json(faults)) < 0 ||
            (notices->n_items > 0 &&
             json_object_set_new(answer, "notices", spec_faults_to_json(notices)) < 0))
                return -ENOMEM;
        json_write(&b, answer, 0);
        if (b.broken)
                return -ENOMEM;
        fprintf(out, "%s\n", b.text);
        return 0;
}
