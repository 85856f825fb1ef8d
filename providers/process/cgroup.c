#include "providers/process/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"

#define CGROUP_TOP "/sys/fs/cgroup"

/* One controller's files in both versions. */
typedef struct Controller {
        const char *name;
        const char *file_v2, *file_v1;
        int64_t (*limit)(const CgroupLimits *limits);
        /* the text for the file; buf of 64 bytes */
        void (*format_v2)(int64_t limit, char *buf);
        void (*format_v1)(int64_t limit, char *buf);
} Controller;

static int64_t limit_cpu(const CgroupLimits *l) {
        return l->cpu_milli;
}

static int64_t limit_memory(const CgroupLimits *l) {
        return l->memory_bytes;
}

static int64_t limit_pids(const CgroupLimits *l) {
        return l->pids;
}

static void format_plain(int64_t limit, char *buf) {
        snprintf(buf, 64, "%" PRId64, limit);
}

/* Microseconds in each period of 100 ms; the kernel takes no less than 1 ms. */
static void format_quota(int64_t limit, char *buf) {
        snprintf(buf, 64, "%" PRId64, limit < 10 ? 1000 : limit * 100);
}

static void format_quota_v2(int64_t limit, char *buf) {
        snprintf(buf, 64, "%" PRId64 " 100000", limit < 10 ? 1000 : limit * 100);
}

static const Controller controllers[] = {
        { "cpu", "cpu.max", "cpu.cfs_quota_us", limit_cpu, format_quota_v2, format_quota },
        { "memory", "memory.max", "memory.limit_in_bytes", limit_memory, format_plain,
          format_plain },
        { "pids", "pids.max", "pids.max", limit_pids, format_plain, format_plain },
};

static int text_write(const char *folder, const char *file, const char *text) {
        auto_cleanup(freep) char *path = path_join(folder, file);
        auto_cleanup(closep) int fd = -1;

        if (!path)
                return -ENOMEM;
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        return write_all(fd, text, strlen(text));
}

static bool is_v2(const char *path) {
        struct statfs fs;

        return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static bool is_v1(const char *path) {
        struct statfs fs;

        return statfs(path, &fs) == 0 && fs.f_type == CGROUP_SUPER_MAGIC;
}

/* The folder beneath which groups of version 2 are made: the top for root, else our own. Owned. */
static char *base_v2(void) {
        auto_cleanup(freep) char *text = NULL;
        char *line;

        if (!is_v2(CGROUP_TOP))
                return NULL;
        if (access(CGROUP_TOP "/cgroup.subtree_control", W_OK) == 0)
                return strdup(CGROUP_TOP);
        if (read_file("/proc/self/cgroup", 65536, &text, NULL, NULL) < 0)
                return NULL;
        line = strstr(text, "0::/");
        if (!line)
                return NULL;
        line += strlen("0::");
        line[strcspn(line, "\n")] = '\0';
        return str_format(CGROUP_TOP "%s", line);
}

static char *base_v1(const Controller *c) {
        auto_cleanup(freep) char *path = str_format(CGROUP_TOP "/%s", c->name);

        return path && is_v1(path) ? TAKE(path) : NULL;
}

static int make_v2(const char *base, const char *group, const Controller *c, int64_t limit) {
        char text[64];

        snprintf(text, sizeof(text), "+%s", c->name);
        (void) text_write(base, "cgroup.subtree_control", text); /* the file below tells */
        if (mkdir(group, 0755) < 0 && errno != EEXIST)
                return -errno;
        c->format_v2(limit, text);
        return text_write(group, c->file_v2, text);
}

static int make_v1(const char *group, const Controller *c, int64_t limit) {
        char text[64];

        if (mkdir(group, 0755) < 0 && errno != EEXIST)
                return -errno;
        c->format_v1(limit, text);
        return text_write(group, c->file_v1, text);
}

static int procs_add(char ***procs, const char *group) {
        auto_cleanup(freep) char *path = path_join(group, "cgroup.procs");

        if (!path)
                return -ENOMEM;
        return strv_contains(*procs, path) ? 0 : strv_add(procs, path);
}

int cgroup_make(const char *uid, unsigned number, const CgroupLimits *limits, char ***ret_procs,
                char ***ret_missing) {
        auto_cleanup(strv_freep) char **procs = NULL, **missing = NULL;
        auto_cleanup(freep) char *v2 = base_v2();

        for (size_t i = 0; i < N_ELEMENTS(controllers); i++) {
                const Controller *c = controllers + i;
                int64_t limit = c->limit(limits);
                auto_cleanup(freep) char *base = NULL, *group = NULL;
                int r;

                if (limit <= 0)
                        continue;
                base = v2 ? strdup(v2) : base_v1(c);
                group = base ? str_format("%s/mayfly-%s.%u", base, uid, number) : NULL;
                r = !group ? -ENOENT
                    : v2   ? make_v2(base, group, c, limit)
                           : make_v1(group, c, limit);
                if (r == 0)
                        r = procs_add(&procs, group);
                else if (r != -ENOMEM) {
                        if (group)
                                (void) rmdir(group); /* in use by another controller: stays */
                        r = strv_add(&missing, c->name);
                }
                if (r < 0)
                        return r;
        }
        *ret_procs = TAKE(procs);
        *ret_missing = TAKE(missing);
        return 0;
}

/* Kills what is in the group still: nobody but us puts anything there. */
static void group_kill(const char *path) {
        auto_cleanup(freep) char *procs = path_join(path, "cgroup.procs"), *text = NULL;
        char *at;

        if (text_write(path, "cgroup.kill", "1") == 0 || !procs ||
            read_file(procs, 65536, &text, NULL, NULL) < 0)
                return;
        at = text;
        for (char *line; (line = strsep(&at, "\n"));)
                if (atoi(line) > 1)
                        (void) kill(atoi(line), SIGKILL);
}

/* A group can be busy for a moment after its last process has been reaped. */
static int group_remove(const char *path) {
        struct timespec pause = { .tv_nsec = 2000000 };

        for (unsigned i = 0; i < 200; i++) {
                if (rmdir(path) == 0 || errno == ENOENT)
                        return 0;
                if (errno != EBUSY)
                        return -errno;
                if (i >= 100)
                        group_kill(path);
                nanosleep(&pause, NULL);
        }
        return -EBUSY;
}

static int base_list(const char *base, const char *prefix, char ***list) {
        DIR *dir = opendir(base);
        int r = 0;

        for (struct dirent *e; dir && r == 0 && (e = readdir(dir));) {
                auto_cleanup(freep) char *path = NULL;

                if (!str_after(e->d_name, prefix))
                        continue;
                path = path_join(base, e->d_name);
                r = path ? strv_add(list, path) : -ENOMEM;
        }
        if (dir)
                closedir(dir);
        return r;
}

int cgroup_list(const char *uid, char ***list) {
        auto_cleanup(freep) char *prefix = str_format("mayfly-%s.", uid), *v2 = base_v2();
        int r = 0;

        if (!prefix)
                return -ENOMEM;
        if (v2)
                return base_list(v2, prefix, list);
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(controllers); i++) {
                auto_cleanup(freep) char *base = base_v1(controllers + i);

                if (base)
                        r = base_list(base, prefix, list);
        }
        return r;
}

int cgroup_remove(const char *uid, char ***removed) {
        auto_cleanup(strv_freep) char **found = NULL;
        int r = cgroup_list(uid, &found);

        for (char **path = found; r == 0 && path && *path; path++) {
                r = group_remove(*path);
                if (r == 0 && removed)
                        r = strv_add(removed, *path);
        }
        return r;
}
