#include "providers/git/tree.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/base/str.h"

void tree_done(Tree *tree) {
        strv_free(tree->links);
        strv_free(tree->commits);
        *tree = (Tree){ 0 };
}

/* One line; the mode of a submodule is 160000. */
static int line_parse(Tree *tree, char *line, Error *reterr) {
        char *path = strchr(line, '\t'), *mode, *object, *size;
        uint64_t n_bytes;
        int r;

        if (!path)
                return error_set(reterr, -EIO, "git listed a tree in an unknown form");
        *path++ = 0;
        mode = strsep(&line, " ");
        strsep(&line, " ");
        object = strsep(&line, " ");
        size = line ? line + strspn(line, " ") : NULL;
        if (!object || !size)
                return error_set(reterr, -EIO, "git listed a tree in an unknown form");

        if (streq(mode, "160000")) {
                if (*path == '"' || *path == '-')
                        return error_set(reterr, -EINVAL, "A submodule at the path %s is refused",
                                         path);
                r = strv_add(&tree->links, path);
                return r < 0 ? r : strv_add(&tree->commits, object);
        }
        if (str_to_u64(size, INT64_MAX / 2, &n_bytes) < 0)
                return error_set(reterr, -EIO, "git listed a file without a size");
        tree->n_entries++;
        if (__builtin_add_overflow(tree->n_bytes, (int64_t) n_bytes, &tree->n_bytes))
                tree->n_bytes = INT64_MAX;
        return 0;
}

int tree_parse(const char *text, Tree *ret, Error *reterr) {
        auto_cleanup(freep) char *copy = strdup(text);
        auto_tree tree = { 0 };
        char *at = copy, *line;
        int r;

        if (!copy)
                return -ENOMEM;
        while ((line = strsep(&at, "\n"))) {
                if (!*line)
                        continue;
                r = line_parse(&tree, line, reterr);
                if (r < 0)
                        return r;
        }
        *ret = tree;
        tree = (Tree){ 0 };
        return 0;
}

/* "submodule.NAME.KEY=VALUE": the name may hold anything, which can confuse only its own author. */
static const char *line_value(const char *line, const char *key, char **ret_name) {
        const char *name = str_after(line, "submodule."), *found = name ? strstr(name, key) : NULL;

        if (!found)
                return NULL;
        *ret_name = strndup(name, (size_t) (found - name));
        return *ret_name ? found + strlen(key) : NULL;
}

static char *name_of_path(char *const *lines, const char *path) {
        for (; lines && *lines; lines++) {
                auto_cleanup(freep) char *name = NULL;
                const char *value = line_value(*lines, ".path=", &name);

                if (value && streq(value, path))
                        return TAKE(name);
        }
        return NULL;
}

int modules_find(const char *text, const char *path, char **ret, Error *reterr) {
        auto_cleanup(freep) char *copy = strdup(text), *name = NULL;
        auto_cleanup(strv_freep) char **lines = NULL;
        char *at = copy, *line;

        if (!copy)
                return -ENOMEM;
        while ((line = strsep(&at, "\n")))
                if (strv_add(&lines, line) < 0)
                        return -ENOMEM;
        name = name_of_path(lines, path);
        for (char **l = name ? lines : NULL; l && *l; l++) {
                auto_cleanup(freep) char *other = NULL;
                const char *value = line_value(*l, ".url=", &other);

                if (value && streq(other, name)) {
                        *ret = strdup(value);
                        return *ret ? 0 : -ENOMEM;
                }
        }
        return error_set(reterr, -ENOENT, "The submodule '%s' has no address in .gitmodules", path);
}

char *git_words(const char *stderr_text, char *buf, size_t size) {
        static const char *const starts[] = { "fatal: ", "ERROR: ", "error: ", "" };
        const char *found = "";

        for (size_t i = 0; i < N_ELEMENTS(starts) && !*found; i++)
                for (const char *line = stderr_text; line && *line && !*found;) {
                        const char *rest = str_after(line, starts[i]);

                        if (rest)
                                found = rest;
                        line = strchr(line, '\n');
                        line = line ? line + 1 : NULL;
                }
        snprintf(buf, size, "%.*s", (int) strcspn(found, "\n"), found);
        for (char *c = buf; *c; c++)
                if ((unsigned char) *c < 0x20 || *c == 0x7f)
                        *c = ' ';
        return buf;
}

int git_meaning(const char *stderr_text) {
        static const struct {
                const char *words;
                int code;
        } meanings[] = {
                { "Not a valid object name", -ENODATA },
                { "not our ref", -ENODATA },
                { "find remote ref", -ENODATA },
                { "unadvertised object", -ENODATA },
                { "dumb http transport does not support", -ENODATA },
                { "Authentication failed", -EACCES },
                { "could not read Username", -EACCES },
                { "could not read Password", -EACCES },
                { "terminal prompts disabled", -EACCES },
                { "Permission denied", -EACCES },
                { "Host key verification failed", -EACCES },
                { "returned error: 401", -EACCES },
                { "returned error: 403", -EACCES },
                { "No space left on device", -ENOSPC },
                { "does not appear to be a git repository", -EINVAL },
                { "not valid: is this a git repository", -EINVAL },
                { "Repository not found", -EINVAL },
                { "' not found", -EINVAL },
                { "not allowed", -EINVAL },
                { "invalid path", -EINVAL },
                { "File name too long", -EINVAL },
                { "unable to create symlink", -EINVAL },
        };

        for (size_t i = 0; i < N_ELEMENTS(meanings); i++)
                if (strstr(stderr_text, meanings[i].words))
                        return meanings[i].code;
        return -EIO;
}
