/* What all rules use: calls, resources, verdicts. */
#include "orchestrator/cli/provider-kit.h"

#include <signal.h>
#include <stdio.h>

/* What was said is searched at the end; a provider that says more than this is not kept word for word. */
#define WORDS_MAX (64 * 1024 * 1024)

const char *kit_text(const json_t *object, const char *key) {
        const char *s = json_string_value(json_object_get(object, key));

        return s ? s : "";
}

bool kit_offers(const Subject *subject, const char *verb) {
        const json_t *verbs = json_object_get(subject->described, "verbs"), *one;
        size_t i;

        json_array_foreach(verbs, i, one) {
                if (streq_null(json_string_value(one), verb))
                        return true;
        }
        return false;
}

/* splitmix64: the same seed asks the same questions again. */
uint64_t kit_chance(Kit *kit, uint64_t n) {
        uint64_t z = (kit->chance += UINT64_C(0x9e3779b97f4a7c15));

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return n ? (z ^ (z >> 31)) % n : 0;
}

static Verdict note(Kit *kit, Verdict verdict, const char *fmt, va_list args)
        __attribute__((format(printf, 3, 0)));
static Verdict note(Kit *kit, Verdict verdict, const char *fmt, va_list args) {
        auto_cleanup(freep) char *printable = NULL;
        auto_strbuf text = { 0 };

        strbuf_addv(&text, fmt, args);
        printable = text_printable(text.text ? text.text : "", text.size, 1000);
        strbuf_done(&kit->seen);
        strbuf_add(&kit->seen, printable ? printable : "");
        return verdict;
}

#define NOTE(name, verdict)                            \
        Verdict name(Kit *kit, const char *fmt, ...) { \
                va_list args;                          \
                Verdict v;                             \
                                                       \
                va_start(args, fmt);                   \
                v = note(kit, verdict, fmt, args);     \
                va_end(args);                          \
                return v;                              \
        }
NOTE(kit_ok, VERDICT_OK)
NOTE(kit_not_ok, VERDICT_NOT_OK)
NOTE(kit_skipped, VERDICT_SKIPPED)

/* ---- calls ---- */

json_t *kit_request(const Kit *kit, const char *verb, const json_t *environment,
                    const json_t *resource) {
        char call[ID_SIZE], trace[TRACE_SIZE];
        json_t *request;

        id_make(&random_system, 'c', call);
        trace_make(&random_system, trace);
        request = json_pack("{s:i, s:s, s:s, s:I, s:o, s:O, s:O}", "protocol", 1, "verb", verb,
                            "call", call, "deadline_ms", (json_int_t) kit->patience_ms,
                            "traceparent", json_sprintf("00-%s-%.16s-01", trace, trace), "config",
                            kit->config, "environment", environment);
        if (request && resource)
                json_object_set(request, "resource", (json_t *) resource);
        return request;
}

static void made_note(Kit *kit, const json_t *environment, const json_t *resource) {
        json_array_append_new(kit->made, json_pack("{s:O, s:O}", "resource", resource,
                                                   "environment", environment));
}

static void made_forget(Kit *kit, const char *marker) {
        for (size_t i = json_array_size(kit->made); i > 0; i--) {
                const json_t *resource =
                        json_object_get(json_array_get(kit->made, i - 1), "resource");

                if (streq(kit_text(resource, "marker"), marker))
                        json_array_remove(kit->made, i - 1);
        }
}

/* Every text and number that a result calls secret. */
static void secrets_note(Kit *kit, const json_t *value) {
        const char *key;
        json_t *member;
        size_t i;

        if (json_is_string(value) || json_is_number(value)) {
                json_array_foreach(kit->secrets, i, member) {
                        if (json_equal(member, value))
                                return;
                }
                json_array_append(kit->secrets, (json_t *) value);
        }
        json_object_foreach((json_t *) value, key, member)
                secrets_note(kit, member);
        json_array_foreach(value, i, member)
                secrets_note(kit, member);
}

static void answer_note(Kit *kit, const char *verb, const Answer *answer) {
        const json_t *names = json_object_get(answer->result, "secret"), *name;
        size_t i;

        if (answer->fault && !kit->form_fault && !answer->stopped)
                kit->form_fault = str_format("%s: %s", verb, answer->fault);
        if (answer->overdue && !answer->interrupted && !kit->overdue)
                kit->overdue = strdup(verb);
        if (answer->words.text && kit->words.size < WORDS_MAX)
                strbuf_addn(&kit->words, answer->words.text, answer->words.size);
        if (answer->states.text && kit->states.size < WORDS_MAX)
                strbuf_addn(&kit->states, answer->states.text, answer->states.size);
        json_array_foreach(names, i, name) {
                secrets_note(kit, json_object_get(json_object_get(answer->result, "outputs"),
                                                  json_string_value(name)));
        }
}

bool kit_is_over(const Kit *kit) {
        return kit->broken || kit->overdue || calls_stopped();
}

Answer kit_call(Kit *kit, const char *verb, const json_t *environment, const json_t *resource,
                Interrupt interrupt) {
        json_auto_t *request = NULL;
        auto_cleanup(freep) char *text = NULL;
        auto_error error = { 0 };
        Answer answer = { 0 };

        if (kit_is_over(kit)) {
                answer_fault(&answer, "it was not asked any more");
                return answer;
        }
        request = kit_request(kit, verb, environment, resource);
        text = request ? json_dumps(request, JSON_COMPACT) : NULL;
        if (resource && streq(verb, "provision"))
                made_note(kit, environment, resource);
        if (!text || provider_call(kit->program, text, strlen(text), interrupt,
                                   kit->patience_ms + 2000, &answer, &error) < 0) {
                kit->broken = true;
                (void) kit_not_ok(kit, "%s", error_text(&error, -ENOMEM));
                return answer;
        }
        answer_note(kit, verb, &answer);
        if (resource && streq(verb, "deprovision") && answer.result && !answer.fault)
                made_forget(kit, kit_text(resource, "marker"));
        return answer;
}

Answer kit_ask(Kit *kit, const Subject *subject, const char *verb, const json_t *resource) {
        json_auto_t *nothing = json_object();

        return kit_call(kit, verb, resource ? subject->environment : nothing, resource,
                        INTERRUPT_NONE);
}

void kit_tell(Kit *kit, const Subject *subject, const char *verb, const json_t *resource) {
        auto_answer answer = kit_ask(kit, subject, verb, resource);

        (void) answer;
}

/* ---- resources ---- */

json_t *kit_resource(Kit *kit, const Subject *subject) {
        const char *environment = kit_text(subject->environment, "id");
        const char *class = kit_text(subject->given, "class"), *id = kit_text(subject->given, "id");
        char uid[ID_SIZE];

        id_make(&random_system, 'r', uid);
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:i, s:O, s:n}", "uid", uid, "type",
                         subject->type, "class", *class ? class : "default", "id",
                         *id ? id : "check", "name", "check", "marker",
                         json_sprintf("%s/%s/%s", kit->installation, environment, uid), "slot",
                         (json_int_t) (2000 + random_below(&random_system, 2000)), "generation", 1,
                         "params", subject->params, "state");
}

json_t *kit_forgotten(const json_t *resource) {
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:{}, s:n}", "uid",
                         kit_text(resource, "uid"), "type", kit_text(resource, "type"), "class",
                         "default", "id", "", "name", "", "marker", kit_text(resource, "marker"),
                         "slot", 0, "generation", 0, "params", "state");
}

json_t *kit_forgotten_environment(const json_t *environment) {
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:{}}", "id",
                         kit_text(environment, "id"), "label", "", "host", "", "url", "", "project",
                         "", "branch", "", "commit", "", "generation", 0, "slot", 0, "owner", "",
                         "team", "", "trust", "stranger", "workloads");
}

/* ---- the end ---- */

static json_t *listed(Kit *kit) {
        json_auto_t *nothing = json_object(), *found = json_array();
        auto_answer list = kit_call(kit, "list", nothing, NULL, INTERRUPT_NONE);
        const json_t *item;
        size_t i;

        json_array_foreach(list.items, i, item) {
                const char *marker = kit_text(item, "marker"),
                           *rest = str_after(marker, kit->installation);

                if (rest && *rest == '/' && strlen(marker) < 200)
                        json_array_append_new(
                                found, json_pack("{s:s, s:s, s:s}", "uid", kit_text(item, "uid"),
                                                 "type", kit_text(item, "type"), "marker", marker));
        }
        return TAKE(found);
}

static void listed_remove(Kit *kit, const json_t *things) {
        const json_t *thing;
        size_t i;

        json_array_foreach(things, i, thing) {
                const char *slash = strchr(kit_text(thing, "marker"), '/') + 1;
                json_auto_t *resource = kit_forgotten(thing),
                            *id = json_pack("{s:o}", "id",
                                            json_stringn(slash, strcspn(slash, "/"))),
                            *environment = kit_forgotten_environment(id);
                auto_answer answer =
                        kit_call(kit, "deprovision", environment, resource, INTERRUPT_NONE);

                (void) answer;
        }
}

json_t *kit_sweep(Kit *kit) {
        json_t *things;

        free(TAKE(kit->overdue)); /* whatever it was, each thing is asked for once more */
        for (size_t i = json_array_size(kit->made); i > 0; i--) {
                json_auto_t *one = json_incref(json_array_get(kit->made, i - 1));
                auto_answer answer = { 0 };

                if (!one)
                        continue;
                answer = kit_call(kit, "deprovision", json_object_get(one, "environment"),
                                  json_object_get(one, "resource"), INTERRUPT_NONE);
        }
        things = listed(kit);
        if (json_array_size(things) > 0) {
                listed_remove(kit, things);
                json_decref(things);
                things = listed(kit);
        }
        return things;
}
