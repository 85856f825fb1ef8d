/* Files of a container: from the Score file itself, or from files beside it, read through the reader. */
#include <stdio.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/placeholder.h"
#include "orchestrator/spec/plan-internal.h"

char *base64_encode(const void *data, size_t size) {
        static const char digits[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const unsigned char *at = data;
        char *text, *to;

        text = to = malloc((size + 2) / 3 * 4 + 1);
        if (!text)
                return NULL;
        for (; size > 0; at += 3) {
                size_t n = size < 3 ? size : 3;
                unsigned v = at[0] << 16 | (n > 1 ? at[1] << 8 : 0) | (n > 2 ? at[2] : 0);

                *to++ = digits[v >> 18];
                *to++ = digits[v >> 12 & 63];
                *to++ = n > 1 ? digits[v >> 6 & 63] : '=';
                *to++ = n > 2 ? digits[v & 63] : '=';
                size -= n;
        }
        *to = 0;
        return text;
}

/* ---- targets ---- */

/* Drops "." and empty steps; false when a step is "..". */
static bool path_normalise(const char *path, StrBuf *b) {
        while (*path) {
                size_t n = strcspn(path, "/");

                if (n == 2 && path[0] == '.' && path[1] == '.')
                        return false;
                if (n > 0 && !(n == 1 && path[0] == '.')) {
                        strbuf_addc(b, '/');
                        strbuf_addn(b, path, n);
                }
                path += n;
                path += *path == '/';
        }
        return true;
}

static bool target_is_taken(const char *target) {
        static const char *const taken[] = { "/proc", "/sys", "/dev" };

        for (size_t i = 0; i < N_ELEMENTS(taken); i++) {
                const char *rest = str_after(target, taken[i]);

                if (rest && (!*rest || *rest == '/'))
                        return true;
        }
        return !*target || streq(target, "/app");
}

char *plan_target(Planner *p, const ScoreDocument *d, const char *pointer, const char *target) {
        auto_cleanup(freep) char *folder = *target == '/' ? NULL : plan_workload_folder(p, d);
        auto_strbuf b = { 0 };
        char *text;

        if (*target != '/') /* the checkout is there, and the workload starts in its own folder */
                strbuf_addf(&b, "/app%s%s", folder && *folder ? "/" : "", folder ? folder : "");
        if (*target != '/' && !folder)
                b.broken = true;
        if (!path_normalise(target, &b)) {
                planner_fault(p, d, pointer, NULL, "The target '%.200s' must not go up with '..'",
                              target);
                return NULL;
        }
        text = strbuf_take(&b);
        if (!text)
                spec_faults_no_memory(p->faults);
        if (text && target_is_taken(text)) {
                planner_fault(p, d, pointer, NULL, "Nothing can be put at '%.200s'", target);
                free(text);
                return NULL;
        }
        return text;
}

/* ---- contents ---- */

typedef struct FileMaker {
        Planner *planner;
        const ScoreDocument *document;
        char *pointer; /* of the file */
        bool expand;
        json_t *made;
} FileMaker;

/* Contents that the loader has not seen may refer to what is not there. */
static void check_references(const FileMaker *m, const char *source, const char *text) {
        PlaceholderScan scan = { .string = text };
        PlaceholderPart part;

        while (placeholder_next(&scan, &part)) {
                auto_cleanup(strv_freep) char **parts = NULL;
                auto_error error = { 0 };
                int r = 0;

                if (!part.reference)
                        continue;
                r = placeholder_check(part.text, part.size, &parts, NULL, &error);
                if (r == -ENOMEM)
                        spec_faults_no_memory(m->planner->faults);
                else if (r < 0)
                        planner_fault(m->planner, m->document, m->pointer,
                                      "noExpand: true, or $${...} in the file", "In '%s': %s",
                                      source, error_text(&error, r));
                else if (parts && streq(parts[0], "resources") && parts[1] &&
                         !score_project_key(m->planner->project, m->document->workload, parts[1]))
                        planner_fault(m->planner, m->document, m->pointer,
                                      "noExpand: true, or $${...} in the file",
                                      "In '%s': there is no resource '%s'", source, parts[1]);
        }
}

static int put_text(const FileMaker *m, const char *text) {
        json_t *value = m->expand ? template_text(text, strlen(text)) : json_string(text);

        return json_object_set_new(m->made, "content", value) < 0 ? -ENOMEM : 0;
}

static int put_bytes(const FileMaker *m, const char *data, size_t size) {
        auto_cleanup(freep) char *text = base64_encode(data, size);

        return !text || json_object_set_new(m->made, "binary", json_string(text)) < 0 ? -ENOMEM : 0;
}

static int put_source(const FileMaker *m, const char *source) {
        auto_cleanup(freep) char *folder = plan_folder(m->document->file), *path = NULL,
                                 *text = NULL;
        auto_error error = { 0 };
        Planner *p = m->planner;
        size_t size;
        int r;

        path = folder ? plan_join(folder, source) : NULL;
        if (!path)
                return -ENOMEM;
        if (!plan_path_is_local(source)) {
                planner_fault(
                        p, m->document, m->pointer, NULL,
                        "'source' must be beneath the folder of the Score file: '%.200s' is not",
                        source);
                return 0;
        }
        r = planner_read(p, path, LIMIT_SPEC_SOURCE_BYTES, &text, &size, &error);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                planner_fault(p, m->document, m->pointer, NULL, "'source': %s",
                              error_text(&error, r));
                return 0;
        }
        p->n_source_bytes += size;
        if (p->n_source_bytes > LIMIT_SPEC_SOURCES_BYTES) {
                planner_fault(p, m->document, m->pointer, NULL,
                              "The files of all 'source' together are larger than %d bytes",
                              LIMIT_SPEC_SOURCES_BYTES);
                return 0;
        }
        if (strlen(text) != size || !utf8_valid(text, size))
                return put_bytes(m, text, size);
        if (m->expand)
                check_references(m, source, text);
        return put_text(m, text);
}

static int put_mode(const FileMaker *m, const char *mode) {
        char text[8] = "0644";

        if (mode)
                snprintf(text, sizeof(text), "0%.3s", mode + (strlen(mode) == 4));
        if (!strchr("4567", text[1]))
                planner_fault(m->planner, m->document, m->pointer, "mode: \"0644\"",
                              "A file must be readable by its owner, which mode '%s' is not", text);
        return json_object_set_new(m->made, "mode", json_string(text)) < 0 ? -ENOMEM : 0;
}

static int file_add(FileMaker *m, const char *target, const json_t *file, json_t *to) {
        const char *content = json_string_value(json_object_get(file, "content"));
        const char *binary = json_string_value(json_object_get(file, "binaryContent"));
        auto_cleanup(freep) char *at = plan_target(m->planner, m->document, m->pointer, target);
        int r;

        if (!at)
                return 0;
        m->expand = !json_is_true(json_object_get(file, "noExpand"));
        m->made = json_pack("{s:s}", "target", at);
        if (json_array_append_new(to, m->made) < 0)
                return -ENOMEM;
        r = put_mode(m, json_string_value(json_object_get(file, "mode")));
        if (r < 0)
                return r;
        if (content)
                return put_text(m, content);
        if (binary)
                return json_object_set_new(m->made, "binary", json_string(binary)) < 0 ? -ENOMEM
                                                                                       : 0;
        return put_source(m, json_string_value(json_object_get(file, "source")));
}

int plan_files(Planner *p, const ScoreDocument *d, const char *container, const json_t *files,
               json_t **ret) {
        auto_cleanup(json_decrefp) json_t *made = json_array();
        const char *target;
        json_t *file;
        int r;

        json_object_foreach((json_t *) files, target, file) {
                auto_cleanup(freep) char *pointer = NULL;
                auto_strbuf b = { 0 };
                FileMaker m = { .planner = p, .document = d };

                strbuf_addf(&b, "/containers/%s/files", container);
                json_pointer_add(&b, target);
                pointer = strbuf_take(&b);
                if (!pointer)
                        return -ENOMEM;
                m.pointer = pointer;
                r = file_add(&m, target, file, made);
                if (r < 0)
                        return r;
        }
        *ret = TAKE(made);
        return 0;
}
