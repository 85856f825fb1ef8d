/* mayfly check: is what these files say right? Works anywhere, without a daemon. Several Score files are
 * one project. */
#include <fnmatch.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/cli/check-files.h"
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/faults.h"
#include "orchestrator/cli/input.h"

enum {
        VALID = 0,
        INVALID = 1,
        NOT_READABLE = 2
};

typedef struct Check {
        Inputs inputs;
        OverrideOptions overrides;
        SpecFaults faults, notices;
        ScoreDocument *documents[LIMIT_SPEC_SCORE_FILES];
        size_t n_documents;
        size_t n_score_files; /* valid or not */
        json_t *compose;      /* what became of each line of a Compose file, or NULL */
        bool json;
} Check;

static const char help[] =
        "mayfly check [OPTION]... FILE...\n"
        "Says whether dependency files are right, and where and how not. Several Score files\n"
        "are one project. \"-\" is standard input. mayfly.yaml, mayflyd.yaml and compose.yaml are\n"
        "known by their names; of a Compose file it says line by line what becomes of it.\n"
        "\n"
        "  --json                         {\"valid\", \"faults\": [...]}\n"
        "  --overrides-file FILE          merged over the Score file (one Score file only)\n"
        "  --override-property PATH=VALUE sets one value, an empty one deletes; may be repeated\n"
        "  --help\n"
        "\n"
        "Exit status: 0 valid, 1 invalid, 2 not readable or wrong use.\n";

/* ---- kinds of files ---- */

static int check_score(Check *c, const char *name, Error *reterr) {
        int r;

        c->n_score_files++;
        if (c->n_documents == LIMIT_SPEC_SCORE_FILES)
                return error_set(reterr, -E2BIG, "More than %d Score files",
                                 LIMIT_SPEC_SCORE_FILES);
        r = input_load_score(&c->inputs, name, &c->overrides, &c->documents[c->n_documents],
                             &c->faults, &c->notices, reterr);
        if (r == 0)
                c->n_documents++;
        return r;
}

/* mayfly.yaml, and the Score files that it names. */
static int check_mayfly(Check *c, const char *name, Error *reterr) {
        auto_cleanup(json_decrefp) json_t *score = NULL;
        const json_t *item;
        size_t i;
        int r;

        r = check_mayfly_file(&c->inputs, name, &c->faults, &score, reterr);
        if (r < 0)
                return r;
        json_array_foreach(score, i, item) {
                const char *slash = strrchr(name, '/');
                auto_cleanup(freep) char *path = NULL;
                auto_error e = { 0 };

                path = str_format("%.*s%s", slash ? (int) (slash - name + 1) : 0, name,
                                  json_string_value(item));
                if (!path)
                        return -ENOMEM;
                r = inputs_read(&c->inputs, path, NULL, &e);
                if (r < 0)
                        spec_faults_add(&c->faults, SPEC_STAGE_SEMANTIC, name, 0, 0, "/score", NULL,
                                        "%s", error_text(&e, r));
                else if ((r = check_score(c, path, reterr)) < 0 && r != -EINVAL)
                        return r;
        }
        return 0;
}

static int check_mayflyd(Check *c, const char *name, Error *reterr) {
        return check_config_file(&c->inputs, name, &c->faults, reterr);
}

static int check_compose(Check *c, const char *name, Error *reterr) {
        json_decref(c->compose);
        c->compose = NULL;
        return check_compose_file(&c->inputs, name, &c->faults, &c->notices, &c->compose, reterr);
}

/* What a file is, by its name; the first match counts. A function returns 0, -EINVAL with faults, or
 * another error when the file cannot be judged. */
static const struct {
        const char *pattern; /* fnmatch(3) over the last part of the path */
        int (*check)(Check *c, const char *name, Error *reterr);
} kinds[] = {
        { "mayfly.y*ml", check_mayfly },
        { "mayflyd.y*ml", check_mayflyd },
        { "compose*.y*ml", check_compose },
        { "docker-compose*.y*ml", check_compose },
        { "*", check_score },
};

static int check_file(Check *c, const char *path, Error *reterr) {
        const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
        size_t kind = 0;
        int r;

        r = inputs_read(&c->inputs, path, NULL, reterr);
        if (r < 0)
                return r;
        while (fnmatch(kinds[kind].pattern, base, 0) != 0)
                kind++;
        return kinds[kind].check(c, path, reterr);
}

/* ---- all ---- */

static int check_project(Check *c, Error *reterr) {
        ScoreProject *project = NULL;
        size_t n = c->n_documents;
        int r;

        c->n_documents = 0; /* taken over */
        r = score_project_make(c->documents, n, &project, &c->faults, reterr);
        score_project_free(project);
        return r;
}

static void check_done(Check *c) {
        for (size_t i = 0; i < c->n_documents; i++)
                score_document_free(c->documents[i]);
        spec_faults_done(&c->faults);
        spec_faults_done(&c->notices);
        inputs_done(&c->inputs);
        json_decref(c->compose);
        override_options_done(&c->overrides);
}

static int report(Check *c) {
        bool colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
        bool valid = c->faults.n_items + c->faults.n_dropped == 0;

        spec_faults_sort(&c->faults);
        spec_faults_sort(&c->notices);
        if (c->json)
                return faults_print_json(stdout, &c->faults, &c->notices) < 0 ? NOT_READABLE
                       : valid                                                ? VALID
                                                                              : INVALID;
        if (c->compose)
                compose_report_print(stdout, c->compose);
        faults_print(stdout, &c->faults, NULL, &c->inputs, colour);
        if (!c->compose) /* its report has said them */
                faults_print(stdout, &c->notices, "notice", &c->inputs, colour);
        if (valid)
                printf("valid\n");
        else
                printf("%zu fault%s\n", c->faults.n_items + c->faults.n_dropped,
                       c->faults.n_items + c->faults.n_dropped == 1 ? "" : "s");
        return valid ? VALID : INVALID;
}

static int run(Check *c, char *const *files, size_t n_files) {
        int r = 0;

        for (size_t i = 0; i < n_files; i++) {
                auto_error e = { 0 };

                r = check_file(c, files[i], &e);
                if (r < 0 && r != -EINVAL) {
                        fprintf(stderr, "mayfly check: %s\n", error_text(&e, r));
                        return NOT_READABLE;
                }
        }
        if (c->n_score_files > 1 && (c->overrides.file || c->overrides.n_properties > 0)) {
                fprintf(stderr, "mayfly check: overrides belong to one Score file; give one\n");
                return NOT_READABLE;
        }
        if (c->n_documents > 0 && c->n_documents == c->n_score_files)
                r = check_project(c, NULL);
        return r < 0 && r != -EINVAL ? NOT_READABLE : report(c);
}

int cmd_check(int argc, char **argv) {
        static const struct option options[] = {
                { "json", no_argument, NULL, 'j' },
                { "overrides-file", required_argument, NULL, 'o' },
                { "override-property", required_argument, NULL, 'p' },
                { "help", no_argument, NULL, 'h' },
                { NULL },
        };
        auto_cleanup(check_done) Check c = { 0 };
        int option;

        optind = 0;
        while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
                switch (option) {
                case 'j':
                        c.json = true;
                        break;
                case 'o':
                        c.overrides.file = optarg;
                        break;
                case 'p':
                        if (override_options_add(&c.overrides, optarg) < 0)
                                return NOT_READABLE;
                        break;
                case 'h':
                        fputs(help, stdout);
                        return VALID;
                default:
                        return NOT_READABLE;
                }
        if (optind == argc) {
                fputs(help, stderr);
                return NOT_READABLE;
        }
        return run(&c, argv + optind, (size_t) (argc - optind));
}
