/* Logs and exec: calls that change nothing the ledger knows of, so they are not in it. */
#include "orchestrator/engine/private.h"

struct EngineStream {
        Engine *engine;
        Call *call; /* NULL when the call was taken away */
        EngineStreamEvents events;
        bool ended;
};

void stream_on_line(Engine *e, Call *c, const json_t *line) {
        if (c->stream && !c->stream->ended && c->stream->events.on_line)
                c->stream->events.on_line(c->stream->events.userdata, line);
}

/* A program's last words may hold what its environment keeps secret. */
static char *words_of(Engine *e, const Call *c) {
        Look *look = c->environment_id ? look_get(e, c->environment_id) : NULL;
        auto_cleanup(view_done) View v = { 0 };

        if (!c->message || !look || view_load(e, look, &v, NULL) < 0)
                return NULL;
        return view_scrub(&v, c->message);
}

void stream_end(Engine *e, Call *c) {
        EngineStream *s = TAKE(c->stream);
        auto_cleanup(freep) char *words = NULL;

        if (!s)
                return;
        words = words_of(e, c);
        if (c->message && !words)
                words = strdup("The provider failed");
        if (!s->ended && s->events.on_end)
                s->events.on_end(s->events.userdata, c->class, words, c->result);
        free(s);
}

/* The call goes without an end, as when the engine is freed. */
void stream_orphan(EngineStream *s) {
        free(s);
}

void engine_stream_cancel(EngineStream *s) {
        if (!s)
                return;
        s->ended = true;
        if (s->call)
                call_cancel(s->engine, s->call);
        s->engine->setup.wanted(s->engine->setup.userdata);
}

static Part *stream_part(View *v, const char *workload) {
        Part *found = NULL;

        for (size_t i = 0; i < v->n_parts; i++) {
                Part *p = v->parts[i];
                bool named = workload && p->row.workload && streq(p->row.workload, workload);

                if (!streq(p->row.type, "workload") || (workload && !named))
                        continue;
                /* The live one before one that is being made, that before what is left of others. */
                if (!found || p->row.generation == v->env.live_generation ||
                    (found->row.generation != v->env.live_generation &&
                     p->row.generation > found->row.generation))
                        found = p;
        }
        return found;
}

static int stream_request(View *v, Part *p, Call *c, json_t *params) {
        c->request = request_for_resource(
                v, p, c, &(CallWish){ .verb = c->verb, .generation = p->row.generation });
        if (!c->request || json_object_set_new(c->request, "options",
                                               params ? json_deep_copy(params) : json_object()) < 0)
                return -ENOMEM;
        c->uid = strdup(p->row.uid);
        c->environment_id = strdup(v->env.id);
        return c->uid && c->environment_id ? 0 : -ENOMEM;
}

int engine_stream(Engine *e, const char *environment, const char *workload, const char *verb,
                  json_t *params, int64_t deadline_ms, const EngineStreamEvents *events,
                  EngineStream **ret, Error *reterr) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(view_done) View v = { 0 };
        EngineStream *s;
        Look *look;
        Part *p;
        Call *c;
        int r;

        clock_look(e);
        if (e->n_streams >= LIMIT_PROVIDER_STREAMS)
                return error_set(reterr, -EBUSY, "%d streams are open already",
                                 LIMIT_PROVIDER_STREAMS);
        r = ledger_environment_get(e->ledger, environment, &env, reterr);
        if (r < 0)
                return r;
        look = look_get(e, env.id);
        r = look ? view_load(e, look, &v, reterr) : -ENOMEM;
        if (r < 0)
                return r;
        p = stream_part(&v, workload);
        if (!p)
                return error_set(reterr, -ENOENT, "%s has no workload%s%s", env.label,
                                 workload ? " named " : "", workload ? workload : "");
        s = calloc(1, sizeof(EngineStream));
        if (!s)
                return -ENOMEM;
        r = call_new(e, CALL_STREAM, p->row.provider, verb, &c);
        if (r < 0) {
                free(s);
                return r;
        }
        c->deadline_ms = deadline_ms;
        c->stream = s;
        *s = (EngineStream){ .engine = e, .call = c, .events = *events };
        r = stream_request(&v, p, c, params);
        if (r < 0) {
                call_abandon(e, c);
                return r;
        }
        e->setup.wanted(e->setup.userdata);
        *ret = s;
        return 0;
}
