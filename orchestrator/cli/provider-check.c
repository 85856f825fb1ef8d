/* mayfly provider check: runs the rules of provider-kit.h against a program and prints a line for each.
 * It needs no daemon; the provider works in a state folder of its own, under an installation that exists
 * for the length of the check. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/provider-args.h"
#include "orchestrator/cli/provider-kit.h"

/* For each call that cleans up after somebody interrupted the check. */
#define CLEANING_MS 5000

typedef struct Score {
        unsigned n_ok, n_not_ok, n_skipped;
        bool complete; /* every rule saw every type */
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

static void score_add(Score *score, const char *type, const char *rule, unsigned number,
                      Verdict verdict, const char *seen) {
        static const char *const words[] = {
                [VERDICT_OK] = "ok", [VERDICT_NOT_OK] = "not ok", [VERDICT_SKIPPED] = "skipped"
        };
        unsigned *counts[] = { [VERDICT_OK] = &score->n_ok,
                               [VERDICT_NOT_OK] = &score->n_not_ok,
                               [VERDICT_SKIPPED] = &score->n_skipped };
        auto_cleanup(freep) char *of = type ? text_printable(type, strlen(type), 100) : NULL;

        (*counts[verdict])++;
        if (score->json) {
                json_array_append_new(score->lines,
                                      json_pack("{s:s?, s:s, s:i, s:s, s:s}", "type", of, "rule",
                                                rule, "number", (int) number, "verdict",
                                                words[verdict], "seen", seen));
                return;
        }
        printf("%-7s  %s%s%s: %s", words[verdict], of ? of : "", of ? ": " : "", rule, seen);
        if (verdict == VERDICT_NOT_OK && number > 0)
                printf(" (see rule %u of providers.md)", number);
        putchar('\n');
        fflush(stdout);
}

static const char *seen_of(const Kit *kit) {
        return kit->seen.text ? kit->seen.text : "";
}

static void kit_done(Kit *kit) {
        if (kit->folder)
                (void) remove_tree(kit->folder, NULL); /* in /tmp, and named after us */
        free(kit->folder);
        free(kit->state_dir);
        json_decref(kit->config);
        json_decref(kit->cases);
        json_decref(kit->describe);
        json_decref(kit->made);
        json_decref(kit->secrets);
        strbuf_done(&kit->words);
        strbuf_done(&kit->states);
        strbuf_done(&kit->seen);
        free(kit->overdue);
        free(kit->form_fault);
}

/* ---- which rules ---- */

static bool rule_has(const KitRule *rule, const char *words) {
        uint64_t number;

        return str_to_u64(words, 1000, &number) == 0 ? rule->number == number
                                                     : strstr(rule->name, words) != NULL;
}

static bool rule_is_named(const ProviderArgs *args, const KitRule *rule) {
        for (size_t i = 0; i < args->n_rules; i++)
                if (rule_has(rule, args->rules[i]))
                        return true;
        return args->n_rules == 0;
}

static unsigned rules_named(const ProviderArgs *args, const KitRule *rules) {
        unsigned n = 0;

        for (; rules->name; rules++)
                n += rule_is_named(args, rules);
        return n;
}

/* The first words that no rule has; NULL: there are none. */
static const char *words_of_nothing(const ProviderArgs *args) {
        for (size_t i = 0; i < args->n_rules; i++) {
                ProviderArgs one = { .rules = { args->rules[i] }, .n_rules = 1 };

                if (rules_named(&one, kit_provider_rules) + rules_named(&one, kit_type_rules) == 0)
                        return args->rules[i];
        }
        return NULL;
}

static void rules_print(const KitRule *rules) {
        for (; rules->name; rules++)
                fprintf(stderr, "  %s\n", rules->name);
}

/* ---- one type ---- */

static void type_rules(Kit *kit, Subject *subject, const ProviderArgs *args, Score *score) {
        for (const KitRule *rule = kit_type_rules; rule->name; rule++) {
                Verdict verdict;

                /* The first rule makes what all others look at. */
                if (!rule_is_named(args, rule) && rule != kit_type_rules)
                        continue;
                verdict = rule->of_type(kit, subject);
                if (kit->broken || calls_stopped())
                        return;
                score_add(score, subject->type, rule->name, rule->number, verdict, seen_of(kit));
                if (kit->overdue) {
                        auto_cleanup(freep) char *why =
                                str_format("%s did not end within %lld ms, and is not asked again",
                                           kit->overdue, (long long) kit->patience_ms + 2000);

                        score->complete = false;
                        score_add(score, subject->type, "the other rules", 5, VERDICT_SKIPPED,
                                  why ? why : "");
                        return;
                }
                if (rule == kit_type_rules && verdict != VERDICT_OK) {
                        score->complete = false;
                        kit_tell(kit, subject, "deprovision", subject->resource);
                        return; /* nothing was made: the other rules have nothing to look at */
                }
        }
}

static void type_check(Kit *kit, const json_t *described, const ProviderArgs *args, Score *score) {
        auto_cleanup(subject_done) Subject subject = { 0 };

        if (subject_init(kit, described, &subject) < 0) {
                score->complete = false;
                score_add(score, subject.type, "it can be tested", 0, VERDICT_NOT_OK,
                          kit->seen.text ? kit->seen.text : "out of memory");
                needs_remove(kit, &subject);
                return;
        }
        if (!subject_can_be_tested(&subject)) {
                score->complete = false;
                score_add(score, subject.type, "all rules", 0, VERDICT_SKIPPED,
                          "not tested, as it needs params: give --params");
                return;
        }
        type_rules(kit, &subject, args, score);
        if (kit->overdue)
                json_decref(kit_sweep(kit)); /* the next type begins with nothing */
        if (args->n_rules > 0)
                kit_tell(kit, &subject, "deprovision", subject.resource);
        needs_remove(kit, &subject);
}

/* ---- the whole ---- */

static int kit_init(Kit *kit, const ProviderArgs *args, const char *program, Error *reterr) {
        char folder[] = "/tmp/mayfly-check.XXXXXX", canary[ID_SIZE];
        int r;

        *kit = (Kit){ .program = program,
                      .patience_ms = args->timeout_ms,
                      .seed = args->seed,
                      .chance = args->seed,
                      .made = json_array(),
                      .secrets = json_array() };
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
        kit->folder = strdup(folder);
        kit->state_dir = path_join(folder, "state");
        if (!kit->folder || !kit->state_dir || !kit->made || !kit->secrets)
                return -ENOMEM;
        r = mkdir_p(kit->state_dir, 0711, reterr);
        if (r < 0)
                return r;
        id_make(&random_system, 'i', kit->installation);
        id_make(&random_system, 'c', canary);
        snprintf(kit->canary, sizeof(kit->canary), "canary-%s", canary);
        json_object_set_new(kit->config, "state_dir", json_string(kit->state_dir));
        json_object_set_new(kit->config, "installation", json_string(kit->installation));
        json_object_set_new(kit->config, "check_canary", json_string(kit->canary));
        if (!json_object_get(kit->config, "domain"))
                json_object_set_new(kit->config, "domain", json_string("preview.localhost"));
        if (!json_object_get(kit->config, "url"))
                json_object_set_new(kit->config, "url",
                                    json_string("http://%s.preview.localhost:8150"));
        return 0;
}

static void types_check(Kit *kit, const ProviderArgs *args, Score *score) {
        const json_t *type;
        bool found = false;
        size_t i;

        json_array_foreach(json_object_get(kit->describe, "types"), i, type) {
                if (args->type && !streq(kit_text(type, "type"), args->type))
                        continue;
                found = true;
                if (!kit_is_over(kit))
                        type_check(kit, type, args, score);
        }
        if (args->type && kit->describe && !found)
                score_add(score, args->type, "it is served", 10, VERDICT_NOT_OK,
                          "describe does not name it");
}

static void kit_run(Kit *kit, const ProviderArgs *args, Score *score) {
        for (const KitRule *rule = kit_provider_rules; rule->name && !kit_is_over(kit); rule++) {
                Verdict verdict;

                if (!rule_is_named(args, rule) && rule != kit_provider_rules)
                        continue;
                verdict = rule->of_provider(kit);
                if (!kit->broken && !calls_stopped())
                        score_add(score, NULL, rule->name, rule->number, verdict, seen_of(kit));
        }
        if (rules_named(args, kit_type_rules) > 0)
                types_check(kit, args, score);
        score->complete = score->complete && kit->describe && !kit_is_over(kit);
        if (kit->broken || calls_stopped())
                return;
        score_add(score, NULL, "every answer keeps the protocol", 9,
                  kit->form_fault ? VERDICT_NOT_OK : VERDICT_OK,
                  kit->form_fault ? kit->form_fault : "JSON lines, one answer, exit status 0");
}

/* Also after an interrupt: what the check has made it takes away, and names what it cannot. */
static json_t *kit_clean(Kit *kit, Score *score) {
        bool stopped = calls_stopped();
        json_t *left;
        const json_t *thing;
        size_t i;
        int pid;

        if (kit->broken || !kit->describe)
                return json_array();
        calls_for_cleaning();
        if (stopped && kit->patience_ms > CLEANING_MS)
                kit->patience_ms = CLEANING_MS;
        left = kit_sweep(kit);
        pid = calls_left_behind();
        if (pid > 0)
                json_array_append_new(left,
                                      json_pack("{s:s, s:o, s:s}", "uid", "", "type",
                                                json_sprintf("process %d", pid), "marker", ""));
        json_array_foreach(left, i, thing) {
                (void) kit_not_ok(kit, "%s '%s' remains: remove it by hand",
                                  kit_text(thing, "type"), kit_text(thing, "uid"));
                if (stopped)
                        fprintf(stderr, "mayfly: %s\n", seen_of(kit));
                else
                        score_add(score, NULL, "the check leaves nothing", 3, VERDICT_NOT_OK,
                                  seen_of(kit));
        }
        if (stopped)
                fprintf(stderr, "mayfly: interrupted; %s\n",
                        json_array_size(left) > 0 ? "the rest of what the check made is removed"
                                                  : "all that the check made is removed");
        return left;
}

static void json_print(const ProviderArgs *args, const Kit *kit, const Score *score,
                       const char *error, const json_t *left) {
        auto_cleanup(freep) char *program =
                text_printable(args->program, strlen(args->program), 1000);
        json_auto_t *all = json_pack(
                "{s:s, s:b, s:b, s:I, s:i, s:i, s:i, s:O?, s:O?}", "program",
                program ? program : "", "kept", !error && score->n_not_ok == 0 && !kit->broken,
                "complete", !error && score->complete, "seed", (json_int_t) args->seed, "ok",
                (int) score->n_ok, "not_ok", (int) score->n_not_ok, "skipped",
                (int) score->n_skipped, "rules", score->lines, "left", left);

        if (error) {
                auto_cleanup(freep) char *printable = text_printable(error, strlen(error), 1000);

                json_object_set_new(all, "error", json_string(printable ? printable : ""));
        }
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
}

static void summary_print(const Score *score, const Kit *kit) {
        printf("%u ok, %u not ok, %u skipped%s; seed %llu\n", score->n_ok, score->n_not_ok,
               score->n_skipped, score->complete ? "" : "; not everything was tested",
               (unsigned long long) kit->seed);
}

static int check(const ProviderArgs *args, Kit *kit, Score *score, Error *reterr) {
        auto_cleanup(freep) char *program = NULL;
        json_auto_t *left = NULL;
        bool stopped;
        int r;

        r = provider_program_find(args->program, &program, reterr);
        if (r == 0)
                r = kit_init(kit, args, program, reterr);
        if (r < 0)
                return r;
        calls_prepare();
        kit_run(kit, args, score);
        stopped = calls_stopped();
        score->complete = score->complete && !stopped;
        left = kit_clean(kit, score);
        if (kit->broken)
                return error_set(reterr, -EIO, "%s", seen_of(kit));
        if (args->json)
                json_print(args, kit, score, stopped ? "interrupted" : NULL, left);
        else
                summary_print(score, kit);
        return stopped ? 2 : score->n_not_ok ? 1 : 0;
}

int cmd_provider(int argc, char **argv) {
        auto_cleanup(kit_done) Kit kit = { 0 };
        Score score = { 0 };
        auto_error error = { 0 };
        const char *wrong;
        ProviderArgs args;
        int status;

        if (provider_args_parse(argc, argv, &args) < 0) {
                fputs(provider_help, stderr);
                return 2;
        }
        if (args.help)
                return fputs(provider_help, stdout) < 0 ? 1 : 0;
        wrong = words_of_nothing(&args);
        if (wrong) {
                fprintf(stderr, "mayfly: no rule has '%s' in its name; there are:\n", wrong);
                rules_print(kit_provider_rules);
                rules_print(kit_type_rules);
                return 2;
        }
        score = (Score){ .json = args.json,
                         .lines = json_array(),
                         .complete = args.n_rules == 0 && !args.type };
        status = check(&args, &kit, &score, &error);
        if (status < 0) {
                fprintf(stderr, "mayfly: %s\n", error_text(&error, status));
                if (args.json)
                        json_print(&args, &kit, &score, error_text(&error, status), NULL);
                status = 2;
        }
        json_decref(score.lines);
        return status;
}
