/* Rules over the program as a whole, and the first half of those over each type: what one undisturbed
 * life of a resource must look like. The disturbed ones are in provider-faults.c. */
#include "orchestrator/cli/provider-rules.h"

#include <stdio.h>

#include "orchestrator/base/limits.h"

static Verdict described_type(Kit *kit, const json_t *type) {
        static const char *const needed[] = { "provision", "inspect", "deprovision" };
        Subject subject = { .described = type };

        if (!*kit_text(type, "type"))
                return kit_not_ok(kit, "a type without a name");
        for (size_t i = 0; i < N_ELEMENTS(needed); i++)
                if (!kit_offers(&subject, needed[i]))
                        return kit_not_ok(kit, "type '%s' does not offer '%s'",
                                          kit_text(type, "type"), needed[i]);
        if (!json_is_object(json_object_get(type, "params")) ||
            !json_is_array(json_object_get(type, "outputs")))
                return kit_not_ok(kit, "type '%s' has no 'params' schema or no list 'outputs'",
                                  kit_text(type, "type"));
        return VERDICT_OK;
}

static Verdict rule_describe(Kit *kit) {
        auto_answer first = kit_ask(kit, NULL, "describe", NULL);
        auto_answer second = kit_ask(kit, NULL, "describe", NULL);
        const json_t *types = json_object_get(first.result, "types"), *type;
        char words[256];
        size_t i;

        if (!first.result)
                return kit_not_ok(kit, "%s", answer_words(&first, words));
        if (!json_equal(first.result, second.result))
                return kit_not_ok(kit, "two calls give two answers");
        if (json_integer_value(json_object_get(first.result, "protocol")) != 1 ||
            !*kit_text(first.result, "name") || json_array_size(types) == 0)
                return kit_not_ok(kit, "it must say protocol 1, a name and types");
        json_array_foreach(types, i, type) {
                if (described_type(kit, type) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        kit->describe = json_incref(first.result);
        return kit_ok(kit, "%s, %zu types", kit_text(first.result, "name"), json_array_size(types));
}

/* Sends text as it is; true when the answer is one error line of class invalid. */
static bool is_refused(Kit *kit, const char *text, size_t size) {
        auto_answer answer = { 0 };
        auto_error error = { 0 };
        char words[256];

        if (provider_call(kit->program, text, size, INTERRUPT_NONE, kit->patience_ms, &answer,
                          &error) < 0) {
                kit->broken = true;
                return false;
        }
        if (!answer.fault && streq(answer_class(&answer), "invalid"))
                return true;
        (void) kit_not_ok(kit, "%.60s is answered with %s", size ? text : "nothing",
                          answer_words(&answer, words));
        return false;
}

/* A good request with one member replaced. */
static bool is_refused_with(Kit *kit, const char *key, json_t *value) {
        json_auto_t *nothing = json_object(), *request = kit_request(kit, "list", nothing, NULL);
        auto_cleanup(freep) char *text = NULL;

        json_object_set_new(request, key, value);
        text = json_dumps(request, JSON_COMPACT | JSON_SORT_KEYS);
        return text && is_refused(kit, text, strlen(text));
}

static Verdict rule_nonsense(Kit *kit) {
        static const char *const texts[] = { "",  "{",    "[]",      "null", "nonsense",
                                             "7", "{}{}", "{\"a\":", "\xff", "{\"protocol\":1}" };

        for (size_t i = 0; i < N_ELEMENTS(texts); i++)
                if (!is_refused(kit, texts[i], strlen(texts[i])))
                        return VERDICT_NOT_OK;
        if (!is_refused_with(kit, "protocol", json_integer(99)) ||
            !is_refused_with(kit, "verb", json_string("explode")) ||
            !is_refused_with(kit, "verb", json_integer(1)) ||
            !is_refused_with(kit, "config", json_null()) ||
            !is_refused_with(kit, "verb", json_string("provision")))
                return VERDICT_NOT_OK;
        return kit_ok(kit, "%zu requests refused as invalid", N_ELEMENTS(texts) + 5);
}

static Verdict rule_oversized(Kit *kit) {
        auto_strbuf text = { 0 };

        strbuf_add(&text, "{\"protocol\":1,\"padding\":\"");
        while (!text.broken && text.size <= LIMIT_PROVIDER_REQUEST_BYTES)
                strbuf_add(&text,
                           "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        strbuf_add(&text, "\"}");
        if (text.broken || !is_refused(kit, text.text, text.size))
                return VERDICT_NOT_OK;
        return kit_ok(kit, "%zu bytes refused as invalid", text.size);
}

size_t kit_listed(Kit *kit, Subject *subject, const char *uid, const json_t **ret, Answer *list) {
        const json_t *item;
        size_t i, n = 0;

        *list = kit_ask(kit, subject, "list", NULL);
        json_array_foreach(list->items, i, item) {
                if (!uid || streq(kit_text(item, "uid"), uid)) {
                        n++;
                        *ret = item;
                }
        }
        return n;
}

static Verdict rule_empty_list(Kit *kit) {
        const json_t *item = NULL;
        auto_answer list = { 0 };
        size_t n = kit_listed(kit, NULL, NULL, &item, &list);
        char words[256];

        if (!list.result)
                return kit_not_ok(kit, "%s", answer_words(&list, words));
        if (!json_is_true(json_object_get(list.result, "complete")))
                return kit_not_ok(kit, "the list of a new installation is not complete");
        return n == 0 ? kit_ok(kit, "nothing, complete")
                      : kit_not_ok(kit, "it lists '%s', which this installation never made",
                                   kit_text(item, "uid"));
}

const KitRule kit_provider_rules[] = {
        { .name = "describe is consistent", .of_provider = rule_describe },
        { .name = "nonsense is refused", .of_provider = rule_nonsense },
        { .name = "an oversized request is refused", .of_provider = rule_oversized },
        { .name = "a new installation has nothing", .of_provider = rule_empty_list },
        { 0 },
};

/* Every named secret output's value, to look for where it must not be. */
static void secrets_note(Subject *subject, const json_t *result) {
        const json_t *names = json_object_get(result, "secret"), *name;
        size_t i;

        json_array_foreach(names, i, name) {
                json_t *value = json_object_get(subject->outputs, json_string_value(name));

                if (json_is_string(value) && json_string_length(value) >= 4)
                        json_array_append(subject->secrets, value);
        }
}

static Verdict outputs_check(Kit *kit, const Subject *subject, const json_t *result) {
        const json_t *names = json_object_get(subject->described, "outputs"), *name;
        size_t i;

        json_array_foreach(names, i, name) {
                if (!json_object_get(subject->outputs, json_string_value(name)))
                        return kit_not_ok(kit, "the output '%s' of describe is missing",
                                          json_string_value(name));
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
        subject->n_bytes = answer.n_bytes;
        subject->took_ms = answer.took_ms;
        if (!json_is_object(subject->outputs) || !json_is_object(subject->state) ||
            !json_is_array(json_object_get(answer.result, "secret")))
                return kit_not_ok(kit,
                                  "a result needs the objects 'state' and 'outputs' and the list "
                                  "'secret'");
        secrets_note(subject, answer.result);
        if (outputs_check(kit, subject, answer.result) != VERDICT_OK)
                return VERDICT_NOT_OK;
        json_object_set(subject->resource, "state", subject->state);
        return kit_ok(kit, "%zu outputs in %lld ms", json_object_size(subject->outputs),
                      (long long) answer.took_ms);
}

Verdict rule_provision_twice(Kit *kit, Subject *subject) {
        json_auto_t *forgetful = json_copy(subject->resource);
        const json_t *item = NULL;
        char words[256];
        size_t n;

        json_object_set_new(forgetful, "state", json_null());
        for (int i = 0; i < 2; i++) {
                auto_answer answer =
                        kit_ask(kit, subject, "provision", i ? forgetful : subject->resource);

                if (!answer.result)
                        return kit_not_ok(kit, "%s", answer_words(&answer, words));
                if (!json_equal(json_object_get(answer.result, "outputs"), subject->outputs))
                        return kit_not_ok(kit, "the outputs change%s",
                                          i ? " when the state was forgotten" : "");
        }
        if (!subject->computed) {
                auto_answer list = { 0 };

                n = kit_listed(kit, subject, kit_text(subject->resource, "uid"), &item, &list);
                if (n != 1)
                        return kit_not_ok(kit, "it is listed %zu times", n);
        }
        return kit_ok(kit, "the same outputs, also with the state forgotten");
}

Verdict rule_inspect(Kit *kit, Subject *subject) {
        auto_answer answer = kit_ask(kit, subject, "inspect", subject->resource);
        char words[256];

        if (!answer.result)
                return kit_not_ok(kit, "%s", answer_words(&answer, words));
        if (!streq(kit_text(answer.result, "present"), "present"))
                return kit_not_ok(kit, "present is '%s'", kit_text(answer.result, "present"));
        if (!streq(kit_text(answer.result, "marker"), kit_text(subject->resource, "marker")))
                return kit_not_ok(kit, "the marker is '%s', not '%s'",
                                  kit_text(answer.result, "marker"),
                                  kit_text(subject->resource, "marker"));
        return kit_ok(kit, "present, with its marker");
}

Verdict rule_list(Kit *kit, Subject *subject) {
        json_auto_t *second = kit_resource(kit, subject);
        const char *uid = kit_text(subject->resource, "uid");
        const json_t *item = NULL;
        auto_answer made = kit_ask(kit, subject, "provision", second);
        auto_answer list = { 0 };
        size_t n = kit_listed(kit, subject, uid, &item, &list);
        auto_answer gone = kit_ask(kit, subject, "deprovision", second);
        char words[256];

        if (!made.result || !gone.result || !list.result)
                return kit_not_ok(kit, "%s",
                                  answer_words(!made.result   ? &made
                                               : !list.result ? &list
                                                              : &gone,
                                               words));
        if (!json_is_true(json_object_get(list.result, "complete")))
                return kit_not_ok(kit, "not complete");
        if (subject->computed)
                return json_array_size(list.items) == 0 ? kit_ok(kit, "nothing, as it is computed")
                                                        : kit_not_ok(kit, "computed, and listed");
        if (n != 1)
                return kit_not_ok(kit, "'%s' is listed %zu times", uid, n);
        if (!streq(kit_text(item, "marker"), kit_text(subject->resource, "marker")) ||
            !streq(kit_text(item, "type"), subject->type) ||
            !streq(kit_text(item, "environment"), kit_text(subject->environment, "id")) ||
            streq(kit_text(item, "present"), ""))
                return kit_not_ok(
                        kit, "an item needs the right marker, type, environment and 'present'");
        if (json_array_size(list.items) < 2)
                return kit_not_ok(kit, "two are there, one is listed");
        return kit_ok(kit, "%zu items, complete", json_array_size(list.items));
}

Verdict rule_list_of_others(Kit *kit, Subject *subject) {
        json_auto_t *nothing = json_object(), *own = json_incref(kit->config);
        json_t *other = json_copy(kit->config);
        auto_answer list = { 0 };
        char id[ID_SIZE];

        id_make(&random_system, 'i', id);
        json_object_set_new(other, "installation", json_string(id));
        json_decref(kit->config);
        kit->config = other;
        list = kit_call(kit, subject, "list", nothing, NULL, INTERRUPT_NONE);
        json_decref(kit->config);
        kit->config = json_incref(own);
        return list.result && json_array_size(list.items) == 0
                       ? kit_ok(kit, "another installation sees nothing of it")
                       : kit_not_ok(kit,
                                    "another installation is shown %zu things that are not its own",
                                    json_array_size(list.items));
}

static Verdict level_check(Kit *kit, Subject *subject, const char *verb, const char *level) {
        char words[256];

        for (int i = 0; i < 2; i++) {
                auto_answer answer = kit_ask(kit, subject, verb, subject->resource);
                auto_answer found = kit_ask(kit, subject, "inspect", subject->resource);

                if (!answer.result)
                        return kit_not_ok(kit, "%s%s: %s", verb, i ? " again" : "",
                                          answer_words(&answer, words));
                if (!streq(kit_text(found.result, "level"), level))
                        return kit_not_ok(kit, "after %s the level is '%s'", verb,
                                          kit_text(found.result, "level"));
        }
        return VERDICT_OK;
}

Verdict rule_levels(Kit *kit, Subject *subject) {
        if (!kit_offers(subject, "sleep") || !kit_offers(subject, "wake"))
                return kit_skipped(kit, "sleep and wake are not offered");
        if (level_check(kit, subject, "sleep", "stopped") != VERDICT_OK ||
            level_check(kit, subject, "wake", "awake") != VERDICT_OK)
                return VERDICT_NOT_OK;
        return kit_ok(kit, "stopped and awake again, each asked for twice");
}

Verdict rule_usage(Kit *kit, Subject *subject) {
        auto_answer answer = { 0 };
        char words[256];

        if (!kit_offers(subject, "usage"))
                return kit_skipped(kit, "usage is not offered");
        answer = kit_ask(kit, subject, "usage", subject->resource);
        if (!answer.result)
                return kit_not_ok(kit, "%s", answer_words(&answer, words));
        return json_array_size(answer.items) > 0
                       ? kit_ok(kit, "%zu items", json_array_size(answer.items))
                       : kit_not_ok(kit, "no item");
}

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

Verdict rule_deprovision(Kit *kit, Subject *subject) {
        json_auto_t *forgetful = json_copy(subject->resource);
        const json_t *item = NULL;
        char words[256];

        json_object_set_new(forgetful, "state", json_null());
        for (int i = 0; i < 3; i++) {
                auto_answer answer = kit_ask(kit, subject, "deprovision",
                                             i == 1 ? forgetful : subject->resource);

                if (!answer.result)
                        return kit_not_ok(kit, "%s: %s", i ? "again" : "once",
                                          answer_words(&answer, words));
                if (!receipt_valid(answer.result))
                        return kit_not_ok(kit,
                                          "the result needs the lists 'removed' and 'absent' of "
                                          "{kind, name}");
                if (i == 0 && !subject->computed &&
                    json_array_size(json_object_get(answer.result, "removed")) == 0)
                        return kit_not_ok(kit, "nothing is said to be removed");
        }
        {
                auto_answer found = kit_ask(kit, subject, "inspect", forgetful), list = { 0 };

                if (!streq(kit_text(found.result, "present"), "absent"))
                        return kit_not_ok(kit, "afterwards present is '%s'",
                                          kit_text(found.result, "present"));
                if (kit_listed(kit, subject, kit_text(forgetful, "uid"), &item, &list) != 0)
                        return kit_not_ok(kit, "it is still listed");
        }
        return kit_ok(kit, "removed; again and with the state forgotten: success; absent");
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
        return gone.result ? kit_ok(kit, "absent, and its removal succeeds")
                           : kit_not_ok(kit, "deprovision: %s", answer_words(&gone, words));
}

Verdict rule_secrets(Kit *kit, Subject *subject) {
        auto_cleanup(freep) char *state =
                json_dumps(subject->state, JSON_COMPACT | JSON_ENCODE_ANY);
        const json_t *secret;
        size_t i;

        json_array_foreach(subject->secrets, i, secret) {
                const char *value = json_string_value(secret);

                if (subject->words.text &&
                    memmem(subject->words.text, subject->words.size, value, strlen(value)))
                        return kit_not_ok(kit,
                                          "a secret output is in a log line, an item, an error or "
                                          "on standard error");
                if (state && strstr(state, value))
                        return kit_not_ok(kit,
                                          "a secret output is in the state, which is not sealed");
        }
        return kit_ok(kit, "%zu secret values, %zu bytes of words searched",
                      json_array_size(subject->secrets), subject->words.size);
}
