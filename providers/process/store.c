#include "providers/process/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/hash.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "providers/process/store-output.h"
#include "providers/process/types.h"

__attribute__((format(printf, 2, 3))) static void store_off(Store *s, const char *fmt, ...) {
        char text[512];
        va_list args;

        va_start(args, fmt);
        vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
        sdk_log("%s", text);
        s->key[0] = '\0';
}

void store_done(Store *s) {
        s->fd = fd_close(s->fd);
        s->lock_fd = fd_close(s->lock_fd);
        s->tree_fd = fd_close(s->tree_fd);
        free(TAKE(s->name));
        tree_done(&s->before);
}

/* ---- opening ---- */

/* A folder of ours alone: the volume's own is open to the workload's user. */
static int folder_own(int dir_fd, const char *name, int *ret) {
        auto_cleanup(closep) int fd = -1;
        struct stat st;

        if (mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (st.st_uid != geteuid() || (st.st_mode & 077))
                return -EPERM;
        *ret = TAKE_FD(fd);
        return 0;
}

/* The builds of an environment share its checkout, so they take turns: what one of them changed is then
 * known to be its own. One that waited a third of its time goes on beside the other, without the store. */
static int store_lock(Store *s) {
        struct timespec pause = { .tv_nsec = 20000000 };
        int64_t left = s->call->deadline_ms > 0 ? sdk_time_left(s->call) : 15 * MS_PER_MINUTE,
                until = clock_boot_ms(&clock_system) + left / 3;

        s->lock_fd = openat(s->fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (s->lock_fd < 0)
                return -errno;
        while (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK || clock_boot_ms(&clock_system) > until)
                        return -errno;
                nanosleep(&pause, NULL);
        }
        return 0;
}

static int flag_set(const Store *s, const char *suffix) {
        auto_cleanup(freep) char *path = str_format("trees/%s%s", s->name, suffix);
        auto_cleanup(closep) int fd = -1;

        if (!path)
                return -ENOMEM;
        fd = openat(s->fd, path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        return fd < 0 ? -errno : 0;
}

static bool flag_is_set(const Store *s, const char *suffix) {
        auto_cleanup(freep) char *path = str_format("trees/%s%s", s->name, suffix);

        return !path || faccessat(s->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void flag_clear(const Store *s, const char *suffix) {
        auto_cleanup(freep) char *path = str_format("trees/%s%s", s->name, suffix);

        if (path)
                (void) unlinkat(s->fd, path, 0);
}

/* What is known of checkouts that are gone. */
static void trees_forget(const Store *s, const char *folder) {
        auto_cleanup(closep) int fd = openat(s->fd, "trees", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 0));

        for (struct dirent *e; dir && (e = readdir(dir));) {
                auto_cleanup(freep) char *name = strndup(e->d_name, strcspn(e->d_name, "."));
                auto_cleanup(freep) char *path = name && *name ? path_join(folder, name) : NULL;

                if (path && !path_exists(path))
                        (void) unlinkat(fd, e->d_name, 0);
        }
        if (dir)
                closedir(dir);
}

static int store_find(Store *s, const char *checkout) {
        const json_t *store = json_object_get(s->call->params, "store");
        const char *source = sdk_string(store, "source", ""), *slash = strrchr(checkout, '/');
        auto_cleanup(freep) char *folder =
                slash ? strndup(checkout, (size_t) (slash - checkout)) : NULL;
        auto_cleanup(closep) int volume = -1, trees = -1, kept = -1;
        int r;

        if (source[0] != '/' || !streq(sdk_string(store, "type", ""), "bind") || !folder)
                return -ENOENT;
        s->name = strdup(slash + 1);
        if (!s->name || !path_component_valid(s->name) || strchr(s->name, '.'))
                return -ENOENT;
        volume = open(source, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        r = volume < 0 ? -errno : folder_own(volume, "builds", &s->fd);
        if (r == 0)
                r = folder_own(s->fd, "trees", &trees);
        if (r == 0)
                r = folder_own(s->fd, "kept", &kept);
        if (r == 0)
                r = store_lock(s);
        if (r < 0)
                return r;
        trees_forget(s, folder);
        if (flag_is_set(s, ".run")) {
                r = flag_set(s, ".cut");
                flag_clear(s, ".run");
        }
        s->cut = flag_is_set(s, ".cut");
        return r < 0 ? r : output_remove(s->fd, "new");
}

/* ---- the key ---- */

static void key_add(uint64_t key[2], const char *text) {
        for (unsigned i = 0; i < 2; i++)
                key[i] = hash_bytes(key[i], text, strlen(text) + 1);
}

static int key_add_json(uint64_t key[2], const json_t *value) {
        auto_cleanup(freep) char *text =
                json_dumps(value, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);

        if (!value)
                return 0;
        if (!text)
                return -ENOMEM;
        key_add(key, text);
        return 0;
}

/* A machine whose programs changed builds everything once more: a package that comes or goes, or is
 * replaced, changes one of these. */
static void key_add_machine(uint64_t key[2]) {
        static const char *const paths[] = { "/usr/bin", "/usr/lib", "/usr/local/bin",
                                             "/var/lib/dpkg/status" };
        struct utsname name;

        if (uname(&name) == 0)
                key_add(key, name.machine);
        for (size_t i = 0; i < N_ELEMENTS(paths); i++) {
                struct stat st = { 0 };
                char text[64];

                (void) stat(paths[i], &st);
                snprintf(text, sizeof(text), "%lld.%ld", (long long) st.st_mtim.tv_sec,
                         st.st_mtim.tv_nsec);
                key_add(key, text);
        }
}

/* The variables that the command sees, but for the commit: that it changed is no reason by itself. */
static int key_add_variables(uint64_t key[2], const SdkCall *call) {
        json_auto_t *env = NULL;
        const json_t *line;
        size_t i;
        int r = spec_env(call, json_object_get(call->params, "variables"), &env, NULL);

        json_array_foreach(env, i, line)
                if (!str_after(json_string_value(line), "MAYFLY_COMMIT="))
                        key_add(key, json_string_value(line));
        return r;
}

static bool is_input(const json_t *inputs, const char *path) {
        const json_t *pattern;
        size_t i;

        json_array_foreach(inputs, i, pattern)
                if (json_is_string(pattern) && tree_matches(json_string_value(pattern), path))
                        return true;
        return json_array_size(inputs) == 0;
}

static int store_key(Store *s, const Tree *untouched) {
        const SdkCall *call = s->call;
        const json_t *inputs = json_object_get(call->params, "inputs");
        uint64_t key[2] = { 3, 4 };
        char state[TREE_STATE];
        size_t n_inputs = 0;
        int r = 0;

        if (json_array_size(inputs) > LIMIT_BUILD_INPUTS)
                return -E2BIG;
        key_add(key, sdk_string(call->environment, "trust", ""));
        key_add(key, sdk_string(call->params, "workload", ""));
        key_add(key, str_after(sdk_string(call->params, "directory", ""),
                               sdk_string(call->params, "checkout", ""))
                             ?: "");
        r = key_add_json(key, json_object_get(call->params, "command"));
        if (r == 0)
                r = key_add_json(key, json_object_get(call->config, "visible"));
        if (r == 0)
                r = key_add_variables(key, call);
        if (r < 0)
                return r;
        key_add_machine(key);
        for (size_t i = 0; i < untouched->n; i++) {
                const TreeEntry *e = untouched->entries + i;

                if (e->kind == TREE_FOLDER || !is_input(inputs, e->path))
                        continue;
                n_inputs++;
                key_add(key, e->path);
                key_add(key, tree_state(e, state));
        }
        if (n_inputs == 0)
                return -ENODATA;
        snprintf(s->key, sizeof(s->key), "%016llx%016llx", (unsigned long long) key[0],
                 (unsigned long long) key[1]);
        return 0;
}

/* The checkout as the first build found it: read back, or written down now. */
static int store_untouched(Store *s) {
        auto_cleanup(freep) char *path = str_format("trees/%s", s->name);
        auto_cleanup(output_done) Output untouched = { 0 };
        Output now = { .tree = s->before };
        int r;

        if (!path)
                return -ENOMEM;
        r = output_read(s->fd, path, &untouched);
        if (r == 0)
                return store_key(s, &untouched.tree);
        if (r != -ENOENT || s->cut) /* touched already, and what it was is not known */
                return r == -ENOENT ? -ESTALE : r;
        r = output_write(s->fd, path, &now);
        return r < 0 ? r : store_key(s, &s->before);
}

void store_open(const SdkCall *call, Store *ret) {
        const char *checkout = sdk_string(call->params, "checkout", "");
        Store s = { .call = call, .fd = -1, .lock_fd = -1, .tree_fd = -1 };
        auto_error error = { 0 };
        int r = store_find(&s, checkout);

        if (r == -EWOULDBLOCK) {
                (void) flag_set(&s, ".cut");
                sdk_log("another build of this environment takes long: this one is not kept");
        } else if (r < 0 && r != -ENOENT)
                sdk_log("the store of builds cannot be used: %s", strerror(-r));
        if (r < 0) {
                store_done(&s);
                *ret = s;
                return;
        }
        s.tree_fd = open(checkout, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        r = s.tree_fd < 0 ? error_set(&error, -errno, "The checkout cannot be opened")
                          : tree_scan(s.tree_fd, &s.before, &error);
        if (r == 0) {
                r = store_untouched(&s);
                if (r == -ENODATA)
                        (void) error_set(&error, r, "'inputs' name no file of the checkout");
        }
        if (r < 0)
                store_off(&s, "this build can be neither taken nor kept: %s",
                          error_text(&error, r));
        *ret = s;
}

/* ---- taking and keeping ---- */

int store_take(Store *s, int64_t user, int64_t *ret_generation) {
        auto_cleanup(freep) char *folder = s->key[0] ? str_format("kept/%s", s->key) : NULL;
        auto_cleanup(output_done) Output output = { 0 };
        auto_cleanup(closep) int from = -1;
        int r;

        if (user < 1 || user > INT32_MAX)
                return 0;
        from = folder ? openat(s->fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
        if (from < 0)
                return 0;
        r = output_read(from, "list", &output);
        if (r == 0)
                r = output_fits(from, &output, &s->before);
        if (r == 0) {
                store_begin(s);
                r = output_put(from, &output, s->tree_fd, (uid_t) user);
                s->cut = s->cut || r < 0;
        }
        if (r < 0) {
                sdk_log("the output of generation %lld cannot be taken: %s",
                        (long long) output.generation,
                        r == -EEXIST ? "a path that it changes is another by now" : strerror(-r));
                return 0;
        }
        (void) futimens(from, NULL); /* what is used is not the oldest */
        flag_clear(s, ".run");
        *ret_generation = output.generation;
        return 1;
}

void store_begin(Store *s) {
        if (s->fd >= 0 && flag_set(s, ".run") < 0)
                s->cut = true;
}

static int keep(Store *s, Error *reterr) {
        auto_cleanup(freep) char *place = str_format("kept/%s", s->key);
        auto_cleanup(output_done) Output output = { 0 };
        auto_cleanup(tree_done) Tree after = { 0 };
        auto_cleanup(closep) int to = -1;
        int r = place ? tree_scan(s->tree_fd, &after, reterr) : -ENOMEM;

        if (r == 0)
                r = output_find(&s->before, &after, s->tree_fd, &output, reterr);
        if (r < 0)
                return r;
        output.generation = sdk_integer(s->call->environment, "generation", 0);
        r = folder_own(s->fd, "new", &to);
        if (r == 0)
                r = output_copy(s->tree_fd, &output, to);
        if (r == 0)
                r = output_write(to, "list", &output);
        crash_point("process.build.keep");
        if (r == 0)
                r = output_remove(s->fd, place);
        if (r == 0)
                r = output_evict(s->fd, "kept", output.tree.bytes);
        if (r == 0 && renameat(s->fd, "new", s->fd, place) < 0)
                r = -errno;
        if (r < 0)
                (void) output_remove(s->fd, "new");
        return r;
}

void store_keep(Store *s) {
        auto_error error = { 0 };
        int r;

        if (s->fd < 0)
                return;
        if (s->cut || flag_is_set(s, ".cut")) {
                (void) flag_set(s, ".cut");
                store_off(s, "this build is not kept: the checkout is not as it was pushed");
        }
        if (s->key[0]) {
                r = keep(s, &error);
                if (r < 0)
                        sdk_log("this build is not kept: %s", error_text(&error, r));
        }
        flag_clear(s, ".run");
}
