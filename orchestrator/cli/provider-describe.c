/* Rules over the program as a whole: what it says of itself, and what it does with requests that no daemon
 * would send. */
#include <stdio.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/cli/provider-rules.h"

/* ---- what it says of itself ---- */

static const char *const verbs_needed[] = { "provision", "inspect", "deprovision", NULL };
static const char *const verbs_of_type[] = { "provision", "inspect",  "deprovision", "sleep",
                                             "wake",      "snapshot", "restore",     "usage",
                                             "logs",      "exec",     NULL };
static const char *const verbs_of_provider[] = { "describe", "list", "watch", NULL };

static Verdict verbs_check(Kit *kit, const json_t *verbs, const char *const *known,
                           const char *of) {
        const json_t *one;
        size_t i;

        if (!json_is_array(verbs))
                return kit_not_ok(kit, "%s has no list 'verbs'", of);
        json_array_foreach(verbs, i, one) {
                const char *verb = json_string_value(one);

                if (!verb || !strv_contains((char *const *) known, verb))
                        return kit_not_ok(kit, "%s offers the unknown verb '%s'", of,
                                          verb ? verb : "that is no text");
        }
        return VERDICT_OK;
}

/* Enough of a JSON Schema for people to read it and for us to make params that it forbids. */
static const char *schema_fault(const json_t *schema, bool top) {
        static const char *const types[] = { "object", "array",   "string", "integer",
                                             "number", "boolean", "null",   NULL };
        const json_t *type = json_object_get(schema, "type"),
                     *properties = json_object_get(schema, "properties"),
                     *required = json_object_get(schema, "required"), *one;
        const char *fault, *key;
        size_t i;

        if (!json_is_object(schema))
                return "is no object";
        if (top && !streq(kit_text(schema, "type"), "object"))
                return "does not say \"type\": \"object\"";
        if (type && !json_is_array(type) &&
            !strv_contains((char *const *) types, kit_text(schema, "type")))
                return "has a 'type' that JSON Schema does not know";
        if (properties && !json_is_object(properties))
                return "has 'properties' that are no object";
        if (required && !json_is_array(required))
                return "has a 'required' that is no list";
        if (json_object_get(schema, "enum") && !json_is_array(json_object_get(schema, "enum")))
                return "has an 'enum' that is no list";
        json_array_foreach(required, i, one) {
                if (!json_is_string(one))
                        return "has a 'required' that is no list of names";
        }
        json_object_foreach((json_t *) properties, key, one) {
                fault = json_is_boolean(one) ? NULL : schema_fault(one, false);
                if (fault)
                        return fault;
        }
        return NULL;
}

static Verdict described_rest(Kit *kit, const json_t *type, const char *name) {
        const json_t *outputs = json_object_get(type, "outputs"), *one,
                     *computed = json_object_get(type, "computed"),
                     *cost = json_object_get(type, "cost");
        const char *fault = schema_fault(json_object_get(type, "params"), true);
        size_t i;

        if (fault)
                return kit_not_ok(kit, "the schema 'params' of type '%s' %s", name, fault);
        if (!json_is_array(outputs))
                return kit_not_ok(kit, "type '%s' has no list 'outputs'", name);
        json_array_foreach(outputs, i, one) {
                if (!json_is_string(one))
                        return kit_not_ok(kit,
                                          "'outputs' of type '%s' holds something that is no name",
                                          name);
        }
        if ((computed && !json_is_boolean(computed)) || (cost && !json_is_string(cost)))
                return kit_not_ok(
                        kit, "'computed' of type '%s' must be true or false, 'cost' a text", name);
        return VERDICT_OK;
}

static Verdict described_type(Kit *kit, const json_t *type) {
        Subject subject = { .described = type };
        const char *name = kit_text(type, "type"), *scope = kit_text(type, "scope");

        if (!*name)
                return kit_not_ok(kit, "a type without a name");
        if (!streq(scope, "generation") && !streq(scope, "environment"))
                return kit_not_ok(
                        kit, "the scope of type '%s' must be 'generation' or 'environment'", name);
        for (const char *const *verb = verbs_needed; *verb; verb++)
                if (!kit_offers(&subject, *verb))
                        return kit_not_ok(kit, "type '%s' does not offer '%s'", name, *verb);
        if (verbs_check(kit, json_object_get(type, "verbs"), verbs_of_type, "a type") != VERDICT_OK)
                return VERDICT_NOT_OK;
        if (kit_offers(&subject, "sleep") != kit_offers(&subject, "wake") ||
            kit_offers(&subject, "snapshot") != kit_offers(&subject, "restore"))
                return kit_not_ok(kit,
                                  "type '%s' offers one half of sleep and wake, or of snapshot "
                                  "and restore",
                                  name);
        return described_rest(kit, type, name);
}

static Verdict described_types(Kit *kit, const json_t *types) {
        const json_t *type, *other;
        size_t i, j;

        json_array_foreach(types, i, type) {
                if (described_type(kit, type) != VERDICT_OK)
                        return VERDICT_NOT_OK;
                json_array_foreach(types, j, other) {
                        if (j < i && streq(kit_text(type, "type"), kit_text(other, "type")))
                                return kit_not_ok(kit, "the type '%s' is there twice",
                                                  kit_text(type, "type"));
                }
        }
        return VERDICT_OK;
}

static Verdict rule_describe(Kit *kit) {
        auto_answer first = kit_ask(kit, NULL, "describe", NULL);
        auto_answer second = kit_ask(kit, NULL, "describe", NULL);
        const json_t *types = json_object_get(first.result, "types");
        Subject whole = { .described = first.result };
        char words[256];

        if (!first.result)
                return kit_not_ok(kit, "%s", answer_words(&first, words));
        if (!json_equal(first.result, second.result))
                return kit_not_ok(kit, "two calls give two answers");
        if (json_integer_value(json_object_get(first.result, "protocol")) != 1 ||
            !*kit_text(first.result, "name") || json_array_size(types) == 0)
                return kit_not_ok(kit, "it must say protocol 1, a name and types");
        if (verbs_check(kit, json_object_get(first.result, "verbs"), verbs_of_provider,
                        "the provider") != VERDICT_OK)
                return VERDICT_NOT_OK;
        if (!kit_offers(&whole, "describe") || !kit_offers(&whole, "list"))
                return kit_not_ok(kit, "'verbs' must name 'describe' and 'list'");
        if (described_types(kit, types) != VERDICT_OK)
                return VERDICT_NOT_OK;
        kit->describe = json_incref(first.result);
        return kit_ok(kit, "%s, %zu types", kit_text(first.result, "name"), json_array_size(types));
}

/* ---- requests that are none ---- */

/* Sends text as it is; true when the answer is one error line of class invalid. */
static bool is_refused(Kit *kit, const char *text, size_t size) {
        auto_answer answer = { 0 };
        auto_error error = { 0 };
        char words[256];

        if (kit_is_over(kit) || provider_call(kit->program, text, size, INTERRUPT_NONE,
                                              kit->patience_ms, &answer, &error) < 0) {
                kit->broken = true;
                return false;
        }
        if (!answer.fault && streq(answer_class(&answer), "invalid"))
                return true;
        (void) kit_not_ok(kit, "%.60s is answered with %s", size ? text : "nothing",
                          answer_words(&answer, words));
        if (answer.overdue && !kit->overdue)
                kit->overdue = strdup("a malformed request");
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

/* Good in all but its size. */
static Verdict rule_oversized(Kit *kit) {
        json_auto_t *nothing = json_object(), *request = kit_request(kit, "list", nothing, NULL);
        auto_cleanup(freep) char *padding = malloc(LIMIT_PROVIDER_REQUEST_BYTES + 1), *text = NULL;
        auto_answer answer = { 0 };
        auto_error error = { 0 };
        char words[256];
        size_t size;

        if (!padding || !request)
                return kit_not_ok(kit, "out of memory");
        memset(padding, 'x', LIMIT_PROVIDER_REQUEST_BYTES);
        padding[LIMIT_PROVIDER_REQUEST_BYTES] = 0;
        json_object_set_new(request, "padding", json_string(padding));
        text = json_dumps(request, JSON_COMPACT);
        size = text ? strlen(text) : 0;
        if (!text || kit_is_over(kit) ||
            provider_call(kit->program, text, size, INTERRUPT_NONE, kit->patience_ms, &answer,
                          &error) < 0)
                return kit_not_ok(kit, "it cannot be asked");
        if (answer.fault || !streq(answer_class(&answer), "invalid"))
                return kit_not_ok(
                        kit, "a request of %zu bytes, good but for its size, is answered with %s",
                        size, answer_words(&answer, words));
        return kit_ok(kit, "%zu bytes refused as invalid", size);
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
        { .name = "describe is consistent", .number = 10, .of_provider = rule_describe },
        { .name = "nonsense is refused", .number = 6, .of_provider = rule_nonsense },
        { .name = "an oversized request is refused", .number = 6, .of_provider = rule_oversized },
        { .name = "a new installation has nothing", .number = 8, .of_provider = rule_empty_list },
        { 0 },
};
