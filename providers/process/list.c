/* list: everything with this installation's marker, by the marks, and then what is named like ours in
 * the world without a mark. watch: one connection to each keeper, kept; the kernel wakes us. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <fcntl.h>

#include "orchestrator/base/id.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "providers/process/bridge.h"
#include "providers/process/types.h"
#include "providers/sdk/mark.h"

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

static int item(Listing *l, const char *uid, const char *marker, const char *type,
                const char *present, const char *level, const char *detail) {
        auto_cleanup(freep) char *environment = marker_environment(marker);

        if (!environment)
                return -ENOMEM;
        sdk_item(json_pack("{s:s,s:s,s:s,s:s,s:s,s:s*,s:s*}", "uid", uid, "marker", marker, "type",
                           type, "environment", environment, "present", present, "level", level,
                           "detail", detail));
        return strv_add(&l->seen, uid);
}

static bool installation_is(const Listing *l, const char *marker) {
        const char *rest = str_after(marker, l->call->installation);

        return rest && *rest == '/';
}

/* A mark behind which nothing is any more: a boot or somebody took it. */
static const char *network_lost(const Listing *l, const char *uid) {
        auto_cleanup(bridge_seen_done) BridgeSeen seen = { 0 };
        SdkCall call = { .installation = l->call->installation, .uid = uid };
        Bridge b;

        if (!is_root())
                return NULL; /* its keeper is seen to by item_on_mark() */
        bridge_names(&call, &b);
        bridge_look(&b, &seen);
        return seen.namespace && seen.joined ? NULL : "its mark is there, the network is not";
}

static int item_on_mark(void *userdata, const char *uid, const char *marker, Error *reterr) {
        Listing *l = userdata;
        auto_cleanup(freep) char *path = path_join(l->call->state_dir, uid);
        auto_cleanup(closep) int dir =
                path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
        Run run = { .call = l->call, .dir_fd = dir };
        const char *lost = NULL, *level = NULL;
        bool alive;

        if (!path)
                return -ENOMEM;
        if (!installation_is(l, marker))
                return strv_add(&l->seen, uid);
        alive = keeper_alive(&run, NULL, NULL) > 0;
        if (streq(l->type, "workload"))
                level = alive ? "awake" : "stopped";
        else if (streq(l->type, "network"))
                lost = !is_root() && !alive ? "no keeper holds it" : network_lost(l, uid);
        if (dir < 0)
                lost = "its mark is there, its folder is not";
        return item(l, uid, marker, l->type, lost ? "uncertain" : "present", level, lost);
}

/* A folder that lost its mark. */
static int strays_of_folders(Listing *l) {
        DIR *dir = opendir(l->call->state_dir);
        int r = 0;

        for (struct dirent *e; dir && r == 0 && (e = readdir(dir));) {
                auto_cleanup(freep) char *path = NULL, *marker = NULL, *type = NULL;

                if (e->d_type != DT_DIR || strchr(e->d_name, '.') || !id_possible(e->d_name, 'r') ||
                    strv_contains(l->seen, e->d_name))
                        continue;
                path = path_join(l->call->state_dir, e->d_name);
                if (!path || run_folder_mark(path, &marker, &type) == -ENOMEM)
                        r = -ENOMEM;
                else if (!marker)
                        marker = str_format("%s/unknown/%s", l->call->installation, e->d_name);
                if (r == 0 && marker && installation_is(l, marker))
                        r = item(l, e->d_name, marker, type ? type : "workload", "uncertain", NULL,
                                 "a folder without its mark");
        }
        if (dir)
                closedir(dir);
        return r;
}

/* A keeper whose folder or mark somebody removed. */
static int stray_keeper(void *userdata, const char *marker, int pid, int pidfd) {
        Listing *l = userdata;
        const char *uid = strrchr(marker, '/');

        if (!installation_is(l, marker) || !uid || !id_possible(uid + 1, 'r') ||
            strv_contains(l->seen, uid + 1))
                return 0;
        return item(l, uid + 1, marker, "workload", "uncertain", NULL,
                    "a keeper without its folder");
}

/* The host end of a network, wherever it hangs. */
static int stray_port(void *userdata, const char *device, const char *marker, int64_t number) {
        Listing *l = userdata;
        const char *uid = strrchr(marker, '/');

        if (!installation_is(l, marker) || !uid || !id_possible(uid + 1, 'r') ||
            strv_contains(l->seen, uid + 1))
                return 0;
        return item(l, uid + 1, marker, "network", "uncertain", NULL, "a network without its mark");
}

static int strays_of_namespaces(Listing *l) {
        DIR *dir = is_root() ? opendir(NETNS_FOLDER) : NULL;
        Bridge b;
        int r = 0;

        bridge_names(l->call, &b); /* "mf-INSTALLATION-" with no resource after it */
        for (struct dirent *e; dir && r == 0 && (e = readdir(dir));) {
                const char *uid = str_after(e->d_name, b.netns);
                auto_cleanup(freep) char *marker = NULL;

                if (!uid || !id_possible(uid, 'r') || strv_contains(l->seen, uid))
                        continue;
                marker = str_format("%s/unknown/%s", l->call->installation, uid);
                r = marker ? item(l, uid, marker, "network", "uncertain", NULL,
                                  "a network namespace without its mark")
                           : -ENOMEM;
        }
        if (dir)
                closedir(dir);
        return r;
}

/* What has a marker comes first: what has only a name of ours may be a part of it. */
int process_list(SdkCall *call, Error *reterr) {
        Listing l = { .call = call };
        int r = 0;

        for (size_t i = 0; r == 0 && i < N_ELEMENTS(run_types); i++) {
                char suffix[32];

                l.type = run_types[i];
                snprintf(suffix, sizeof(suffix), ".%s", run_types[i]);
                r = mark_each(call->state_dir, suffix, item_on_mark, &l, reterr);
        }
        if (r == 0)
                r = keeper_each(stray_keeper, &l);
        if (r == 0 && is_root())
                r = port_each("/sys/class/net", stray_port, &l);
        if (r == 0)
                r = strays_of_folders(&l);
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
