/* The world: things under names, the calls that make and remove them, and what happens by itself. A crash
 * of the daemon ends its providers, some of them after they did something. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

static void thing_free(void *p) {
        Thing *t = p;

        if (!t)
                return;
        free(t->uid);
        free(t->marker);
        free(t->type);
        free(t->provider);
        free(t->environment);
        free(t->params);
        free(t);
}

static void work_free(Work *w) {
        free(w->id);
        free(w->verb);
        free(w->provider);
        free(w->uid);
        json_decref(w->request);
        free(w);
}

const char *world_text(const json_t *object, const char *key) {
        const char *value = json_string_value(json_object_get(object, key));

        return value ? value : "";
}

const json_t *world_resource(const Work *w) {
        return json_object_get(w->request, "resource");
}

bool world_weightless(const char *type) {
        return streq(type, "service") || streq(type, "service-port") || streq(type, "dns") ||
               streq(type, "route") || streq(type, "environment");
}

/* ---- effects ---- */

Thing *world_make(Sim *s, const Work *w) {
        const json_t *resource = world_resource(w),
                     *environment = json_object_get(w->request, "environment");
        Thing *t = map_get(s->things, w->uid);

        if (!t) {
                t = calloc(1, sizeof(Thing));
                assert(t);
                t->uid = strdup(w->uid);
                t->marker = strdup(world_text(resource, "marker"));
                t->type = strdup(world_text(resource, "type"));
                t->provider = strdup(w->provider);
                t->environment = strdup(world_text(environment, "id"));
                t->port = s->next_port++;
                assert(map_put(s->things, w->uid, t) == 0);
                stale_made(s, t);
        }
        free(t->params);
        t->params = json_dumps(json_object_get(resource, "params"), JSON_COMPACT | JSON_SORT_KEYS);
        t->awake = true;
        t->ready = true;
        t->half = false;
        t->orphan = false;
        return t;
}

/* The effect as an honest provider has it, without its answer. */
void world_effect(Sim *s, const Work *w) {
        Thing *t = w->uid ? map_get(s->things, w->uid) : NULL;

        if (t && t->foreign)
                return;
        if (streq(w->verb, "provision") && !world_weightless(world_text(world_resource(w), "type")))
                world_make(s, w);
        else if (streq(w->verb, "deprovision") && t) {
                stale_removed(s, t);
                map_remove(s->things, w->uid);
        } else if (streq(w->verb, "sleep") && t)
                t->awake = false;
        else if (streq(w->verb, "wake") && t)
                t->awake = t->ready = true;
}

void world_half_effect(Sim *s, const Work *w) {
        Thing *t = w->uid ? map_get(s->things, w->uid) : NULL;

        if (!streq(w->verb, "provision") ||
            world_weightless(world_text(world_resource(w), "type")) || (t && t->foreign))
                return;
        t = world_make(s, w);
        t->half = true;
        t->ready = false;
}

/* ---- calls ---- */

static Fault some_fault(Sim *s, const char *verb) {
        Fault f;

        if (!sim_trouble(s, s->fault_percent))
                return FAULT_NONE;
        f = 1 + sim_below(s, _FAULT_MAX - 1);
        /* What an inspection says wrongly nobody can find out; it may fail, not lie. */
        if (f == FAULT_LIE && streq(verb, "inspect"))
                return FAULT_DIE;
        if (f == FAULT_NONSENSE && streq(verb, "deprovision"))
                return FAULT_DIE;
        return f;
}

static bool effect_allowed(Sim *s) {
        if (s->dead)
                return false;
        if (s->dead_after >= 0 && s->dead_after-- == 0) {
                sim_say(s, "  KILLED in the middle of the turn");
                s->dead = true;
                return false;
        }
        return true;
}

static int world_start(void *userdata, const ProviderCall *call, Error *reterr) {
        Sim *s = userdata;
        Work *w;

        if (!effect_allowed(s))
                return 0;
        check_call(s, call);
        s->count.calls++;
        if (streq(call->verb, "deprovision"))
                s->count.deprovisions++;
        if (sim_trouble(s, 1))
                return error_set(reterr, -EAGAIN, "Cannot fork: try again");
        w = calloc(1, sizeof(Work));
        assert(w);
        w->id = strdup(call->id);
        w->verb = strdup(call->verb);
        w->provider = strdup(call->provider);
        w->request = json_incref((json_t *) call->request); /* the engine lets go of it */
        if (*world_text(world_resource(w), "uid"))
                w->uid = strdup(world_text(world_resource(w), "uid"));
        w->stream = call->stream;
        w->fault = some_fault(s, call->verb);
        w->due_boot_ms = s->boot_ms + 1 + sim_below(s, sim_percent(s, 10) ? 60000 : 300);
        if (!s->quiet_world && s->boot_ms < s->storm_until_boot_ms && streq(w->provider, s->storm))
                w->fault = FAULT_STORM;
        else if (streq(w->verb, "watch"))
                w->due_boot_ms = sim_trouble(s, 20) ? w->due_boot_ms : INT64_MAX; /* it stays */
        else if (w->fault == FAULT_HANG)
                w->due_boot_ms = s->boot_ms + call->deadline_ms;
        sim_say(s, "  call %s %s %s fault %d", w->verb, w->provider, w->uid ? w->uid : "-",
                (int) w->fault);
        w->next = s->work;
        s->work = w;
        return 0;
}

static void world_cancel(void *userdata, const char *call_id) {
        Sim *s = userdata;

        for (Work *w = s->work; w; w = w->next)
                if (streq(w->id, call_id)) {
                        w->cancelled = true;
                        w->due_boot_ms = s->boot_ms + 1 + sim_below(s, 2000);
                }
}

ProviderOps world_providers(Sim *s) {
        return (ProviderOps){ .start = world_start, .cancel = world_cancel, .userdata = s };
}

int64_t world_next(const Sim *s) {
        int64_t next = INT64_MAX;

        for (const Echo *e = s->echoes; e; e = e->next)
                if (e->due_boot_ms < next)
                        next = e->due_boot_ms;

        for (const Work *w = s->work; w; w = w->next)
                if (w->due_boot_ms < next)
                        next = w->due_boot_ms;
        return next;
}

static void echo_free(Echo *e) {
        free(e->id);
        json_decref(e->result);
        free(e);
}

static void echo_due(Sim *s) {
        ProviderEvents events = engine_provider_events(s->engine);

        for (Echo **at = &s->echoes; *at;) {
                Echo *e = *at;

                if (e->due_boot_ms > s->boot_ms) {
                        at = &e->next;
                        continue;
                }
                *at = e->next;
                sim_say(s, "  an answer comes once more");
                events.on_reply(events.userdata, &(ProviderReply){ .call_id = e->id,
                                                                   .class = e->class,
                                                                   .result = e->result });
                echo_free(e);
        }
}

void world_answer_due(Sim *s) {
        echo_due(s);
        for (;;) {
                Work **at = &s->work, **first = NULL, *w;

                for (; *at; at = &(*at)->next)
                        if ((*at)->due_boot_ms <= s->boot_ms &&
                            (!first || (*at)->due_boot_ms < (*first)->due_boot_ms))
                                first = at;
                if (!first)
                        return;
                w = *first;
                *first = w->next;
                world_answer(s, w);
                work_free(w);
        }
}

/* The daemon was killed: its providers end with it (PR_SET_PDEATHSIG), wherever they are. */
void world_crash(Sim *s) {
        while (s->work) {
                Work *w = s->work;
                unsigned chance = sim_below(s, 3);

                s->work = w->next;
                if (w->uid && chance == 0)
                        world_effect(s, w);
                else if (w->uid && chance == 1)
                        world_half_effect(s, w);
                work_free(w);
        }
}

/* What lives in the kernel is gone; what lives on the disk stays. */
void world_reboot(Sim *s) {
        const char *uid;
        size_t at = 0;
        Thing *t;

        while ((t = map_next(s->things, &at, &uid))) {
                if (t->foreign)
                        continue;
                if (streq(t->type, "network"))
                        map_remove(s->things, uid);
                else if (streq(t->type, "workload"))
                        t->ready = false;
        }
}

/* ---- what happens by itself ---- */

static Thing *some_thing(Sim *s) {
        size_t at = 0, n = map_size(s->things);
        unsigned pick;
        Thing *t;

        if (n == 0)
                return NULL;
        pick = sim_below(s, (unsigned) n);
        while ((t = map_next(s->things, &at, NULL)))
                if (pick-- == 0)
                        return t;
        return NULL;
}

/* Nobody notices, or a visitor is refused, or the provider says so. */
static void say_changed(Sim *s, const Thing *t) {
        ProviderEvents events = engine_provider_events(s->engine);
        FrontEvents front = engine_front_events(s->engine);
        json_auto_t *line = json_pack("{s:{s:s, s:s}}", "item", "uid", t->uid, "change", "ended");

        if (streq(t->type, "workload") && sim_percent(s, 40))
                front.on_refused(front.userdata, t->environment);
        if (sim_percent(s, 50))
                return;
        for (const Work *w = s->work; w; w = w->next)
                if (streq(w->verb, "watch") && streq(w->provider, t->provider))
                        events.on_line(events.userdata, w->id, line);
}

/* Something in our lists that the ledger does not know: somebody else's, or ours by its marker. */
static void strange_thing(Sim *s, bool foreign) {
        const char *owner = foreign ? "iother" : ledger_installation(s->ledger);
        Thing *t = calloc(1, sizeof(Thing));
        char uid[32];

        assert(t);
        snprintf(uid, sizeof(uid), "rother%llu", (unsigned long long) s->next_port++);
        sim_say(s, "chaos: %s of %s appears", uid, owner);
        t->uid = strdup(uid);
        t->marker = str_format("%s/eother/%s", owner, uid);
        t->type = strdup("workload");
        t->provider = strdup("process");
        t->environment = strdup("eother");
        t->foreign = foreign;
        t->orphan = !foreign;
        assert(map_put(s->things, uid, t) == 0);
}

static void storm(Sim *s) {
        static const char *const providers[] = { "git", "process", "volume" };

        snprintf(s->storm, sizeof(s->storm), "%s", providers[sim_below(s, N_ELEMENTS(providers))]);
        s->storm_until_boot_ms = s->boot_ms + sim_below(s, 20 * 60 * 1000);
        sim_say(s, "chaos: a storm at %s", s->storm);
}

void world_chaos(Sim *s) {
        Thing *t = some_thing(s);
        unsigned what = sim_below(s, 6);

        if (s->kind_step)
                return;
        if (what == 4)
                storm(s);
        else if (what == 5 && map_size(s->things) < 60)
                strange_thing(s, sim_percent(s, 50));
        if (!t || t->foreign || t->orphan)
                return;
        switch (what) {
        case 0: /* a process dies */
                if (streq(t->type, "workload")) {
                        sim_say(s, "chaos: workload %s ends", t->uid);
                        t->ready = false;
                        say_changed(s, t);
                }
                break;
        case 1: /* somebody removes it by hand */
                if (!streq(t->type, "volume")) {
                        sim_say(s, "chaos: %s %s vanishes", t->type, t->uid);
                        say_changed(s, t);
                        map_remove(s->things, t->uid);
                }
                break;
        case 2: /* and puts something of their own there */
                if (sim_percent(s, 20)) {
                        sim_say(s, "chaos: %s %s becomes somebody else's", t->type, t->uid);
                        t->foreign = true;
                        free(t->marker);
                        t->marker = strdup("somebody/else/altogether");
                        say_changed(s, t);
                }
                break;
        default:
                break;
        }
}

/* ---- front ---- */

static void front_changed(void *userdata, const char *host) {
        Sim *s = userdata;

        if (effect_allowed(s)) /* the ledger is the truth; telling may be lost, and is at a start */
                front_copy(s, host);
}

static void front_activity(void *userdata, const char *environment_id, const char *host,
                           void (*done)(void *done_userdata, const char *environment_id,
                                        const FrontActivity *activity),
                           void *done_userdata) {
        Sim *s = userdata;
        FrontActivity a = { .known = !sim_trouble(s, 20),
                            .open = sim_trouble(s, 15) ? 1 : 0,
                            .last_visit_ms = sim_trouble(s, 20) ? s->wall_ms - 1000 : 0 };

        if (sim_trouble(s, 5))
                return; /* never answers */
        if (a.known && a.open == 0)
                map_remove(s->in_use, environment_id);
        else
                assert(map_put(s->in_use, environment_id, s) == 0);
        done(done_userdata, environment_id, &a);
}

FrontOps world_front(Sim *s) {
        return (FrontOps){ .host_changed = front_changed,
                           .activity = front_activity,
                           .userdata = s };
}

unsigned world_ours(const Sim *s, const char *environment) {
        unsigned n = 0;
        size_t at = 0;
        Thing *t;

        while ((t = map_next(s->things, &at, NULL)))
                if (!t->foreign && !t->orphan &&
                    (!environment || streq(t->environment, environment)))
                        n++;
        return n;
}

static int known(void *userdata, const Resource *r) {
        return r->touched ? map_put(userdata, r->uid, userdata) : 0;
}

bool world_foreign(const Sim *s, const char *environment) {
        size_t at = 0;
        Thing *t;

        while ((t = map_next(s->things, &at, NULL)))
                if (t->foreign && streq(t->environment, environment))
                        return true;
        return false;
}

void world_orphan_all(Sim *s) {
        Map *rows = map_new(NULL);
        size_t at = 0;
        Thing *t;

        assert(rows);
        assert(ledger_resource_each(s->ledger, NULL, false, known, rows, NULL) == 0);
        while ((t = map_next(s->things, &at, NULL)))
                t->orphan = !t->foreign && !map_get(rows, t->uid);
        map_free(rows);
}

void world_done(Sim *s) {
        while (s->echoes) {
                Echo *e = s->echoes;

                s->echoes = e->next;
                echo_free(e);
        }
        while (s->work) {
                Work *w = s->work;

                s->work = w->next;
                work_free(w);
        }
        map_free(s->things);
}

Map *world_things(void) {
        return map_new(thing_free);
}
