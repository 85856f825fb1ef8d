/* Rules over each type under disturbance: answers cut off, programs killed in the middle, strangers'
 * markers. After each the world must be found again by name alone: no state is remembered. */
#include "orchestrator/cli/provider-rules.h"

#include <fts.h>
#include <signal.h>
#include <stdio.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/time.h"

DEFINE_CLEANUP(FTS *, fts_close)

/* The first file or folder below path whose name holds part ("": the first that is no folder), owned;
 * NULL when there is none. */
static char *file_find(const char *path, const char *part) {
        char *paths[] = { (char *) path, NULL };
        auto_cleanup(fts_closep) FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
        FTSENT *entry;

        while (walk && (entry = fts_read(walk))) {
                bool is_folder = entry->fts_info == FTS_D || entry->fts_info == FTS_DP;

                if (*part ? strstr(entry->fts_name, part) != NULL : !is_folder)
                        return strdup(entry->fts_path);
        }
        return NULL;
}

/* What a killed call left behind must be found by list: the daemon may have lost all memory of it. */
static Verdict is_listed(Kit *kit, Subject *subject, const json_t *resource, const char *after) {
        const char *uid = kit_text(resource, "uid");
        auto_cleanup(freep) char *left = file_find(kit->state_dir, uid);
        auto_answer list = { 0 };
        const json_t *item;

        if (!left || subject->computed || kit_listed(kit, subject, uid, &item, &list) > 0)
                return VERDICT_OK;
        free(left);
        left = file_find(kit->state_dir, uid); /* it may have been going away */
        return left ? kit_not_ok(kit, "%s, '%s' is there and not listed", after, left) : VERDICT_OK;
}

/* After a disturbed call: the resource can be inspected, made and removed, and is then gone. */
static Verdict recovers(Kit *kit, Subject *subject, json_t *resource, const char *after) {
        auto_answer found = kit_ask(kit, subject, "inspect", resource);
        auto_answer made = kit_ask(kit, subject, "provision", resource);
        auto_answer gone = kit_ask(kit, subject, "deprovision", resource);
        auto_answer left = kit_ask(kit, subject, "inspect", resource);
        const char *marker = kit_text(found.result, "marker");
        char words[256];

        if (!found.result)
                return kit_not_ok(kit, "%s, inspect: %s", after, answer_words(&found, words));
        if (*marker && !streq(marker, kit_text(resource, "marker")))
                return kit_not_ok(kit, "%s, inspect finds the marker '%s'", after, marker);
        if (streq(kit_text(found.result, "present"), "present") && !*marker)
                return kit_not_ok(kit, "%s, it is present without a marker", after);
        if (!made.result)
                return kit_not_ok(kit, "%s, provision: %s", after, answer_words(&made, words));
        if (json_object_size(json_object_get(made.result, "outputs")) !=
            json_object_size(subject->outputs))
                return kit_not_ok(kit, "%s, provision gives other outputs", after);
        if (!gone.result)
                return kit_not_ok(kit, "%s, deprovision: %s", after, answer_words(&gone, words));
        if (!streq(kit_text(left.result, "present"), "absent"))
                return kit_not_ok(kit, "%s, it is not absent after deprovision", after);
        return VERDICT_OK;
}

static Verdict disturb(Kit *kit, Subject *subject, const char *verb, Interrupt interrupt,
                       const char *after) {
        json_auto_t *resource = kit_resource(kit, subject);
        auto_answer answer = { 0 };

        if (streq(verb, "deprovision")) {
                auto_answer made = kit_ask(kit, subject, "provision", resource);
                char words[256];

                if (!made.result)
                        return kit_not_ok(kit, "provision: %s", answer_words(&made, words));
        }
        answer = kit_call(kit, subject, verb, subject->environment, resource, interrupt);
        if (answer.overdue)
                return kit_not_ok(kit, "%s, it did not end", after);
        if (answer.left_behind)
                return kit_not_ok(kit, "%s, process %d of its group lives on", after,
                                  answer.left_behind);
        if (answer.interrupted && interrupt.signal == SIGTERM &&
            answer.took_ms > interrupt.at_ms + LIMIT_PROVIDER_GRACE_MS)
                return kit_not_ok(kit, "%s, it took %lld ms to end", after,
                                  (long long) (answer.took_ms - interrupt.at_ms));
        if (is_listed(kit, subject, resource, after) != VERDICT_OK)
                return VERDICT_NOT_OK;
        return recovers(kit, subject, resource, after);
}

Verdict rule_killed_in_answer(Kit *kit, Subject *subject) {
        int64_t n = (int64_t) subject->n_bytes;
        const int64_t bytes[] = { 0, 1, n / 4, n / 2, n - 1, n };
        char after[96];

        for (size_t i = 0; i < N_ELEMENTS(bytes); i++) {
                for (int kills = 0; kills < 2; kills++) {
                        Interrupt interrupt = { .at_byte = bytes[i],
                                                .at_ms = -1,
                                                .signal = kills ? SIGKILL : 0 };

                        snprintf(after, sizeof(after), "after %s at byte %lld of its answer",
                                 kills ? "a kill" : "the reader left", (long long) bytes[i]);
                        if (disturb(kit, subject, "provision", interrupt, after) != VERDICT_OK)
                                return VERDICT_NOT_OK;
                }
        }
        return kit_ok(kit, "made again after %zu cuts, up to byte %lld", N_ELEMENTS(bytes) * 2,
                      (long long) n);
}

static Verdict killed_at_times(Kit *kit, Subject *subject, const char *verb, int64_t took_ms) {
        enum {
                STEPS = 8
        };
        char after[96];

        for (int i = 0; i < STEPS; i++) {
                Interrupt interrupt = { .at_byte = -1,
                                        .at_ms = took_ms * i / STEPS,
                                        .signal = SIGKILL };

                snprintf(after, sizeof(after), "after a kill of %s at %lld ms", verb,
                         (long long) interrupt.at_ms);
                if (disturb(kit, subject, verb, interrupt, after) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        return kit_ok(kit, "found again after %d kills within %lld ms", STEPS, (long long) took_ms);
}

Verdict rule_killed_in_work(Kit *kit, Subject *subject) {
        return killed_at_times(kit, subject, "provision", subject->took_ms + 1);
}

Verdict rule_removal_killed(Kit *kit, Subject *subject) {
        return killed_at_times(kit, subject, "deprovision", subject->took_ms / 2 + 2);
}

Verdict rule_cancelled(Kit *kit, Subject *subject) {
        const int64_t times[] = { 0, subject->took_ms / 4, subject->took_ms / 2 };
        char after[96];

        for (size_t i = 0; i < N_ELEMENTS(times); i++) {
                Interrupt interrupt = { .at_byte = -1, .at_ms = times[i], .signal = SIGTERM };

                snprintf(after, sizeof(after), "after SIGTERM at %lld ms", (long long) times[i]);
                if (disturb(kit, subject, "provision", interrupt, after) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        return kit_ok(kit, "ends with its group within %d ms of SIGTERM", LIMIT_PROVIDER_GRACE_MS);
}

/* A call with next to no time either succeeds or ends; as the daemon does, SIGTERM follows. */
Verdict rule_deadline(Kit *kit, Subject *subject) {
        Interrupt interrupt = { .at_byte = -1, .at_ms = 100, .signal = SIGTERM };
        int64_t patience_ms = kit->patience_ms;
        json_auto_t *resource = kit_resource(kit, subject);
        auto_answer answer = { 0 };

        kit->patience_ms = 20;
        answer = kit_call(kit, subject, "provision", subject->environment, resource, interrupt);
        kit->patience_ms = patience_ms;
        if (answer.overdue || answer.took_ms > interrupt.at_ms + LIMIT_PROVIDER_GRACE_MS)
                return kit_not_ok(kit, "it ran %lld ms with a deadline of 20 ms",
                                  (long long) answer.took_ms);
        if (recovers(kit, subject, resource, "after a deadline of 20 ms") != VERDICT_OK)
                return VERDICT_NOT_OK;
        return kit_ok(kit, "with 20 ms it ended after %lld ms", (long long) answer.took_ms);
}

static Verdict refused(Kit *kit, Subject *subject, json_t *params, const char *what) {
        json_auto_t *resource = kit_resource(kit, subject);
        auto_answer answer = { 0 };
        char words[256];

        json_object_set_new(resource, "params", params);
        answer = kit_ask(kit, subject, "provision", resource);
        if (streq(answer_class(&answer), "invalid"))
                return VERDICT_OK;
        answer_words(&answer, words);
        if (answer.result)
                kit_tell(kit, subject, "deprovision", resource);
        return kit_not_ok(kit, "%s is answered with %s", what, words);
}

Verdict rule_invalid_params(Kit *kit, Subject *subject) {
        const json_t *schema = json_object_get(subject->described, "params"), *name;
        unsigned n = 0;
        size_t i;

        if (json_is_false(json_object_get(schema, "additionalProperties"))) {
                json_t *params = json_deep_copy(subject->params);

                json_object_set_new(params, "no-such-param", json_true());
                if (refused(kit, subject, params, "an unknown param") != VERDICT_OK)
                        return VERDICT_NOT_OK;
                n++;
        }
        json_array_foreach(json_object_get(schema, "required"), i, name) {
                json_t *params = json_deep_copy(subject->params);

                json_object_del(params, json_string_value(name));
                if (refused(kit, subject, params, "a missing param") != VERDICT_OK)
                        return VERDICT_NOT_OK;
                n++;
        }
        return n ? kit_ok(kit, "%u kinds of wrong params refused as invalid", n)
                 : kit_skipped(kit, "its schema allows any params");
}

/* The same uid and slot under the marker of another environment. */
static json_t *stranger_make(const Kit *kit, const Subject *subject, const char *environment) {
        json_t *resource = json_deep_copy(subject->resource);

        json_object_set_new(resource, "marker",
                            json_sprintf("%s/%s/%s", kit->installation, environment,
                                         kit_text(subject->resource, "uid")));
        return resource;
}

static Verdict stranger_refused(Kit *kit, Subject *subject, const json_t *environment,
                                const json_t *stranger, const char *verb) {
        auto_answer answer = kit_call(kit, subject, verb, environment, stranger, INTERRUPT_NONE);
        char words[256];

        if (streq(answer_class(&answer), "conflict"))
                return VERDICT_OK;
        return kit_not_ok(kit, "%s under another marker is answered with %s, not with a conflict",
                          verb, answer_words(&answer, words));
}

Verdict rule_other_marker(Kit *kit, Subject *subject) {
        json_auto_t *environment = json_deep_copy(subject->environment), *stranger = NULL;
        char id[ID_SIZE];

        id_make(&random_system, 'e', id);
        json_object_set_new(environment, "id", json_string(id));
        json_object_set_new(environment, "slot", json_integer(4321));
        stranger = stranger_make(kit, subject, id);
        if (stranger_refused(kit, subject, environment, stranger, "deprovision") != VERDICT_OK)
                return VERDICT_NOT_OK;
        if (!subject->computed) {
                auto_answer found = { 0 };

                if (stranger_refused(kit, subject, environment, stranger, "provision") !=
                    VERDICT_OK)
                        return VERDICT_NOT_OK;
                found = kit_call(kit, subject, "inspect", environment, stranger, INTERRUPT_NONE);
                if (streq(kit_text(found.result, "marker"), kit_text(stranger, "marker")))
                        return kit_not_ok(kit,
                                          "inspect repeats the asked marker, not the one it found");
        }
        if (rule_inspect(kit, subject) != VERDICT_OK)
                return VERDICT_NOT_OK;
        return kit_ok(kit, "refused as conflict; the thing is untouched");
}

static bool is_need(const Subject *subject, const char *uid) {
        const json_t *need;
        size_t i;

        json_array_foreach(subject->needs, i, need) {
                if (streq(kit_text(need, "uid"), uid))
                        return true;
        }
        return false;
}

/* Needs are removed only after the rules, so with them the list alone is looked at. */
Verdict rule_nothing_left(Kit *kit, Subject *subject) {
        auto_answer list = kit_ask(kit, subject, "list", NULL);
        auto_cleanup(freep) char *left = NULL;
        const json_t *item;
        size_t i;

        json_array_foreach(list.items, i, item) {
                if (!is_need(subject, kit_text(item, "uid")))
                        return kit_not_ok(kit, "'%s' is still listed", kit_text(item, "uid"));
        }
        if (json_array_size(subject->needs) > 0)
                return kit_ok(kit, "nothing listed but what it needs");
        left = file_find(kit->state_dir, "");
        return left ? kit_not_ok(kit, "'%s' is left", left)
                    : kit_ok(kit, "nothing listed, no file in the state folder");
}

const KitRule kit_type_rules[] = {
        { .name = "provision gives what describe says", .of_type = rule_provision },
        { .name = "provision twice is provision once", .of_type = rule_provision_twice },
        { .name = "inspect finds it", .of_type = rule_inspect },
        { .name = "list is complete", .of_type = rule_list },
        { .name = "list is of one installation", .of_type = rule_list_of_others },
        { .name = "another marker is never touched", .of_type = rule_other_marker },
        { .name = "wrong params are invalid", .of_type = rule_invalid_params },
        { .name = "what was never made is absent", .of_type = rule_never_made },
        { .name = "sleep and wake", .of_type = rule_levels },
        { .name = "usage is reported", .of_type = rule_usage },
        { .name = "repeat after a cut answer", .of_type = rule_killed_in_answer },
        { .name = "repeat after kill -9", .of_type = rule_killed_in_work },
        { .name = "removal repeats after kill -9", .of_type = rule_removal_killed },
        { .name = "cancellation ends it", .of_type = rule_cancelled },
        { .name = "the deadline is obeyed", .of_type = rule_deadline },
        { .name = "deprovision removes it, twice too", .of_type = rule_deprovision },
        { .name = "secrets stay out of words and state", .of_type = rule_secrets },
        { .name = "nothing is left", .of_type = rule_nothing_left },
        { 0 },
};
