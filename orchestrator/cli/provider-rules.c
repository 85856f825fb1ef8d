/* The first half of the rules over each type: what one undisturbed life of a resource must look like. The
 * disturbed ones are in provider-faults.c and provider-hostile.c. */
#include "orchestrator/cli/provider-rules.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/time.h"

/* ---- provision ---- */

/* "*" among the outputs that describe names: any others, too. */
static bool output_is_declared(const Subject *subject, const char *key) {
        const json_t *names = json_object_get(subject->described, "outputs"), *name;
        size_t i;

        json_array_foreach(names, i, name) {
                if (streq(json_string_value(name), key) || streq(json_string_value(name), "*"))
                        return true;
        }
        return false;
}

static Verdict outputs_check(Kit *kit, const Subject *subject, const json_t *result) {
        const json_t *names = json_object_get(subject->described, "outputs"), *name, *value;
        const char *key;
        size_t i;

        json_array_foreach(names, i, name) {
                if (!streq(json_string_value(name), "*") &&
                    !json_object_get(subject->outputs, json_string_value(name)))
                        return kit_not_ok(kit, "the output '%s' of describe is missing",
                                          json_string_value(name));
        }
        json_object_foreach(subject->outputs, key, value) {
                if (json_is_null(value))
                        return kit_not_ok(kit, "the output '%s' is null", key);
                if (!output_is_declared(subject, key))
                        return kit_not_ok(kit, "the output '%s' is not in describe", key);
        }
        json_array_foreach(json_object_get(result, "secret"), i, name) {
                if (!json_string_value(name) ||
                    !json_object_get(subject->outputs, json_string_value(name)))
                        return kit_not_ok(kit, "'secret' names something that is no output");
        }
        return VERDICT_OK;
}

Verdict rule_provision(Kit *kit, Subject *subject) {
        auto_answer answer = kit_ask(kit, subject, "provision", subject->resource);
        char words[256];

        if (!answer.result)
                return kit_not_ok(kit, "%s", answer_words(&answer, words));
        subject->outputs = json_incref(json_object_get(answer.result, "outputs"));
        subject->state = json_incref(json_object_get(answer.result, "state"));
        subject->provision = (Took){ answer.took_ms, answer.n_bytes };
        if (!json_is_object(subject->outputs) || !json_is_object(subject->state) ||
            !json_is_array(json_object_get(answer.result, "secret")))
                return kit_not_ok(kit,
                                  "a result needs the objects 'state' and 'outputs' and the list "
                                  "'secret'");
        if (outputs_check(kit, subject, answer.result) != VERDICT_OK)
                return VERDICT_NOT_OK;
        json_object_set(subject->resource, "state", subject->state);
        return kit_ok(kit, "%zu outputs in %lld ms", json_object_size(subject->outputs),
                      (long long) answer.took_ms);
}

Verdict kit_same_outputs(Kit *kit, const Subject *subject, const json_t *resource,
                         const char *when) {
        auto_answer answer = kit_ask(kit, subject, "provision", resource);
        char words[256];

        if (!answer.result)
                return kit_not_ok(kit, "%s: %s", when, answer_words(&answer, words));
        if (!json_equal(json_object_get(answer.result, "outputs"), subject->outputs))
                return kit_not_ok(kit, "%s the outputs are others", when);
        return VERDICT_OK;
}

Verdict rule_provision_twice(Kit *kit, Subject *subject) {
        json_auto_t *forgetful = json_copy(subject->resource);
        const json_t *item = NULL;
        size_t n;

        json_object_set_new(forgetful, "state", json_null());
        for (int i = 0; i < 2; i++)
                if (kit_same_outputs(kit, subject, i ? forgetful : subject->resource,
                                     i ? "with the state forgotten" : "the second time") !=
                    VERDICT_OK)
                        return VERDICT_NOT_OK;
        if (!subject->computed) {
                auto_answer list = { 0 };

                n = kit_listed(kit, subject, kit_text(subject->resource, "uid"), &item, &list);
                if (n != 1)
                        return kit_not_ok(kit, "it is listed %zu times", n);
        }
        return kit_ok(kit, "the same outputs, also with the state forgotten");
}

/* ---- inspect ---- */

Verdict kit_is_there(Kit *kit, const Answer *answer, const json_t *resource, const char *when) {
        char words[256];

        if (!answer->result)
                return kit_not_ok(kit, "%s%s", when, answer_words(answer, words));
        if (!streq(kit_text(answer->result, "present"), "present"))
                return kit_not_ok(kit, "%spresent is '%s'", when,
                                  kit_text(answer->result, "present"));
        if (!streq(kit_text(answer->result, "marker"), kit_text(resource, "marker")))
                return kit_not_ok(kit, "%sthe marker is '%s', not '%s'", when,
                                  kit_text(answer->result, "marker"), kit_text(resource, "marker"));
        return VERDICT_OK;
}

/* It may take a while to be ready, in which inspect is asked again. */
static Verdict becomes_ready(Kit *kit, const Subject *subject) {
        const struct timespec pause = { .tv_nsec = 200000000 };
        int64_t until = clock_boot_ms(&clock_system) + kit->patience_ms;

        for (;;) {
                auto_answer answer = kit_ask(kit, subject, "inspect", subject->resource);
                const json_t *ready = json_object_get(answer.result, "ready");

                if (kit_is_there(kit, &answer, subject->resource, "") != VERDICT_OK)
                        return VERDICT_NOT_OK;
                if (!json_is_boolean(ready))
                        return kit_not_ok(kit, "'ready' must be true or false");
                if (json_is_true(ready))
                        return VERDICT_OK;
                if (clock_boot_ms(&clock_system) >= until || kit_is_over(kit))
                        return kit_not_ok(kit, "it does not become ready within %lld ms",
                                          (long long) kit->patience_ms);
                nanosleep(&pause, NULL);
        }
}

Verdict rule_inspect(Kit *kit, Subject *subject) {
        if (becomes_ready(kit, subject) != VERDICT_OK)
                return VERDICT_NOT_OK;
        return kit_ok(kit, "present and ready, with its marker");
}

Verdict rule_found_without_memory(Kit *kit, Subject *subject) {
        json_auto_t *environment = kit_forgotten_environment(subject->environment),
                    *resource = kit_forgotten(subject->resource);
        auto_answer found = { 0 };

        if (subject->computed)
                return kit_skipped(kit, "it is computed: there is nothing but its state");
        found = kit_call(kit, "inspect", environment, resource, INTERRUPT_NONE);
        if (kit_is_there(kit, &found, resource,
                         "asked with uid, type and marker alone, without state, params, slot and "
                         "name: ") != VERDICT_OK)
                return VERDICT_NOT_OK;
        return kit_ok(kit, "found by its uid and marker alone");
}

/* ---- the optional verbs ---- */

static Verdict level_check(Kit *kit, Subject *subject, const char *verb, const char *level) {
        char words[256];

        for (int i = 0; i < 2; i++) {
                auto_answer answer = kit_ask(kit, subject, verb, subject->resource);
                auto_answer found = kit_ask(kit, subject, "inspect", subject->resource);

                if (!answer.result)
                        return kit_not_ok(kit, "%s%s: %s", verb, i ? " again" : "",
                                          answer_words(&answer, words));
                if (!streq(kit_text(found.result, "level"), level))
                        return kit_not_ok(kit, "after %s the level is '%s', not '%s'", verb,
                                          kit_text(found.result, "level"), level);
                /* They may say outputs anew, and those hold from then on. */
                if (json_is_object(json_object_get(answer.result, "outputs"))) {
                        json_decref(subject->outputs);
                        subject->outputs = json_incref(json_object_get(answer.result, "outputs"));
                }
        }
        return VERDICT_OK;
}

Verdict rule_levels(Kit *kit, Subject *subject) {
        if (!kit_offers(subject, "sleep") || !kit_offers(subject, "wake"))
                return kit_skipped(kit, "sleep and wake are not offered");
        if (level_check(kit, subject, "sleep", "stopped") != VERDICT_OK ||
            level_check(kit, subject, "wake", "awake") != VERDICT_OK ||
            kit_same_outputs(kit, subject, subject->resource, "after sleep and wake") != VERDICT_OK)
                return VERDICT_NOT_OK;
        return kit_ok(kit,
                      "stopped and awake again, each asked for twice, with the outputs it said");
}

Verdict rule_usage(Kit *kit, Subject *subject) {
        auto_answer answer = { 0 };
        const json_t *item;
        char words[256];
        size_t i;

        if (!kit_offers(subject, "usage"))
                return kit_skipped(kit, "usage is not offered");
        answer = kit_ask(kit, subject, "usage", subject->resource);
        if (!answer.result)
                return kit_not_ok(kit, "%s", answer_words(&answer, words));
        json_array_foreach(answer.items, i, item) {
                if (!json_is_object(item))
                        return kit_not_ok(kit, "an item that is no object");
        }
        return json_array_size(answer.items) > 0
                       ? kit_ok(kit, "%zu items", json_array_size(answer.items))
                       : kit_not_ok(kit, "no item");
}

/* ---- deprovision ---- */

static bool receipt_valid(const json_t *result) {
        static const char *const lists[] = { "removed", "absent" };
        const json_t *entry;
        size_t j;

        for (size_t i = 0; i < N_ELEMENTS(lists); i++) {
                if (!json_is_array(json_object_get(result, lists[i])))
                        return false;
                json_array_foreach(json_object_get(result, lists[i]), j, entry) {
                        if (!*kit_text(entry, "kind") || !*kit_text(entry, "name"))
                                return false;
                }
        }
        return true;
}

/* turn: 0 is the first removal; after it nothing is there that could be removed. */
static Verdict removal_check(Kit *kit, const Subject *subject, const Answer *answer, int turn) {
        size_t n = json_array_size(json_object_get(answer->result, "removed"));
        char words[256];

        if (!answer->result)
                return kit_not_ok(kit, "%s: %s", turn ? "again" : "once",
                                  answer_words(answer, words));
        if (!receipt_valid(answer->result))
                return kit_not_ok(kit,
                                  "the result needs the lists 'removed' and 'absent' of {kind, "
                                  "name}");
        if (turn == 0 && !subject->computed && n == 0)
                return kit_not_ok(kit, "nothing is said to be removed");
        if (turn > 0 && n > 0)
                return kit_not_ok(kit,
                                  "the second time 'removed' must be empty, as nothing is there");
        return VERDICT_OK;
}

Verdict rule_deprovision(Kit *kit, Subject *subject) {
        json_auto_t *forgotten = kit_forgotten(subject->resource),
                    *environment = kit_forgotten_environment(subject->environment);
        auto_answer found = { 0 }, list = { 0 };
        const json_t *item = NULL;

        for (int i = 0; i < 3; i++) {
                auto_answer answer =
                        i == 1 ? kit_call(kit, "deprovision", environment, forgotten,
                                          INTERRUPT_NONE)
                               : kit_ask(kit, subject, "deprovision", subject->resource);

                if (removal_check(kit, subject, &answer, i) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        found = kit_call(kit, "inspect", environment, forgotten, INTERRUPT_NONE);
        if (!streq(kit_text(found.result, "present"), "absent"))
                return kit_not_ok(kit, "afterwards present is '%s'",
                                  kit_text(found.result, "present"));
        if (kit_listed(kit, subject, kit_text(forgotten, "uid"), &item, &list) != 0)
                return kit_not_ok(kit, "it is still listed");
        return kit_ok(kit, "removed; again and with all but its name forgotten: success; absent");
}

/* All that is remembered is the name. */
Verdict rule_removed_without_memory(Kit *kit, Subject *subject) {
        json_auto_t *resource = kit_resource(kit, subject), *forgotten = kit_forgotten(resource),
                    *environment = kit_forgotten_environment(subject->environment);
        auto_answer made = { 0 }, gone = { 0 }, found = { 0 };
        char words[256];

        if (subject->computed)
                return kit_skipped(kit, "it is computed: there is nothing but its state");
        made = kit_ask(kit, subject, "provision", resource);
        if (!made.result)
                return kit_not_ok(kit, "provision: %s", answer_words(&made, words));
        gone = kit_call(kit, "deprovision", environment, forgotten, INTERRUPT_NONE);
        if (removal_check(kit, subject, &gone, 0) != VERDICT_OK)
                return VERDICT_NOT_OK;
        found = kit_ask(kit, subject, "inspect", resource);
        if (!streq(kit_text(found.result, "present"), "absent"))
                return kit_not_ok(kit, "removed by uid and marker alone, it is still '%s'",
                                  kit_text(found.result, "present"));
        return kit_ok(kit, "removed by its uid and marker alone");
}

Verdict rule_never_made(Kit *kit, Subject *subject) {
        json_auto_t *unknown = kit_resource(kit, subject);
        auto_answer found = kit_ask(kit, subject, "inspect", unknown);
        auto_answer gone = kit_ask(kit, subject, "deprovision", unknown);
        char words[256];

        if (!streq(kit_text(found.result, "present"), "absent"))
                return kit_not_ok(kit, "inspect says '%s'",
                                  found.result ? kit_text(found.result, "present")
                                               : answer_words(&found, words));
        if (!gone.result)
                return kit_not_ok(kit, "deprovision: %s", answer_words(&gone, words));
        if (json_array_size(json_object_get(gone.result, "removed")) > 0)
                return kit_not_ok(kit, "'removed' must be empty when nothing was there");
        return kit_ok(kit, "absent, and its removal succeeds");
}

/* ---- secrets ---- */

static bool in_word(char c) {
        return isalnum((unsigned char) c) || c == '_' || (unsigned char) c >= 0x80;
}

/* Short values only as whole words, the shortest not at all: they are in any text. */
static bool is_said(const StrBuf *words, const char *value) {
        size_t size = strlen(value);
        const char *at = words->text, *end = words->text + words->size;

        if (!at || size < 4)
                return false;
        while ((at = memmem(at, (size_t) (end - at), value, size))) {
                bool whole = (at == words->text || !in_word(at[-1])) &&
                             (at + size == end || !in_word(at[size]));

                if (size >= 6 || whole)
                        return true;
                at++;
        }
        return false;
}

Verdict rule_secrets(Kit *kit, Subject *subject) {
        const json_t *secret;
        size_t i;

        json_array_foreach(kit->secrets, i, secret) {
                auto_strbuf value = { 0 };

                words_add(&value, secret);
                if (!value.text)
                        continue;
                value.text[value.size - 1] = 0; /* a newline */
                if (is_said(&kit->words, value.text))
                        return kit_not_ok(kit,
                                          "a secret output is in a log or progress line, an item, "
                                          "a detail, a note, an error or on standard error");
                if (is_said(&kit->states, value.text))
                        return kit_not_ok(kit,
                                          "a secret output is in the state, which is not sealed");
        }
        if (is_said(&kit->words, kit->canary) || is_said(&kit->states, kit->canary))
                return kit_not_ok(kit, "a value of the config, of the environment's values or of a "
                                       "wrong param is repeated: it may be a password");
        return kit_ok(kit, "%zu secret values, %zu bytes of words searched",
                      json_array_size(kit->secrets), kit->words.size);
}
