/* mayfly provider check: runs the rules of provider-kit.h against a program and prints a line for each.
 * It needs no daemon; the provider works in a state folder of its own, under an installation that exists
 * for the length of the check. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/provider-kit.h"

static const char help[] =
        "Usage: mayfly provider check PROGRAM [OPTION...]\n\n"
        "Tests a provider program against the rules that all providers keep, and prints a line for\n"
        "each. Exit status: 0 all kept, 1 one is broken, 2 it could not be tested.\n\n"
        "  --config FILE    JSON object: the provider's config, as an admin would write it\n"
        "  --params FILE    JSON object: for each type {\"params\", \"environment\", \"needs\"} to test it with\n"
        "  --type TYPE      only this type\n"
        "  --rule WORDS     only rules whose name holds these words\n"
        "  --timeout MS     how long one call may take (default 30000)\n"
        "  --json           one JSON object instead of lines\n"
        "  --help           this\n";

typedef struct Args {
        const char *program, *config, *params, *type, *rule;
        int64_t timeout_ms;
        bool json;
} Args;

typedef struct Score {
        unsigned n_ok, n_not_ok, n_skipped;
        json_t *lines; /* owned: array, for --json */
        bool json;
} Score;

static int object_load(const char *path, json_t **ret, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_error_t fault;
        size_t size;
        int r;

        r = read_file(path, LIMIT_CONFIG_BYTES, &text, &size, reterr);
        if (r < 0)
                return r;
        *ret = json_loadb(text, size, JSON_REJECT_DUPLICATES, &fault);
        if (!*ret)
                return error_set(reterr, -EINVAL, "%s:%d: %s", path, fault.line, fault.text);
        if (json_is_object(*ret))
                return 0;
        json_decref(*ret);
        *ret = NULL;
        return error_set(reterr, -EINVAL, "'%s' holds no JSON object", path);
}

static void score_add(Score *score, const char *type, const char *rule, Verdict verdict,
                      const char *seen) {
        static const char *const words[] = {
                [VERDICT_OK] = "ok", [VERDICT_NOT_OK] = "not ok", [VERDICT_SKIPPED] = "skipped"
        };
        unsigned *counts[] = { [VERDICT_OK] = &score->n_ok,
                               [VERDICT_NOT_OK] = &score->n_not_ok,
                               [VERDICT_SKIPPED] = &score->n_skipped };

        (*counts[verdict])++;
        if (score->json) {
                json_array_append_new(score->lines,
                                      json_pack("{s:s?, s:s, s:s, s:s}", "type", type, "rule", rule,
                                                "verdict", words[verdict], "seen", seen));
                return;
        }
        printf("%-7s  %s%s%s: %s\n", words[verdict], type ? type : "", type ? ": " : "", rule,
               seen);
        fflush(stdout);
}

static void subject_done(Subject *s) {
        json_decref(s->params);
        json_decref(s->environment);
        json_decref(s->needs);
        json_decref(s->resource);
        json_decref(s->outputs);
        json_decref(s->state);
        json_decref(s->secrets);
        strbuf_done(&s->words);
}

static void kit_done(Kit *kit) {
        if (kit->state_dir)
                (void) remove_tree(kit->state_dir, NULL); /* in /tmp, and named after us */
        free(kit->state_dir);
        json_decref(kit->config);
        json_decref(kit->cases);
        json_decref(kit->describe);
        strbuf_done(&kit->seen);
        free(kit->form_fault);
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

static json_t *environment_make(const json_t *given) {
        json_t *environment;
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
        return environment;
}

/* Without a case for it a type can be tested only when its schema asks for nothing. */
static bool subject_can_be_tested(const Subject *subject) {
        const json_t *schema = json_object_get(subject->described, "params");

        return subject->given || json_array_size(json_object_get(schema, "required")) == 0;
}

static int subject_init(Kit *kit, const json_t *described, Subject *subject) {
        json_auto_t *outputs = json_object();
        const json_t *params;
        int r;

        *subject = (Subject){
                .type = kit_text(described, "type"),
                .described = described,
                .given = json_object_get(kit->cases, kit_text(described, "type")),
                .computed = json_is_true(json_object_get(described, "computed")),
                .needs = json_array(),
                .secrets = json_array(),
        };
        subject->environment = environment_make(json_object_get(subject->given, "environment"));
        if (!subject->environment || !subject->needs || !subject->secrets || !outputs)
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

static void needs_remove(Kit *kit, Subject *subject) {
        for (size_t i = json_array_size(subject->needs); i > 0; i--)
                kit_tell(kit, subject, "deprovision", json_array_get(subject->needs, i - 1));
}

/* The first rule makes what all others look at. */
static bool rule_is_wanted(const Args *args, const KitRule *rule) {
        return !args->rule || strstr(rule->name, args->rule) || rule == kit_type_rules;
}

static void type_check(Kit *kit, const json_t *described, const Args *args, Score *score) {
        auto_cleanup(subject_done) Subject subject = { 0 };

        if (subject_init(kit, described, &subject) < 0) {
                score_add(score, subject.type, "it can be tested", VERDICT_NOT_OK,
                          kit->seen.text ? kit->seen.text : "out of memory");
                needs_remove(kit, &subject);
                return;
        }
        if (!subject_can_be_tested(&subject)) {
                score_add(score, subject.type, "all rules", VERDICT_SKIPPED,
                          "it needs params: give --params");
                return;
        }
        for (const KitRule *rule = kit_type_rules; rule->name && !kit->broken; rule++) {
                Verdict verdict;

                if (!rule_is_wanted(args, rule))
                        continue;
                verdict = rule->of_type(kit, &subject);
                score_add(score, subject.type, rule->name, verdict,
                          kit->seen.text ? kit->seen.text : "");
                if (rule == kit_type_rules && verdict != VERDICT_OK) {
                        kit_tell(kit, &subject, "deprovision", subject.resource);
                        break; /* nothing was made: the other rules have nothing to look at */
                }
        }
        if (args->rule)
                kit_tell(kit, &subject, "deprovision", subject.resource);
        needs_remove(kit, &subject);
}

static int kit_init(Kit *kit, const Args *args, Error *reterr) {
        char folder[] = "/tmp/mayfly-check.XXXXXX";
        int r;

        *kit = (Kit){ .program = args->program, .patience_ms = args->timeout_ms };
        if (access(args->program, X_OK) < 0)
                return error_set(reterr, -errno, "Cannot run '%s': %s", args->program,
                                 strerror(errno));
        r = args->config ? object_load(args->config, &kit->config, reterr) : 0;
        if (r == 0 && args->params)
                r = object_load(args->params, &kit->cases, reterr);
        if (r < 0)
                return r;
        if (!kit->config)
                kit->config = json_object();
        if (!mkdtemp(folder) || chmod(folder, 0711) < 0)
                return error_set(reterr, -errno, "Cannot make a folder in /tmp: %s",
                                 strerror(errno));
        kit->state_dir = strdup(folder);
        id_make(&random_system, 'i', kit->installation);
        json_object_set_new(kit->config, "state_dir", json_string(folder));
        json_object_set_new(kit->config, "installation", json_string(kit->installation));
        if (!json_object_get(kit->config, "domain"))
                json_object_set_new(kit->config, "domain", json_string("preview.localhost"));
        if (!json_object_get(kit->config, "url"))
                json_object_set_new(kit->config, "url",
                                    json_string("http://%s.preview.localhost:8150"));
        return kit->state_dir ? 0 : -ENOMEM;
}

static void kit_run(Kit *kit, const Args *args, Score *score) {
        const json_t *type;
        bool found = false;
        size_t i;

        for (const KitRule *rule = kit_provider_rules; rule->name && !kit->broken; rule++) {
                Verdict verdict;

                if (!rule_is_wanted(args, rule) && rule != kit_provider_rules)
                        continue;
                verdict = rule->of_provider(kit);
                score_add(score, NULL, rule->name, verdict, kit->seen.text ? kit->seen.text : "");
        }
        json_array_foreach(json_object_get(kit->describe, "types"), i, type) {
                if (args->type && !streq(kit_text(type, "type"), args->type))
                        continue;
                found = true;
                if (!kit->broken)
                        type_check(kit, type, args, score);
        }
        if (args->type && !found)
                score_add(score, args->type, "it is served", VERDICT_NOT_OK,
                          "describe does not name it");
        score_add(score, NULL, "every answer keeps the protocol",
                  kit->form_fault ? VERDICT_NOT_OK : VERDICT_OK,
                  kit->form_fault ? kit->form_fault : "JSON lines, one answer, exit status 0");
}

static int args_parse(int argc, char **argv, Args *args) {
        struct {
                const char *name;
                const char **value;
        } options[] = {
                { "--config", &args->config },
                { "--params", &args->params },
                { "--type", &args->type },
                { "--rule", &args->rule },
        };
        const char *timeout = NULL;
        uint64_t ms;
        int i = 1;

        *args = (Args){ .timeout_ms = 30000 };
        if (i < argc && streq(argv[i], "check"))
                i++;
        for (; i < argc; i++) {
                const char **value = NULL;

                for (size_t j = 0; j < N_ELEMENTS(options); j++)
                        if (streq(argv[i], options[j].name))
                                value = options[j].value;
                if (streq(argv[i], "--timeout"))
                        value = &timeout;
                else if (streq(argv[i], "--json"))
                        args->json = true;
                else if (!value && !args->program && *argv[i] != '-')
                        args->program = argv[i];
                else if (!value)
                        return -EINVAL;
                if (value && i + 1 >= argc)
                        return -EINVAL;
                if (value)
                        *value = argv[++i];
        }
        if (timeout && (str_to_u64(timeout, 3600000, &ms) < 0 || ms == 0))
                return -EINVAL;
        if (timeout)
                args->timeout_ms = (int64_t) ms;
        return args->program ? 0 : -EINVAL;
}

int cmd_provider(int argc, char **argv) {
        auto_cleanup(kit_done) Kit kit = { 0 };
        auto_error error = { 0 };
        Score score = { 0 };
        Args args;
        int r;

        for (int i = 1; i < argc; i++)
                if (streq(argv[i], "--help"))
                        return fputs(help, stdout) < 0 ? 1 : 0;
        if (args_parse(argc, argv, &args) < 0) {
                fputs(help, stderr);
                return 2;
        }
        r = kit_init(&kit, &args, &error);
        if (r < 0) {
                fprintf(stderr, "mayfly: %s\n", error_text(&error, r));
                return 2;
        }
        score = (Score){ .json = args.json, .lines = json_array() };
        kit_run(&kit, &args, &score);
        if (args.json) {
                json_auto_t *all =
                        json_pack("{s:s, s:b, s:i, s:i, s:i, s:o}", "program", args.program, "kept",
                                  score.n_not_ok == 0 && !kit.broken, "ok", score.n_ok, "not_ok",
                                  score.n_not_ok, "skipped", score.n_skipped, "rules", score.lines);

                json_dumpf(all, stdout, JSON_INDENT(2));
                putchar('\n');
        } else {
                printf("%u ok, %u not ok, %u skipped\n", score.n_ok, score.n_not_ok,
                       score.n_skipped);
                json_decref(score.lines);
        }
        if (kit.broken)
                return 2;
        return score.n_not_ok ? 1 : 0;
}
