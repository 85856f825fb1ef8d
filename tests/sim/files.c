/* The dependency files of the commits: what a commit has is in the first two digits of its name. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

#define SCORE(name, port, rest)                                                                    \
        "apiVersion: score.dev/v1b1\nmetadata:\n  name: " name "\nservice:\n  ports:\n    http:\n" \
        "      port: " port "\ncontainers:\n  main:\n    image: .\n    command: [run]\n" rest

static const struct {
        const char *mayfly, *web, *api;
} files[N_FILES] = {
        { NULL, SCORE("web", "80", ""), NULL },
        { NULL,
          SCORE("web", "80",
                "    volumes:\n      /data:\n        source: ${resources.data}\n"
                "resources:\n  data:\n    type: volume\n"),
          NULL },
        { "score: [score.yaml, api.yaml]\nworkloads:\n  web:\n    build:\n      command: [make]\n",
          SCORE("web", "80",
                "    variables:\n      API: ${resources.api.hostname}\n"
                "resources:\n  api:\n    type: service-port\n    params:\n      workload: api\n"
                "      port: http\n  address:\n    type: dns\n    id: site\n  front:\n    type: route\n"
                "    params:\n      host: ${resources.address.host}\n      path: /\n      port: 80\n"),
          SCORE("api", "81",
                "    volumes:\n      /data:\n        source: ${resources.data}\n"
                "resources:\n  data:\n    type: volume\n  address:\n    type: dns\n    id: site\n"
                "  back:\n    type: route\n    params:\n      host: ${resources.address.host}\n"
                "      path: /api\n      port: 81\n") },
        { NULL,
          SCORE("web", "80",
                "    volumes:\n      /data:\n        source: ${resources.data}\n"
                "resources:\n  data:\n    type: volume\n    params:\n      size_max: 1000\n"),
          NULL },
        { NULL, "apiVersion: score.dev/v1b1\nmetadata: [nonsense\n", NULL },
        { NULL, NULL, NULL },
        { "lease:\n  sleep_after_idle: 5m\n", SCORE("web", "80", ""), NULL },
};

typedef struct Tree {
        unsigned variant;
} Tree;

static int tree_read(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                     Error *reterr) {
        const Tree *t = userdata;
        const char *content = streq(path, "mayfly.yaml")  ? files[t->variant].mayfly
                              : streq(path, "score.yaml") ? files[t->variant].web
                              : streq(path, "api.yaml")   ? files[t->variant].api
                                                          : NULL;

        if (!content)
                return error_set(reterr, -ENOENT, "No file '%s'", path);
        *ret = strdup(content);
        *ret_size = strlen(content);
        return *ret ? 0 : -ENOMEM;
}

/* The first two digits of a commit say which files it has. */
static unsigned variant_of(const char *commit) {
        return (unsigned) ((commit[0] - '0') * 10 + (commit[1] - '0')) % N_ELEMENTS(files);
}

int64_t files_wish(const char *commit, ReaperClockKind kind) {
        bool wish = files[variant_of(commit)].mayfly &&
                    strstr(files[variant_of(commit)].mayfly, reaper_clock_to_string(kind));

        return wish ? 5 * MS_PER_MINUTE : 0;
}

bool files_good(const char *commit) {
        const char *web = files[variant_of(commit)].web;

        return web && !strstr(web, "nonsense");
}

static int files_open(void *userdata, const json_t *outputs, SpecReader *ret, Error *reterr) {
        const char *commit = world_text(outputs, "commit");
        Tree *t = calloc(1, sizeof(Tree));

        assert(t);
        t->variant = variant_of(commit);
        *ret = (SpecReader){ .read = tree_read, .userdata = t };
        return 0;
}

/* The scenarios need files that mean what they are meant to mean: one that the planner has come to refuse
 * would quietly turn every push of it into a failure. */
void files_check(void) {
        Config *config = NULL;
        PlanContext context = { .config = config,
                                .project = "shop",
                                .repository = "/sim/shop.git",
                                .branch = "main",
                                .commit = "0",
                                .trust = "member" };

        assert(config_default(&config, NULL) == 0);
        context.config = config;
        for (unsigned i = 0; i < N_ELEMENTS(files); i++) {
                bool broken = !files[i].web || strstr(files[i].web, "nonsense");
                auto_cleanup(spec_faults_done) SpecFaults faults = { 0 };
                auto_cleanup(graph_freep) Graph *graph = NULL;
                SpecReader reader = { .read = tree_read, .userdata = &(Tree){ .variant = i } };
                auto_error error = { 0 };
                int r = plan_make(&context, &reader, &graph, &faults, &error);

                if ((r < 0) != broken) {
                        fprintf(stderr, "files %u: %s\n", i,
                                r < 0 ? error_text(&error, r) : "accepted");
                        abort();
                }
        }
        config_free(config);
}

static void files_close(void *userdata, SpecReader *reader) {
        free(reader->userdata);
}

EngineFiles files_of(Sim *s) {
        return (EngineFiles){ .open = files_open, .close = files_close, .userdata = s };
}
