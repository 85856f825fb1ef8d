#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"
#include "orchestrator/glue/table.h"

/* Options of "project add" that become clocks. */
static const struct {
        const char *option, *clock;
} project_clocks[] = {
        { "sleep-after-idle", "sleep_after_idle" },
        { "delete-after-asleep", "delete_after_asleep" },
        { "delete-after-age", "delete_after_age" },
        { "delete-after-close", "delete_after_close" },
};

static json_t *clocks_of(Cli *cli) {
        json_t *clocks = NULL;

        for (size_t i = 0; i < N_ELEMENTS(project_clocks); i++) {
                int64_t ms = cli_option_duration(cli, project_clocks[i].option, -1);

                if (ms < 0)
                        continue;
                if (!clocks)
                        clocks = json_object();
                json_object_set_new(clocks, project_clocks[i].clock, json_integer(ms));
        }
        return clocks;
}

/* The daemon has another working folder: what is a folder here is sent as its whole path. */
static char *repository_of(const char *text) {
        char *whole = strstr(text, "://") ? NULL : realpath(text, NULL);

        return whole ?: strdup(text);
}

int command_project_add(Cli *cli) {
        auto_cleanup(freep) char *repository = repository_of(cli->args[1]);
        json_t *body = json_pack("{s:s, s:s?, s:s*, s:s*, s:s*, s:o*}", "name", cli->args[0],
                                 "repository", repository, "base_branch", cli_option(cli, "base"),
                                 "team", cli_option(cli, "team"), "owner", cli_option(cli, "owner"),
                                 "clocks", clocks_of(cli));
        json_t *answer = NULL, *project;
        int status;

        if (!body)
                return cli_fail(cli, CLI_USAGE, "An argument is not valid UTF-8");
        status = cli_request(cli, "POST", "/v1/projects", body, &answer);
        if (status != CLI_OK)
                return status;
        project = json_object_get(answer, "project");
        if (cli->json)
                cli_print_json(answer);
        else
                printf("Added %s: %s, base branch %s\nNext: mayfly up %s BRANCH\n",
                       cli_string(project, "name"), cli_string(project, "repository"),
                       cli_string(project, "base_branch"), cli_string(project, "name"));
        json_decref(answer);
        return CLI_OK;
}

static int print_projects(Cli *cli, const json_t *projects) {
        static const char *const columns[] = {
                "NAME", "BASE", "TEAM", "OWNER", "REPOSITORY", NULL
        };
        auto_cleanup(table_freep) Table *t = NULL;
        auto_error error = { 0 };
        json_t *p;
        size_t i;
        int r = table_new(columns, &t, &error);

        json_array_foreach(projects, i, p) {
                const char *cells[] = { cli_string(p, "name"), cli_string(p, "base_branch"),
                                        cli_string(p, "team"), cli_string(p, "owner"),
                                        cli_string(p, "repository") };

                if (r == 0)
                        r = table_add(t, cells, &error);
        }
        if (r == 0)
                r = table_print(t, stdout, &error);
        return r < 0 ? cli_fail(cli, CLI_FAILED, "%s", error_text(&error, r)) : CLI_OK;
}

int command_project_list(Cli *cli) {
        json_t *answer = NULL;
        int status = cli_request(cli, "GET", "/v1/projects", NULL, &answer);

        if (status != CLI_OK)
                return status;
        if (cli->json)
                cli_print_json(answer);
        else
                status = print_projects(cli, json_object_get(answer, "projects"));
        json_decref(answer);
        return status;
}

static void print_project(const json_t *p, int64_t now) {
        const json_t *clocks = json_object_get(p, "clocks");
        char when[TIME_TEXT_MAX * 2], length[TIME_TEXT_MAX];
        const char *name;
        json_t *ms;

        printf("%s\n  repository   %s\n  base branch  %s\n", cli_string(p, "name"),
               cli_string(p, "repository"), cli_string(p, "base_branch"));
        if (*cli_string(p, "team"))
                printf("  team         %s\n", cli_string(p, "team"));
        if (*cli_string(p, "owner"))
                printf("  owner        %s\n", cli_string(p, "owner"));
        printf("  compared     %s\n", cli_when(cli_integer(p, "compared_ms"), now, when));
        json_object_foreach((json_t *) clocks, name, ms)
                printf("  %-19s  %s\n", name, duration_format(json_integer_value(ms), length));
}

int command_project_show(Cli *cli) {
        auto_cleanup(freep) char *path = cli_path("projects", cli->args[0], "");
        json_t *answer = NULL;
        int status = cli_request(cli, "GET", path, NULL, &answer);

        if (status != CLI_OK)
                return status;
        if (cli->json)
                cli_print_json(answer);
        else
                print_project(json_object_get(answer, "project"), cli_now(answer));
        json_decref(answer);
        return CLI_OK;
}

int command_project_remove(Cli *cli) {
        auto_cleanup(freep) char *path = cli_path("projects", cli->args[0], "");
        json_t *answer = NULL;
        int status = cli_request(cli, "DELETE", path, NULL, &answer);

        if (status != CLI_OK)
                return status;
        if (cli->json)
                cli_print_json(answer);
        else
                printf("Removed %s; what is left of its previews is being removed\n", cli->args[0]);
        json_decref(answer);
        return CLI_OK;
}
