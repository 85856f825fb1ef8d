/* What of a resource is in the world whatever its folder says: keepers, by their command lines, and what
 * runs below them. Anybody can call a process "mayfly-keeper MARKER", so only those that run under our
 * own user count; a process is held by a descriptor before it is believed, and signalled through it. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "providers/process/run.h"

static bool is_ours(const char *pid) {
        auto_cleanup(freep) char *path = str_format("/proc/%s/status", pid), *text = NULL;
        unsigned long long real, effective;
        const char *line;

        if (!path || read_file(path, 65536, &text, NULL, NULL) < 0)
                return false;
        line = strstr(text, "\nUid:");
        return line && sscanf(line, "\nUid: %llu %llu", &real, &effective) == 2 &&
               effective == geteuid();
}

/* The marker on a keeper's command line, owned; NULL when it is no keeper. */
static char *keeper_marker(const char *pid) {
        auto_cleanup(freep) char *path = str_format("/proc/%s/cmdline", pid), *text = NULL;
        size_t size;

        if (!path || read_file(path, 4096, &text, &size, NULL) < 0 ||
            !streq(text, "mayfly-keeper") || size <= strlen(text) + 1)
                return NULL;
        return strdup(text + strlen(text) + 1);
}

static bool has_ended(int pidfd) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };

        return poll(&p, 1, 0) != 0;
}

int keeper_each(KeeperFunc on_keeper, void *userdata) {
        DIR *proc = opendir("/proc");
        int r = 0;

        for (struct dirent *e; proc && r == 0 && (e = readdir(proc));) {
                auto_cleanup(freep) char *seen = NULL, *marker = NULL;
                auto_cleanup(closep) int pidfd = -1;

                if (e->d_name[0] < '1' || e->d_name[0] > '9' || !(seen = keeper_marker(e->d_name)))
                        continue;
                pidfd = (int) syscall(SYS_pidfd_open, atoi(e->d_name), 0);
                marker = keeper_marker(e->d_name);
                /* Read once more and not ended since: the number has not gone to another process. */
                if (pidfd < 0 || !marker || !is_ours(e->d_name) || has_ended(pidfd))
                        continue;
                r = on_keeper(userdata, marker, atoi(e->d_name), pidfd);
        }
        if (proc)
                closedir(proc);
        return r;
}

typedef struct Wanted {
        const char *marker;
        int pid, pidfd;
} Wanted;

static int take_wanted(void *userdata, const char *marker, int pid, int pidfd) {
        Wanted *wanted = userdata;

        if (!streq(marker, wanted->marker))
                return 0;
        wanted->pid = pid;
        wanted->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
        return wanted->pidfd < 0 ? -errno : 1;
}

int keeper_find(const char *marker, int *ret_pid, int *ret_pidfd) {
        Wanted wanted = { .marker = marker };
        int r = keeper_each(take_wanted, &wanted);

        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        *ret_pid = wanted.pid;
        *ret_pidfd = wanted.pidfd;
        return 0;
}

int process_tree(int pid, char ***list) {
        auto_cleanup(freep) char *path = str_format("/proc/%d/task/%d/children", pid, pid),
                                 *text = NULL;
        char number[16], *at;
        int r = 0;

        snprintf(number, sizeof(number), "%d", pid);
        if (strv_length(*list) >= LIMIT_REPORT_ENTRIES / 4 || strv_contains(*list, number))
                return 0;
        r = strv_add(list, number);
        if (r < 0 || !path || read_file(path, 65536, &text, NULL, NULL) < 0)
                return r; /* ended meanwhile, or a kernel that does not say */
        at = text;
        for (char *word; r == 0 && (word = strsep(&at, " \n"));)
                if (*word)
                        r = process_tree(atoi(word), list);
        return r;
}

int namespace_kill(const char *path, char ***list) {
        struct stat wanted, st;
        int r = 0;
        DIR *proc;

        if (stat(path, &wanted) < 0)
                return 0;
        proc = opendir("/proc");
        for (struct dirent *e; proc && r == 0 && (e = readdir(proc));) {
                char space[64];

                if (e->d_name[0] < '1' || e->d_name[0] > '9')
                        continue;
                snprintf(space, sizeof(space), "/proc/%.20s/ns/net", e->d_name);
                if (stat(space, &st) == 0 && st.st_ino == wanted.st_ino &&
                    st.st_dev == wanted.st_dev && kill(atoi(e->d_name), SIGKILL) == 0)
                        r = strv_add(list, e->d_name);
        }
        if (proc)
                closedir(proc);
        return r;
}

/* mountinfo (proc(5)) marks a mounted folder that was removed; its path there is that of the file system
 * it lies in, so it begins with some end of the path that we know. */
static bool line_deleted(const char *line, const char *folder) {
        char root[4096];

        if (sscanf(line, "%*s %*s %*s %4095s", root) != 1 || !str_ends_with(root, "//deleted"))
                return false;
        root[strlen(root) - strlen("//deleted")] = '\0';
        for (const char *end = strchr(folder, '/'); end; end = strchr(end + 1, '/')) {
                const char *rest = str_after(root, end);

                if (rest && end[1] && (*rest == '\0' || *rest == '/'))
                        return true;
        }
        return false;
}

int mount_deleted(const char *pid, char *const *folders, char **ret) {
        auto_cleanup(freep) char *space = str_format("/proc/%s/ns/mnt", pid);
        auto_cleanup(freep) char *path = str_format("/proc/%s/mountinfo", pid), *text = NULL;
        struct stat ours, theirs;
        char *at;

        if (!space || !path)
                return -ENOMEM;
        if (stat("/proc/self/ns/mnt", &ours) < 0 || stat(space, &theirs) < 0 ||
            (ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev) ||
            read_file(path, 4 * 1024 * 1024, &text, NULL, NULL) < 0)
                return 0;
        at = text;
        for (char *line; (line = strsep(&at, "\n"));)
                for (char *const *folder = folders; folder && *folder; folder++)
                        if (line_deleted(line, *folder)) {
                                *ret = strdup(*folder);
                                return *ret ? 1 : -ENOMEM;
                        }
        return 0;
}

bool namespace_lost(char *const *pids, const char *path) {
        struct stat wanted = { 0 }, ours, theirs;
        bool there = stat(path, &wanted) == 0, some = false;

        if (stat("/proc/self/ns/net", &ours) < 0)
                return false;
        for (; pids && *pids; pids++) {
                auto_cleanup(freep) char *space = str_format("/proc/%s/ns/net", *pids);

                if (!space || stat(space, &theirs) < 0 ||
                    (theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev))
                        continue;
                if (there && theirs.st_ino == wanted.st_ino && theirs.st_dev == wanted.st_dev)
                        return false;
                some = true;
        }
        return some;
}
