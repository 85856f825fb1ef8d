/* Rules over each type under disturbance: answers cut off, programs killed in the middle. After each the world must be found again by name alone: no state is remembered. */
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
        json_auto_t *resource = kit_resource(kit, subject), *nothing = json_object();
        bool of_all = streq(verb, "list");
        auto_answer answer = { 0 };

        if (!streq(verb, "provision")) {
                auto_answer made = kit_ask(kit, subject, "provision", resource);
                char words[256];

                if (!made.result)
                        return kit_not_ok(kit, "provision: %s", answer_words(&made, words));
        }
        answer = kit_call(kit, verb, of_all ? nothing : subject->environment,
                          of_all ? NULL : resource, interrupt);
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

/* The first and the last byte, and any between them; how many cuts for each verb. */
static const struct {
        const char *verb;
        unsigned cuts;
} cut_verbs[] = { { "provision", 8 }, { "deprovision", 4 }, { "inspect", 2 },
                  { "list", 2 },      { "sleep", 2 },       { "wake", 2 } };

static Verdict cut_one(Kit *kit, Subject *subject, const char *verb, unsigned i) {
        size_t n = subject->provision.n_bytes;
        bool kills = i % 2;
        Interrupt interrupt = { .at_ms = -1, .signal = kills ? SIGKILL : 0 };
        char after[96];

        interrupt.at_byte = (int64_t) (i < 2 ? 0 : i < 4 ? n : kit_chance(kit, n + 1));
        if (!streq(verb, "provision"))
                interrupt.at_byte = (int64_t) (i == 0 ? 0 : kit_chance(kit, 64));
        snprintf(after, sizeof(after), "after %s at byte %lld of its answer to %s",
                 kills ? "a kill" : "the reader left", (long long) interrupt.at_byte, verb);
        return disturb(kit, subject, verb, interrupt, after);
}

Verdict rule_killed_in_answer(Kit *kit, Subject *subject) {
        unsigned n = 0;

        for (size_t i = 0; i < N_ELEMENTS(cut_verbs); i++) {
                const char *verb = cut_verbs[i].verb;

                if (!streq(verb, "list") && !kit_offers(subject, verb))
                        continue;
                for (unsigned j = 0; j < cut_verbs[i].cuts; j++, n++)
                        if (cut_one(kit, subject, verb, j) != VERDICT_OK)
                                return VERDICT_NOT_OK;
        }
        return kit_ok(kit, "found and made again after %u cuts, by the seed %llu", n,
                      (unsigned long long) kit->seed);
}

static Verdict killed_at_times(Kit *kit, Subject *subject, const char *verb, int64_t took_ms) {
        enum {
                STEPS = 8
        };
        char after[96];

        for (int i = 0; i < STEPS; i++) {
                Interrupt interrupt = {
                        .at_byte = -1,
                        .at_ms = i == 0 ? 0 : (int64_t) kit_chance(kit, (uint64_t) took_ms),
                        .signal = SIGKILL
                };

                snprintf(after, sizeof(after), "after a kill of %s at %lld ms", verb,
                         (long long) interrupt.at_ms);
                if (disturb(kit, subject, verb, interrupt, after) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        return kit_ok(kit, "found again after %d kills within %lld ms", STEPS, (long long) took_ms);
}

Verdict rule_killed_in_work(Kit *kit, Subject *subject) {
        return killed_at_times(kit, subject, "provision", subject->provision.ms + 1);
}

Verdict rule_removal_killed(Kit *kit, Subject *subject) {
        return killed_at_times(kit, subject, "deprovision", subject->provision.ms / 2 + 2);
}

Verdict rule_cancelled(Kit *kit, Subject *subject) {
        const int64_t ms = subject->provision.ms, times[] = { 0, ms / 4, ms / 2, ms * 3 / 4 };
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
        Interrupt interrupt = { .at_byte = -1,
                                .at_ms = 100 + subject->provision.ms / 4,
                                .signal = SIGTERM };
        int64_t patience_ms = kit->patience_ms;
        json_auto_t *resource = kit_resource(kit, subject);
        auto_answer answer = { 0 };

        kit->patience_ms = 20;
        answer = kit_call(kit, "provision", subject->environment, resource, interrupt);
        kit->patience_ms = patience_ms;
        if (answer.overdue || answer.took_ms > interrupt.at_ms + LIMIT_PROVIDER_GRACE_MS)
                return kit_not_ok(kit, "it ran %lld ms with a deadline of 20 ms",
                                  (long long) answer.took_ms);
        if (recovers(kit, subject, resource, "after a deadline of 20 ms") != VERDICT_OK)
                return VERDICT_NOT_OK;
        return kit_ok(kit, "with 20 ms it ended after %lld ms", (long long) answer.took_ms);
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
        auto_cleanup(freep) char *left = NULL;
        auto_answer list = { 0 };
        const json_t *item;
        size_t i;
        int pid;

        kit_tell(kit, subject, "deprovision", subject->resource); /* when no other rule did */
        list = kit_ask(kit, subject, "list", NULL);
        json_array_foreach(list.items, i, item) {
                if (!is_need(subject, kit_text(item, "uid")))
                        return kit_not_ok(kit, "'%s' is still listed", kit_text(item, "uid"));
        }
        if (json_array_size(subject->needs) > 0)
                return kit_ok(kit, "nothing listed but what it needs");
        left = file_find(kit->state_dir, "");
        if (left)
                return kit_not_ok(kit, "'%s' is left", left);
        pid = calls_left_behind();
        return pid ? kit_not_ok(kit, "process %d, which it started, is left", pid)
                   : kit_ok(kit, "nothing listed, no file in the state folder, no process");
}

const KitRule kit_type_rules[] = {
        { "provision gives what describe says", 10, .of_type = rule_provision },
        { "provision twice is provision once", 3, .of_type = rule_provision_twice },
        { "inspect finds it", 2, .of_type = rule_inspect },
        { "inspect finds it by name alone", 2, .of_type = rule_found_without_memory },
        { "list is complete", 8, .of_type = rule_list },
        { "list is of one installation", 8, .of_type = rule_list_of_others },
        { "another marker is never touched", 4, .of_type = rule_other_marker },
        { "wrong params are invalid", 6, .of_type = rule_invalid_params },
        { "hostile names are invalid", 6, .of_type = rule_hostile_names },
        { "what was never made is absent", 3, .of_type = rule_never_made },
        { "sleep and wake", 3, .of_type = rule_levels },
        { "usage is reported", 9, .of_type = rule_usage },
        { "repeat after a cut answer", 1, .of_type = rule_killed_in_answer },
        { "repeat after kill -9", 1, .of_type = rule_killed_in_work },
        { "removal repeats after kill -9", 1, .of_type = rule_removal_killed },
        { "cancellation ends it", 5, .of_type = rule_cancelled },
        { "the deadline is obeyed", 5, .of_type = rule_deadline },
        { "removal by name alone", 2, .of_type = rule_removed_without_memory },
        { "deprovision removes it, twice too", 3, .of_type = rule_deprovision },
        { "secrets stay out of words and state", 7, .of_type = rule_secrets },
        { "nothing is left", 3, .of_type = rule_nothing_left },
        { 0 },
};
