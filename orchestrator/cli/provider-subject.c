/* A type under test: its params, the environment it is in, and what it needs. */
#include "orchestrator/base/str.h"
#include "orchestrator/cli/provider-kit.h"

void subject_done(Subject *s) {
        json_decref(s->params);
        json_decref(s->environment);
        json_decref(s->needs);
        json_decref(s->resource);
        json_decref(s->outputs);
        json_decref(s->state);
}

/* "${NEED.OUTPUT}", whole strings only, anywhere in params. Returns an owned copy. */
static json_t *params_fill(const json_t *value, const json_t *outputs) {
        const char *text = json_string_value(value), *key;
        json_t *member, *filled;
        size_t i;

        if (json_is_string(value) && str_after(text, "${") && str_ends_with(text, "}")) {
                auto_cleanup(freep) char *need = strndup(text + 2, strcspn(text + 2, ".}"));
                auto_cleanup(freep) char *output = NULL;

                if (!need)
                        return NULL;
                output = strdup(text + 2 + strlen(need) + (text[2 + strlen(need)] == '.'));
                if (!output)
                        return NULL;
                output[strlen(output) - (*output != 0)] = 0;
                member = json_object_get(json_object_get(outputs, need), output);
                return member ? json_incref(member) : json_null();
        }
        if (json_is_object(value)) {
                filled = json_object();
                json_object_foreach((json_t *) value, key, member) {
                        json_object_set_new(filled, key, params_fill(member, outputs));
                }
                return filled;
        }
        if (!json_is_array(value))
                return json_deep_copy(value);
        filled = json_array();
        json_array_foreach(value, i, member) {
                json_array_append_new(filled, params_fill(member, outputs));
        }
        return filled;
}

/* Makes what the type needs ("needs": [{"name","type","params"}]), in the same environment. */
static int needs_make(Kit *kit, Subject *subject, json_t *outputs) {
        const json_t *needs = json_object_get(subject->given, "needs"), *need;
        const char *type = subject->type;
        size_t i;

        json_array_foreach(needs, i, need) {
                auto_answer answer = { 0 };
                json_t *resource;
                char words[256];

                json_decref(subject->params);
                subject->params = params_fill(json_object_get(need, "params"), outputs);
                if (!json_is_object(subject->params)) {
                        json_decref(subject->params);
                        subject->params = json_object();
                }
                subject->type = kit_text(need, "type");
                resource = kit_resource(kit, subject);
                subject->type = type;
                json_array_append_new(subject->needs, resource);
                answer = kit_ask(kit, subject, "provision", resource);
                if (!answer.result) {
                        (void) kit_not_ok(kit, "what it needs cannot be made: %s",
                                          answer_words(&answer, words));
                        return -EIO;
                }
                json_object_set(outputs, kit_text(need, "name"),
                                json_object_get(answer.result, "outputs"));
        }
        return 0;
}

/* The canary is a value of the project: whoever has it must not repeat it. */
static json_t *environment_make(const Kit *kit, const json_t *given) {
        json_t *environment, *values;
        char id[ID_SIZE];

        id_make(&random_system, 'e', id);
        environment = json_pack(
                "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:s, s:s, s:s, s:{}, s:{}}", "id",
                id, "label", "check--mayfly", "host", "check--mayfly.preview.localhost", "url",
                "http://check--mayfly.preview.localhost:8150", "project", "check", "branch", "main",
                "commit", "0000000000000000000000000000000000000000", "generation", 1, "slot",
                (json_int_t) (2000 + random_below(&random_system, 2000)), "owner", "check", "team",
                "check", "trust", "member", "workloads", "values");
        if (environment && json_is_object(given))
                json_object_update(environment, (json_t *) given);
        values = json_copy(json_object_get(environment, "values"));
        json_object_set_new(values, "CHECK_CANARY", json_string(kit->canary));
        json_object_set_new(environment, "values", values ? values : json_object());
        return environment;
}

bool subject_can_be_tested(const Subject *subject) {
        const json_t *schema = json_object_get(subject->described, "params");

        return subject->given || json_array_size(json_object_get(schema, "required")) == 0;
}

int subject_init(Kit *kit, const json_t *described, Subject *subject) {
        json_auto_t *outputs = json_object();
        const json_t *params;
        int r;

        *subject = (Subject){
                .type = kit_text(described, "type"),
                .described = described,
                .given = json_object_get(kit->cases, kit_text(described, "type")),
                .computed = json_is_true(json_object_get(described, "computed")),
                .needs = json_array(),
        };
        subject->environment =
                environment_make(kit, json_object_get(subject->given, "environment"));
        strbuf_done(&kit->seen);
        if (!subject->environment || !subject->needs || !outputs)
                return -ENOMEM;
        r = needs_make(kit, subject, outputs);
        if (r < 0)
                return r;
        params = json_object_get(subject->given, "params");
        json_decref(subject->params);
        subject->params = params ? params_fill(params, outputs) : json_object();
        subject->resource = kit_resource(kit, subject);
        return subject->resource ? 0 : -ENOMEM;
}

void needs_remove(Kit *kit, Subject *subject) {
        for (size_t i = json_array_size(subject->needs); i > 0; i--)
                kit_tell(kit, subject, "deprovision", json_array_get(subject->needs, i - 1));
}
