/* What must be true when a provider is called: "commit the intent, act, commit the outcome". */
#include <stdio.h>

#include "tests/sim/sim.h"

typedef struct Intents {
        const char *id;
        unsigned found;
} Intents;

static int find_intent(void *userdata, const Intent *i) {
        Intents *in = userdata;

        in->found += streq(i->id, in->id);
        return 0;
}

/* "Nothing wanted is removed." */
static void check_removal(Sim *s, const Resource *r) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(generation_done) Generation g = { 0 };

        assert(ledger_environment_get(s->ledger, r->environment_id, &env, NULL) == 0);
        if (env.state == ENV_DELETING) {
                if (s->frozen && !s->releasing)
                        sim_violation(s, "a freeze that was acknowledged wins",
                                      "deprovision of %s '%s' of %s", r->type, r->key, env.label);
                return;
        }
        if (r->generation == 0) {
                sim_violation(s, "nothing wanted is removed",
                              "%s of %s goes and the environment stays", r->key, env.label);
                return;
        }
        assert(ledger_generation_get(s->ledger, env.id, r->generation, &g, NULL) == 0);
        if (g.state != GEN_RETIRING && g.state != GEN_FAILED)
                sim_violation(s, "nothing wanted is removed",
                              "%s of %s goes and its generation is %s", r->key, env.label,
                              gen_state_to_string(g.state));
}

typedef struct Below {
        Sim *sim;
        const Resource *of;
        const json_t *depends;
        unsigned depth;
} Below;

static void check_below(Sim *s, const Resource *r, unsigned depth);

static int below(void *userdata, const Resource *r) {
        Below *b = userdata;
        json_t *key;
        size_t i;

        if (r->generation != 0 && r->generation != b->of->generation)
                return 0;
        json_array_foreach((json_t *) b->depends, i, key) {
                if (!streq(json_string_value(key), r->key) || streq(r->uid, b->of->uid))
                        continue;
                if (streq(r->type, "workload") && r->state != RES_READY)
                        sim_violation(b->sim, "what wakes has what it needs", "%s needs %s, %s",
                                      b->of->key, r->key, res_state_to_string(r->state));
                check_below(b->sim, r, b->depth + 1);
        }
        return 0;
}

/* "The workloads in order." */
static void check_below(Sim *s, const Resource *r, unsigned depth) {
        json_auto_t *node = json_loads(r->node, 0, NULL);
        Below b = {
                .sim = s, .of = r, .depends = json_object_get(node, "depends"), .depth = depth
        };

        if (depth < 8 && json_array_size(b.depends) > 0)
                assert(ledger_resource_each(s->ledger, r->environment_id, false, below, &b, NULL) ==
                       0);
}

static void check_looked(Sim *s, const ProviderCall *call, const char *uid) {
        if (streq(call->verb, "deprovision") && !map_get(s->looked, uid))
                sim_violation(s, "between intent and call the live thing is seen",
                              "deprovision of %s, which was not inspected just before", uid);
        map_remove(s->looked, uid);
}

void check_call(Sim *s, const ProviderCall *call) {
        static const char *const changing[] = { "provision", "deprovision", "sleep", "wake" };
        const char *uid = json_string_value(
                json_object_get(json_object_get(call->request, "resource"), "uid"));
        auto_cleanup(resource_done) Resource r = { 0 };
        Intents intents = { .id = call->id };
        bool changes = false;

        if (!uid)
                return;
        for (size_t i = 0; i < N_ELEMENTS(changing); i++)
                changes = changes || streq(call->verb, changing[i]);
        for (Work *w = s->work; w; w = w->next)
                if (w->uid && streq(w->uid, uid))
                        sim_violation(s, "at most one call on a resource", "%s while %s runs on %s",
                                      call->verb, w->verb, uid);
        if (ledger_is_open(s->ledger))
                sim_violation(s, "commit the intent, act, commit the outcome",
                              "%s is called inside a transaction", call->verb);
        if (ledger_resource_get(s->ledger, uid, &r, NULL) < 0 || r.state == RES_REMOVED) {
                check_orphan_call(s, call, uid);
                check_looked(s, call, uid);
                return;
        }
        assert(ledger_intent_each_open(s->ledger, find_intent, &intents, NULL) == 0);
        if (changes && intents.found != 1)
                sim_violation(s, "commit the intent, act, commit the outcome",
                              "%s of %s has no open intent", call->verb, uid);
        sim_say(s, "  %s of %s '%s' generation %lld, %s%s%s, tries %lld", call->verb, r.type, r.key,
                (long long) r.generation, res_state_to_string(r.state),
                r.inspect ? ", to be inspected" : "", r.emptied ? ", emptied" : "",
                (long long) r.tries);
        if (streq(call->verb, "provision") && !r.touched)
                sim_violation(s, "nothing leaks", "provision of %s, which is not marked as touched",
                              uid);
        if (streq(call->verb, "deprovision"))
                check_removal(s, &r);
        check_looked(s, call, uid);
        if (streq(call->verb, "deprovision") || streq(call->verb, "sleep"))
                check_front_leaves(s, call->verb, uid);
        if (streq(call->verb, "wake"))
                check_below(s, &r, 0);
        if (streq(call->verb, "deprovision") && s->held && !s->releasing)
                sim_violation(s, "held: nothing is removed before somebody released it",
                              "deprovision of %s '%s'", r.type, r.key);
}
