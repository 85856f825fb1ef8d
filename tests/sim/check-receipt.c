/* What an environment leaves: one signed receipt, which has everything that was made for it and everything
 * that the world saw removed. And what nothing may hold: the words of a secret. */
#include <stdio.h>

#include "tests/sim/sim.h"

/* ---- receipts ---- */

typedef struct Held {
        Sim *sim;
        const Environment *env;
        json_t *by_uid;
        size_t n;
} Held;

static bool names(const json_t *list, const char *name) {
        json_t *item;
        size_t i;

        json_array_foreach((json_t *) list, i, item)
                if (streq(world_text(item, "name"), name))
                        return true;
        return false;
}

static int in_receipt(void *userdata, const Resource *r) {
        Held *h = userdata;
        const json_t *one = json_object_get(h->by_uid, r->uid);

        if (!r->touched)
                return 0;
        h->n++;
        if (!one)
                sim_violation(h->sim, "a receipt has what was made and removed", "%s: no %s %s",
                              h->env->label, r->type, r->uid);
        else if (map_get(h->sim->removed, r->uid) &&
                 !names(json_object_get(one, "removed"), r->uid))
                sim_violation(h->sim, "a receipt has what was made and removed",
                              "%s: %s %s was removed", h->env->label, r->type, r->uid);
        return 0;
}

static int count_receipt(void *userdata, const Receipt *r) {
        Held *h = userdata;

        h->n += streq(r->environment_id, h->env->id);
        return 0;
}

void check_receipt(Sim *s, const Environment *env) {
        json_auto_t *body = NULL, *by_uid = json_object();
        auto_cleanup(receipt_done) Receipt r = { 0 };
        Held held = { .sim = s, .env = env, .by_uid = by_uid };
        auto_error error = { 0 };
        json_t *list, *one, *route;
        size_t i;

        assert(ledger_receipt_each(s->ledger, env->label, 1000, count_receipt, &held, NULL) == 0);
        if (held.n != 1 || ledger_receipt_get(s->ledger, env->id, &r, NULL) < 0) {
                sim_violation(s, "a receipt has what was made and removed", "%s has %zu",
                              env->label, held.n);
                return;
        }
        if (ledger_receipt_check(s->ledger, &r, &error) < 0)
                sim_violation(s, "a receipt has what was made and removed", "%s: %s", env->label,
                              error_text(&error, 0));
        check_no_secret(s, "receipt", r.body);
        body = json_loads(r.body, 0, NULL);
        route = json_object_get(body, "route");
        /* It leads to a page that says so, or to another environment of that name. */
        if (!streq(world_text(route, "answer"), "gone") && !json_object_get(route, "environment"))
                sim_violation(s, "a receipt has what was made and removed",
                              "%s: its address is said to be '%s'", env->label,
                              world_text(route, "answer"));
        list = json_object_get(body, "resources");
        json_array_foreach(list, i, one)
                json_object_set(by_uid, world_text(one, "uid"), one);
        held.n = 0;
        assert(ledger_resource_each(s->ledger, env->id, true, in_receipt, &held, NULL) == 0);
        if (held.n != json_array_size(list) || held.n != json_object_size(by_uid))
                sim_violation(s, "a receipt has what was made and removed", "%s: %zu of %zu",
                              env->label, json_array_size(list), held.n);
}

/* ---- what the world saw removed, once a turn that was told of it is committed ---- */

void receipt_told(Sim *s) {
        const char *uid;
        size_t at = 0;

        while (map_next(s->removing, &at, &uid)) {
                assert(map_put(s->removed, uid, s) == 0);
                map_remove(s->removing, uid);
        }
}

void receipt_forget(Sim *s, bool all) {
        map_free(s->removing);
        s->removing = map_new(NULL);
        if (!all)
                return;
        map_free(s->removed);
        s->removed = map_new(NULL);
}

/* ---- secrets ---- */

void check_no_secret(Sim *s, const char *where, const char *text) {
        if (text && strstr(text, "s3cr3t"))
                sim_violation(s, "secrets are in no event", "%s: %.200s", where, text);
}

static int one_stray(void *userdata, const Stray *x) {
        check_no_secret(userdata, "stray", x->detail);
        check_no_secret(userdata, "stray", x->cause);
        return 0;
}

static int one_generation(void *userdata, const Generation *g) {
        check_no_secret(userdata, "generation", g->cause);
        return 0;
}

static int one_environment(void *userdata, const Environment *env) {
        Sim *s = userdata;

        check_no_secret(s, "environment", env->cause);
        return ledger_generation_each(s->ledger, env->id, one_generation, s, NULL);
}

static int one_resource(void *userdata, const Resource *r) {
        check_no_secret(userdata, "cause", r->cause);
        check_no_secret(userdata, "outputs", r->outputs);
        check_no_secret(userdata, "node", r->node);
        for (char **note = r->notes; note && *note; note++)
                check_no_secret(userdata, "note", *note);
        return 0;
}

/* They stay where they are once written. */
void check_secrets(Sim *s) {
        assert(ledger_environment_each(s->ledger, NULL, true, one_environment, s, NULL) == 0);
        assert(ledger_resource_each(s->ledger, NULL, true, one_resource, s, NULL) == 0);
        assert(ledger_stray_each(s->ledger, NULL, one_stray, s, NULL) == 0);
}
