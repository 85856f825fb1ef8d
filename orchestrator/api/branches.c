#include "orchestrator/api/branches.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/child.h"

struct BranchesJob {
        Manager *m;
        BranchesJob *next, **link;
        char *repository;
        BranchesFunc done;
        void *userdata;
        bool running;
        int64_t began_ms;
        Child child;
        LoopSource *out_source, *err_source, *pid_source, *timer;
        StrBuf out, err;
        int failure; /* why it was ended: -ETIMEDOUT, -EFBIG */
        int status;
        bool reaped;
};

static void jobs_start_waiting(Manager *m);

static void job_free(BranchesJob *j) {
        *j->link = j->next;
        if (j->next)
                j->next->link = j->link;
        loop_source_free(j->out_source);
        loop_source_free(j->err_source);
        loop_source_free(j->pid_source);
        loop_source_free(j->timer);
        if (j->running) {
                child_done(&j->child);
                j->m->n_jobs--;
        }
        strbuf_done(&j->out);
        strbuf_done(&j->err);
        free(j->repository);
        free(j);
}

void branches_cancel(BranchesJob *job) {
        Manager *m;

        if (!job)
                return;
        m = job->m;
        job_free(job);
        if (!m->stopping)
                jobs_start_waiting(m);
}

/* ---- what git says ---- */

static bool object_name_valid(const char *s) {
        size_t n = strlen(s);

        return (n == 40 || n == 64) && strspn(s, "0123456789abcdef") == n;
}

/* "ref: refs/heads/main\tHEAD", "OBJECT\tHEAD", "OBJECT\trefs/heads/NAME". */
static int parse_line(char *line, json_t *list, char **head) {
        char *tab = strchr(line, '\t');
        const char *target, *branch;
        json_t *item;

        if (!tab)
                return -EBADMSG;
        *tab++ = '\0';
        target = str_after(line, "ref: refs/heads/");
        if (target && streq(tab, "HEAD"))
                return str_replace(head, target);
        if (!object_name_valid(line))
                return -EBADMSG;
        branch = str_after(tab, "refs/heads/");
        if (!branch)
                return streq(tab, "HEAD") ? 0 : -EBADMSG;
        /* A name that JSON cannot hold has no preview, but its line was understood. */
        if (!utf8_valid(branch, strlen(branch)))
                return 0;
        item = json_pack("{s:s, s:s}", "name", branch, "commit", line);
        return item && json_array_append_new(list, item) == 0 ? 0 : -ENOMEM;
}

int branches_parse(char *text, json_t **ret_list, char **ret_head) {
        json_t *list = json_array();
        auto_cleanup(freep) char *head = NULL;
        int r = list ? 0 : -ENOMEM;

        while (r == 0 && *text) {
                char *end = strchr(text, '\n');

                if (!end)
                        r = -EBADMSG; /* cut short */
                else
                        *end = '\0';
                if (r == 0)
                        r = parse_line(text, list, &head);
                if (r == 0)
                        text = end + 1;
        }
        if (r < 0) {
                json_decref(list);
                return r;
        }
        *ret_list = list;
        *ret_head = TAKE(head);
        return 0;
}

const char *branches_find(const Branches *b, const char *branch) {
        const json_t *item;
        size_t i;

        json_array_foreach(b->list, i, item) {
                if (streq(json_string_value(json_object_get(item, "name")), branch))
                        return json_string_value(json_object_get(item, "commit"));
        }
        return NULL;
}

/* git's last line usually says what was wrong. */
static int git_failed(const BranchesJob *j, Error *reterr) {
        const char *text = j->err.text ?: "", *fatal = strstr(text, "fatal: ");
        char status[64];

        if (fatal)
                text = fatal + strlen("fatal: ");
        if (*text)
                return error_set(reterr, -EREMOTEIO, "Cannot read the repository '%s': %.*s",
                                 j->repository, (int) strcspn(text, "\n"), text);
        return error_set(reterr, -EREMOTEIO, "Cannot read the repository '%s': git %s",
                         j->repository, child_status_format(j->status, status));
}

static int job_result(BranchesJob *j, Branches *b, char **head, Error *reterr) {
        int r;

        if (j->failure == -ETIMEDOUT)
                return error_set(reterr, -ETIMEDOUT, "The repository '%s' did not answer in %d s",
                                 j->repository, LIMIT_BRANCHES_MS / 1000);
        if (j->failure < 0)
                return error_set(reterr, j->failure, "The list of branches of '%s' is too long",
                                 j->repository);
        if (!WIFEXITED(j->status) || WEXITSTATUS(j->status) != 0)
                return git_failed(j, reterr);
        if (j->out.broken)
                return -ENOMEM;
        if (!j->out.text) {
                b->list = json_array();
                return b->list ? 0 : -ENOMEM;
        }
        r = branches_parse(j->out.text, &b->list, head);
        if (r < 0)
                return error_set(reterr, r, "git's list of branches of '%s' was not understood",
                                 j->repository);
        b->head = *head;
        b->complete = json_array_size(b->list) > 0;
        return 0;
}

static void job_end(BranchesJob *j) {
        auto_cleanup(freep) char *head = NULL;
        auto_error error = { 0 };
        Branches b = { .began_ms = j->began_ms };
        BranchesFunc done = j->done;
        void *userdata = j->userdata;
        Manager *m = j->m;
        int r = job_result(j, &b, &head, &error);

        job_free(j);
        done(userdata, r, &b, &error);
        json_decref(b.list);
        jobs_start_waiting(m);
}

/* ---- the child ---- */

static void job_end_if_over(BranchesJob *j) {
        if (j->reaped && !j->out_source && !j->err_source)
                job_end(j);
}

static void job_fail(BranchesJob *j, int failure) {
        if (j->failure == 0)
                j->failure = failure;
        (void) child_kill(&j->child, SIGKILL);
}

/* True at the end of the stream. */
static bool job_read(BranchesJob *j, int fd, StrBuf *text, size_t max, bool must_fit) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof(chunk));

        if (n < 0)
                return errno != EAGAIN && errno != EINTR;
        if (n == 0)
                return true;
        if (text->size + (size_t) n <= max)
                strbuf_addn(text, chunk, (size_t) n);
        else if (must_fit)
                job_fail(j, -EFBIG);
        return false;
}

static void job_on_out(void *userdata, int fd, uint32_t events) {
        BranchesJob *j = userdata;

        if (job_read(j, fd, &j->out, LIMIT_BRANCHES_BYTES, true))
                j->out_source = loop_source_free(j->out_source);
        job_end_if_over(j);
}

static void job_on_err(void *userdata, int fd, uint32_t events) {
        BranchesJob *j = userdata;

        if (job_read(j, fd, &j->err, LIMIT_PROVIDER_STDERR_BYTES, false))
                j->err_source = loop_source_free(j->err_source);
        job_end_if_over(j);
}

static void job_on_exit(void *userdata, int fd, uint32_t events) {
        BranchesJob *j = userdata;

        if (child_reap(&j->child, &j->status) == 0)
                return;
        j->pid_source = loop_source_free(j->pid_source);
        j->reaped = true;
        job_end_if_over(j);
}

static void job_on_time(void *userdata) {
        job_fail(userdata, -ETIMEDOUT);
}

static int job_environment(Manager *m, char ***ret) {
        static const char *const keep[] = { "PATH",       "HOME",        "USER",    "SSH_AUTH_SOCK",
                                            "http_proxy", "https_proxy", "no_proxy" };
        static const char *const fixed[] = {
                "LC_ALL=C.UTF-8",
                "GIT_TERMINAL_PROMPT=0",
                "GIT_ASKPASS=/bin/false",
                "GIT_CONFIG_NOSYSTEM=1",
                "GIT_ALLOW_PROTOCOL=file:https:ssh",
                "GIT_SSH_COMMAND=ssh -oBatchMode=yes -oConnectTimeout=10",
                "GIT_OPTIONAL_LOCKS=0",
        };
        auto_cleanup(strv_freep) char **env = NULL;
        auto_cleanup(freep) char *config = str_format("GIT_CONFIG_GLOBAL=%s", m->gitconfig);
        int r = config ? strv_add(&env, config) : -ENOMEM;

        for (size_t i = 0; r == 0 && i < N_ELEMENTS(fixed); i++)
                r = strv_add(&env, fixed[i]);
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(keep); i++) {
                const char *value = getenv(keep[i]);
                auto_cleanup(freep) char *pair = value ? str_format("%s=%s", keep[i], value) : NULL;

                if (value)
                        r = pair ? strv_add(&env, pair) : -ENOMEM;
        }
        if (r < 0)
                return r;
        *ret = TAKE(env);
        return 0;
}

static int job_watch(BranchesJob *j, Error *reterr) {
        Loop *loop = j->m->loop;
        int r = loop_add_io(loop, j->child.out, EPOLLIN, "git: branches", job_on_out, j,
                            &j->out_source, reterr);

        if (r == 0)
                r = loop_add_io(loop, j->child.err, EPOLLIN, "git: complaints", job_on_err, j,
                                &j->err_source, reterr);
        if (r == 0)
                r = loop_add_io(loop, j->child.pidfd, EPOLLIN, "git: its end", job_on_exit, j,
                                &j->pid_source, reterr);
        if (r == 0)
                r = loop_add_timer(loop, "git: overdue", job_on_time, j, &j->timer, reterr);
        if (r == 0)
                r = loop_timer_arm_after(j->timer, LIMIT_BRANCHES_MS * 1000ULL);
        return r;
}

static int job_start(BranchesJob *j, Error *reterr) {
        char *argv[] = { (char *) "git",          (char *) "ls-remote",
                         (char *) "--symref",     (char *) "--",
                         j->repository,           (char *) "HEAD",
                         (char *) "refs/heads/*", NULL };
        auto_cleanup(strv_freep) char **env = NULL;
        int r = job_environment(j->m, &env);

        j->began_ms = engine_now_ms(j->m->engine);
        if (r == 0)
                r = child_start(argv, env, CHILD_OUT | CHILD_ERR | CHILD_DIE, &j->child, reterr);
        if (r < 0)
                return r;
        j->running = true;
        j->m->n_jobs++;
        return job_watch(j, reterr);
}

static BranchesJob *job_waiting(Manager *m) {
        BranchesJob *oldest = NULL;

        for (BranchesJob *j = m->jobs; j; j = j->next)
                if (!j->running)
                        oldest = j; /* new ones are put in front */
        return oldest;
}

static void jobs_start_waiting(Manager *m) {
        BranchesJob *j;

        while (m->n_jobs < LIMIT_BRANCHES_JOBS && (j = job_waiting(m))) {
                auto_error error = { 0 };
                BranchesFunc done = j->done;
                void *userdata = j->userdata;
                int r = job_start(j, &error);

                if (r == 0)
                        continue;
                job_free(j);
                done(userdata, r, &(Branches){ 0 }, &error);
        }
}

int branches_list(Manager *m, const char *repository, BranchesFunc done, void *userdata,
                  BranchesJob **ret, Error *reterr) {
        BranchesJob *j;
        unsigned n = 0;
        int r = repository_check(repository, reterr);

        if (r < 0)
                return r;
        for (j = m->jobs; j; j = j->next)
                n++;
        if (n >= LIMIT_BRANCHES_WAITING)
                return error_set(reterr, -EAGAIN,
                                 "Too many repositories are being read; try again");
        j = calloc(1, sizeof(BranchesJob));
        if (!j)
                return -ENOMEM;
        j->m = m;
        j->child = CHILD_NONE;
        j->done = done;
        j->userdata = userdata;
        j->next = m->jobs;
        j->link = &m->jobs;
        if (j->next)
                j->next->link = &j->next;
        m->jobs = j;
        j->repository = strdup(repository);
        r = j->repository ? 0 : -ENOMEM;
        if (r == 0 && m->n_jobs < LIMIT_BRANCHES_JOBS)
                r = job_start(j, reterr);
        if (r < 0) {
                job_free(j);
                return r;
        }
        *ret = j;
        return 0;
}

int repository_check(const char *repository, Error *reterr) {
        static const char *const schemes[] = { "file:///", "https://", "ssh://" };
        size_t n = strlen(repository);

        if (n == 0 || n > LIMIT_REPOSITORY_BYTES)
                return error_set(reterr, -EINVAL, "A repository's address has 1 to %d bytes",
                                 LIMIT_REPOSITORY_BYTES);
        for (size_t i = 0; i < n; i++)
                if ((unsigned char) repository[i] < 0x20 || repository[i] == 0x7f)
                        return error_set(reterr, -EINVAL,
                                         "A repository's address has no control characters");
        if (repository[0] == '/')
                return 0;
        for (size_t i = 0; i < N_ELEMENTS(schemes); i++) {
                const char *rest = str_after(repository, schemes[i]);

                if (rest && *rest && *rest != '-')
                        return 0;
        }
        return error_set(
                reterr, -EINVAL,
                "'%s' is no repository: use an absolute path, or a file://, https:// or ssh:// "
                "address",
                repository);
}
