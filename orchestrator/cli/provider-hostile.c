/* Rules about requests that mean harm or come to the wrong door: params that the schema forbids, names made
 * to be taken for paths and commands, and things that carry somebody else's marker. */
#include <dirent.h>
#include <stdio.h>

#include "orchestrator/cli/provider-rules.h"

DEFINE_CLEANUP(DIR *, closedir)

/* ---- params ---- */

static Verdict refused(Kit *kit, Subject *subject, json_t *params, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
static Verdict refused(Kit *kit, Subject *subject, json_t *params, const char *fmt, ...) {
        json_auto_t *resource = kit_resource(kit, subject);
        auto_answer answer = { 0 };
        auto_strbuf what = { 0 };
        char words[256];
        va_list args;

        va_start(args, fmt);
        strbuf_addv(&what, fmt, args);
        va_end(args);
        json_object_set_new(resource, "params", params);
        answer = kit_ask(kit, subject, "provision", resource);
        if (!answer.result) /* nothing was made */
                json_array_remove(kit->made, json_array_size(kit->made) - 1);
        if (streq(answer_class(&answer), "invalid"))
                return VERDICT_OK;
        answer_words(&answer, words);
        if (answer.result)
                kit_tell(kit, subject, "deprovision", resource);
        return kit_not_ok(kit, "%s is answered with %s, not with an error of class invalid",
                          what.text ? what.text : "", words);
}

/* params with one member replaced. */
static json_t *params_with(const Subject *subject, const char *key, json_t *value) {
        json_t *params = json_deep_copy(subject->params);

        json_object_set_new(params, key, value);
        return params;
}

static Verdict wrong_type(Kit *kit, Subject *subject, const char *key, const json_t *schema,
                          unsigned *n) {
        const char *type = kit_text(schema, "type");
        const json_t *allowed = json_object_get(schema, "enum");

        if (*type && !streq(type, "null")) {
                json_t *value = streq(type, "string") ? json_integer(7) : json_string(kit->canary);

                (*n)++;
                if (refused(kit, subject, params_with(subject, key, value),
                            "a param '%s' of the wrong type (not %s)", key, type) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        if (json_array_size(allowed) > 0) {
                (*n)++;
                return refused(kit, subject, params_with(subject, key, json_string(kit->canary)),
                               "a param '%s' that is none of its enum", key);
        }
        return VERDICT_OK;
}

static Verdict wrong_size(Kit *kit, Subject *subject, const char *key, const json_t *schema,
                          unsigned *n) {
        const json_t *least = json_object_get(schema, "minimum"),
                     *most = json_object_get(schema, "maximum"),
                     *longest = json_object_get(schema, "maxLength");

        if (json_is_integer(least) && json_integer_value(least) > INT64_MIN) {
                (*n)++;
                if (refused(kit, subject,
                            params_with(subject, key, json_integer(json_integer_value(least) - 1)),
                            "a param '%s' below its minimum", key) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        if (json_is_integer(most) && json_integer_value(most) < INT64_MAX) {
                (*n)++;
                if (refused(kit, subject,
                            params_with(subject, key, json_integer(json_integer_value(most) + 1)),
                            "a param '%s' above its maximum", key) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        if (json_is_integer(longest) && json_integer_value(longest) < 1024 * 1024) {
                auto_strbuf text = { 0 };

                while (!text.broken && text.size <= (size_t) json_integer_value(longest))
                        strbuf_addc(&text, 'x');
                (*n)++;
                return refused(kit, subject, params_with(subject, key, json_string(text.text)),
                               "a param '%s' longer than its maxLength", key);
        }
        return VERDICT_OK;
}

Verdict rule_invalid_params(Kit *kit, Subject *subject) {
        const json_t *schema = json_object_get(subject->described, "params"), *name, *one;
        const char *key;
        unsigned n = 0;
        size_t i;

        if (json_is_false(json_object_get(schema, "additionalProperties"))) {
                n++;
                if (refused(kit, subject,
                            params_with(subject, "no-such-param", json_string(kit->canary)),
                            "an unknown param") != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        json_array_foreach(json_object_get(schema, "required"), i, name) {
                json_t *params = json_deep_copy(subject->params);

                n++;
                json_object_del(params, json_string_value(name));
                if (refused(kit, subject, params, "without the param '%s', provision",
                            json_string_value(name)) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        json_object_foreach(json_object_get(schema, "properties"), key, one) {
                if (wrong_type(kit, subject, key, one, &n) != VERDICT_OK ||
                    wrong_size(kit, subject, key, one, &n) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        return n ? kit_ok(kit, "%u kinds of wrong params refused as invalid", n)
                 : kit_skipped(kit, "its schema allows any params");
}

/* ---- names ---- */

/* Something beside the state folder, where nobody is to write; NULL: nothing. */
static char *escaped(const Kit *kit) {
        auto_cleanup(closedirp) DIR *dir = opendir(kit->folder);
        struct dirent *entry;

        while (dir && (entry = readdir(dir)))
                if (!streq(entry->d_name, ".") && !streq(entry->d_name, "..") &&
                    !streq(entry->d_name, "state"))
                        return strdup(entry->d_name);
        return NULL;
}

static json_t *hostile_make(Kit *kit, const Subject *subject, const char *field, const char *text) {
        json_t *resource = kit_resource(kit, subject);

        json_object_set_new(resource, field, json_string(text));
        if (streq(field, "uid"))
                json_object_set_new(resource, "marker",
                                    json_sprintf("%s/%s/%s", kit->installation,
                                                 kit_text(subject->environment, "id"), text));
        return resource;
}

/* A name is for people, so it may be anything; the others are what everything is found by. */
static Verdict hostile_ask(Kit *kit, Subject *subject, const char *verb, const char *field,
                           const char *text) {
        json_auto_t *resource = hostile_make(kit, subject, field, text);
        auto_answer answer = kit_ask(kit, subject, verb, resource);
        auto_cleanup(freep) char *outside = escaped(kit);
        char words[256];

        if (answer.result && streq(verb, "provision"))
                kit_tell(kit, subject, "deprovision", resource);
        else if (streq(verb, "provision"))
                json_array_remove(kit->made, json_array_size(kit->made) - 1);
        if (outside)
                return kit_not_ok(kit, "%s with the %s '%s' writes '%s', outside its state_dir",
                                  verb, field, text, outside);
        if (streq(field, "name") ? !answer.fault : streq(answer_class(&answer), "invalid"))
                return VERDICT_OK;
        return kit_not_ok(kit,
                          "%s with the %s '%s' is answered with %s, not with an error of class "
                          "invalid",
                          verb, field, text, answer_words(&answer, words));
}

Verdict rule_hostile_names(Kit *kit, Subject *subject) {
        static const char *const fields[] = { "uid", "marker", "type", "name" };
        auto_cleanup(freep) char *command = str_format("$(touch %s/command)", kit->folder),
                                 *quote = str_format("'; touch %s/quote; '", kit->folder),
                                 *path = str_format("%s/path", kit->folder);
        const char *const texts[] = {
                "../escape", path, command, quote, "a\nb", "a\"b", "a b", ""
        };
        unsigned n = 0;

        if (!command || !quote || !path)
                return kit_not_ok(kit, "out of memory");
        for (size_t i = 0; i < N_ELEMENTS(fields); i++)
                for (size_t j = 0; j < N_ELEMENTS(texts); j++, n++) {
                        if (hostile_ask(kit, subject, "provision", fields[i], texts[j]) !=
                            VERDICT_OK)
                                return VERDICT_NOT_OK;
                        if (i < 2 && hostile_ask(kit, subject, "deprovision", fields[i],
                                                 texts[j]) != VERDICT_OK)
                                return VERDICT_NOT_OK;
                }
        return kit_ok(kit, "%u names that are paths, commands and quotes do no harm", n);
}

/* ---- markers ---- */

static const char *const changing_verbs[] = { "deprovision", "provision", "sleep",
                                              "wake",        "snapshot",  "restore" };

typedef struct Stranger {
        json_t *environment, *resource; /* owned */
        const char *whose;
} Stranger;

static void stranger_done(Stranger *s) {
        json_decref(s->environment);
        json_decref(s->resource);
}

static Verdict stranger_refused(Kit *kit, Subject *subject, const Stranger *s, const char *verb) {
        auto_answer answer = kit_call(kit, verb, s->environment, s->resource, INTERRUPT_NONE);
        char words[256];

        if (streq(verb, "provision")) /* it is the shared one, under another name */
                json_array_remove(kit->made, json_array_size(kit->made) - 1);
        if (streq(answer_class(&answer), "conflict"))
                return VERDICT_OK;
        return kit_not_ok(kit,
                          "%s under the marker of another %s is answered with %s, not with a "
                          "conflict",
                          verb, s->whose, answer_words(&answer, words));
}

static Verdict stranger_check(Kit *kit, Subject *subject, const Stranger *s) {
        auto_answer found = { 0 };

        for (size_t i = 0; i < N_ELEMENTS(changing_verbs); i++) {
                if (!kit_offers(subject, changing_verbs[i]) || (subject->computed && i > 0))
                        continue;
                if (stranger_refused(kit, subject, s, changing_verbs[i]) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        if (subject->computed)
                return VERDICT_OK;
        found = kit_call(kit, "inspect", s->environment, s->resource, INTERRUPT_NONE);
        if (streq(kit_text(found.result, "marker"), kit_text(s->resource, "marker")))
                return kit_not_ok(kit, "inspect repeats the asked marker, not the one it found");
        return VERDICT_OK;
}

/* The same uid and slot under the marker of another environment, or of another installation. */
static Verdict stranger_try(Kit *kit, Subject *subject, bool other_installation) {
        auto_cleanup(stranger_done) Stranger s = {
                .environment = json_deep_copy(subject->environment),
                .resource = json_deep_copy(subject->resource),
                .whose = other_installation ? "installation" : "environment",
        };
        json_auto_t *own = json_incref(kit->config);
        json_t *config = json_copy(kit->config);
        char environment[ID_SIZE], installation[ID_SIZE];
        Verdict verdict;

        id_make(&random_system, 'e', environment);
        id_make(&random_system, 'i', installation);
        if (other_installation)
                json_object_set_new(config, "installation", json_string(installation));
        else {
                json_object_set_new(s.environment, "id", json_string(environment));
                json_object_set_new(s.environment, "slot", json_integer(4321));
        }
        json_object_set_new(
                s.resource, "marker",
                json_sprintf("%s/%s/%s", other_installation ? installation : kit->installation,
                             kit_text(s.environment, "id"), kit_text(s.resource, "uid")));
        json_decref(kit->config);
        kit->config = config;
        verdict = stranger_check(kit, subject, &s);
        json_decref(kit->config);
        kit->config = json_incref(own);
        return verdict;
}

Verdict rule_other_marker(Kit *kit, Subject *subject) {
        auto_answer before = kit_ask(kit, subject, "inspect", subject->resource), after = { 0 };

        for (int i = 0; i < 2; i++)
                if (stranger_try(kit, subject, i) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        after = kit_ask(kit, subject, "inspect", subject->resource);
        if (kit_is_there(kit, &after, subject->resource, "afterwards ") != VERDICT_OK)
                return VERDICT_NOT_OK;
        if (!streq(kit_text(before.result, "level"), kit_text(after.result, "level")))
                return kit_not_ok(kit, "afterwards its level is '%s', it was '%s'",
                                  kit_text(after.result, "level"),
                                  kit_text(before.result, "level"));
        if (kit_same_outputs(kit, subject, subject->resource, "afterwards") != VERDICT_OK)
                return VERDICT_NOT_OK;
        return kit_ok(kit, "refused as conflict by each verb; the thing is as it was");
}
