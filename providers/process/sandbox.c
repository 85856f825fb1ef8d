#include "providers/process/sandbox.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "providers/process/content.h"
#include "providers/process/launch.h"

/* Folders of the root that are links into /usr on a merged system. */
static const char *const root_folders[] = { "bin", "sbin", "lib", "lib32", "lib64", "libx32" };

/* What programs need of /etc and what tells nothing about this machine's users and secrets. The small
 * files are copied into the container's own /etc, since each mount costs time at every start. */
static const char *const etc_copied[] = {
        "debian_version", "gai.conf",   "host.conf", "locale.alias", "localtime",
        "mime.types",     "os-release", "protocols", "services",     "timezone",
};
static const char *const etc_mounted[] = { "alternatives", "fonts", "ld.so.cache", "ssl" };
static const char *const etc_mounted_prefixes[] = { "java-", "php" };
#define ETC_COPY_BYTES 262144

static const char resolv_none[] = "# nothing outside this environment can be reached\n";
static const char nsswitch[] = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
                               "networks: files\nprotocols: files\nservices: files\n";

int sandbox_target(const char *target, char **ret, Error *reterr) {
        static const char *const kept[] = { "proc", "dev", "sys" };
        auto_strbuf b = { 0 };
        char link[PATH_MAX];
        const char *at = target;

        if (target[0] != '/' || !target[1])
                return error_set(reterr, -EINVAL,
                                 "The target '%s' is not an absolute path of a file or"
                                 " folder",
                                 target);
        if (strlen(target) >= PATH_MAX / 2)
                return error_set(reterr, -EINVAL, "A target is longer than %d bytes", PATH_MAX / 2);
        for (bool first = true; *at; first = false) {
                size_t n = strcspn(++at, "/");

                if (n == 0 || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
                        return error_set(reterr, -EINVAL,
                                         "The target '%s' has an empty, '.' or '..'"
                                         " component",
                                         target);
                for (size_t i = 0; first && i < N_ELEMENTS(kept); i++)
                        if (strlen(kept[i]) == n && strncmp(at, kept[i], n) == 0)
                                return error_set(reterr, -EINVAL,
                                                 "The target '%s' lies in /%s, which is"
                                                 " the system's",
                                                 target, kept[i]);
                strbuf_addc(&b, '/');
                for (size_t i = 0; first && i < N_ELEMENTS(root_folders); i++)
                        if (strlen(root_folders[i]) == n && strncmp(at, root_folders[i], n) == 0) {
                                char path[64];

                                snprintf(path, sizeof(path), "/%s", root_folders[i]);
                                if (readlink(path, link, sizeof(link)) > 0)
                                        strbuf_add(&b, "usr/");
                        }
                strbuf_addn(&b, at, n);
                at += n;
        }
        *ret = strbuf_take(&b);
        return *ret ? 0 : -ENOMEM;
}

int sandbox_directory(const char *checkout, const char *directory, char **ret, Error *reterr) {
        const char *rest = str_after(directory, checkout);

        while (rest && *rest == '/' && rest[1] == '/')
                rest++;
        if (!rest || (*rest && *rest != '/') || strstr(rest, "/../") || str_ends_with(rest, "/.."))
                return error_set(reterr, -EINVAL,
                                 "The working directory '%s' is not in the checkout", directory);
        *ret = str_format(SANDBOX_APP "%s", streq(rest, "/") ? "" : rest);
        return *ret ? 0 : -ENOMEM;
}

static int add(char ***v, const char *const *words, size_t n) {
        for (size_t i = 0; i < n; i++) {
                int r = strv_add(v, words[i]);

                if (r < 0)
                        return r;
        }
        return 0;
}
#define ADD(v, ...)                                  \
        add(v, (const char *const[]){ __VA_ARGS__ }, \
            sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static int bound_add(Content *c, char *target, const char *source) {
        ContentBound *bounds;
        struct stat st;

        if (!target)
                return -ENOMEM;
        if (stat(source, &st) < 0) {
                free(target);
                return 0; /* not on this machine */
        }
        bounds = realloc(c->bounds, (c->n_bounds + 1) * sizeof(*bounds));
        if (!bounds) {
                free(target);
                return -ENOMEM;
        }
        c->bounds = bounds;
        bounds[c->n_bounds] = (ContentBound){ .target = target,
                                              .source = strdup(source),
                                              .folder = S_ISDIR(st.st_mode) };
        return bounds[c->n_bounds++].source ? 0 : -ENOMEM;
}

static bool etc_is_mounted(const char *name) {
        for (size_t i = 0; i < N_ELEMENTS(etc_mounted); i++)
                if (streq(etc_mounted[i], name))
                        return true;
        for (size_t i = 0; i < N_ELEMENTS(etc_mounted_prefixes); i++)
                if (str_after(name, etc_mounted_prefixes[i]))
                        return true;
        return false;
}

/* A mount below the container's /etc, with the place for it there. */
static int etc_mount(Content *c, const char *etc, const char *name, Error *reterr) {
        auto_cleanup(freep) char *place = path_join(etc, name);
        auto_cleanup(freep) char *source = path_join("/etc", name);
        struct stat st;
        int r = 0;

        if (!place || !source)
                return -ENOMEM;
        if (stat(source, &st) < 0)
                return 0;
        if (S_ISDIR(st.st_mode))
                r = mkdir_p(place, 0755, reterr);
        else
                r = content_write(place, "", 0, 0644, false, 0, reterr);
        return r < 0 ? r : bound_add(c, strdup(source), source);
}

static int bounds_etc(Content *c, const char *etc, Error *reterr) {
        DIR *dir = opendir("/etc");
        int r = bound_add(c, strdup("/etc"), etc);

        if (r == 0)
                c->bounds[c->n_bounds - 1].own = true;
        for (struct dirent *e; r == 0 && dir && (e = readdir(dir));)
                if (etc_is_mounted(e->d_name))
                        r = etc_mount(c, etc, e->d_name, reterr);
        if (dir)
                closedir(dir);
        return r;
}

static int bounds_fill(Content *c, const char *etc, Error *reterr) {
        const json_t *path;
        size_t i;
        int r = bound_add(c, strdup("/usr"), "/usr");

        if (r == 0)
                r = bounds_etc(c, etc, reterr);
        json_array_foreach(c->spec->visible, i, path) {
                const char *p = json_string_value(path);

                if (r == 0 && p && p[0] == '/' && p[1])
                        r = bound_add(c, strdup(p), p);
        }
        if (r == 0 && !c->spec->checkout_writable)
                r = bound_add(c, strdup(SANDBOX_APP), c->spec->checkout);
        return r;
}

/* The root's own links into /usr, or folders where the system is not merged. */
static int args_root_folders(char ***v) {
        for (size_t i = 0; i < N_ELEMENTS(root_folders); i++) {
                char path[64], link[PATH_MAX];
                ssize_t n;
                int r = 0;

                snprintf(path, sizeof(path), "/%s", root_folders[i]);
                n = readlink(path, link, sizeof(link) - 1);
                if (n > 0) {
                        link[n] = '\0';
                        r = ADD(v, "--symlink", link, path);
                } else if (path_exists(path))
                        r = ADD(v, "--ro-bind", path, path);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int args_start(const SandboxSpec *s, char ***v) {
        char status[16], uid[16];
        int r;

        snprintf(status, sizeof(status), "%d", s->status_fd);
        snprintf(uid, sizeof(uid), "%d", SANDBOX_UID);
        r = ADD(v, "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc",
                "--unshare-uts", "--hostname", s->hostname, "--json-status-fd", status);
        if (r < 0)
                return r;
        if (s->root)
                return ADD(v, "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add",
                           "CAP_SETGID", "--cap-add", "CAP_SETPCAP");
        return ADD(v, "--unshare-user", "--uid", uid, "--gid", uid);
}

static int args_private(char ***v) {
        static const char *const folders[] = { "/tmp", "/run", "/dev/shm" };
        char size[32];
        int r = ADD(v, "--proc", "/proc", "--dev", "/dev", "--perms", "0755", "--dir", "/var",
                    "--symlink", "../tmp", "/var/tmp", "--symlink", "../run", "/var/run");

        snprintf(size, sizeof(size), "%lld", LIMIT_PROCESS_TMP_BYTES);
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(folders); i++)
                r = ADD(v, "--size", size, "--perms", "1777", "--tmpfs", folders[i]);
        return r;
}

static bool host_name_valid(const char *name) {
        return name && *name && strlen(name) <= 253 &&
               strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") ==
                       strlen(name);
}

static int etc_write(const char *etc, const char *name, const char *text, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(etc, name);

        if (!path || !text)
                return -ENOMEM;
        return content_write(path, text, strlen(text), 0644, false, 0, reterr);
}

/* Links stay links: they lead into /usr. */
static int etc_copy(const char *etc, const char *name, Error *reterr) {
        auto_cleanup(freep) char *from = path_join("/etc", name), *to = path_join(etc, name);
        auto_cleanup(freep) char *text = NULL;
        char link[PATH_MAX];
        size_t size;
        ssize_t n;

        if (!from || !to)
                return -ENOMEM;
        n = readlink(from, link, sizeof(link) - 1);
        if (n > 0) {
                link[n] = '\0';
                return symlink(link, to) < 0 ? error_set(reterr, -errno, "Cannot make '%s': %s", to,
                                                         strerror(errno))
                                             : 0;
        }
        if (read_file(from, ETC_COPY_BYTES, &text, &size, NULL) < 0)
                return 0; /* not on this machine */
        return content_write(to, text, size, 0644, false, 0, reterr);
}

static int etc_make(const SandboxSpec *s, const char *etc, Error *reterr) {
        unsigned uid = s->root ? s->uid : SANDBOX_UID;
        auto_cleanup(freep) char *passwd = NULL, *group = NULL, *hosts = NULL, *resolv = NULL;
        auto_strbuf names = { 0 };
        const json_t *sibling;
        size_t i;
        int r;

        strbuf_addf(&names, "127.0.0.1 localhost %s", s->hostname);
        json_array_foreach(s->siblings, i, sibling) {
                if (!host_name_valid(json_string_value(sibling)))
                        return error_set(reterr, -EINVAL, "A sibling's name is not a host name");
                strbuf_addf(&names, " %s", json_string_value(sibling));
        }
        strbuf_add(&names, "\n");
        hosts = strbuf_take(&names);
        passwd = str_format("root:x:0:0:root:/:/usr/sbin/nologin\n"
                            "app:x:%u:%u:app:/tmp:/bin/sh\n"
                            "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
                            uid, uid);
        group = str_format("root:x:0:\napp:x:%u:\nnogroup:x:65534:\n", uid);
        r = etc_write(etc, "hosts", hosts, reterr);
        if (r == 0)
                r = etc_write(etc, "passwd", passwd, reterr);
        if (r == 0)
                r = etc_write(etc, "group", group, reterr);
        if (r == 0)
                r = etc_write(etc, "nsswitch.conf", nsswitch, reterr);
        if (r == 0)
                r = etc_write(etc, "hostname", s->hostname, reterr);
        for (size_t n = 0; r == 0 && n < N_ELEMENTS(etc_copied); n++)
                r = etc_copy(etc, etc_copied[n], reterr);
        if (r < 0)
                return r;
        if (s->host_network &&
            read_file("/etc/resolv.conf", ETC_COPY_BYTES, &resolv, NULL, NULL) == 0)
                return etc_write(etc, "resolv.conf", resolv, reterr);
        return etc_write(etc, "resolv.conf", resolv_none, reterr);
}

static void content_done(Content *c) {
        for (size_t i = 0; i < c->n_bounds; i++) {
                free((char *) c->bounds[i].target);
                free(c->bounds[i].source);
        }
        free(c->bounds);
        strv_free(c->args);
        strv_free(c->taken);
}

static int args_all(Content *c, char ***v, Error *reterr) {
        const SandboxSpec *s = c->spec;
        int r = args_start(s, v);
        for (size_t i = 0; r == 0 && i < c->n_bounds; i++)
                r = ADD(v, "--ro-bind",
                        c->bounds[i].merged ? c->bounds[i].merged : c->bounds[i].source,
                        c->bounds[i].target);
        if (r == 0 && s->checkout_writable)
                r = ADD(v, "--bind", s->checkout, SANDBOX_APP);
        if (r == 0)
                r = args_root_folders(v);
        if (r == 0)
                r = args_private(v);
        for (char **a = c->args; r == 0 && a && *a; a++)
                r = strv_add(v, *a);
        if (r == 0)
                r = ADD(v, "--remount-ro", "/", "--chdir", "/");
        return r;
}

/* The arguments go through a descriptor: nobody needs to see the paths of the host in ps(1). */
static int args_hand_over(const SandboxSpec *spec, char **args, Sandbox *s) {
        auto_cleanup(closep) int file = memfd_create("args", MFD_CLOEXEC), high = -1;
        char number[16];
        int r = 0;

        for (; file >= 0 && r == 0 && *args; args++)
                r = write_all(file, *args, strlen(*args) + 1);
        if (file < 0 || r < 0 || lseek(file, 0, SEEK_SET) < 0)
                return r < 0 ? r : -errno;
        high = fcntl(file, F_DUPFD_CLOEXEC, LAUNCH_FD_FREE);
        if (high < 0)
                return -errno;
        snprintf(number, sizeof(number), "%d", high);
        r = ADD(&s->argv, spec->bwrap, "--args", number, "--", "/proc/self/fd/4");
        if (r == 0)
                r = sandbox_keep_fd(s, high);
        if (r == 0)
                TAKE_FD(high);
        return r;
}

int sandbox_prepare(const SandboxSpec *spec, Sandbox *ret, Error *reterr) {
        auto_cleanup(sandbox_done) Sandbox s = { 0 };
        auto_cleanup(content_done) Content c = { .spec = spec, .sandbox = &s };
        auto_cleanup(strv_freep) char **args = NULL;
        auto_cleanup(freep) char *etc = path_join(spec->folder, "etc");
        int r;

        if (!etc)
                return -ENOMEM;
        if (!host_name_valid(spec->hostname))
                return error_set(reterr, -EINVAL, "'%s' is not a host name", spec->hostname);
        r = remove_tree(spec->folder, reterr);
        if (r == 0)
                r = mkdir_p(spec->folder, 0700, reterr);
        if (r == 0)
                r = mkdir_p(etc, 0755, reterr);
        if (r == 0)
                r = etc_make(spec, etc, reterr);
        if (r == 0)
                r = bounds_fill(&c, etc, reterr);
        if (r == 0)
                r = content_add_volumes(&c, reterr);
        if (r == 0)
                r = content_add_files(&c, reterr);
        if (r == 0)
                r = args_all(&c, &args, reterr);
        if (r == 0)
                r = args_hand_over(spec, args, &s);
        if (r < 0)
                return r;
        *ret = s;
        s = (Sandbox){ 0 };
        return 0;
}

void sandbox_done(Sandbox *s) {
        strv_free(s->argv);
        for (size_t i = 0; i < s->n_fds; i++)
                close(s->fds[i]);
        free(s->fds);
        for (size_t i = 0; i < s->n_overlays; i++) {
                free(s->overlays[i].below);
                free(s->overlays[i].layer);
                free(s->overlays[i].merged);
        }
        *s = (Sandbox){ 0 };
}

__attribute__((noreturn)) static void sandbox_fail(const char *what) {
        fprintf(stderr, "cannot %s: %s\n", what, strerror(errno));
        _exit(126);
}

/* Our layer above a folder of the checkout or the system, read-only. Descriptors in the options keep
 * commas and colons in paths from having a meaning. */
static void overlay_mount(const SandboxOverlay *o) {
        int layer = open(o->layer, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int below = open(o->below, O_PATH | O_DIRECTORY | O_CLOEXEC);
        char options[128];

        snprintf(options, sizeof(options), "lowerdir=/proc/self/fd/%d:/proc/self/fd/%d", layer,
                 below);
        if (layer < 0 || below < 0 ||
            mount("overlay", o->merged, "overlay", MS_RDONLY | MS_NODEV | MS_NOSUID, options) < 0)
                sandbox_fail("lay declared files over the system or the checkout");
        close(layer);
        close(below);
}

void sandbox_exec(const Sandbox *s, int record_fd, int inside_fd, int started_fd) {
        char *env[] = { (char *) "PATH=/usr/bin:/bin", (char *) "LANG=C.UTF-8", NULL };
        struct rlimit no_core = { 0, 0 };

        (void) setrlimit(RLIMIT_CORE, &no_core);
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* bubblewrap looks up its children in /proc, by the numbers of our process namespace. */
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0 ||
            mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
                sandbox_fail("make a mount namespace");
        for (size_t i = 0; i < s->n_overlays; i++)
                overlay_mount(s->overlays + i);
        for (size_t i = 0; i < s->n_fds; i++)
                (void) fcntl(s->fds[i], F_SETFD, 0);
        if (dup2(record_fd, LAUNCH_FD) < 0 || dup2(inside_fd, LAUNCH_INSIDE_FD) < 0 ||
            dup2(started_fd, LAUNCH_STARTED_FD) < 0)
                sandbox_fail("hand over a descriptor");
        execve(s->argv[0], s->argv, env);
        sandbox_fail("run bubblewrap");
}
