#include "orchestrator/api/streams.h"

#include <string.h>

#include "orchestrator/api/api.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"

/* logs and exec. One HTTP stream carries one provider call for each workload asked for; every line says
 * which workload it is from. A client that leaves ends the calls; a client that does not read is cut
 * off when too much waits for it. */

typedef struct Part {
        Stream *stream;
        char *workload;
        EngineStream *call; /* NULL when it ended */
} Part;

struct Stream {
        Manager *m;
        Stream *next, **link;
        HttpRequest *request;
        Part *parts;
        size_t n_parts, n_open;
        bool starting; /* inside the loop that starts the calls */
};

static void stream_free(Stream *s) {
        for (size_t i = 0; i < s->n_parts; i++) {
                if (s->parts[i].call)
                        engine_stream_cancel(s->parts[i].call);
                free(s->parts[i].workload);
        }
        *s->link = s->next;
        if (s->next)
                s->next->link = s->link;
        free(s->parts);
        free(s);
}

static void stream_on_gone(void *userdata) {
        stream_free(userdata);
}

void streams_stop(Manager *m) {
        followers_stop(m);
        while (m->streams) {
                http_stream_end(m->streams->request);
                stream_free(m->streams);
        }
}

static int stream_write(Stream *s, json_t *line) {
        auto_cleanup(freep) char *text = json_dumps(line, JSON_COMPACT);
        int r = text ? http_stream_write(s->request, text, strlen(text)) : -ENOMEM;

        return r == 0 ? http_stream_write(s->request, "\n", 1) : r;
}

static void part_on_line(void *userdata, const json_t *line) {
        Part *p = userdata;
        const json_t *item = json_object_get(line, "item");
        json_t *out;

        if (!json_is_object(item))
                return; /* log and progress lines are the provider's own talk */
        if (http_stream_waiting(p->stream->request) > LIMIT_API_STREAM_BYTES)
                return; /* the client does not read: it misses lines, others do not pay */
        out = json_pack("{s:o}", "item", json_copy((json_t *) item));
        if (!out)
                return;
        (void) json_object_set_new(json_object_get(out, "item"), "workload",
                                   json_string(p->workload));
        (void) stream_write(p->stream, out); /* without memory the line is missing */
        json_decref(out);
}

static void part_on_end(void *userdata, ProviderClass class, const char *message,
                        const json_t *result) {
        Part *p = userdata;
        Stream *s = p->stream;
        json_t *out;

        p->call = NULL;
        if (class == PROVIDER_OK)
                out = json_pack("{s:O}", "result", result ?: json_null());
        else
                out = json_pack("{s:{s:s, s:s?, s:s}}", "error", "class",
                                provider_class_to_string(class), "message", message, "workload",
                                p->workload);
        if (out)
                (void) stream_write(s, out);
        json_decref(out);
        if (--s->n_open > 0 || s->starting)
                return;
        http_stream_end(s->request);
        stream_free(s);
}

/* ---- which workloads ---- */

static int add_workload(void *userdata, const Resource *r) {
        char ***names = userdata;
        const char *name = r->workload ?: r->id;

        if (!streq(r->type, "workload") || r->state == RES_REMOVED || !name ||
            strv_contains(*names, name))
                return 0;
        return strv_add(names, name);
}

static char *names_joined(char *const *names) {
        auto_strbuf b = { 0 };

        for (size_t i = 0; names && names[i]; i++)
                strbuf_addf(&b, "%s%s", i > 0 ? ", " : "", names[i]);
        return strbuf_take(&b);
}

/* The one that is named, or all of them. */
static int choose_workloads(ApiCall *c, const char *environment, const char *wanted, bool one,
                            char ***ret, Error *reterr) {
        auto_cleanup(strv_freep) char **names = NULL;
        auto_cleanup(freep) char *joined = NULL;
        int r = ledger_resource_each(c->m->ledger, environment, false, add_workload, &names,
                                     reterr);

        if (r < 0)
                return r;
        joined = names_joined(names);
        if (wanted && !strv_contains(names, wanted))
                return error_set(reterr, -ENOENT,
                                 "There is no workload '%.100s' here; there is: %s", wanted,
                                 joined && *joined ? joined : "none");
        if (strv_length(names) == 0)
                return error_set(reterr, -ENOENT, "No workload of it runs now");
        if (one && !wanted && strv_length(names) > 1)
                return error_set(reterr, -EINVAL, "Say which workload: %s", joined ?: "");
        if (wanted) {
                names = strv_free(names);
                r = strv_add(&names, wanted);
                if (r < 0)
                        return r;
        }
        *ret = TAKE(names);
        return 0;
}

/* ---- starting ---- */

static Stream *stream_new(Manager *m, char *const *workloads) {
        Stream *s = calloc(1, sizeof(Stream));
        size_t n = strv_length(workloads), n_streams = 0;

        for (Stream *other = m->streams; other; other = other->next)
                n_streams++;
        if (!s || n_streams >= LIMIT_API_STREAMS) {
                free(s);
                return NULL;
        }
        s->m = m;
        s->link = &m->streams;
        s->next = m->streams;
        if (s->next)
                s->next->link = &s->next;
        m->streams = s;
        s->parts = calloc(n, sizeof(Part));
        for (size_t i = 0; s->parts && i < n; i++) {
                s->parts[i] = (Part){ .stream = s, .workload = strdup(workloads[i]) };
                s->n_parts++;
                if (!s->parts[i].workload)
                        break;
        }
        if (!s->parts || !s->parts[n - 1].workload) {
                stream_free(s);
                return NULL;
        }
        return s;
}

static int stream_start(Stream *s, const char *environment, const char *verb, json_t *params,
                        int64_t deadline_ms, Error *reterr) {
        int r = 0;

        s->starting = true;
        for (size_t i = 0; r == 0 && i < s->n_parts; i++) {
                EngineStreamEvents events = { .on_line = part_on_line,
                                              .on_end = part_on_end,
                                              .userdata = &s->parts[i] };

                s->n_open++;
                r = engine_stream(s->m->engine, environment, s->parts[i].workload, verb, params,
                                  deadline_ms, &events, &s->parts[i].call, reterr);
        }
        s->starting = false;
        return r;
}

/* Starts the calls, then takes the request: a call that cannot start is a plain error answer. */
static int stream_open(ApiCall *c, const char *environment, char *const *workloads,
                       const char *verb, json_t *params, int64_t deadline_ms, Error *reterr) {
        HttpStreamEvents events = { .on_gone = stream_on_gone };
        Stream *s = stream_new(c->m, workloads);
        int r;

        if (!s)
                return error_set(reterr, -EAGAIN, "Too many streams are open; try again");
        r = stream_start(s, environment, verb, params, deadline_ms, reterr);
        if (r < 0) {
                stream_free(s);
                return r;
        }
        events.userdata = s;
        s->request = api_take_request(c);
        http_stream(s->request, 200, "application/jsonl", &events);
        return API_LATER;
}

static int environment_id(ApiCall *c, Environment *ret, Error *reterr) {
        int r = ledger_environment_get(c->m->ledger, c->args[0], ret, reterr);

        if (r == -ENOENT) {
                error_done(reterr);
                return error_set(reterr, r, "There is no environment '%s'", c->args[0]);
        }
        return r;
}

int api_environment_logs(ApiCall *c, Error *reterr) {
        auto_cleanup(environment_done) Environment e = { 0 };
        auto_cleanup(strv_freep) char **workloads = NULL;
        bool follow = api_query_flag(c, "follow");
        json_t *params;
        uint64_t lines;
        int r = api_query_number(c, "lines", 100, LIMIT_API_LOG_LINES, &lines, reterr);

        if (r == 0)
                r = environment_id(c, &e, reterr);
        if (r == 0)
                r = choose_workloads(c, e.id, http_request_query(c->request, "workload"), false,
                                     &workloads, reterr);
        if (r < 0)
                return r;
        params = json_pack("{s:b, s:I, s:s?}", "follow", follow, "lines", (json_int_t) lines,
                           "container", http_request_query(c->request, "container"));
        r = params ? stream_open(c, e.id, workloads, "logs", params,
                                 follow ? LIMIT_API_FOLLOW_MS : LIMIT_API_LOGS_MS, reterr)
                   : -EINVAL;
        json_decref(params);
        return r;
}

int api_environment_exec(ApiCall *c, Error *reterr) {
        auto_cleanup(environment_done) Environment e = { 0 };
        auto_cleanup(strv_freep) char **workloads = NULL;
        json_t *command = json_object_get(c->body, "command"), *params;
        const char *workload = json_string_value(json_object_get(c->body, "workload"));
        int r;

        if (json_array_size(command) == 0)
                return error_set(reterr, -EINVAL, "The command is empty");
        r = environment_id(c, &e, reterr);
        if (r == 0)
                r = choose_workloads(c, e.id, workload, true, &workloads, reterr);
        if (r < 0)
                return r;
        params = json_pack("{s:O, s:s?}", "command", command, "container",
                           json_string_value(json_object_get(c->body, "container")));
        r = params ? stream_open(c, e.id, workloads, "exec", params, LIMIT_API_EXEC_MS, reterr)
                   : -ENOMEM;
        json_decref(params);
        return r;
}
