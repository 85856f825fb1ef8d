/* list: everything with this installation's marker, by the marks, and then what is named like ours in
 * the world without a mark. watch: one connection to each keeper, kept; the kernel wakes us. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <fcntl.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "providers/process/bridge.h"
#include "providers/process/types.h"
#include "providers/sdk/mark.h"

static const char *const type_names[] = { "network", "build", "workload" };

typedef struct Listing {
        SdkCall *call;
        const char *type;
        char **seen; /* owned: uids */
} Listing;

/* The environment between the slashes of a marker, owned. */
static char *marker_environment(const char *marker) {
        const char *slash = strchr(marker, '/'), *end = slash ? strchr(slash + 1, '/') : NULL;

        return end ? strndup(slash + 1, (size_t) (end - slash - 1)) : strdup("");
}

static const char *level_of(const Listing *l, const char *uid) {
        auto_cleanup(freep) char *path = path_join(l->call->state_dir, uid);
        auto_cleanup(closep) int dir =
                path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
        Run run = { .call = l->call, .dir_fd = dir };

        if (!streq(l->type, "workload"))
                return NULL;
        return keeper_alive(&run, NULL, NULL) > 0 ? "awake" : "stopped";
}

static int item_on_mark(void *userdata, const char *uid, const char *marker, Error *reterr) {
        Listing *l = userdata;
        auto_cleanup(freep) char *environment = marker_environment(marker);
        int r = strv_add(&l->seen, uid);

        if (r < 0 || !environment)
                return -ENOMEM;
        if (!str_after(marker, l->call->installation))
                return 0;
        sdk_item(json_pack("{s:s,s:s,s:s,s:s,s:s,s:s*}", "uid", uid, "marker", marker, "type",
                           l->type, "environment", environment, "present", "present", "level",
                           level_of(l, uid)));
        return 0;
}

/* A keeper whose folder or mark somebody removed. */
static int strays_of_keepers(Listing *l) {
        DIR *proc = opendir("/proc");
        int r = 0;

        for (struct dirent *e; proc && r == 0 && (e = readdir(proc));) {
                auto_cleanup(freep) char *path = str_format("/proc/%s/cmdline", e->d_name),
                                         *text = NULL;
                auto_cleanup(freep) char *environment = NULL;
                const char *marker, *uid;
                size_t size;

                if (e->d_name[0] < '1' || e->d_name[0] > '9' || !path ||
                    read_file(path, 4096, &text, &size, NULL) < 0 || !streq(text, "mayfly-keeper"))
                        continue;
                marker = size > strlen(text) + 1 ? text + strlen(text) + 1 : "";
                uid = strrchr(marker, '/');
                if (!str_after(marker, l->call->installation) || !uid ||
                    strv_contains(l->seen, uid + 1))
                        continue;
                environment = marker_environment(marker);
                sdk_item(json_pack("{s:s,s:s,s:s,s:s*,s:s,s:s}", "uid", uid + 1, "marker", marker,
                                   "type", "workload", "environment", environment, "present",
                                   "uncertain", "detail", "a keeper without its folder"));
                r = strv_add(&l->seen, uid + 1);
        }
        if (proc)
                closedir(proc);
        return r;
}

static int strays_of_namespaces(Listing *l) {
        DIR *dir = is_root() ? opendir(NETNS_FOLDER) : NULL;
        Bridge b;
        int r = 0;

        bridge_names(l->call, &b); /* "mf-INSTALLATION-" with no resource after it */
        for (struct dirent *e; dir && r == 0 && (e = readdir(dir));) {
                const char *uid = str_after(e->d_name, b.netns);
                auto_cleanup(freep) char *marker = NULL;

                if (!uid || !path_component_valid(uid) || strv_contains(l->seen, uid))
                        continue;
                marker = str_format("%s/unknown/%s", l->call->installation, uid);
                sdk_item(json_pack("{s:s,s:s*,s:s,s:s,s:s,s:s}", "uid", uid, "marker", marker,
                                   "type", "network", "environment", "", "present", "uncertain",
                                   "detail", "a network namespace without its mark"));
                r = strv_add(&l->seen, uid);
        }
        if (dir)
                closedir(dir);
        return r;
}

int process_list(SdkCall *call, Error *reterr) {
        Listing l = { .call = call };
        int r = 0;

        for (size_t i = 0; r == 0 && i < N_ELEMENTS(type_names); i++) {
                char suffix[32];

                l.type = type_names[i];
                snprintf(suffix, sizeof(suffix), ".%s", type_names[i]);
                r = mark_each(call->state_dir, suffix, item_on_mark, &l, reterr);
        }
        if (r == 0)
                r = strays_of_keepers(&l);
        if (r == 0)
                r = strays_of_namespaces(&l);
        strv_free(l.seen);
        if (r < 0)
                return r;
        call->ret_extra = json_pack("{s:b}", "complete", 1);
        return call->ret_extra ? 0 : -ENOMEM;
}

/* One keeper under watch. */
typedef struct Watched {
        char uid[256];
        int fd;       /* control connection; -1: free */
        bool stopped; /* it said that it was asked to end */
        KeeperReader reader;
} Watched;

typedef struct Watcher {
        SdkCall *call;
        int inotify;
        Watched *list; /* owned */
        size_t n;
} Watcher;

static void change_item(const char *uid, const char *change, const char *detail) {
        sdk_item(json_pack("{s:s,s:s,s:s}", "uid", uid, "change", change, "detail", detail));
}

static Watched *watched_new(Watcher *w, const char *uid) {
        Watched *free_one = NULL, *list;

        for (size_t i = 0; i < w->n; i++) {
                if (w->list[i].fd >= 0 && streq(w->list[i].uid, uid))
                        return NULL;
                if (w->list[i].fd < 0)
                        free_one = w->list + i;
        }
        if (!free_one) {
                list = realloc(w->list, (w->n + 1) * sizeof(Watched));
                if (!list)
                        return NULL;
                w->list = list;
                free_one = list + w->n++;
        }
        *free_one = (Watched){ .fd = -1, .reader = KEEPER_READER(-1) };
        snprintf(free_one->uid, sizeof(free_one->uid), "%s", uid);
        return free_one;
}

/* Looks at one resource's folder: watches for a keeper's coming, connects to one that is there. */
static void watcher_look(Watcher *w, const char *uid) {
        auto_cleanup(freep) char *path = path_join(w->call->state_dir, uid);
        auto_cleanup(closep) int dir =
                path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
        auto_cleanup(closep) int fd = -1;
        Run run = { .call = w->call, .dir_fd = dir };
        Watched *one;

        if (dir < 0)
                return;
        (void) inotify_add_watch(w->inotify, path, IN_MOVED_TO | IN_ONLYDIR);
        if (faccessat(dir, "keeper.json", F_OK, 0) < 0 || keeper_connect(&run, &fd, NULL) < 0 ||
            keeper_send(fd, "watch", NULL) < 0)
                return;
        one = watched_new(w, uid);
        if (one)
                one->fd = one->reader.fd = TAKE_FD(fd);
}

static void watcher_look_all(Watcher *w) {
        DIR *dir = opendir(w->call->state_dir);

        for (struct dirent *e; dir && (e = readdir(dir));)
                if (e->d_name[0] != '.' && !strchr(e->d_name, '.') &&
                    path_component_valid(e->d_name))
                        watcher_look(w, e->d_name);
        if (dir)
                closedir(dir);
}

/* Takes one of the messages that have arrived; false when there is no further one. */
static bool watched_read(Watched *one) {
        json_auto_t *message = NULL;
        const char *change;
        int r = keeper_read(&one->reader, 0, &message, NULL);

        if (r == -ETIMEDOUT)
                return false;
        change = sdk_string(message, "change", "");
        if (r < 0) {
                if (!one->stopped)
                        change_item(one->uid, "ended", "its keeper ended unexpectedly");
                keeper_reader_done(&one->reader);
                one->fd = fd_close(one->fd);
                return false;
        }
        if (streq(change, "stopped"))
                one->stopped = true;
        else if (*change)
                change_item(one->uid, change, sdk_string(message, "detail", ""));
        return true;
}

int process_watch(SdkCall *call, Error *reterr) {
        Watcher w = { .call = call, .inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK) };
        char events[8192];

        if (w.inotify < 0 ||
            inotify_add_watch(w.inotify, call->state_dir, IN_CREATE | IN_ONLYDIR) < 0)
                return error_set(reterr, -errno, "Cannot watch '%s': %s", call->state_dir,
                                 strerror(errno));
        watcher_look_all(&w);
        sdk_log("watching");
        for (;;) {
                struct pollfd *fds = calloc(w.n + 2, sizeof(*fds)), *keepers = fds + 2;
                bool heard = true;

                if (!fds)
                        return -ENOMEM;
                fds[0] = (struct pollfd){ .fd = w.inotify, .events = POLLIN };
                /* Nothing may happen for days: that its reader has gone is seen here, not at the next word. */
                fds[1] = (struct pollfd){ .fd = STDOUT_FILENO };
                for (size_t i = 0; i < w.n; i++)
                        keepers[i] = (struct pollfd){ .fd = w.list[i].fd, .events = POLLIN };
                if (poll(fds, w.n + 2, -1) > 0) {
                        for (size_t i = 0; i < w.n; i++)
                                while (keepers[i].fd >= 0 && keepers[i].revents &&
                                       watched_read(w.list + i))
                                        ;
                        heard = fds[1].revents == 0;
                        if (fds[0].revents && read(w.inotify, events, sizeof(events)) > 0)
                                watcher_look_all(&w);
                }
                free(fds);
                if (!heard)
                        return error_set(reterr, -EPIPE, "Nobody reads what is watched any more");
        }
}
