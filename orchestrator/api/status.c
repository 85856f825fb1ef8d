#include <string.h>
#include <unistd.h>

#include "orchestrator/api/api.h"
#include "orchestrator/base/str.h"

#include "config.h"

typedef struct Counts {
        json_int_t environments[_ENV_STATE_MAX], asleep;
        json_int_t resources[_RES_STATE_MAX], projects;
} Counts;

static int count_project(void *userdata, const Project *p) {
        Counts *n = userdata;

        n->projects++;
        return 0;
}

static int count_environment(void *userdata, const Environment *e) {
        Counts *n = userdata;

        if (e->state == ENV_READY && e->level == LEVEL_STOPPED)
                n->asleep++;
        else
                n->environments[e->state]++;
        return 0;
}

static int count_resource(void *userdata, const Resource *r) {
        Counts *n = userdata;

        n->resources[r->state]++;
        return 0;
}

static int count_all(Manager *m, Counts *n, Error *reterr) {
        int r = ledger_project_each(m->ledger, count_project, n, reterr);

        if (r == 0)
                r = ledger_environment_each(m->ledger, NULL, false, count_environment, n, reterr);
        return r == 0 ? ledger_resource_each(m->ledger, NULL, false, count_resource, n, reterr) : r;
}

static json_t *environments_json(const Counts *n) {
        json_t *out = json_object();

        for (EnvState s = 0; out && s < _ENV_STATE_MAX; s++)
                if (s != ENV_GONE)
                        (void) json_object_set_new(out, env_state_to_string(s),
                                                   json_integer(n->environments[s]));
        if (out)
                (void) json_object_set_new(out, "asleep", json_integer(n->asleep));
        return out;
}

static json_t *resources_json(const Counts *n) {
        json_t *out = json_object();

        for (ResState s = 0; out && s < _RES_STATE_MAX; s++)
                if (s != RES_REMOVED)
                        (void) json_object_set_new(out, res_state_to_string(s),
                                                   json_integer(n->resources[s]));
        return out;
}

/* A backup was put back: what is missing from it. It stays after the release, for people to read. */
static json_t *held_json(Manager *m) {
        auto_cleanup(freep) char *text = NULL;
        json_t *value;

        if (ledger_value_get(m->ledger, "held", &text, NULL) < 0)
                return json_null();
        value = json_loads(text, 0, NULL);
        return value ?: json_null();
}

int api_status_show(ApiCall *c, Error *reterr) {
        Manager *m = c->m;
        bool haproxy = streq(m->config->front, "haproxy");
        auto_cleanup(freep) char *address = manager_url(m, "ENVIRONMENT");
        auto_cleanup(freep) char *gateway = NULL, *key = NULL;
        const char *listen = haproxy ? m->config->front_listen : m->config->listen;
        const char *colon = strrchr(listen, ':');
        int64_t now = engine_now_ms(m->engine);
        json_auto_t *holds = NULL;
        Counts n = { 0 };
        int r = count_all(m, &n, reterr);

        if (r == 0)
                r = ledger_public_key(m->ledger, &key);
        if (r == 0)
                r = engine_holds(m->engine, &holds, reterr);
        if (r < 0)
                return r;
        gateway = str_format("%.*s:%u", colon ? (int) (colon - listen) : 0, listen,
                             gateway_port(m->gateway));
        c->result = json_pack(
                "{s:s, s:I, s:s, s:s, s:I, s:s, s:s?, s:s, s:s?, s:I, s:o, s:o, "
                "s:{s:s?, s:s?}, s:s, s:o}",
                "version", MAYFLY_VERSION, "pid", (json_int_t) getpid(), "installation",
                ledger_installation(m->ledger), "state_dir", m->state_dir, "started_ms",
                (json_int_t) (now - (clock_boot_ms(&clock_system) - m->started_boot_ms)), "domain",
                m->config->domain, "address", address, "front", m->config->front, "gateway",
                gateway, "projects", n.projects, "environments", environments_json(&n), "resources",
                resources_json(&n), "config", "file", m->options->config, "fault", m->config_fault,
                "public_key", key, "held", held_json(m));
        return c->result && json_object_update(c->result, holds) == 0 ? 0 : -ENOMEM;
}

int api_reap(ApiCall *c, Error *reterr) {
        bool dry = json_is_true(json_object_get(c->body, "dry_run"));
        const char *environment = json_string_value(json_object_get(c->body, "environment"));
        json_t *report = NULL;
        int r = engine_reap(c->m->engine, &c->actor, environment, dry, &report, reterr);

        if (r < 0)
                return r;
        (void) json_object_set_new(report, "now_ms", json_integer(engine_now_ms(c->m->engine)));
        c->result = report;
        return c->result ? 0 : -ENOMEM;
}

static json_t *released_json(const EngineReleased *r) {
        json_t *what = json_array();

        if (r->freeze)
                json_array_append_new(what, json_string("freeze"));
        if (r->held)
                json_array_append_new(what, json_string("held"));
        if (r->clock)
                json_array_append_new(what, json_string("clock"));
        if (r->hold)
                json_array_append_new(what, json_string("hold"));
        return json_pack("{s:b, s:o, s:I, s:o}", "frozen", 0, "released", what, "moved_ms",
                         (json_int_t) r->moved_ms, "hold_until_ms",
                         r->hold_until_ms > 0 ? json_integer(r->hold_until_ms) : json_null());
}

int api_freeze(ApiCall *c, Error *reterr) {
        bool on = json_is_true(json_object_get(c->body, "on"));
        bool accept = json_is_true(json_object_get(c->body, "accept_clock"));
        const char *reason = json_string_value(json_object_get(c->body, "reason"));
        EngineReleased released = { 0 };
        int r = on ? engine_freeze(c->m->engine, &c->actor, true, reason, reterr)
                   : engine_unfreeze(c->m->engine, &c->actor, accept, &released, reterr);

        if (r < 0)
                return r;
        c->result = on ? json_pack("{s:b}", "frozen", 1) : released_json(&released);
        if (c->result)
                (void) json_object_set_new(c->result, "now_ms",
                                           json_integer(engine_now_ms(c->m->engine)));
        return c->result ? 0 : -ENOMEM;
}
