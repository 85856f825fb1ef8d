/* A checkout out of one input: parts that begin with a line "=== PATH"; without one, all of it is the
 * file of the given name. What is planned must be storable, and come back equal. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/spec/plan.h"

typedef struct Checkout {
        const char *name; /* of an input without parts */
        const char *data;
        size_t size;
} Checkout;

static int checkout_give(const char *data, size_t size, size_t max, char **ret, size_t *ret_size) {
        if (size > max)
                return -EFBIG;
        *ret = calloc(1, size + 1);
        if (!*ret)
                return -ENOMEM;
        memcpy(*ret, data, size);
        *ret_size = size;
        return 0;
}

static int checkout_read(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                         Error *reterr) {
        const Checkout *c = userdata;
        const char *at = c->data, *end = c->data + c->size;
        size_t n = strlen(path);

        if (c->size < 4 || memcmp(at, "=== ", 4) != 0)
                return streq(path, c->name) ? checkout_give(at, c->size, max, ret, ret_size)
                                            : -ENOENT;
        while (at && at < end) {
                const char *body = memchr(at, '\n', (size_t) (end - at)), *next;

                if (!body)
                        break;
                body++;
                next = memmem(body - 1, (size_t) (end - body + 1), "\n=== ", 5);
                if ((size_t) (body - 1 - at - 4) == n && memcmp(at + 4, path, n) == 0)
                        return checkout_give(body,
                                             (size_t) ((next && next >= body ? next : end) - body),
                                             max, ret, ret_size);
                at = next ? next + 1 : NULL;
        }
        return -ENOENT;
}

static void checkout_stored(const Graph *g) {
        auto_cleanup(json_decrefp) json_t *json = NULL, *again = NULL;
        auto_cleanup(graph_freep) Graph *copy = NULL;

        if (graph_to_json(g, &json) < 0 || graph_from_json(json, &copy, NULL) < 0 ||
            graph_to_json(copy, &again) < 0 || !json_equal(json, again))
                abort();
}

static json_t *checkout_outputs(void *userdata, const char *key) {
        return userdata;
}

/* Everything resolves, or says why not. */
static void checkout_resolved(const Graph *g) {
        auto_cleanup(json_decrefp) json_t *outputs = json_pack(
                "{s:s, s:s, s:s, s:i}", "path", "/x", "host", "h", "namespace", "n", "port", 1);

        for (size_t i = 0; i < g->n_nodes; i++) {
                auto_cleanup(json_decrefp) json_t *params = NULL;
                auto_error error = { 0 };

                if (graph_resolve(&g->nodes[i], checkout_outputs, outputs, &params, &error) < 0 &&
                    !error.message)
                        abort();
        }
}

static void checkout_faults(const SpecFaults *faults) {
        auto_cleanup(json_decrefp) json_t *json = spec_faults_to_json(faults);

        for (size_t i = 0; i < faults->n_items; i++) {
                const SpecFault *f = &faults->items[i];

                if (!*f->message || !utf8_valid(f->message, strlen(f->message)) ||
                    !utf8_valid(f->path, strlen(f->path)) ||
                    (f->hint && !utf8_valid(f->hint, strlen(f->hint))))
                        abort();
        }
        if (json_array_size(json) < faults->n_items)
                abort();
}

/* Both ways of reading are tried, each on half of the inputs: which one must not change by chance, so
 * that what is found is found again. */
static bool checkout_sketch(const uint8_t *data, size_t size) {
        unsigned sum = 0;

        for (size_t i = 0; i < size; i++)
                sum += data[i];
        return sum % 2 == 1;
}

/* One for all runs: nothing here may change it. */
static const Config *checkout_config(void) {
        static Config *config;

        if (!config && config_default(&config, NULL) < 0)
                abort();
        return config;
}

static int checkout_plan(const char *name, const uint8_t *data, size_t size) {
        Checkout checkout = { .name = name, .data = (const char *) data, .size = size };
        SpecReader reader = { .read = checkout_read, .userdata = &checkout };
        auto_cleanup(graph_freep) Graph *g = NULL;
        SpecFaults faults = { 0 }, notices = { 0 };
        PlanOptions options = { .sketch = checkout_sketch(data, size), .notices = &notices };
        PlanContext context = { .config = checkout_config(),
                                .project = "shop",
                                .repository = "r",
                                .branch = "b",
                                .commit = "0123456789012345678901234567890123456789",
                                .trust = "stranger" };
        auto_error error = { 0 };
        int r;

        r = plan_make_with(&context, &reader, &options, &g, &faults, &error);
        if ((r == 0) != (g != NULL) || (r == 0 && faults.n_items > 0) || (r < 0 && !error.message))
                abort();
        if (r == 0) {
                checkout_stored(g);
                checkout_resolved(g);
        }
        checkout_faults(&faults);
        checkout_faults(&notices);
        spec_faults_done(&faults);
        spec_faults_done(&notices);
        return 0;
}
