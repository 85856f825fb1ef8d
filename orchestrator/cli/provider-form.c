/* The form of an answer: lines of JSON objects with one key each, and what may be in them. Texts that are
 * repeated to a person are made printable first: a provider may write anything. */
#include <stdio.h>
#include <sys/wait.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/cli/provider-call.h"
#include "orchestrator/glue/child.h"

static const char *const classes[] = { "invalid",   "denied",        "gone",
                                       "conflict",  "dependency",    "throttled",
                                       "transient", "unrecoverable", NULL };

typedef enum Form {
        FORM_TEXT,
        FORM_WHOLE,
        FORM_BOOLEAN,
        FORM_OBJECT,
        FORM_OBJECT_OR_NULL,
        FORM_LIST,
        FORM_TEXTS,
        FORM_PRESENCE,
} Form;

typedef struct Member {
        const char *key;
        Form form;
        bool needed;
} Member;

static const char *const form_names[] = {
        [FORM_TEXT] = "a text",
        [FORM_WHOLE] = "a whole number of at least 0",
        [FORM_BOOLEAN] = "true or false",
        [FORM_OBJECT] = "an object",
        [FORM_OBJECT_OR_NULL] = "an object or null",
        [FORM_LIST] = "a list",
        [FORM_TEXTS] = "a list of texts",
        [FORM_PRESENCE] = "'present', 'absent' or 'uncertain'",
};

static const Member progress_members[] = {
        { "done", FORM_WHOLE }, { "total", FORM_WHOLE }, { "text", FORM_TEXT }, { 0 }
};
static const Member error_members[] = { { "class", FORM_TEXT, true },
                                        { "message", FORM_TEXT, true },
                                        { "retry_after_ms", FORM_WHOLE },
                                        { 0 } };
static const Member item_members[] = {
        { "uid", FORM_TEXT },         { "marker", FORM_TEXT },
        { "type", FORM_TEXT },        { "environment", FORM_TEXT },
        { "present", FORM_PRESENCE }, { "level", FORM_TEXT },
        { "detail", FORM_TEXT },      { "change", FORM_TEXT },
        { "text", FORM_TEXT },        { 0 },
};
static const Member result_members[] = {
        { "state", FORM_OBJECT_OR_NULL }, { "outputs", FORM_OBJECT },   { "secret", FORM_TEXTS },
        { "complete", FORM_BOOLEAN },     { "present", FORM_PRESENCE }, { "marker", FORM_TEXT },
        { "ready", FORM_BOOLEAN },        { "level", FORM_TEXT },       { "detail", FORM_TEXT },
        { "notes", FORM_TEXTS },          { "removed", FORM_LIST },     { "absent", FORM_LIST },
        { "exit_code", FORM_WHOLE },      { "types", FORM_LIST },       { "verbs", FORM_TEXTS },
        { "protocol", FORM_WHOLE },       { "name", FORM_TEXT },        { 0 },
};

/* ---- texts ---- */

char *text_printable(const char *text, size_t size, size_t max) {
        auto_cleanup(freep) char *copy = strndup(text, size);
        auto_strbuf out = { 0 };

        if (!copy)
                return NULL;
        utf8_repair(copy);
        for (const char *c = copy; *c;) {
                size_t n = 1;
                bool control = (unsigned char) *c < 0x20 || *c == 0x7f ||
                               ((unsigned char) *c == 0xc2 && (unsigned char) c[1] < 0xa0);

                while (((unsigned char) c[n] & 0xc0) == 0x80)
                        n++;
                if (out.size + n > max)
                        break;
                if (control)
                        strbuf_addc(&out, ' ');
                else
                        strbuf_addn(&out, c, n);
                c += n;
        }
        return strbuf_take(&out);
}

void words_add(StrBuf *words, const json_t *value) {
        const char *key;
        json_t *member;
        size_t i;

        if (json_is_string(value))
                strbuf_addn(words, json_string_value(value), json_string_length(value));
        else if (json_is_number(value)) {
                auto_cleanup(freep) char *text = json_dumps(value, JSON_ENCODE_ANY);

                strbuf_add(words, text ? text : "");
        }
        if (json_is_string(value) || json_is_number(value))
                strbuf_addc(words, '\n');
        json_object_foreach((json_t *) value, key, member) {
                strbuf_addf(words, "%s\n", key);
                words_add(words, member);
        }
        json_array_foreach(value, i, member)
                words_add(words, member);
}

const char *answer_class(const Answer *answer) {
        const char *class = json_string_value(json_object_get(answer->error, "class"));

        return class ? class : "";
}

char *answer_words(const Answer *answer, char *buf) {
        const char *message = json_string_value(json_object_get(answer->error, "message"));
        auto_cleanup(freep) char *printable = NULL;
        char how[64];

        printable = text_printable(message ? message : "", message ? strlen(message) : 0, 200);
        if (answer->fault)
                snprintf(buf, 256, "%s", answer->fault);
        else if (answer->error)
                snprintf(buf, 256, "%s: %s", answer_class(answer), printable ? printable : "");
        else if (answer->result)
                snprintf(buf, 256, "a result");
        else
                snprintf(buf, 256, "no answer; it %s", child_status_format(answer->status, how));
        return utf8_repair(buf);
}

void answer_fault(Answer *answer, const char *fmt, ...) {
        auto_strbuf text = { 0 };
        va_list args;

        if (answer->fault)
                return;
        va_start(args, fmt);
        strbuf_addv(&text, fmt, args);
        va_end(args);
        answer->fault = text_printable(text.text ? text.text : "", text.size, 250);
}

/* ---- members ---- */

static bool is_form(const json_t *value, Form form) {
        const char *text = json_string_value(value);
        const json_t *one;
        size_t i;

        switch (form) {
        case FORM_TEXT:
                return text;
        case FORM_WHOLE:
                return json_is_integer(value) && json_integer_value(value) >= 0;
        case FORM_BOOLEAN:
                return json_is_boolean(value);
        case FORM_OBJECT:
                return json_is_object(value);
        case FORM_OBJECT_OR_NULL:
                return json_is_object(value) || json_is_null(value);
        case FORM_PRESENCE:
                return text && (streq(text, "present") || streq(text, "absent") ||
                                streq(text, "uncertain"));
        default:
                break;
        }
        if (!json_is_array(value))
                return false;
        json_array_foreach(value, i, one) {
                if (form == FORM_TEXTS && !json_is_string(one))
                        return false;
        }
        return true;
}

/* closed: no other members than these. */
static void members_check(Answer *answer, const char *line, const json_t *object,
                          const Member *members, bool closed) {
        size_t n = 0;

        if (!json_is_object(object)) {
                answer_fault(answer, "a '%s' line that holds no object", line);
                return;
        }
        for (const Member *m = members; m->key; m++) {
                const json_t *value = json_object_get(object, m->key);

                n += value != NULL;
                if (!value && m->needed)
                        answer_fault(answer, "a '%s' line without '%s'", line, m->key);
                else if (value && !is_form(value, m->form))
                        answer_fault(answer, "'%s' of a '%s' line must be %s", m->key, line,
                                     form_names[m->form]);
        }
        if (closed && n != json_object_size(object))
                answer_fault(answer, "a '%s' line with an unknown member", line);
}

static void error_check(Answer *answer, const json_t *error) {
        const char *message = json_string_value(json_object_get(error, "message"));

        members_check(answer, "error", error, error_members, true);
        if (!strv_contains((char *const *) classes, answer_class(answer)))
                answer_fault(answer, "an error of the unknown class '%s'", answer_class(answer));
        if (!message || !*message)
                answer_fault(answer, "an error without a message");
}

/* ---- lines ---- */

static void result_words(Answer *answer, const json_t *result) {
        const char *key;
        json_t *member;

        json_object_foreach((json_t *) result, key, member) {
                if (streq(key, "state"))
                        words_add(&answer->states, member);
                else if (!streq(key, "outputs"))
                        words_add(&answer->words, member);
        }
}

static void object_read(Answer *answer, const json_t *object) {
        json_t *item = json_object_get(object, "item"), *result = json_object_get(object, "result"),
               *error = json_object_get(object, "error"), *log = json_object_get(object, "log"),
               *progress = json_object_get(object, "progress");

        if (json_object_size(object) != 1 || (!item && !result && !error && !log && !progress))
                answer_fault(answer,
                             "a line that is not one of log, progress, item, result and error");
        if (result)
                result_words(answer, result);
        else
                words_add(&answer->words, object);
        if (log && !json_is_string(log))
                answer_fault(answer, "a 'log' line that holds no text");
        if (progress)
                members_check(answer, "progress", progress, progress_members, true);
        if (item)
                members_check(answer, "item", item, item_members, false);
        if (item && json_array_size(answer->items) <= LIMIT_PROVIDER_LISTED)
                json_array_append(answer->items, item);
        if (result && !answer->result && json_is_object(result))
                answer->result = json_incref(result);
        if (error && !answer->error && json_is_object(error))
                answer->error = json_incref(error);
        if (result)
                members_check(answer, "result", result, result_members, false);
        if (error)
                error_check(answer, error);
}

static void line_read(Answer *answer, const char *line, size_t size) {
        json_auto_t *object = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);

        if (answer->result || answer->error)
                answer_fault(answer, "a line after the answer");
        if (size > LIMIT_PROVIDER_LINE_BYTES)
                answer_fault(answer, "a line longer than %d bytes", LIMIT_PROVIDER_LINE_BYTES);
        if (json_is_object(object)) {
                object_read(answer, object);
                return;
        }
        strbuf_addn(&answer->words, line, size);
        strbuf_addc(&answer->words, '\n');
        answer_fault(answer, "a line that is no JSON object: '%.*s'", (int) (size > 60 ? 60 : size),
                     line);
}

/* Form is demanded of an answer that nobody interrupted. */
void answer_read(Answer *answer, const StrBuf *out) {
        const char *at = out->text, *end = out->text + out->size;

        while (at && at < end) {
                const char *newline = memchr(at, '\n', (size_t) (end - at));

                if (!newline && (answer->interrupted || answer->stopped))
                        return;
                if (!newline)
                        answer_fault(answer, "a last line without a newline");
                if (!newline)
                        newline = end;
                if (newline > at)
                        line_read(answer, at, (size_t) (newline - at));
                at = newline + 1;
        }
        if (answer->interrupted || answer->overdue || answer->stopped)
                return;
        if (!answer->result && !answer->error)
                answer_fault(answer, "no answer");
        if (answer->status != 0) {
                char how[64];

                answer_fault(answer, "it %s", child_status_format(answer->status, how));
        }
}
