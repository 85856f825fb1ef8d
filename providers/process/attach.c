/* Into a running workload: its logs, read from the files, and commands in a container's namespaces. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <dirent.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "providers/process/launch.h"
#include "providers/process/lines.h"
#include "providers/process/types.h"

#define LINES_DEFAULT 200
#define LINES_MAX     100000

static void line_item(const char *container, const char *line) {
        const char *text;
        int64_t ms;
        char stream;

        if (lines_parse(line, &ms, &stream, &text))
                sdk_item(json_pack("{s:s,s:I,s:s,s:s}", "container", container, "time_ms",
                                   (json_int_t) ms, "stream", stream == 'o' ? "out" : "err", "text",
                                   text));
}

/* One container's log while it is followed. */
typedef struct Follow {
        char *name; /* owned */
        int fd;
        ino_t inode;
        StrBuf text; /* a line that is not whole yet */
} Follow;

static void follow_read(Follow *f) {
        char chunk[16384];
        ssize_t n;

        while (f->fd >= 0 && (n = read(f->fd, chunk, sizeof(chunk))) > 0) {
                char *at, *end;

                strbuf_addn(&f->text, chunk, (size_t) n);
                if (f->text.broken)
                        return;
                for (at = f->text.text; (end = strchr(at, '\n')); at = end + 1) {
                        *end = '\0';
                        line_item(f->name, at);
                }
                f->text.size = strlen(at);
                memmove(f->text.text, at, f->text.size + 1);
        }
}

/* Reads on, also into the file that took the place of a full one. */
static void follow_step(Follow *f, int logs_fd) {
        auto_cleanup(freep) char *file = str_format("%s.log", f->name);
        struct stat st;

        follow_read(f);
        if (!file || fstatat(logs_fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            (f->fd >= 0 && st.st_ino == f->inode))
                return;
        f->fd = fd_close(f->fd);
        f->fd = openat(logs_fd, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        f->inode = st.st_ino;
        follow_read(f);
}

/* The whole lines of the past; the file is left where they end. */
static int follow_start(Follow *f, int logs_fd, size_t lines) {
        auto_cleanup(freep) char *file = str_format("%s.log", f->name), *text = NULL;
        struct stat st;
        char *at = NULL;
        int r;

        if (!file)
                return -ENOMEM;
        f->fd = openat(logs_fd, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (f->fd >= 0 && fstat(f->fd, &st) == 0)
                f->inode = st.st_ino;
        r = lines_tail(logs_fd, f->name, lines, &text);
        if (r < 0)
                return r;
        if (f->fd >= 0)
                (void) lseek(f->fd, 0, SEEK_END);
        for (char *line = strtok_r(text, "\n", &at); line; line = strtok_r(NULL, "\n", &at))
                line_item(f->name, line);
        return 0;
}

static int follow_run(Follow *follows, size_t n, int logs_fd, Error *reterr) {
        auto_cleanup(closep) int fd = inotify_init1(IN_CLOEXEC);
        char path[64], events[4096];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", logs_fd);
        if (fd < 0 || inotify_add_watch(fd, path,
                                        IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF |
                                                IN_ONLYDIR) < 0)
                return error_set(reterr, -errno, "Cannot watch the logs: %s", strerror(errno));
        for (;;) {
                struct stat st;

                for (size_t i = 0; i < n; i++)
                        follow_step(follows + i, logs_fd);
                if (fstat(logs_fd, &st) < 0 || st.st_nlink == 0)
                        return 0; /* removed with its workload */
                if (read(fd, events, sizeof(events)) < 0 && errno != EINTR)
                        return error_set(reterr, -errno, "Cannot watch the logs: %s",
                                         strerror(errno));
        }
}

static int names_of_logs(int logs_fd, const char *wanted, Follow *follows, size_t *ret_n) {
        int copy = openat(logs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = copy < 0 ? NULL : fdopendir(copy);

        for (struct dirent *e; dir && (e = readdir(dir)) && *ret_n < LIMIT_PROCESS_CONTAINERS;) {
                auto_cleanup(freep) char *name = NULL;

                if (!str_ends_with(e->d_name, ".log"))
                        continue;
                name = strndup(e->d_name, strlen(e->d_name) - strlen(".log"));
                if (!name)
                        break;
                if (!wanted || streq(wanted, name))
                        follows[(*ret_n)++] = (Follow){ .name = TAKE(name), .fd = -1 };
        }
        if (dir)
                closedir(dir);
        return 0;
}

int workload_logs(SdkCall *call, Error *reterr) {
        auto_cleanup(freep) char *path = str_format("%s/%s/logs", call->state_dir, call->uid);
        auto_cleanup(closep) int logs_fd =
                path ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
        const char *wanted = sdk_string(call->options, "container", NULL);
        int64_t lines = sdk_integer(call->options, "lines", LINES_DEFAULT);
        bool follow = json_is_true(json_object_get(call->options, "follow"));
        Follow follows[LIMIT_PROCESS_CONTAINERS];
        size_t n = 0;
        int r = 0;

        if (logs_fd < 0)
                return error_set(reterr, -ENOENT, "There are no logs");
        (void) names_of_logs(logs_fd, wanted, follows, &n);
        if (wanted && n == 0)
                return error_set(reterr, -EINVAL, "There is no log of a container '%s'", wanted);
        if (lines < 0 || lines > LINES_MAX)
                lines = LINES_MAX;
        for (size_t i = 0; r == 0 && i < n; i++)
                r = follow_start(follows + i, logs_fd, (size_t) lines);
        if (r == 0 && follow)
                r = follow_run(follows, n, logs_fd, reterr);
        for (size_t i = 0; i < n; i++) {
                free(follows[i].name);
                fd_close(follows[i].fd);
                strbuf_done(&follows[i].text);
        }
        return r;
}

static int exec_enter(SdkCall *call, KeeperReader *reader, Error *reterr) {
        auto_cleanup(run_done) Run run = { .lock_fd = -1, .dir_fd = -1 };
        auto_cleanup(closep) int fd = -1;
        json_auto_t *reply = NULL;
        int r = run_open(call, false, &run, reterr);

        if (r == 0)
                r = keeper_connect(&run, &fd, reterr);
        if (r < 0)
                return error_set(reterr, r, "The workload is not running");
        r = keeper_send(fd, "enter", sdk_string(call->options, "container", NULL));
        reader->fd = fd;
        if (r == 0)
                r = keeper_read(reader, 3000, &reply, reterr);
        reader->fd = -1;
        if (r < 0)
                return r;
        if (reader->fds[0] < 0 || reader->fds[1] < 0)
                return error_set(reterr, -EINVAL, "%s",
                                 sdk_string(reply, "error", "It cannot be entered"));
        return 0;
}

__attribute__((noreturn)) static void exec_child(const Launch *l, int pidfd, int out, int err) {
        int null = open("/dev/null", O_RDONLY);

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
                _exit(126);
        launch_enter(l, pidfd, !is_root());
}

/* Copies one stream to items; false at its end. */
static bool exec_copy(int fd, const char *stream) {
        char chunk[8192];
        ssize_t n = read(fd, chunk, sizeof(chunk));

        if (n < 0 && errno == EINTR)
                return true;
        if (n <= 0)
                return false;
        /* Newlines stay; what else JSON or a terminal cannot take does not. */
        for (size_t at = 0, end; at < (size_t) n; at = end + 1) {
                const char *newline = memchr(chunk + at, '\n', (size_t) n - at);

                end = newline ? (size_t) (newline - chunk) : (size_t) n;
                lines_clean(chunk + at, end - at);
        }
        sdk_item(json_pack("{s:s,s:s%}", "stream", stream, "text", chunk, (size_t) n));
        return true;
}

static int exec_run(SdkCall *call, const Launch *l, int pidfd, Error *reterr) {
        int out[2], err[2], status;
        pid_t pid;

        if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
                return error_set(reterr, -errno, "Cannot make a pipe: %s", strerror(errno));
        pid = fork();
        if (pid == 0)
                exec_child(l, pidfd, out[1], err[1]);
        close(out[1]);
        close(err[1]);
        if (pid < 0)
                return error_set(reterr, -errno, "Cannot fork: %s", strerror(errno));
        while (out[0] >= 0 || err[0] >= 0) {
                struct pollfd fds[2] = { { .fd = out[0], .events = POLLIN },
                                         { .fd = err[0], .events = POLLIN } };

                if (poll(fds, 2, -1) < 0)
                        continue;
                if (fds[0].revents && !exec_copy(out[0], "out"))
                        out[0] = fd_close(out[0]);
                if (fds[1].revents && !exec_copy(err[0], "err"))
                        err[0] = fd_close(err[0]);
        }
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        call->ret_extra =
                json_pack("{s:i}", "exit_code",
                          WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        return call->ret_extra ? 0 : -ENOMEM;
}

int workload_exec(SdkCall *call, Error *reterr) {
        auto_cleanup(keeper_reader_done) KeeperReader reader = KEEPER_READER(-1);
        auto_cleanup(launch_done) Launch l = { .uid = -1 };
        const json_t *command = json_object_get(call->options, "command"), *word;
        size_t i;
        int r;

        if (json_array_size(command) == 0 || json_array_size(command) > LIMIT_PROCESS_STRINGS)
                return error_set(reterr, -EINVAL, "exec needs a command: a list of words");
        r = exec_enter(call, &reader, reterr);
        if (r == 0)
                r = launch_read(reader.fds[1], &l, reterr);
        if (r < 0)
                return r;
        strv_free(TAKE(l.argv));
        json_array_foreach(command, i, word) {
                if (!json_is_string(word))
                        return error_set(reterr, -EINVAL, "exec needs a command: a list of words");
                r = strv_add(&l.argv, json_string_value(word));
                if (r < 0)
                        return r;
        }
        return exec_run(call, &l, reader.fds[0], reterr);
}
