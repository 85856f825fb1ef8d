/* Containers of a workload as params. A workload runs from the checkout: an image other than "." needs a
 * runtime that can run images, or a command in mayfly.yaml that stands in for it. */
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/placeholder.h"
#include "orchestrator/spec/plan-internal.h"
#include "orchestrator/spec/quantity.h"

typedef struct Maker {
        Planner *planner;
        const ScoreDocument *document;
        const char *name; /* of the container */
        const json_t *container;
        bool images; /* the runtime runs images */
        bool only;   /* at most one container needs a command from outside */
        json_t *made;
} Maker;

static char *pointer_to(const Maker *m, const char *part, const char *key) {
        auto_strbuf b = { 0 };

        strbuf_addf(&b, "/containers/%s/%s", m->name, part);
        if (key)
                json_pointer_add(&b, key);
        return strbuf_take(&b);
}

static int put(const Maker *m, const char *name, json_t *value) {
        return json_object_set_new(m->made, name, value) < 0 ? -ENOMEM : 0;
}

static json_t *copy_or(const json_t *value, json_t *otherwise) {
        if (!value)
                return otherwise;
        json_decref(otherwise);
        return json_deep_copy(value);
}

/* ---- image and command ---- */

static bool needs_command(const json_t *container, bool images) {
        bool checkout = streq(json_string_value(json_object_get(container, "image")), ".");

        return checkout ? !json_object_get(container, "command") : !images;
}

/* Names of definitions that send workloads to a runtime for images. */
static void image_fault(const Maker *m, const char *image) {
        auto_cleanup(freep) char *pointer = pointer_to(m, "image", NULL);
        const Config *c = m->planner->context->config;
        auto_strbuf list = { 0 };

        for (size_t i = 0; i < c->n_definitions; i++)
                if (streq(c->definitions[i].type, "workload") &&
                    !streq(c->definitions[i].provider, "process") &&
                    !streq(c->definitions[i].provider, "systemd"))
                        strbuf_addf(&list, "%s'%s' (definition '%s')", list.size > 0 ? ", " : "",
                                    c->definitions[i].provider, c->definitions[i].name);
        planner_note(m->planner, m->document, pointer ? pointer : "",
                     "image: . and a command, or 'command' for this workload in mayfly.yaml",
                     "The container '%s' wants the image '%s', but this workload runs from the "
                     "checkout, without images; runtimes that can run images here: %s",
                     m->name, image,
                     list.size > 0 && !list.broken ? list.text : "none is configured");
}

static int make_command(const Maker *m) {
        const char *image = json_string_value(json_object_get(m->container, "image"));
        const json_t *command = json_object_get(m->container, "command");
        json_t *found = NULL;
        bool checkout = streq(image, ".");
        int r;

        if (!checkout && !m->images && m->only &&
            planner_settings(m->planner, m->document->workload, "command")) {
                image = "."; /* the project says what stands in for the image */
                checkout = true;
                command = NULL;
        } else if (!checkout && !m->images) {
                image_fault(m, image);
        }
        if (checkout && !command) {
                r = plan_command(m->planner, m->document, m->name, m->only, &found);
                if (r < 0)
                        return r;
        }
        r = put(m, "image", json_string(image));
        if (r == 0)
                r = put(m, "command", found ? found : copy_or(command, json_array()));
        else
                json_decref(found);
        if (r == 0)
                r = put(m, "args", copy_or(json_object_get(m->container, "args"), json_array()));
        return r;
}

/* ---- variables ---- */

static bool variable_name_valid(const char *name) {
        size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

        return n > 0 && !name[n] && (*name < '0' || *name > '9');
}

static int make_variables(const Maker *m) {
        auto_cleanup(json_decrefp) json_t *made = json_object();
        const char *name;
        json_t *value;

        json_object_foreach(json_object_get(m->container, "variables"), name, value) {
                if (!variable_name_valid(name)) {
                        auto_cleanup(freep) char *pointer = pointer_to(m, "variables", name);

                        planner_fault(
                                m->planner, m->document, pointer ? pointer : "", NULL,
                                "The variable name '%.200s' cannot be used: letters, digits and "
                                "'_', not beginning with a digit",
                                name);
                }
                if (json_object_set_new(
                            made, name,
                            template_text(json_string_value(value), json_string_length(value))) < 0)
                        return -ENOMEM;
        }
        return put(m, "variables", TAKE(made));
}

/* ---- files and volumes ---- */

static int make_files(const Maker *m) {
        json_t *files = NULL;
        int r;

        r = plan_files(m->planner, m->document, m->name, json_object_get(m->container, "files"),
                       &files);
        return r < 0 ? r : put(m, "files", files);
}

static int volume_add(const Maker *m, const char *target, const json_t *volume, json_t *to) {
        auto_cleanup(freep) char *pointer = pointer_to(m, "volumes", target), *name = NULL,
                                 *at = NULL;
        const char *path = json_string_value(json_object_get(volume, "path")), *key;
        json_t *made;

        if (!pointer)
                return -ENOMEM;
        at = plan_target(m->planner, m->document, pointer, target);
        if (placeholder_whole_resource(json_string_value(json_object_get(volume, "source")),
                                       &name) < 0)
                return -ENOMEM;
        key = name ? score_project_key(m->planner->project, m->document->workload, name) : NULL;
        if (!key)
                planner_fault(m->planner, m->document, pointer, "source: ${resources.NAME}",
                              "The source of a volume must be a resource of this workload");
        if (path && *path && !plan_path_is_local(path))
                planner_fault(m->planner, m->document, pointer, NULL,
                              "'path' must stay inside the volume: no '..' and no leading '/'");
        if (!at || !key)
                return 0;
        made = json_pack("{s:s, s:{s:s}, s:b}", "target", at, "source", "$outputs", key,
                         "read_only", json_is_true(json_object_get(volume, "readOnly")));
        if (path && *path && json_object_set_new(made, "path", json_string(path)) < 0) {
                json_decref(made);
                return -ENOMEM;
        }
        return json_array_append_new(to, made);
}

static int make_volumes(const Maker *m) {
        auto_cleanup(json_decrefp) json_t *made = json_array();
        const char *target;
        json_t *volume;

        json_object_foreach(json_object_get(m->container, "volumes"), target, volume)
                if (volume_add(m, target, volume, made) < 0)
                        return -ENOMEM;
        return put(m, "volumes", TAKE(made));
}

/* ---- order, amounts, probes ---- */

static bool has_probe(const json_t *container) {
        return json_object_get(container, "readinessProbe") ||
               json_object_get(container, "livenessProbe");
}

static int make_before(const Maker *m) {
        auto_cleanup(json_decrefp) json_t *made = json_array();
        const char *name, *ready;
        json_t *other;

        json_object_foreach(json_object_get(m->container, "before"), name, other) {
                ready = json_string_value(json_object_get(other, "ready"));
                if (ready && streq(ready, "healthy") && !has_probe(m->container)) {
                        auto_cleanup(freep) char *pointer = pointer_to(m, "before", name);

                        if (!pointer)
                                return -ENOMEM;
                        planner_note(m->planner, m->document, pointer,
                                     "give it a readinessProbe, or wait for 'started'",
                                     "The container '%s' has no probe, so it can never be healthy, "
                                     "which '%s' waits for",
                                     m->name, name);
                }
                if (json_array_append_new(made, json_pack("{s:s, s:s}", "container", name, "ready",
                                                          ready ? ready : "started")) < 0)
                        return -ENOMEM;
        }
        return put(m, "before", TAKE(made));
}

static json_t *amounts(const json_t *said) {
        const char *cpu = json_string_value(json_object_get(said, "cpu"));
        const char *memory = json_string_value(json_object_get(said, "memory"));
        int64_t milli, bytes;

        return json_pack("{s:o, s:o}", "cpu_milli",
                         cpu && quantity_cpu_milli(cpu, &milli) == 0 ? json_integer(milli)
                                                                     : json_null(),
                         "memory_bytes",
                         memory && quantity_memory_bytes(memory, &bytes) == 0 ? json_integer(bytes)
                                                                              : json_null());
}

static int make_amounts(const Maker *m) {
        const json_t *resources = json_object_get(m->container, "resources");
        int r;

        r = put(m, "limits", amounts(json_object_get(resources, "limits")));
        return r < 0 ? r : put(m, "requests", amounts(json_object_get(resources, "requests")));
}

static json_t *http_get(const json_t *said) {
        const char *scheme = json_string_value(json_object_get(said, "scheme"));
        const json_t *headers = json_object_get(said, "httpHeaders");

        if (!said)
                return json_null();
        return json_pack("{s:s, s:o, s:O, s:O, s:o}", "scheme", scheme ? scheme : "HTTP", "host",
                         copy_or(json_object_get(said, "host"), json_null()), "path",
                         json_object_get(said, "path"), "port", json_object_get(said, "port"),
                         "headers", headers ? json_deep_copy(headers) : json_array());
}

static json_t *probe(const json_t *said) {
        if (!said)
                return json_null();
        return json_pack("{s:o, s:o}", "http_get", http_get(json_object_get(said, "httpGet")),
                         "exec", copy_or(json_object_get(said, "exec"), json_null()));
}

static int make_probes(const Maker *m) {
        int r;

        r = put(m, "liveness", probe(json_object_get(m->container, "livenessProbe")));
        return r < 0 ? r
                     : put(m, "readiness", probe(json_object_get(m->container, "readinessProbe")));
}

/* ---- all of them ---- */

static int container_add(Maker *m, json_t *to) {
        static int (*const parts[])(const Maker *m) = { make_command, make_variables, make_files,
                                                        make_volumes, make_before,    make_amounts,
                                                        make_probes };
        int r;

        m->made = json_pack("{s:s}", "name", m->name);
        if (json_array_append_new(to, m->made) < 0)
                return -ENOMEM;
        for (size_t i = 0; i < N_ELEMENTS(parts); i++) {
                r = parts[i](m);
                if (r < 0)
                        return r;
        }
        return 0;
}

int plan_containers(Planner *p, const ScoreDocument *d, size_t at, bool images, json_t **ret) {
        auto_cleanup(json_decrefp) json_t *made = json_array();
        Maker m = { .planner = p, .document = d, .images = images };
        json_t *containers = json_object_get(d->json, "containers"), *container;
        size_t n_need = 0;
        const char *name;
        int r;

        json_object_foreach(containers, name, container)
                n_need += needs_command(container, images);
        m.only = n_need <= 1;
        json_object_foreach(containers, name, container) {
                m.name = name;
                m.container = container;
                r = container_add(&m, made);
                if (r < 0)
                        return r;
        }
        r = plan_hooks(p, d, at, made);
        if (r < 0)
                return r;
        *ret = TAKE(made);
        return 0;
}
