/* What a branch may reach through .gitmodules, as the branch writes it:
 * - https and ssh anywhere, but with the admin's keys only when its trust class is "member";
 * - a repository on this machine only from one on this machine, of a member, and only beside it: below
 *   the folder that holds the project's repository;
 * - nothing else. Names of submodules are never used for anything but finding their address. */
#include "providers/git/fill.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "providers/git/run.h"
#include "providers/git/tree.h"

typedef struct Level {
        const Url *url;
        const char *commit, *path;
        bool anonymous;
        unsigned depth;
} Level;

static int level_fill(Filling *f, const Level *level, Error *reterr);

static int tree_list(const Git *git, const char *commit, Tree *ret, Error *reterr) {
        auto_cleanup(freep) char *revision = str_format("%s^{commit}", commit), *text = NULL;
        const char *argv[] = { "git", "ls-tree", "-r", "-l", "--full-tree", revision, NULL };
        int r;

        r = revision ? git_run(git, argv, LIMIT_CHECKOUT_LIST_BYTES, &text, reterr) : -ENOMEM;
        return r < 0 ? r : tree_parse(text, ret, reterr);
}

/* Fetches only what is missing. */
static int tree_get(Filling *f, const Git *git, const Mirror *mirror, const Level *level, Tree *ret,
                    Error *reterr) {
        auto_error first = { 0 };
        int r;

        r = tree_list(git, level->commit, ret, &first);
        if (r == -ENODATA) {
                auto_error second = { 0 };

                r = mirror_fetch(f->call, mirror, level->url, level->commit, &second);
                if (r < 0 && r != -ENODATA)
                        return error_set(reterr, r, "Cannot fetch from '%s': %s", level->url->text,
                                         error_text(&second, r));
                if (r == 0) {
                        error_done(&first);
                        r = tree_list(git, level->commit, ret, &first);
                }
        }
        if (r == -ENODATA)
                return error_set(reterr, -EINVAL, "There is no commit %s in '%s'", level->commit,
                                 level->url->text);
        return r < 0 ? error_set(reterr, r, "Cannot read commit %s of '%s': %s", level->commit,
                                 level->url->text, error_text(&first, r))
                     : 0;
}

static int size_check(Filling *f, const Tree *tree, Error *reterr) {
        if (tree->n_bytes > f->bytes_max - f->n_bytes)
                return error_set(reterr, -EINVAL,
                                 "The checkout would take %" PRId64 " bytes; at most "
                                 "%" PRId64 " are allowed (size_max)",
                                 f->n_bytes + tree->n_bytes, f->bytes_max);
        f->n_bytes += tree->n_bytes;
        f->n_entries += tree->n_entries;
        if (f->n_entries > LIMIT_CHECKOUT_ENTRIES)
                return error_set(reterr, -EINVAL, "The checkout would have more than %d files",
                                 LIMIT_CHECKOUT_ENTRIES);
        return 0;
}

static int tree_write(const Git *git, const Level *level, Error *reterr) {
        const char *argv[] = { "git", "read-tree", "-u", "--reset", level->commit, NULL };
        auto_error error = { 0 };
        int r;

        r = remove_tree(git->index, reterr);
        if (r < 0)
                return r;
        r = git_run(git, argv, LIMIT_PROVIDER_STDERR_BYTES * 16, NULL, &error);
        return r < 0 ? error_set(reterr, r, "Cannot write commit %s of '%s': %s", level->commit,
                                 level->url->text, error_text(&error, r))
                     : 0;
}

/* Local submodules live beside the project's own repository. */
static bool is_beside(const Url *top, const Url *url) {
        auto_cleanup(freep) char *own = realpath(top->text, NULL),
                                 *other = realpath(url->text, NULL);
        char *slash = own ? strrchr(own, '/') : NULL;
        const char *rest;

        if (!slash || slash == own || !other)
                return false;
        *slash = 0;
        rest = str_after(other, own);
        return rest && *rest == '/';
}

static int submodule_allowed(const Filling *f, const Level *parent, const Url *url,
                             const char *path, Error *reterr) {
        if (url->kind != URL_LOCAL)
                return 0;
        if (parent->url->kind == URL_LOCAL && f->member && is_beside(f->top, url))
                return 0;
        return error_set(reterr, -EINVAL,
                         "The submodule '%s' is refused: '%s' lies on this machine, and "
                         "not beside the project's repository",
                         path, url->text);
}

/* The folder that read-tree made for it; nothing on the way may be a link. */
static int submodule_folder(const Level *parent, const char *path, char **ret, Error *reterr) {
        auto_cleanup(freep) char *wanted = NULL, *base = realpath(parent->path, NULL);
        auto_cleanup(freep) char *found = NULL;

        wanted = base ? path_join(base, path) : NULL;
        found = wanted ? realpath(wanted, NULL) : NULL;
        if (!found || !streq(found, wanted))
                return error_set(reterr, -EINVAL, "The submodule at '%s' has no folder of its own",
                                 path);
        *ret = TAKE(found);
        return 0;
}

static int submodule_fill(Filling *f, const Level *parent, const char *modules, const char *path,
                          const char *commit, Error *reterr) {
        auto_cleanup(freep) char *text = NULL, *folder = NULL;
        auto_url url = { 0 };
        int r;

        if (++f->n_submodules > LIMIT_CHECKOUT_SUBMODULES ||
            parent->depth + 1 > LIMIT_CHECKOUT_SUBMODULE_DEPTH)
                return error_set(reterr, -EINVAL,
                                 "The commit has more than %d submodules, or more than "
                                 "%d inside each other",
                                 LIMIT_CHECKOUT_SUBMODULES, LIMIT_CHECKOUT_SUBMODULE_DEPTH);
        r = modules_find(modules, path, &text, reterr);
        if (r == 0)
                r = url_parse_relative(parent->url, text, &url, reterr);
        if (r == 0)
                r = submodule_allowed(f, parent, &url, path, reterr);
        if (r == 0)
                r = submodule_folder(parent, path, &folder, reterr);
        if (r == 0)
                r = level_fill(f,
                               &(Level){ .url = &url,
                                         .commit = commit,
                                         .path = folder,
                                         .anonymous = !f->member,
                                         .depth = parent->depth + 1 },
                               reterr);
        /* What a branch's own file asks for is that branch's fault: there is nothing that is gone. */
        return r < 0 ? error_prefix(reterr, r == -ENOENT ? -EINVAL : r, "Submodule '%s'", path) : 0;
}

static int submodules_fill(Filling *f, const Git *git, const Level *level, const Tree *tree,
                           Error *reterr) {
        auto_cleanup(freep) char *blob = str_format("--blob=%s:.gitmodules", level->commit),
                                 *text = NULL;
        const char *argv[] = { "git", "config", blob, "--list", NULL };
        int r;

        if (!f->submodules || strv_length(tree->links) == 0)
                return 0;
        r = blob ? git_run(git, argv, LIMIT_SPEC_FILE_BYTES, &text, reterr) : -ENOMEM;
        if (r < 0)
                return error_prefix(reterr, r == -EIO ? -EINVAL : r, "Cannot read .gitmodules");
        for (size_t i = 0; tree->links[i]; i++) {
                r = submodule_fill(f, level, text, tree->links[i], tree->commits[i], reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int level_fill(Filling *f, const Level *level, Error *reterr) {
        auto_mirror mirror = { 0 };
        auto_tree tree = { 0 };
        Git git = { .call = f->call,
                    .work_tree = level->path,
                    .index = f->index,
                    .anonymous = level->anonymous };
        int r;

        r = mirror_join(f->call, level->url, level->commit, level->anonymous, &mirror, reterr);
        if (r < 0)
                return r;
        git.git_dir = mirror.git_dir;
        r = tree_get(f, &git, &mirror, level, &tree, reterr);
        if (r == 0)
                r = size_check(f, &tree, reterr);
        if (r == 0)
                r = tree_write(&git, level, reterr);
        if (r == 0)
                r = submodules_fill(f, &git, level, &tree, reterr);
        return r;
}

int filling_run(Filling *f, const char *commit, Error *reterr) {
        return level_fill(f, &(Level){ .url = f->top, .commit = commit, .path = f->tree }, reterr);
}
