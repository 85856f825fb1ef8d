#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"
#include "orchestrator/glue/child.h"

/* The post-receive hook (githooks(5)). It never fails a push and never holds it up for long: what it
 * does not deliver is found by the next comparison. A hook that was there before is kept beside it and
 * called first, with the same input; its exit status is the hook's. Names of branches reach the daemon
 * on standard input and in JSON only, never through a shell. */

#define HOOK_SIGN   "# mayfly-hook 1"
#define HOOK_BEFORE "post-receive.before-mayfly"
#define HOOK_MS     10000 /* all of it */
#define HOOK_REFS   1000  /* of one push */

static int hooks_folder(Cli *cli, const char *repository, char **ret) {
        char *argv[] = { (char *) "git",
                         (char *) "-C",
                         (char *) repository,
                         (char *) "rev-parse",
                         (char *) "--path-format=absolute",
                         (char *) "--git-path",
                         (char *) "hooks",
                         NULL };
        auto_cleanup(freep) char *out = NULL, *err = NULL;
        auto_error error = { 0 };
        int status, r = child_run(argv, NULL, NULL, 8192, 10000, &out, &err, &status, &error);

        if (r < 0)
                return cli_fail(cli, CLI_FAILED, "%s", error_text(&error, r));
        if (status != 0)
                return cli_fail(cli, CLI_NOT_FOUND, "'%s' is no Git repository: %.*s", repository,
                                (int) strcspn(err, "\n"), err);
        out[strcspn(out, "\n")] = '\0';
        *ret = TAKE(out);
        return CLI_OK;
}

/* 1 when the file is a hook of ours, 0 when it is another's, negative errno (-ENOENT: none). */
static int hook_is_ours(const char *path) {
        auto_cleanup(freep) char *text = NULL;
        int r = read_file(path, LIMIT_API_BODY_BYTES, &text, NULL, NULL);

        return r < 0 ? r : strstr(text, HOOK_SIGN) != NULL;
}

/* A word of a shell script, in single quotes. */
static void add_quoted(StrBuf *b, const char *text) {
        strbuf_addc(b, '\'');
        for (; *text; text++)
                if (*text == '\'')
                        strbuf_add(b, "'\\''");
                else
                        strbuf_addc(b, *text);
        strbuf_addc(b, '\'');
}

static char *hook_script(Cli *cli, const char *project) {
        auto_strbuf b = { 0 };
        auto_cleanup(freep) char *socket = NULL;
        char program[PATH_MAX] = "mayfly";
        ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

        if (n > 0)
                program[n] = '\0';
        socket = realpath(cli->socket_path, NULL) ?: strdup(cli->socket_path);
        if (!socket)
                return NULL;
        strbuf_add(&b,
                   "#!/bin/sh\n" HOOK_SIGN ": written by 'mayfly hook install', removed by 'mayfly "
                   "hook uninstall'.\n"
                   "input=$(cat)\n"
                   "status=0\n"
                   "before=$(dirname \"$0\")/" HOOK_BEFORE "\n"
                   "if [ -x \"$before\" ]; then\n"
                   "        printf '%s\\n' \"$input\" | \"$before\" \"$@\" || status=$?\n"
                   "fi\n"
                   "printf '%s\\n' \"$input\" | ");
        add_quoted(&b, program);
        strbuf_add(&b, " hook run --project ");
        add_quoted(&b, project);
        strbuf_add(&b, " --socket ");
        add_quoted(&b, socket);
        strbuf_add(&b, " || :\nexit $status\n");
        return strbuf_take(&b);
}

static int install(Cli *cli, const char *folder, const char *project) {
        auto_cleanup(freep) char *path = path_join(folder, "post-receive");
        auto_cleanup(freep) char *before = path_join(folder, HOOK_BEFORE);
        auto_cleanup(freep) char *script = hook_script(cli, project);
        auto_error error = { 0 };
        int r, ours;

        if (!path || !before || !script)
                return cli_fail(cli, CLI_FAILED, "out of memory");
        ours = hook_is_ours(path);
        if (ours < 0 && ours != -ENOENT)
                return cli_fail(cli, CLI_FAILED, "Cannot read '%s': %s", path, strerror(-ours));
        if (ours == 0 && path_exists(before))
                return cli_fail(cli, CLI_REFUSED,
                                "Both '%s' and '%s' are there and neither is mayfly's; "
                                "move one away",
                                path, before);
        r = mkdir_p(folder, 0755, &error);
        if (r == 0 && ours == 0 && rename(path, before) < 0)
                r = error_set(&error, -errno, "Cannot rename '%s': %s", path, strerror(errno));
        if (r == 0)
                r = write_file(path, script, strlen(script), 0755, &error);
        if (r < 0)
                return cli_fail(cli, CLI_FAILED, "%s", error_text(&error, r));
        printf("Pushes into this repository now update the previews of %s (%s)\n", project, path);
        if (ours == 0)
                printf("The hook that was there is kept as %s and runs first\n", HOOK_BEFORE);
        return CLI_OK;
}

int command_hook_install(Cli *cli) {
        const char *project = cli_option(cli, "project");
        auto_cleanup(freep) char *folder = NULL, *path = NULL;
        json_t *answer = NULL;
        int status;

        if (!project)
                return cli_usage(cli, "Say whose repository it is with --project");
        path = cli_path("projects", project, "");
        status = cli_request(cli, "GET", path, NULL, &answer);
        json_decref(answer);
        if (status == CLI_OK)
                status = hooks_folder(cli, cli->args[0], &folder);
        return status == CLI_OK ? install(cli, folder, project) : status;
}

int command_hook_uninstall(Cli *cli) {
        auto_cleanup(freep) char *folder = NULL, *path = NULL, *before = NULL;
        int status = hooks_folder(cli, cli->args[0], &folder), ours;

        if (status != CLI_OK)
                return status;
        path = path_join(folder, "post-receive");
        before = path_join(folder, HOOK_BEFORE);
        if (!path || !before)
                return cli_fail(cli, CLI_FAILED, "out of memory");
        ours = hook_is_ours(path);
        if (ours <= 0) {
                printf("mayfly has no hook in '%s'\n", folder);
                return CLI_OK;
        }
        if (path_exists(before) ? rename(before, path) < 0 : unlink(path) < 0)
                return cli_fail(cli, CLI_FAILED, "Cannot change '%s': %s", path, strerror(errno));
        printf("Removed mayfly's hook from '%s'\n", folder);
        return CLI_OK;
}

/* ---- run ---- */

static bool object_name_is_zero(const char *s) {
        return s[strspn(s, "0")] == '\0';
}

/* Tells the daemon about one line "OLD NEW refs/heads/BRANCH"; other refs are none of its business. */
static void push_one(Cli *cli, const char *project, char *line) {
        char *save = NULL;
        const char *old = strtok_r(line, " ", &save), *new = strtok_r(NULL, " ", &save),
                   *ref = save;
        auto_cleanup(freep) char *path = cli_path("projects", project, "/push");
        const char *branch = ref ? str_after(ref, "refs/heads/") : NULL;
        auto_error error = { 0 };
        json_t *answer = NULL, *body, *environment;

        if (!old || !new || !branch || !*branch)
                return;
        body = json_pack("{s:s, s:s?}", "branch", branch, "commit",
                         object_name_is_zero(new) ? NULL : new);
        if (!body) {
                printf("mayfly: a branch whose name is not UTF-8 has no preview\n");
                return;
        }
        if (cli_request_quiet(cli, "POST", path, body, &answer, &error) != CLI_OK) {
                printf("mayfly: %s: %s\n", branch, error_text(&error, -EIO));
                return;
        }
        environment = json_object_get(answer, "environment");
        if (json_is_object(environment))
                printf("mayfly: %s: %s\n", branch,
                       object_name_is_zero(new) ? "the branch is gone, its preview follows"
                                                : cli_string(environment, "url"));
        fflush(stdout);
        json_decref(answer);
}

int command_hook_run(Cli *cli) {
        const char *project = cli_option(cli, "project");
        int64_t until = clock_boot_ms(&clock_system) + HOOK_MS;
        auto_cleanup(freep) char *text = NULL;
        char *save = NULL;
        unsigned n = 0;

        if (!project)
                return cli_usage(cli, "Say whose repository it is with --project");
        alarm(HOOK_MS / 1000 + 5); /* whatever happens, the push goes on */
        if (read_fd(STDIN_FILENO, LIMIT_API_BODY_BYTES, &text, NULL, NULL) < 0) {
                printf("mayfly: this push is too large for the hook; 'mayfly compare %s' takes it up\n",
                       project);
                return CLI_OK;
        }
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                if (++n > HOOK_REFS || clock_boot_ms(&clock_system) > until) {
                        printf("mayfly: the rest of this push is found by the next comparison\n");
                        break;
                }
                push_one(cli, project, line);
        }
        return CLI_OK;
}
