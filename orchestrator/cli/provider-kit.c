/* What all rules use: calls, resources, verdicts. */
#include "orchestrator/cli/provider-kit.h"

#include <signal.h>
#include <stdio.h>

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

static Verdict note(Kit *kit, Verdict verdict, const char *fmt, va_list args)
        __attribute__((format(printf, 3, 0)));
static Verdict note(Kit *kit, Verdict verdict, const char *fmt, va_list args) {
        strbuf_done(&kit->seen);
        strbuf_addv(&kit->seen, fmt, args);
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

Answer kit_call(Kit *kit, Subject *subject, const char *verb, const json_t *environment,
                const json_t *resource, Interrupt interrupt) {
        json_auto_t *request = kit_request(kit, verb, environment, resource);
        auto_cleanup(freep) char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
        auto_error error = { 0 };
        Answer answer = { 0 };

        if (!text || provider_call(kit->program, text, strlen(text), interrupt,
                                   kit->patience_ms + 2000, &answer, &error) < 0) {
                kit->broken = true;
                fprintf(stderr, "mayfly: %s\n", error_text(&error, -ENOMEM));
                return answer;
        }
        if (answer.fault && !kit->form_fault)
                kit->form_fault = str_format("%s: %s", verb, answer.fault);
        if (subject && answer.words.text)
                strbuf_addn(&subject->words, answer.words.text, answer.words.size);
        return answer;
}

Answer kit_ask(Kit *kit, Subject *subject, const char *verb, const json_t *resource) {
        json_auto_t *nothing = json_object();

        return kit_call(kit, subject, verb, resource ? subject->environment : nothing, resource,
                        INTERRUPT_NONE);
}

void kit_tell(Kit *kit, Subject *subject, const char *verb, const json_t *resource) {
        auto_answer answer = kit_ask(kit, subject, verb, resource);

        (void) answer;
}

json_t *kit_resource(const Kit *kit, const Subject *subject) {
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
