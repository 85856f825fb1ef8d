/* The world: things under names, made and removed by providers that fail in every way the engine must
 * live with. A call's effect happens when it ends; a crash of the daemon ends its providers, some of
 * them after they did something. */
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

static const char *text(const json_t *object, const char *key) {
        const char *value = json_string_value(json_object_get(object, key));

        return value ? value : "";
}

static const json_t *resource_of(const Work *w) {
        return json_object_get(w->request, "resource");
}

/* ---- effects ---- */

static Thing *thing_make(Sim *s, const Work *w) {
        const json_t *resource = resource_of(w),
                     *environment = json_object_get(w->request, "environment");
        Thing *t = map_get(s->things, w->uid);

        if (!t) {
                t = calloc(1, sizeof(Thing));
                assert(t);
                t->uid = strdup(w->uid);
                t->marker = strdup(text(resource, "marker"));
                t->type = strdup(text(resource, "type"));
                t->provider = strdup(w->provider);
                t->environment = strdup(text(environment, "id"));
                t->port = s->next_port++;
                assert(map_put(s->things, w->uid, t) == 0);
        }
        free(t->params);
        t->params = json_dumps(json_object_get(resource, "params"), JSON_COMPACT | JSON_SORT_KEYS);
        t->awake = true;
        t->ready = true;
        t->half = false;
        return t;
}

/* Nothing in the world for these: they only compute. */
static bool weightless(const char *type) {
        return streq(type, "service") || streq(type, "service-port") || streq(type, "dns") ||
               streq(type, "route") || streq(type, "environment");
}

static json_t *endpoints(const Work *w, const Thing *t) {
        const json_t *params = json_object_get(resource_of(w), "params");
        json_t *ports = json_object_get(params, "ports"), *port, *list = json_object();
        const char *name;
        int64_t n = 0;

        json_object_foreach(ports, name, port) {
                json_object_set_new(list, name,
                                    json_pack("{s:s, s:I}", "address", "127.0.0.1", "port",
                                              (json_int_t) (t ? t->port + n : 1)));
                n++;
        }
        return list;
}

static json_t *outputs_of(const Work *w, const Thing *t) {
        const json_t *resource = resource_of(w),
                     *environment = json_object_get(w->request, "environment");
        const json_t *params = json_object_get(resource, "params");
        const char *type = text(resource, "type");

        if (streq(type, "checkout"))
                return json_pack("{s:s, s:s}", "path", "/sim/checkout", "commit",
                                 text(params, "commit"));
        if (streq(type, "network"))
                return json_pack("{s:s, s:s, s:s}", "namespace", w->uid, "address", "127.0.0.1",
                                 "mode", "forward");
        if (streq(type, "workload"))
                return json_pack("{s:o, s:i}", "endpoints", endpoints(w, t), "started_ms", 1);
        if (streq(type, "volume"))
                return json_pack("{s:s, s:s, s:s}", "type", "bind", "source", "/sim/volume",
                                 "password", "s3cr3t-of-the-volume");
        if (streq(type, "service"))
                return json_pack("{s:s, s:s}", "name", "other", "hostname", "other");
        if (streq(type, "service-port"))
                return json_pack("{s:s, s:i}", "hostname", "other", "port", 80);
        if (streq(type, "dns"))
                return json_pack("{s:s, s:s}", "host", text(environment, "host"), "url",
                                 text(environment, "url"));
        if (streq(type, "route"))
                return json_pack("{s:s, s:s, s:s, s:O}", "host", text(params, "host"), "path",
                                 text(params, "path"), "workload", text(params, "workload"), "port",
                                 json_object_get(params, "port") ? json_object_get(params, "port")
                                                                 : json_true());
        if (streq(type, "environment"))
                return json_deep_copy(json_object_get(environment, "values"));
        return json_object();
}

/* ---- replies ---- */

static void reply(Sim *s, const Work *w, ProviderClass class, const char *message,
                  const json_t *result, bool unknown) {
        ProviderEvents events = engine_provider_events(s->engine);
        ProviderReply r = { .call_id = w->id,
                            .class = class,
                            .message = message,
                            .result = result,
                            .unknown = unknown,
                            .retry_after_ms = class == PROVIDER_THROTTLED ? 3000 : 0 };

        sim_say(s, "  reply %s %s %s: %s%s", w->verb, w->provider, w->uid ? w->uid : "-",
                provider_class_to_string(class), unknown ? " (unknown)" : "");
        events.on_reply(events.userdata, &r);
        if (w->fault == FAULT_TWICE)
                events.on_reply(events.userdata, &r);
}

static void answer_provision(Sim *s, const Work *w) {
        const char *type = text(resource_of(w), "type");
        json_auto_t *result = NULL, *state = json_pack("{s:s}", "made", w->uid);
        Thing *t = map_get(s->things, w->uid);

        if (t && t->foreign) {
                reply(s, w, PROVIDER_CONFLICT, "another thing has this name", NULL, false);
                return;
        }
        if (w->fault == FAULT_LIE)
                map_put(s->lied, w->uid, s);
        else if (!weightless(type))
                t = thing_make(s, w);
        result = json_pack("{s:O, s:o, s:[s]}", "state", state, "outputs", outputs_of(w, t),
                           "secret", "password");
        reply(s, w, PROVIDER_OK, NULL, result, false);
}

static void answer_inspect(Sim *s, const Work *w) {
        const char *type = text(resource_of(w), "type");
        Thing *t = map_get(s->things, w->uid);
        json_auto_t *result = NULL;

        if (weightless(type))
                result = json_pack("{s:s}", "present",
                                   json_is_object(json_object_get(resource_of(w), "state"))
                                           ? "present"
                                           : "absent");
        else if (!t)
                result = json_pack("{s:s, s:s}", "present", "absent", "detail", "it is not there");
        else {
                if (t->foreign)
                        map_put(s->foreign_seen, w->uid, s);
                result = json_pack("{s:s, s:s, s:b, s:s}", "present",
                                   !s->quiet_world && sim_percent(s, 3) ? "uncertain" : "present",
                                   "marker", t->marker, "ready", (int) (t->ready && !t->half),
                                   "level", t->awake ? "awake" : "stopped");
        }
        reply(s, w, PROVIDER_OK, NULL, result, false);
}

static void answer_deprovision(Sim *s, const Work *w) {
        json_auto_t *result = json_pack("{s:[{s:s, s:s}], s:[]}", "removed", "kind", "thing",
                                        "name", w->uid, "absent");
        Thing *t = map_get(s->things, w->uid);

        if (t && t->foreign) {
                if (map_get(s->foreign_seen, w->uid))
                        sim_violation(
                                s, "other people's things are never touched",
                                "deprovision of %s after its inspection showed another marker",
                                w->uid);
                reply(s, w, PROVIDER_CONFLICT, "another thing has this name", NULL, false);
                return;
        }
        if (w->fault != FAULT_LIE && t)
                map_remove(s->things, w->uid);
        reply(s, w, t ? PROVIDER_OK : PROVIDER_GONE, t ? NULL : "not there", result, false);
}

static void answer_level(Sim *s, const Work *w, bool awake) {
        Thing *t = map_get(s->things, w->uid);
        json_auto_t *result = NULL;

        if (!t) {
                reply(s, w, PROVIDER_GONE, "not there", NULL, false);
                return;
        }
        t->awake = awake;
        if (awake) {
                t->ready = true;
                result = json_pack("{s:o}", "outputs", outputs_of(w, t));
        } else
                result = json_object();
        reply(s, w, PROVIDER_OK, NULL, result, false);
}

static void answer_list(Sim *s, const Work *w) {
        ProviderEvents events = engine_provider_events(s->engine);
        bool partial = !s->quiet_world && sim_percent(s, 30);
        /* Some say that it is all when it is not. */
        json_auto_t *result =
                json_pack("{s:b}", "complete", (int) (!partial || sim_percent(s, 40)));
        size_t at = 0;
        Thing *t;

        while ((t = map_next(s->things, &at, NULL))) {
                json_auto_t *line = NULL;

                if (!streq(t->provider, w->provider) || (partial && sim_percent(s, 50)))
                        continue;
                line = json_pack("{s:{s:s, s:s, s:s, s:s}}", "item", "uid", t->uid, "marker",
                                 t->marker, "type", t->type, "present", "present");
                events.on_line(events.userdata, w->id, line);
        }
        reply(s, w, PROVIDER_OK, NULL, result, false);
}

/* The effect as an honest provider has it, without its answer. */
static void effect(Sim *s, const Work *w) {
        Thing *t = w->uid ? map_get(s->things, w->uid) : NULL;

        if (t && t->foreign)
                return;
        if (streq(w->verb, "provision") && !weightless(text(resource_of(w), "type")))
                thing_make(s, w);
        else if (streq(w->verb, "deprovision") && t)
                map_remove(s->things, w->uid);
        else if (streq(w->verb, "sleep") && t)
                t->awake = false;
        else if (streq(w->verb, "wake") && t)
                t->awake = t->ready = true;
}

static void half_effect(Sim *s, const Work *w) {
        Thing *t = w->uid ? map_get(s->things, w->uid) : NULL;

        if (!streq(w->verb, "provision") || weightless(text(resource_of(w), "type")) ||
            (t && t->foreign))
                return;
        t = thing_make(s, w);
        t->half = true;
        t->ready = false;
}

static ProviderClass some_class(Sim *s, const Work *w) {
        static const ProviderClass classes[] = {
                PROVIDER_TRANSIENT,     PROVIDER_TRANSIENT, PROVIDER_TRANSIENT, PROVIDER_THROTTLED,
                PROVIDER_DEPENDENCY,    PROVIDER_CONFLICT,  PROVIDER_INVALID,   PROVIDER_DENIED,
                PROVIDER_UNRECOVERABLE, PROVIDER_GONE,
        };

        ProviderClass class = classes[sim_below(s, N_ELEMENTS(classes))];

        /* Of an inspection that is an answer, and a wrong one nobody could see through. */
        return class == PROVIDER_GONE && streq(w->verb, "inspect") ? PROVIDER_TRANSIENT : class;
}

static void answer_faulty(Sim *s, const Work *w) {
        json_auto_t *nonsense = NULL;

        switch (w->fault) {
        case FAULT_CLASS:
                reply(s, w, some_class(s, w), "it did not work\nline two", NULL, false);
                return;
        case FAULT_AFTER:
                effect(s, w);
                reply(s, w, sim_percent(s, 50) ? PROVIDER_TRANSIENT : PROVIDER_UNRECOVERABLE,
                      "it may have worked", NULL, true);
                return;
        case FAULT_HALF:
                half_effect(s, w);
                reply(s, w, PROVIDER_TRANSIENT, "it broke in the middle", NULL, true);
                return;
        case FAULT_NONSENSE:
                if (sim_percent(s, 50))
                        effect(s, w);
                nonsense =
                        sim_percent(s, 50) ? json_pack("{s:[], s:i}", "outputs", "state", 7) : NULL;
                reply(s, w, PROVIDER_OK, NULL, nonsense, false);
                return;
        default: /* FAULT_HANG, FAULT_DIE */
                if (sim_percent(s, 40))
                        effect(s, w);
                else if (sim_percent(s, 50))
                        half_effect(s, w);
                reply(s, w, PROVIDER_TRANSIENT, "it ended without an answer", NULL, true);
        }
}

static void answer(Sim *s, const Work *w) {
        if (w->cancelled) {
                if (sim_percent(s, 30))
                        effect(s, w);
                else
                        half_effect(s, w);
                reply(s, w, PROVIDER_TRANSIENT, "cancelled", NULL, true);
        } else if (w->fault != FAULT_NONE && w->fault != FAULT_LIE && w->fault != FAULT_TWICE)
                answer_faulty(s, w);
        else if (streq(w->verb, "provision"))
                answer_provision(s, w);
        else if (streq(w->verb, "inspect"))
                answer_inspect(s, w);
        else if (streq(w->verb, "deprovision"))
                answer_deprovision(s, w);
        else if (streq(w->verb, "sleep") || streq(w->verb, "wake"))
                answer_level(s, w, streq(w->verb, "wake"));
        else if (streq(w->verb, "list"))
                answer_list(s, w);
        else
                reply(s, w, PROVIDER_INVALID, "not offered", NULL, false);
}

/* ---- calls ---- */

static Fault some_fault(Sim *s, const char *verb) {
        Fault f;

        if (s->quiet_world || !sim_percent(s, s->fault_percent))
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
        if (!s->quiet_world && sim_percent(s, 1))
                return error_set(reterr, -EAGAIN, "Cannot fork: try again");
        w = calloc(1, sizeof(Work));
        assert(w);
        w->id = strdup(call->id);
        w->verb = strdup(call->verb);
        w->provider = strdup(call->provider);
        w->request = json_incref((json_t *) call->request); /* the engine lets go of it */
        if (*text(resource_of(w), "uid"))
                w->uid = strdup(text(resource_of(w), "uid"));
        w->stream = call->stream;
        w->fault = some_fault(s, call->verb);
        w->due_boot_ms = s->boot_ms + 1 + sim_below(s, sim_percent(s, 10) ? 60000 : 300);
        if (w->fault == FAULT_HANG)
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

        for (const Work *w = s->work; w; w = w->next)
                if (w->due_boot_ms < next)
                        next = w->due_boot_ms;
        return next;
}

void world_answer_due(Sim *s) {
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
                answer(s, w);
                work_free(w);
        }
}

/* The daemon was killed: its providers end with it, wherever they are. */
void world_crash(Sim *s) {
        while (s->work) {
                Work *w = s->work;
                unsigned chance = sim_below(s, 3);

                s->work = w->next;
                if (w->uid && chance == 0)
                        effect(s, w);
                else if (w->uid && chance == 1)
                        half_effect(s, w);
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

static void say_changed(Sim *s, const Thing *t) {
        FrontEvents front = engine_front_events(s->engine);

        /* Nobody notices, or a visitor is refused. */
        if (streq(t->type, "workload") && sim_percent(s, 60))
                front.on_refused(front.userdata, t->environment);
}

void world_chaos(Sim *s) {
        Thing *t = some_thing(s);

        if (!t || t->foreign)
                return;
        switch (sim_below(s, 4)) {
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
        default: /* a thing of another installation, in our lists */
                if (map_size(s->things) < 60 && sim_percent(s, 30)) {
                        Thing *other = calloc(1, sizeof(Thing));
                        char uid[32];

                        assert(other);
                        snprintf(uid, sizeof(uid), "rother%llu",
                                 (unsigned long long) s->next_port++);
                        other->uid = strdup(uid);
                        other->marker = str_format("iother/eother/%s", uid);
                        other->type = strdup("workload");
                        other->provider = strdup("process");
                        other->environment = strdup("eother");
                        other->foreign = true;
                        assert(map_put(s->things, uid, other) == 0);
                }
        }
}

/* ---- front ---- */

static void front_changed(void *userdata, const char *host) {
        Sim *s = userdata;

        (void) effect_allowed(s); /* the ledger is the truth; telling may be lost */
}

static void front_activity(void *userdata, const char *environment_id, const char *host,
                           void (*done)(void *done_userdata, const char *environment_id,
                                        const FrontActivity *activity),
                           void *done_userdata) {
        Sim *s = userdata;
        FrontActivity a = { .known = s->quiet_world || sim_percent(s, 80),
                            .open = !s->quiet_world && sim_percent(s, 15) ? 1 : 0,
                            .last_visit_ms =
                                    !s->quiet_world && sim_percent(s, 20) ? s->wall_ms - 1000 : 0 };

        if (!s->quiet_world && sim_percent(s, 5))
                return; /* never answers */
        done(done_userdata, environment_id, &a);
}

FrontOps world_front(Sim *s) {
        return (FrontOps){ .host_changed = front_changed,
                           .activity = front_activity,
                           .userdata = s };
}

/* ---- files ---- */

#define SCORE(name, port, rest)                                                                    \
        "apiVersion: score.dev/v1b1\nmetadata:\n  name: " name "\nservice:\n  ports:\n    http:\n" \
        "      port: " port "\ncontainers:\n  main:\n    image: .\n    command: [run]\n" rest

static const struct {
        const char *mayfly, *web, *api;
} files[] = {
        { NULL, SCORE("web", "80", ""), NULL },
        { NULL,
          SCORE("web", "80",
                "    volumes:\n      /data:\n        source: ${resources.data}\n"
                "resources:\n  data:\n    type: volume\n"),
          NULL },
        { "score: [score.yaml, api.yaml]\nworkloads:\n  web:\n    build:\n      command: [make]\n",
          SCORE("web", "80",
                "    variables:\n      API: ${resources.api.hostname}\n"
                "resources:\n  api:\n    type: service-port\n    params:\n      workload: api\n"
                "      port: http\n  address:\n    type: dns\n    id: site\n  front:\n    type: route\n"
                "    params:\n      host: ${resources.address.host}\n      path: /\n      port: 80\n"),
          SCORE("api", "81",
                "    volumes:\n      /data:\n        source: ${resources.data}\n"
                "resources:\n  data:\n    type: volume\n  address:\n    type: dns\n    id: site\n"
                "  back:\n    type: route\n    params:\n      host: ${resources.address.host}\n"
                "      path: /api\n      port: 81\n") },
        { NULL,
          SCORE("web", "80",
                "    volumes:\n      /data:\n        source: ${resources.data}\n"
                "resources:\n  data:\n    type: volume\n    params:\n      size_max: 1000\n"),
          NULL },
        { NULL, "apiVersion: score.dev/v1b1\nmetadata: [nonsense\n", NULL },
        { NULL, NULL, NULL },
        { "lease:\n  sleep_after_idle: 5m\n", SCORE("web", "80", ""), NULL },
};

typedef struct Tree {
        unsigned variant;
} Tree;

static int tree_read(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                     Error *reterr) {
        const Tree *t = userdata;
        const char *content = streq(path, "mayfly.yaml")  ? files[t->variant].mayfly
                              : streq(path, "score.yaml") ? files[t->variant].web
                              : streq(path, "api.yaml")   ? files[t->variant].api
                                                          : NULL;

        if (!content)
                return error_set(reterr, -ENOENT, "No file '%s'", path);
        *ret = strdup(content);
        *ret_size = strlen(content);
        return *ret ? 0 : -ENOMEM;
}

static int files_open(void *userdata, const json_t *outputs, SpecReader *ret, Error *reterr) {
        const char *commit = text(outputs, "commit");
        Tree *t = calloc(1, sizeof(Tree));

        assert(t);
        /* The first two digits of a commit say which files it has. */
        t->variant = (unsigned) ((commit[0] - '0') * 10 + (commit[1] - '0')) % N_ELEMENTS(files);
        *ret = (SpecReader){ .read = tree_read, .userdata = t };
        return 0;
}

/* The scenarios need files that mean what they are meant to mean: one that the planner has come to refuse
 * would quietly turn every push of it into a failure. */
void world_check_files(Sim *s) {
        PlanContext context = { .config = s->config,
                                .project = "shop",
                                .repository = "/sim/shop.git",
                                .branch = "main",
                                .commit = "0",
                                .trust = "member" };

        for (unsigned i = 0; i < N_ELEMENTS(files); i++) {
                bool broken = !files[i].web || strstr(files[i].web, "nonsense");
                auto_cleanup(spec_faults_done) SpecFaults faults = { 0 };
                auto_cleanup(graph_freep) Graph *graph = NULL;
                SpecReader reader = { .read = tree_read, .userdata = &(Tree){ .variant = i } };
                auto_error error = { 0 };
                int r = plan_make(&context, &reader, &graph, &faults, &error);

                if ((r < 0) != broken) {
                        fprintf(stderr, "files %u: %s\n", i,
                                r < 0 ? error_text(&error, r) : "accepted");
                        abort();
                }
        }
}

static void files_close(void *userdata, SpecReader *reader) {
        free(reader->userdata);
}

EngineFiles world_files(Sim *s) {
        return (EngineFiles){ .open = files_open, .close = files_close, .userdata = s };
}

unsigned world_ours(const Sim *s, const char *environment) {
        unsigned n = 0;
        size_t at = 0;
        Thing *t;

        while ((t = map_next(s->things, &at, NULL)))
                if (!t->foreign && (!environment || streq(t->environment, environment)))
                        n++;
        return n;
}

void world_done(Sim *s) {
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
