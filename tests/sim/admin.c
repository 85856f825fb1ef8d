/* Admins: they remove and adopt orphans, change the policy, and have receipts looked at again. And what that
 * must not do: nothing that nobody wished away is removed, and looking changes nothing. */
#include <stdio.h>

#include "orchestrator/base/fault.h"
#include "tests/sim/sim.h"

/* ---- orphans ---- */

static void wished(Sim *s, const json_t *report) {
        json_t *one;
        size_t i;

        json_array_foreach(json_object_get(report, "orphans"), i, one)
                if (json_is_true(json_object_get(one, "chosen"))) {
                        assert(map_put(s->wished, world_text(one, "uid"), s) == 0);
                        acknowledge_of(s, ACK_ORPHAN, world_text(one, "uid"));
                }
}

static void orphans_wish(Sim *s, bool adopt) {
        bool all = !adopt && sim_percent(s, 20);
        OrphanWish wish = { .dry_run = sim_percent(s, 20), .young = sim_percent(s, 70) };
        json_auto_t *known = NULL, *report = NULL;
        char *uids[5] = { NULL };
        auto_error error = { 0 };
        size_t n = 0, i;
        json_t *one;
        int r;

        assert(engine_orphans(s->engine, &known, NULL) == 0);
        json_array_foreach(json_object_get(known, "orphans"), i, one)
                if (n + 1 < N_ELEMENTS(uids) && sim_percent(s, 60))
                        uids[n++] = (char *) world_text(one, "uid");
        if (n == 0 && !all)
                return;
        r = (adopt ? engine_orphans_adopt : engine_orphans_remove)(
                s->engine, &people_actor, all ? NULL : uids, wish, &report, &error);
        sim_say(s, "orphans %s%s, %zu of them: %s", adopt ? "adopt" : "remove",
                wish.dry_run ? ", only shown" : "", n, r < 0 ? error_text(&error, r) : "ok");
        if (r == 0 && !wish.dry_run && !adopt)
                wished(s, report);
}

static void on_looked(void *userdata, int r, const Error *error) {
        sim_say(userdata, "orphans were looked for: %d", r);
}

static void orphans_look(Sim *s) {
        assert(engine_orphans_look(s->engine, on_looked, s, NULL) == 0);
}

static int wish_in_ledger(void *userdata, const Stray *x) {
        Sim *s = userdata;

        if (x->removing)
                assert(map_put(s->wished, x->uid, s) == 0);
        return 0;
}

/* What people wished since the copy is lost with the ledger; what they wished before is in it. */
void orphans_put_back(Sim *s) {
        map_free(s->wished);
        map_free(s->asked);
        s->wished = map_new(NULL);
        s->asked = map_new(NULL);
        assert(s->wished && s->asked);
        assert(ledger_stray_each(s->ledger, NULL, wish_in_ledger, s, NULL) == 0);
}

void check_orphan_call(Sim *s, const ProviderCall *call, const char *uid) {
        auto_cleanup(stray_done) Stray x = { 0 };

        sim_say(s, "  %s of the orphan %s", call->verb, uid);
        if (!streq(call->verb, "deprovision")) {
                if (!streq(call->verb, "inspect"))
                        sim_violation(s, "nothing leaks", "%s of %s, which is not in the ledger",
                                      call->verb, uid);
                return;
        }
        if (ledger_stray_get(s->ledger, uid, &x, NULL) < 0 || !x.removing ||
            !map_get(s->wished, uid))
                sim_violation(s, "nothing goes that nobody wished away", "deprovision of %s", uid);
        else if (!streq_null(x.intent, call->id))
                sim_violation(s, "commit the intent, act, commit the outcome",
                              "deprovision of the orphan %s has no open intent", uid);
        if (s->frozen && !s->releasing)
                sim_violation(s, "a freeze that was acknowledged wins",
                              "deprovision of the orphan %s", uid);
}

static int stray_at_rest(void *userdata, const Stray *x) {
        Sim *s = userdata;
        Thing *t = map_get(s->things, x->uid);

        if (x->removing || x->intent)
                sim_violation(s, "an orphan that was wished away goes, or it is said why not",
                              "%s still waits", x->uid);
        else if (map_get(s->asked, x->uid) && t && t->orphan && !t->foreign && !x->cause)
                sim_violation(s, "an orphan that was wished away goes, or it is said why not",
                              "%s is there, and nobody knows why", x->uid);
        return 0;
}

void check_orphans_at_rest(Sim *s) {
        assert(ledger_stray_each(s->ledger, NULL, stray_at_rest, s, NULL) == 0);
}

/* ---- policies ---- */

static int follow_one(void *userdata, const Environment *env) {
        Sim *s = userdata;

        if (env->state != ENV_DELETING && env->state != ENV_GONE)
                lease_follow_policy(s, lease_get(s, env->id), env);
        return 0;
}

static void policy_set(Sim *s, const ConfigClocks *clocks) {
        assert(ledger_environment_each(s->ledger, NULL, false, follow_one, s, NULL) == 0);
        s->config->clocks = *clocks;
        map_free(s->left_ms); /* by the lengths before */
        s->left_ms = map_new(free);
        assert(s->left_ms);
        assert(ledger_environment_each(s->ledger, NULL, false, follow_one, s, NULL) == 0);
        engine_set_config(s->engine, s->config);
        sim_turns(s);
}

static void policy_change(Sim *s) {
        static const int64_t lengths[][3] = {
                { 5 * MS_PER_MINUTE, 30 * MS_PER_MINUTE, 4 * MS_PER_HOUR }, /* idle */
                { MS_PER_HOUR, 7 * MS_PER_DAY, 30 * MS_PER_DAY },           /* asleep */
                { 2 * MS_PER_HOUR, 5 * MS_PER_DAY, 60 * MS_PER_DAY },       /* age */
                { MS_PER_MINUTE, MS_PER_HOUR, 2 * MS_PER_DAY },             /* close */
        };
        ConfigClocks c = s->config->clocks;
        int64_t *const clocks[] = { &c.sleep_after_idle, &c.delete_after_asleep,
                                    &c.delete_after_age, &c.delete_after_close };
        unsigned kind = sim_below(s, N_ELEMENTS(clocks));

        /* What begins in the same turn has no lengths before; a policy that no turn took up was none. */
        s->dead_after = -1;
        fault_arm("none", 0, 0);
        sim_turns(s);

        *clocks[kind] = lengths[kind][sim_below(s, 3)];
        sim_say(s, "the policy changes: %s is %lld s", reaper_clock_to_string((int) kind),
                (long long) *clocks[kind] / 1000);
        policy_set(s, &c);
}

void policy_back(Sim *s) {
        sim_turns(s);
        policy_set(s, &s->usual_clocks);
}

/* ---- receipts ---- */

static void on_verified(void *userdata, json_t *report) {
        Sim *s = userdata;

        s->verify = NULL;
        sim_say(s, "verified: %s",
                json_is_true(json_object_get(report, "gone")) ? "gone" : "not, or not known");
        json_decref(s->verified);
        s->verified = report;
}

static int verify_one(void *userdata, const Receipt *receipt) {
        Sim *s = userdata;

        assert(engine_verify(s->engine, receipt, on_verified, s, &s->verify, NULL) == 0);
        snprintf(s->verifying, sizeof(s->verifying), "%s", receipt->environment_id);
        return 1;
}

static void verify_label(Sim *s, unsigned branch) {
        auto_cleanup(freep) char *name = str_format("shop/%s", people_branch(branch));
        auto_cleanup(environment_done) Environment env = { 0 };

        if (s->verify || ledger_environment_get(s->ledger, name, &env, NULL) < 0)
                return;
        (void) ledger_receipt_each(s->ledger, env.label, 1, verify_one, s, NULL);
        s->wanted = s->wanted || s->verify;
}

static const char *anything_of(Sim *s, const char *environment) {
        size_t at = 0;
        Thing *t;

        while ((t = map_next(s->things, &at, NULL)))
                if (!t->foreign && streq(t->environment, environment))
                        return t->uid;
        return NULL;
}

/* "A receipt can be held against the world": in a quiet one it tells the truth. */
void check_verified(Sim *s) {
        for (unsigned i = 0; i < N_BRANCHES; i++) {
                const char *left;
                bool gone;

                json_decref(s->verified);
                s->verified = NULL;
                verify_label(s, i);
                if (!s->verify)
                        continue;
                for (unsigned n = 0; s->verify && n < 400 && sim_time_brings(s, MS_PER_DAY); n++)
                        sim_turns(s);
                gone = json_is_true(json_object_get(s->verified, "gone"));
                left = anything_of(s, s->verifying);
                if (!s->verified || gone == (left != NULL))
                        sim_violation(s, "a receipt can be held against the world",
                                      "%s: %s, and %s left", s->verifying,
                                      !s->verified ? "no answer"
                                      : gone       ? "gone"
                                                   : "not gone",
                                      left ? left : "nothing is");
        }
        json_decref(s->verified);
        s->verified = NULL;
}

static void verify_end(Sim *s) {
        if (!s->verify)
                return;
        engine_verify_cancel(s->verify);
        s->verify = NULL;
}

/* ---- any of it ---- */

void admin_act(Sim *s, unsigned branch) {
        switch (sim_below(s, 8)) {
        case 0:
                orphans_look(s);
                break;
        case 1:
        case 2:
        case 3:
                orphans_wish(s, false);
                break;
        case 4:
                orphans_wish(s, true);
                break;
        case 5:
                policy_change(s);
                break;
        case 6:
                verify_label(s, branch);
                break;
        default:
                verify_end(s);
        }
}
