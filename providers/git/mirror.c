#include "providers/git/mirror.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/crypto.h"
#include "providers/git/run.h"
#include "providers/sdk/mark.h"

DEFINE_CLEANUP(DIR *, closedir)

/* All that git is to know: nothing runs (hooks, fsmonitor, filters, automatic maintenance), names that
 * another system would take for ".git" are refused. */
static const char config_text[] = "[core]\n"
                                  "\trepositoryformatversion = 1\n"
                                  "\tfilemode = true\n"
                                  "\tsymlinks = true\n"
                                  "\thooksPath = /dev/null\n"
                                  "\tfsmonitor = false\n"
                                  "\tattributesFile = /dev/null\n"
                                  "\tprotectHFS = true\n"
                                  "\tprotectNTFS = true\n"
                                  "\tquotePath = false\n"
                                  "[gc]\n\tauto = 0\n"
                                  "[maintenance]\n\tauto = false\n"
                                  "[submodule]\n\trecurse = false\n"
                                  "[http]\n\tlowSpeedLimit = 1000\n\tlowSpeedTime = 60\n";

void mirror_done(Mirror *mirror) {
        free(mirror->git_dir);
        *mirror = (Mirror){ 0 };
}

static int write_text(const char *folder, const char *name, const char *text, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(folder, name);

        return path ? write_file(path, text, strlen(text), 0600, reterr) : -ENOMEM;
}

static bool has(const char *folder, const char *name) {
        auto_cleanup(freep) char *path = path_join(folder, name);

        return path && path_exists(path);
}

static bool is_git_dir(const char *path) {
        return has(path, "HEAD") && has(path, "objects");
}

/* A ".git" file of a linked worktree: the folder it names, and from there the common one. */
static char *follow(const char *folder, const char *file, const char *start) {
        auto_cleanup(freep) char *path = path_join(folder, file), *text = NULL;
        const char *rest;

        if (!path || read_file(path, PATH_MAX, &text, NULL, NULL) < 0)
                return NULL;
        text[strcspn(text, "\n")] = 0;
        rest = str_after(text, start);
        if (!rest)
                return NULL;
        return *rest == '/' ? strdup(rest) : path_join(folder, rest);
}

static char *git_dir_of(const char *path) {
        auto_cleanup(freep) char *inner = path_join(path, ".git"), *beside = NULL, *linked = NULL,
                                 *common = NULL;

        beside = str_format("%s.git", path);
        if (!inner || !beside)
                return NULL;
        if (is_git_dir(inner))
                return TAKE(inner);
        linked = follow(path, ".git", "gitdir: ");
        common = linked ? follow(linked, "commondir", "") : NULL;
        if (common && is_git_dir(common))
                return TAKE(common);
        if (linked && is_git_dir(linked))
                return TAKE(linked);
        if (is_git_dir(path))
                return strdup(path);
        return is_git_dir(beside) ? TAKE(beside) : NULL;
}

/* The objects of a repository on this machine, as the line of an alternates file. */
static int objects_find(const Url *url, char **ret, Error *reterr) {
        auto_cleanup(freep) char *git_dir = git_dir_of(url->text), *objects = NULL;

        if (!git_dir && access(url->text, F_OK) < 0)
                return error_set(reterr, errno == EACCES ? -EACCES : -EIO, "Cannot reach '%s': %s",
                                 url->text, strerror(errno));
        if (!git_dir)
                return error_set(reterr, -EINVAL, "'%s' is not a Git repository", url->text);
        objects = path_join(git_dir, "objects");
        if (!objects)
                return -ENOMEM;
        if (access(objects, R_OK | X_OK) < 0)
                return error_set(reterr, -errno, "Cannot read '%s': %s", objects, strerror(errno));
        *ret = str_format("%s\n", objects);
        return *ret ? 0 : -ENOMEM;
}

static int folders_make(const char *git_dir, Error *reterr) {
        static const char *const folders[] = { "users", "refs", "objects/info" };

        for (size_t i = 0; i < N_ELEMENTS(folders); i++) {
                auto_cleanup(freep) char *path = path_join(git_dir, folders[i]);
                int r = path ? mkdir_p(path, 0700, reterr) : -ENOMEM;

                if (r < 0)
                        return r;
        }
        return 0;
}

/* HEAD comes last: a mirror without it is half-made and is made again. */
static int mirror_make(const Mirror *mirror, const Url *url, const char *commit, Error *reterr) {
        auto_cleanup(freep) char *alternates = NULL, *config = NULL;
        int r;

        r = folders_make(mirror->git_dir, reterr);
        if (r == 0 && url->kind == URL_LOCAL) {
                r = objects_find(url, &alternates, reterr);
                if (r == 0)
                        r = write_text(mirror->git_dir, "objects/info/alternates", alternates,
                                       reterr);
        }
        if (r < 0 || has(mirror->git_dir, "HEAD"))
                return r;
        config = str_format("%s%s", config_text,
                            strlen(commit) == 64 ? "[extensions]\n\tobjectFormat = sha256\n" : "");
        if (!config)
                return -ENOMEM;
        r = write_text(mirror->git_dir, "config", config, reterr);
        if (r == 0)
                r = write_text(mirror->git_dir, "url", url->text, reterr);
        if (r == 0)
                r = write_text(mirror->git_dir, "HEAD", "ref: refs/heads/none\n", reterr);
        return r;
}

/* A mark, so that one that is left behind says whose it was. */
static int user_note(const Mirror *mirror, const SdkCall *call, Error *reterr) {
        auto_cleanup(freep) char *users = path_join(mirror->git_dir, "users");
        int r = users ? mark_make(users, call->uid, call->marker, reterr) : -ENOMEM;

        return r < 0 ? r : 0;
}

/* A stranger's submodule never reads what was fetched with the admin's keys: it has a mirror of its own. */
static int mirror_name(const SdkCall *call, const Url *url, const char *commit, bool anonymous,
                       char **ret) {
        auto_cleanup(freep) char *text = NULL;
        char key[SHA256_HEX];
        int r;

        text = str_format("%s %zu %s", anonymous ? "anonymous" : "own", strlen(commit), url->text);
        if (!text)
                return -ENOMEM;
        r = sha256_hex(text, strlen(text), key);
        if (r < 0)
                return r;
        *ret = str_format("%s/mirrors/%.32s", call->state_dir, key);
        return *ret ? 0 : -ENOMEM;
}

/* An alternates file that already says the right thing is left alone: the usual case costs one read. */
static bool mirror_is_ready(const Mirror *mirror, const Url *url) {
        auto_cleanup(freep) char *path = path_join(mirror->git_dir, "objects/info/alternates");
        auto_cleanup(freep) char *there = NULL, *wanted = NULL;

        if (!has(mirror->git_dir, "HEAD") || !has(mirror->git_dir, "users"))
                return false;
        if (url->kind != URL_LOCAL)
                return true;
        return path && objects_find(url, &wanted, NULL) == 0 &&
               read_file(path, PATH_MAX, &there, NULL, NULL) == 0 && streq(there, wanted);
}

int mirror_join(const SdkCall *call, const Url *url, const char *commit, bool anonymous,
                Mirror *ret, Error *reterr) {
        auto_mirror mirror = { .anonymous = anonymous };
        auto_cleanup(freep) char *lock = NULL, *folder = NULL;
        auto_cleanup(closep) int fd = -1;
        int r;

        folder = path_join(call->state_dir, "mirrors");
        r = folder ? mirror_name(call, url, commit, anonymous, &mirror.git_dir) : -ENOMEM;
        if (r < 0)
                return r;
        lock = str_format("%s.lock", mirror.git_dir);
        r = lock ? mkdir_p(folder, 0700, reterr) : -ENOMEM;
        if (r == 0)
                r = lock_take(lock, &fd, reterr);
        if (r == 0 && !mirror_is_ready(&mirror, url))
                r = mirror_make(&mirror, url, commit, reterr);
        if (r == 0)
                r = user_note(&mirror, call, reterr);
        if (r < 0)
                return r;
        *ret = mirror;
        mirror = (Mirror){ 0 };
        return 0;
}

static int fetch_spec(const Git *git, const Url *url, const char *depth, const char *spec,
                      Error *reterr) {
        const char *argv[] = { "git",
                               "fetch",
                               "--quiet",
                               "--force",
                               "--no-tags",
                               "--no-write-fetch-head",
                               "--no-recurse-submodules",
                               "--no-auto-maintenance",
                               depth,
                               "--",
                               url->text,
                               spec,
                               NULL };

        return git_run(git, argv, LIMIT_PROVIDER_STDERR_BYTES * 16, NULL, reterr);
}

/* Most servers give any commit by its name, alone and without its history. From those that do not, all
 * branches and requests are taken. */
int mirror_fetch(const SdkCall *call, const Mirror *mirror, const Url *url, const char *commit,
                 Error *reterr) {
        auto_cleanup(freep) char *lock = str_format("%s.lock", mirror->git_dir);
        auto_cleanup(freep) char *spec = str_format("+%s:refs/keep/%s", commit, commit);
        Git git = { .call = call, .git_dir = mirror->git_dir, .anonymous = mirror->anonymous };
        auto_cleanup(closep) int fd = -1;
        auto_error first = { 0 };
        int r;

        if (!lock || !spec)
                return -ENOMEM;
        if (url->kind == URL_LOCAL)
                return -ENODATA; /* its objects are ours already */
        r = lock_take(lock, &fd, reterr);
        if (r < 0)
                return r;
        sdk_progress(0, 0, "fetching");
        r = fetch_spec(&git, url, "--depth=1", spec, &first);
        if (r == -ENODATA && !strstr(error_text(&first, r), "not our ref"))
                return fetch_spec(&git, url, "--no-show-forced-updates", "+refs/*:refs/remote/*",
                                  reterr);
        return r < 0 ? error_set(reterr, r, "%s", error_text(&first, r)) : 0;
}

/* rmdir is the gate: it fails as long as somebody is noted. */
static int mirror_remove_unused(const char *git_dir, Error *reterr) {
        auto_cleanup(freep) char *lock = str_format("%s.lock", git_dir), *head = NULL,
                                 *users = NULL;
        auto_cleanup(closep) int fd = -1;
        int r;

        users = path_join(git_dir, "users");
        head = path_join(git_dir, "HEAD");
        if (!lock || !users || !head)
                return -ENOMEM;
        r = lock_take(lock, &fd, reterr);
        if (r < 0)
                return r;
        if (rmdir(users) < 0 && errno != ENOENT)
                return errno == ENOTEMPTY || errno == EEXIST
                               ? 0
                               : error_set(reterr, -errno, "Cannot remove '%s': %s", users,
                                           strerror(errno));
        (void) unlink(head); /* what is left of it after a crash must not look whole */
        r = remove_tree(git_dir, reterr);
        if (r == 0)
                lock_remove(lock);
        return r;
}

static bool folder_is_empty(const char *path) {
        auto_cleanup(closedirp) DIR *dir = opendir(path);
        struct dirent *entry;

        while (dir && (entry = readdir(dir)))
                if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
                        return false;
        return true;
}

/* Calls func with the path of each mirror, or of what is left of one, until it returns not 0. */
static int mirror_each(const SdkCall *call, int (*func)(void *userdata, const char *git_dir),
                       void *userdata, Error *reterr) {
        auto_cleanup(freep) char *folder = path_join(call->state_dir, "mirrors");
        auto_cleanup(closedirp) DIR *dir = folder ? opendir(folder) : NULL;
        struct dirent *entry;
        int r = 0;

        if (!folder)
                return -ENOMEM;
        if (!dir)
                return errno == ENOENT ? 0
                                       : error_set(reterr, -errno, "Cannot read '%s': %s", folder,
                                                   strerror(errno));
        while (r == 0 && (entry = readdir(dir))) {
                auto_cleanup(freep) char *stem = strdup(entry->d_name), *path = NULL;

                if (!stem)
                        return -ENOMEM;
                if (*stem == '.')
                        continue;
                /* A lock whose mirror is gone is what a crash left: it is found by its own name. */
                if (str_ends_with(stem, ".lock"))
                        stem[strlen(stem) - strlen(".lock")] = 0;
                path = path_join(folder, stem);
                r = path ? func(userdata, path) : -ENOMEM;
        }
        return r;
}

typedef struct Leaving {
        SdkCall *call;
        const char *uid;
        bool report;
        Error *reterr;
} Leaving;

static int mirror_leave(void *userdata, const char *git_dir) {
        const Leaving *l = userdata;
        auto_cleanup(freep) char *users = path_join(git_dir, "users"), *user = NULL;
        int r = 0;

        user = users ? path_join(users, l->uid) : NULL;
        if (!user)
                return -ENOMEM;
        if (unlink(user) == 0 && l->report)
                r = mark_report(l->call, "removed", "reference", user);
        else if (errno != ENOENT && path_exists(user))
                return error_set(l->reterr, -errno, "Cannot remove '%s': %s", user,
                                 strerror(errno));
        if (r < 0 || !folder_is_empty(users))
                return r;
        return mirror_remove_unused(git_dir, l->reterr);
}

int mirrors_leave(SdkCall *call, const char *uid, bool report, Error *reterr) {
        Leaving leaving = { call, uid, report, reterr };

        return mirror_each(call, mirror_leave, &leaving, reterr);
}

typedef struct Users {
        MirrorUserFunc func;
        void *userdata;
        const char *uid; /* NULL: all */
} Users;

static int users_of(void *userdata, const char *git_dir) {
        const Users *u = userdata;
        auto_cleanup(freep) char *users = path_join(git_dir, "users");
        auto_cleanup(closedirp) DIR *dir = users ? opendir(users) : NULL;
        struct dirent *entry;
        int r = 0;

        while (r == 0 && dir && (entry = readdir(dir))) {
                auto_cleanup(freep) char *marker = NULL;

                if (*entry->d_name == '.' || (u->uid && !streq(entry->d_name, u->uid)))
                        continue;
                (void) mark_read(users, entry->d_name, &marker, NULL); /* an old one has none */
                r = u->func(u->userdata, entry->d_name, marker);
        }
        return users ? r : -ENOMEM;
}

int mirrors_users(const SdkCall *call, const char *uid, MirrorUserFunc func, void *userdata,
                  Error *reterr) {
        Users users = { func, userdata, uid };

        return mirror_each(call, users_of, &users, reterr);
}
