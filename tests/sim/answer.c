/* What providers answer: well, or wrongly in every way that the engine must live with. The effect of a call
 * happens when it ends. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

#define SECRET "s3cr3t-of-the-volume"

static json_t *endpoints(const Work *w, const Thing *t) {
        const json_t *params = json_object_get(world_resource(w), "params");
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
        const json_t *resource = world_resource(w),
                     *environment = json_object_get(w->request, "environment");
        const json_t *params = json_object_get(resource, "params");
        const char *type = world_text(resource, "type");

        if (streq(type, "checkout"))
                return json_pack("{s:s, s:s}", "path", "/sim/checkout", "commit",
                                 world_text(params, "commit"));
        if (streq(type, "network"))
                return json_pack("{s:s, s:s, s:s}", "namespace", w->uid, "address", "127.0.0.1",
                                 "mode", "forward");
        if (streq(type, "workload"))
                return json_pack("{s:o, s:i}", "endpoints", endpoints(w, t), "started_ms", 1);
        if (streq(type, "volume"))
                return json_pack("{s:s, s:s, s:s}", "type", "bind", "source", "/sim/volume",
                                 "password", SECRET);
        if (streq(type, "service"))
                return json_pack("{s:s, s:s}", "name", "other", "hostname", "other");
        if (streq(type, "service-port"))
                return json_pack("{s:s, s:i}", "hostname", "other", "port", 80);
        if (streq(type, "dns"))
                return json_pack("{s:s, s:s}", "host", world_text(environment, "host"), "url",
                                 world_text(environment, "url"));
        if (streq(type, "route"))
                return json_pack("{s:s, s:s, s:s, s:O}", "host", world_text(params, "host"), "path",
                                 world_text(params, "path"), "workload",
                                 world_text(params, "workload"), "port",
                                 json_object_get(params, "port") ? json_object_get(params, "port")
                                                                 : json_true());
        if (streq(type, "environment"))
                return json_deep_copy(json_object_get(environment, "values"));
        return json_object();
}

/* ---- replies ---- */

static void echo_later(Sim *s, const Work *w, ProviderClass class, const json_t *result) {
        Echo *e = calloc(1, sizeof(Echo));

        assert(e);
        e->id = strdup(w->id);
        e->class = class;
        e->result = json_incref((json_t *) result);
        e->due_boot_ms = s->boot_ms + sim_below(s, 60000);
        e->next = s->echoes;
        s->echoes = e;
}

static int has_secret(void *userdata, const Resource *r) {
        return r->secret && r->state != RES_REMOVED ? 1 : 0;
}

/* What a provider says, sometimes with a secret of the environment in it that the ledger knows. */
static char *say(Sim *s, const Work *w, const char *text) {
        const char *id = world_text(json_object_get(w->request, "environment"), "id");

        return *id && w->uid && sim_percent(s, 20) &&
                               ledger_resource_each(s->ledger, id, false, has_secret, s, NULL) == 1
                       ? str_format("%s with " SECRET, text)
                       : strdup(text);
}

static void reply(Sim *s, const Work *w, ProviderClass class, const char *message,
                  const json_t *result, bool unknown) {
        ProviderEvents events = engine_provider_events(s->engine);
        auto_cleanup(freep) char *said = message ? say(s, w, message) : NULL;
        ProviderReply r = { .call_id = w->id,
                            .class = class,
                            .message = said,
                            .result = result,
                            .unknown = unknown,
                            .retry_after_ms = class == PROVIDER_THROTTLED ? 3000 : 0 };

        sim_say(s, "  reply %s %s %s: %s%s", w->verb, w->provider, w->uid ? w->uid : "-",
                provider_class_to_string(class), unknown ? " (unknown)" : "");
        events.on_reply(events.userdata, &r);
        if (w->fault != FAULT_TWICE)
                return;
        if (sim_percent(s, 50))
                events.on_reply(events.userdata, &r);
        else
                echo_later(s, w, class, result);
}

static void answer_provision(Sim *s, const Work *w) {
        const char *type = world_text(world_resource(w), "type");
        json_auto_t *result = NULL, *state = json_pack("{s:s}", "made", w->uid);
        json_auto_t *outputs = NULL;
        Thing *t = map_get(s->things, w->uid);

        if (t && t->foreign) {
                reply(s, w, PROVIDER_CONFLICT, "another thing has this name", NULL, false);
                return;
        }
        if (w->fault != FAULT_LIE && !world_weightless(type))
                t = world_make(s, w);
        outputs = outputs_of(w, t);
        result = json_pack("{s:O, s:O}", "state", state, "outputs", outputs);
        if (json_object_get(outputs, "password"))
                json_object_set_new(result, "secret", json_pack("[s]", "password"));
        if (sim_percent(s, 10)) {
                auto_cleanup(freep) char *note = say(s, w, "not all of it");

                json_object_set_new(result, "notes", json_pack("[s]", note));
        }
        reply(s, w, PROVIDER_OK, NULL, result, false);
}

static void answer_inspect(Sim *s, const Work *w) {
        const char *type = world_text(world_resource(w), "type");
        Thing *t = map_get(s->things, w->uid);
        json_auto_t *result = NULL;

        if (world_weightless(type))
                result = json_pack("{s:s}", "present",
                                   json_is_object(json_object_get(world_resource(w), "state"))
                                           ? "present"
                                           : "absent");
        else if (!t && stale_shows(s, w->uid))
                result = json_pack("{s:s, s:s, s:b, s:s}", "present", "present", "marker",
                                   stale_shows(s, w->uid), "ready", 1, "level", "awake");
        else if (!t)
                result = json_pack("{s:s, s:s}", "present", "absent", "detail", "it is not there");
        else if (!t->foreign && stale_hides(s, t))
                result = json_pack("{s:s}", "present", "uncertain");
        else {
                if (t->foreign)
                        map_put(s->foreign_seen, w->uid, s);
                result = json_pack("{s:s, s:s, s:b, s:s}", "present",
                                   sim_trouble(s, 3) ? "uncertain" : "present", "marker", t->marker,
                                   "ready", (int) (t->ready && !t->half), "level",
                                   t->awake ? "awake" : "stopped");
                if (!json_object_get(result, "detail") && sim_percent(s, 20)) {
                        auto_cleanup(freep) char *detail = say(s, w, "it looks well");

                        json_object_set_new(result, "detail", json_string(detail));
                }
        }
        assert(map_put(s->looked, w->uid, s) == 0);
        reply(s, w, PROVIDER_OK, NULL, result, false);
}

/* What it removed now, in its own words too. */
static json_t *removal_report(Sim *s, const Work *w, bool was_there) {
        auto_cleanup(freep) char *words = say(s, w, "the rest");
        json_t *list = json_pack("[{s:s, s:s}, {s:s, s:s}]", "kind", "thing", "name", w->uid,
                                 "kind", "rest", "name", words);

        return was_there ? json_pack("{s:o, s:[]}", "removed", list, "absent")
                         : json_pack("{s:[], s:o}", "removed", "absent", list);
}

static void answer_deprovision(Sim *s, const Work *w) {
        Thing *t = map_get(s->things, w->uid);
        json_auto_t *result = removal_report(s, w, t != NULL);

        if (t && t->foreign) {
                if (map_get(s->foreign_seen, w->uid))
                        sim_violation(
                                s, "other people's things are never touched",
                                "deprovision of %s after its inspection showed another marker",
                                w->uid);
                reply(s, w, PROVIDER_CONFLICT, "another thing has this name", NULL, false);
                return;
        }
        if (w->fault != FAULT_LIE && t) {
                assert(map_put(s->removing, w->uid, s) == 0);
                stale_removed(s, t);
                map_remove(s->things, w->uid);
        }
        reply(s, w, t ? PROVIDER_OK : PROVIDER_GONE, t ? NULL : "not there", result, false);
}

static void answer_level(Sim *s, const Work *w, bool awake) {
        Thing *t = map_get(s->things, w->uid);
        json_auto_t *result = NULL;

        if (!t) {
                reply(s, w, PROVIDER_GONE, "not there", NULL, false);
                return;
        }
        if (w->fault != FAULT_LIE) {
                t->awake = awake;
                t->ready = t->ready || awake;
        }
        if (awake) {
                result = json_pack("{s:o}", "outputs", outputs_of(w, t));
        } else
                result = json_object();
        reply(s, w, PROVIDER_OK, NULL, result, false);
}

static void answer_sleep(Sim *s, const Work *w) {
        answer_level(s, w, false);
}

static void answer_wake(Sim *s, const Work *w) {
        answer_level(s, w, true);
}

/* ---- lists ---- */

static void list_item(Sim *s, const Work *w, json_t *taken) {
        ProviderEvents events = engine_provider_events(s->engine);
        json_auto_t *line = json_pack("{s:o}", "item", taken);

        assert(line);
        events.on_line(events.userdata, w->id, line);
}

/* Things that a sound list would not have: removed long ago, of nobody, no names at all, a marker of ours
 * under another uid. */
static void list_nonsense(Sim *s, const Work *w) {
        char uid[32], marker[96];
        size_t at = 0;
        Thing *t;

        snprintf(uid, sizeof(uid), "rghost%u", sim_below(s, 1000));
        snprintf(marker, sizeof(marker), "%s/eghost/rother", ledger_installation(s->ledger));
        switch (sim_below(s, 5)) {
        case 4: /* a name of ours that another environment is said to own */
                while ((t = map_next(s->things, &at, NULL)))
                        if (!t->orphan && streq(t->provider, w->provider))
                                snprintf(uid, sizeof(uid), "%s", t->uid);
                snprintf(marker, sizeof(marker), "%s/eghost/%s", ledger_installation(s->ledger),
                         uid);
                list_item(s, w, json_pack("{s:s, s:s}", "uid", uid, "marker", marker));
                break;
        case 0:
                list_item(s, w, json_pack("{s:s, s:s}", "uid", uid, "marker", marker));
                break;
        case 1:
                list_item(s, w, json_pack("{s:i, s:[]}", "uid", 7, "marker"));
                break;
        case 2:
                list_item(s, w, json_string("nothing"));
                break;
        default:
                snprintf(marker, sizeof(marker), "%s/eghost/%s", ledger_installation(s->ledger),
                         uid);
                list_item(s, w, json_pack("{s:s, s:s}", "uid", uid, "marker", marker));
        }
}

static void list_thing(Sim *s, const Work *w, const Thing *t, const char *present) {
        list_item(s, w,
                  json_pack("{s:s, s:s, s:s, s:s, s:s}", "uid", t->uid, "marker", t->marker, "type",
                            t->type, "present", present, "level", t->awake ? "awake" : "stopped"));
}

static void answer_list(Sim *s, const Work *w) {
        bool partial = sim_trouble(s, 30), empty = sim_trouble(s, 10);
        /* Some say that it is all when it is not. */
        json_auto_t *result =
                json_pack("{s:b}", "complete", (int) ((!partial && !empty) || sim_percent(s, 40)));
        const Thing *f;
        size_t at = 0;
        Thing *t;

        while (!empty && (t = map_next(s->things, &at, NULL))) {
                unsigned times;

                if (!streq(t->provider, w->provider) || (partial && sim_percent(s, 50)) ||
                    stale_hides(s, t))
                        continue;
                times = sim_trouble(s, 5) ? 2 : 1;
                /* A list for somebody who verifies a receipt changes nothing. */
                t->shown = t->shown || (t->orphan && s->quiet_world && !s->verify);
                while (times-- > 0)
                        list_thing(s, w, t, sim_trouble(s, 3) ? "uncertain" : "present");
        }
        at = 0;
        while (!empty && (f = stale_next(s, &at)))
                if (streq(f->provider, w->provider))
                        list_thing(s, w, f, "present");
        if (sim_trouble(s, 10))
                list_nonsense(s, w);
        sim_say(s, "  listed %s%s%s", w->provider, partial ? ", in part" : "",
                empty ? ", empty" : "");
        reply(s, w, PROVIDER_OK, NULL, result, false);
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
        case FAULT_STORM:
                reply(s, w, PROVIDER_THROTTLED, "too many requests", NULL, false);
                return;
        case FAULT_AFTER:
                world_effect(s, w);
                reply(s, w, sim_percent(s, 50) ? PROVIDER_TRANSIENT : PROVIDER_UNRECOVERABLE,
                      "it may have worked", NULL, true);
                return;
        case FAULT_HALF:
                world_half_effect(s, w);
                reply(s, w, PROVIDER_TRANSIENT, "it broke in the middle", NULL, true);
                return;
        case FAULT_NONSENSE:
                if (sim_percent(s, 50))
                        world_effect(s, w);
                nonsense =
                        sim_percent(s, 50) ? json_pack("{s:[], s:i}", "outputs", "state", 7) : NULL;
                reply(s, w, PROVIDER_OK, NULL, nonsense, false);
                return;
        default: /* FAULT_HANG, FAULT_DIE */
                if (sim_percent(s, 40))
                        world_effect(s, w);
                else if (sim_percent(s, 50))
                        world_half_effect(s, w);
                reply(s, w, PROVIDER_TRANSIENT, "it ended without an answer", NULL, true);
        }
}

static const struct {
        const char *verb;
        void (*answer)(Sim *s, const Work *w);
} honest[] = {
        { "provision", answer_provision },
        { "inspect", answer_inspect },
        { "deprovision", answer_deprovision },
        { "sleep", answer_sleep },
        { "wake", answer_wake },
        { "list", answer_list },
};

static void answer_well(Sim *s, const Work *w) {
        for (size_t i = 0; i < N_ELEMENTS(honest); i++)
                if (streq(honest[i].verb, w->verb)) {
                        honest[i].answer(s, w);
                        return;
                }
        reply(s, w, PROVIDER_INVALID, "not offered", NULL, false);
}

/* What is to go wrong although the world is quiet. */
static bool answer_planned(Sim *s, const Work *w) {
        const char *type = world_text(world_resource(w), "type");

        if (!streq(w->verb, "provision"))
                return false;
        if (s->plan == PLAN_ONCE_EACH && !map_get(s->tried, w->uid)) {
                assert(map_put(s->tried, w->uid, s) == 0);
                reply(s, w, PROVIDER_TRANSIENT, "not yet", NULL, false);
                return true;
        }
        if (s->plan == PLAN_VOLUMES_FAIL && streq(type, "volume")) {
                reply(s, w, PROVIDER_UNRECOVERABLE, "never", NULL, false);
                return true;
        }
        return false;
}

void world_answer(Sim *s, const Work *w) {
        /* A call that is told to end may have ended well just before. */
        if (w->cancelled && (s->quiet_world || !sim_percent(s, 25))) {
                if (sim_percent(s, 30))
                        world_effect(s, w);
                else
                        world_half_effect(s, w);
                reply(s, w, PROVIDER_TRANSIENT, "cancelled", NULL, true);
        } else if (answer_planned(s, w))
                return;
        else if (w->fault != FAULT_NONE && w->fault != FAULT_LIE && w->fault != FAULT_TWICE)
                answer_faulty(s, w);
        else
                answer_well(s, w);
}
