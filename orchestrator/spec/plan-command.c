/* What to run for `image: .` without a command: there is no image whose entrypoint could be taken. In
 * this order: mayfly.yaml, the default run command of a devfile, a Procfile entry. */
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/spec/file.h"
#include "orchestrator/spec/plan-internal.h"

static json_t *shell(const char *line) {
        return json_pack("[s, s, s]", "/bin/sh", "-c", line);
}

/* A file beside the Score file; *ret is NULL when there is none. */
static int read_beside(Planner *p, const ScoreDocument *d, const char *name, char **ret_path,
                       char **ret, size_t *ret_size, Error *reterr) {
        auto_cleanup(freep) char *folder = plan_workload_folder(p, d), *path = NULL;
        int r;

        path = folder ? plan_join(folder, name) : NULL;
        if (!path)
                return -ENOMEM;
        r = planner_read(p, path, LIMIT_SPEC_FILE_BYTES, ret, ret_size, reterr);
        if (r == -ENOENT || r == -ENOTDIR) {
                error_done(reterr);
                *ret = NULL;
                return 0;
        }
        *ret_path = TAKE(path);
        return r;
}

/* ---- devfile ---- */

static const char *text_of(const YamlNode *node, const char *key) {
        const YamlNode *value = yaml_get(node, key);

        return value && value->kind == YAML_KIND_STRING ? value->text : NULL;
}

/* The default command of the group "run": marked so, or the only one there is. */
static const YamlNode *devfile_run(const YamlNode *root) {
        const YamlNode *commands = yaml_get(root, "commands"), *found = NULL;
        size_t n = 0;

        if (!commands || commands->kind != YAML_KIND_LIST)
                return NULL;
        for (size_t i = 0; i < commands->n_items; i++) {
                const YamlNode *exec = yaml_get(commands->items[i], "exec");
                const YamlNode *group = yaml_get(exec, "group");
                const YamlNode *mark = yaml_get(group, "isDefault");
                const char *kind = text_of(group, "kind");

                if (!kind || !streq(kind, "run") || !text_of(exec, "commandLine"))
                        continue;
                if (mark && mark->kind == YAML_KIND_BOOLEAN && mark->boolean)
                        return exec;
                found = exec;
                n++;
        }
        return n == 1 ? found : NULL;
}

/* The line with its variables in front: env(1) sets them without another shell. */
static json_t *devfile_argv(const YamlNode *exec) {
        const YamlNode *env = yaml_get(exec, "env");
        json_t *argv = json_array();

        if (env && env->kind == YAML_KIND_LIST && env->n_items > 0)
                json_array_append_new(argv, json_string("/usr/bin/env"));
        for (size_t i = 0; env && env->kind == YAML_KIND_LIST && i < env->n_items; i++) {
                const char *name = text_of(env->items[i], "name"),
                           *value = text_of(env->items[i], "value");

                if (name && *name && !strchr(name, '=') && *name != '-' && value)
                        json_array_append_new(argv, json_sprintf("%s=%s", name, value));
        }
        json_array_append_new(argv, json_string("/bin/sh"));
        json_array_append_new(argv, json_string("-c"));
        json_array_append_new(argv, json_string(text_of(exec, "commandLine")));
        return argv;
}

static int from_devfile(Planner *p, const ScoreDocument *d, json_t **ret, Error *reterr) {
        static const char *const names[] = { "devfile.yaml", ".devfile.yaml" };
        int r;

        for (size_t i = 0; i < N_ELEMENTS(names) && !*ret; i++) {
                auto_cleanup(freep) char *text = NULL, *path = NULL;
                auto_cleanup(yaml_tree_freep) YamlTree *tree = NULL;
                const YamlNode *exec;
                const char *folder;
                YamlNode *root;
                size_t size;

                r = read_beside(p, d, names[i], &path, &text, &size, reterr);
                if (r < 0)
                        return r;
                if (!text)
                        continue;
                tree = yaml_tree_new();
                r = tree ? yaml_parse(tree, path, text, size, &root) : -ENOMEM;
                if (r < 0)
                        return r == -EBADMSG ? error_set(reterr, -EINVAL,
                                                         "'%s' is not readable YAML", path)
                                             : r;
                exec = devfile_run(root);
                if (!exec)
                        continue;
                folder = text_of(exec, "workingDir");
                if (folder && !streq(folder, "${PROJECT_SOURCE}") &&
                    !streq(folder, "$PROJECT_SOURCE") && !streq(folder, "."))
                        return error_set(
                                reterr, -EINVAL,
                                "The run command in '%s' has the workingDir '%.200s', but a "
                                "workload starts in the folder of its Score file",
                                path, folder);
                *ret = devfile_argv(exec);
                if (!*ret)
                        return -ENOMEM;
        }
        return 0;
}

/* ---- Procfile ---- */

/* The command of an entry "NAME: COMMAND", if there is one and *ret is none yet. */
static int procfile_entry(const char *text, const char *name, char **ret) {
        size_t n = strlen(name);

        for (const char *line = text; *line && !*ret;
             line += strcspn(line, "\n"), line += *line == '\n') {
                const char *at = line + n;
                size_t size;

                if (strncmp(line, name, n) != 0 || *at != ':')
                        continue;
                at += 1 + strspn(at + 1, " \t");
                size = strcspn(at, "\r\n");
                while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t'))
                        size--;
                if (size > 0 && !(*ret = strndup(at, size)))
                        return -ENOMEM;
        }
        return 0;
}

static int from_procfile(Planner *p, const ScoreDocument *d, json_t **ret, Error *reterr) {
        auto_cleanup(freep) char *text = NULL, *path = NULL, *line = NULL;
        size_t size;
        int r;

        r = read_beside(p, d, "Procfile", &path, &text, &size, reterr);
        if (r < 0 || !text)
                return r;
        if (strlen(text) != size || !utf8_valid(text, size))
                return error_set(reterr, -EINVAL, "'%s' is not text", path);
        r = procfile_entry(text, d->workload, &line);
        if (r == 0)
                r = procfile_entry(text, "web", &line);
        if (r < 0 || !line)
                return r;
        *ret = shell(line);
        return *ret ? 0 : -ENOMEM;
}

/* ---- the search ---- */

static int from_settings(Planner *p, const ScoreDocument *d, json_t **ret, Error *reterr) {
        const json_t *command = planner_settings(p, d->workload, "command");

        if (command)
                *ret = json_deep_copy(command);
        return 0;
}

int plan_command(Planner *p, const ScoreDocument *d, const char *container, bool only,
                 json_t **ret) {
        static int (*const sources[])(Planner * p, const ScoreDocument *d, json_t **ret,
                                      Error *reterr) = { from_settings, from_devfile,
                                                         from_procfile };
        auto_cleanup(freep) char *pointer = str_format("/containers/%s", container);
        auto_error error = { 0 };
        int r = 0;

        *ret = NULL;
        for (size_t i = 0; i < N_ELEMENTS(sources) && !*ret && r == 0; i++)
                r = sources[i](p, d, ret, &error);
        if (r == -ENOMEM || !pointer) {
                json_decref(TAKE(*ret));
                return -ENOMEM;
        }
        if (r < 0)
                planner_fault(p, d, pointer, NULL, "%s", error_text(&error, r));
        else if (!*ret)
                planner_note(
                        p, d, pointer, "command: [\"./serve\", \"--port\", \"8080\"]",
                        "The container '%s' runs from the checkout (image: .) and has no command; "
                        "there is none in mayfly.yaml, devfile.yaml or Procfile either",
                        container);
        else if (!only)
                planner_fault(
                        p, d, pointer, "give each container its own command",
                        "Several containers of '%s' have no command: it is not clear which of "
                        "them the one that was found is for",
                        d->workload);
        return 0;
}
