#include "orchestrator/engine/runner.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "config.h"
#include "orchestrator/base/hash.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/engine/reply.h"
#include "orchestrator/engine/scrub.h"
#include "orchestrator/glue/child.h"

typedef struct Run {
        Runner *runner;
        char *id, *provider, *verb;
        Child child;
        LoopSource *in, *out, *err, *ended, *timer;
        char *request; /* what is still to be written, from written on */
        size_t request_size, written;
        StrBuf said;    /* tail of standard error */
        bool said_more; /* and something before it, which was dropped */
        Reply reply;    /* its fault is why it is being ended */
        int64_t deadline_ms;
        bool terminated;
} Run;

struct Runner {
        RunnerSetup setup;
        char *state_dir;
        Map *runs;
};

static void run_free(void *p) {
        Run *run = p;

        if (!run)
                return;
        loop_source_free(run->in);
        loop_source_free(run->out);
        loop_source_free(run->err);
        loop_source_free(run->ended);
        loop_source_free(run->timer);
        child_done(&run->child);
        if (run->request)
                explicit_bzero(run->request, run->request_size); /* it may hold secrets */
        free(run->request);
        strbuf_done(&run->said);
        reply_done(&run->reply);
        free(run->id);
        free(run->provider);
        free(run->verb);
        free(run);
}

DEFINE_CLEANUP(Run *, run_free)

/* ---- ending ---- */

/* SIGTERM first, SIGKILL when the timer fires again. */
static void run_end(Run *run, const char *fault) {
        if (!run->reply.fault)
                run->reply.fault = fault;
        if (run->terminated)
                return;
        run->terminated = true;
        (void) child_kill(&run->child, SIGTERM);
        (void) loop_timer_arm_after(run->timer, LIMIT_PROVIDER_GRACE_MS * UINT64_C(1000));
}

static void run_on_timer(void *userdata) {
        Run *run = userdata;

        if (run->terminated)
                (void) child_kill(&run->child, SIGKILL);
        else
                run_end(run, "did not answer in time");
}

/* ---- reading ---- */

static void run_on_line(void *userdata, const json_t *line) {
        Run *run = userdata;

        run->runner->setup.events.on_line(run->runner->setup.events.userdata, run->id, line);
}

/* One read: the bytes of it, 0 at the end of the stream, negative when there are none just now. */
static ssize_t read_some(int fd, char *chunk, size_t size) {
        ssize_t n = read(fd, chunk, size);

        return n < 0 && errno != EAGAIN && errno != EINTR ? 0 : n;
}

static ssize_t run_read_out(Run *run) {
        char chunk[32768];
        ssize_t n = read_some(run->child.out, chunk, sizeof(chunk));

        if (n > 0)
                reply_read(&run->reply, chunk, (size_t) n);
        if (run->reply.fault)
                run_end(run, NULL);
        return n;
}

static ssize_t run_read_err(Run *run) {
        char chunk[4096];
        ssize_t n = read_some(run->child.err, chunk, sizeof(chunk));

        if (n <= 0)
                return n;
        strbuf_addn(&run->said, chunk, (size_t) n);
        if (run->said.size > 2 * LIMIT_PROVIDER_STDERR_BYTES) {
                size_t cut = run->said.size - LIMIT_PROVIDER_STDERR_BYTES;

                memmove(run->said.text, run->said.text + cut, run->said.size - cut);
                run->said.size -= cut;
                run->said.text[run->said.size] = '\0';
                run->said_more = true;
        }
        return n;
}

/* Takes what is in the pipe now and nothing that comes meanwhile: what a provider left behind may go on
 * writing for ever. */
static void run_drain(Run *run, int fd, ssize_t (*read_one)(Run *run)) {
        ssize_t n = 1;
        int there = 0;

        if (fd < 0 || ioctl(fd, FIONREAD, &there) < 0)
                return;
        for (; there > 0 && n > 0; there -= (int) n)
                n = read_one(run);
}

static void run_on_out(void *userdata, int fd, uint32_t events) {
        Run *run = userdata;

        if (run_read_out(run) == 0)
                run->out = loop_source_free(run->out);
}

static void run_on_err(void *userdata, int fd, uint32_t events) {
        Run *run = userdata;

        if (run_read_err(run) == 0)
                run->err = loop_source_free(run->err);
}

static void run_on_in(void *userdata, int fd, uint32_t events) {
        Run *run = userdata;
        ssize_t n = write(fd, run->request + run->written, run->request_size - run->written);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n > 0)
                run->written += (size_t) n;
        if (n > 0 && run->written < run->request_size)
                return;
        /* Written, or it closed its end: then its answer or its death says more. */
        explicit_bzero(run->request, run->request_size);
        run->in = loop_source_free(run->in);
        run->child.in = fd_close(run->child.in);
}

/* ---- the reply ---- */

/* The last words on standard error: whole ones, so that a secret among them is found. They are cut to
 * size where all secrets are known (view_scrub()); those of its own result are known only here. */
static char *run_last_words(const Run *run) {
        const char *text = run->said.text;
        size_t size = run->said.size;
        bool more = run->said_more;
        auto_cleanup(freep) char *words = NULL;
        auto_scrub scrub = { 0 };

        if (size > LIMIT_PROVIDER_STDERR_BYTES) {
                text += size - LIMIT_PROVIDER_STDERR_BYTES;
                size = LIMIT_PROVIDER_STDERR_BYTES;
                more = true;
        }
        for (; more && size > 0; size--, text++)
                if (strchr(" \n", *text))
                        break;
        while (size > 0 && strchr(" \n\r\t", text[size - 1]))
                size--;
        words = str_format("%s%.*s", size > 0 ? ": " : "", (int) size, size > 0 ? text : "");
        scrub_add_result(&scrub, json_object_get(run->reply.final, "result"));
        return words ? scrub_text(&scrub, words) : NULL;
}

static void run_reply_unknown(Run *run, int status) {
        auto_cleanup(freep) char *message = NULL, *words = run_last_words(run);
        ProviderReply reply = { .call_id = run->id, .class = PROVIDER_TRANSIENT, .unknown = true };
        char how[64];

        message = str_format("The provider '%s' %s while it was asked to %s%s", run->provider,
                             run->reply.fault ? run->reply.fault : child_status_format(status, how),
                             run->verb, words ? words : "");
        reply.message = message ? message : "The provider failed";
        run->runner->setup.events.on_reply(run->runner->setup.events.userdata, &reply);
}

/* A result is worth as much as the end of the program that wrote it; an error is one either way. */
static bool run_is_answered(const Run *run, int status, ProviderReply *ret) {
        return reply_end(&run->reply, ret) && (status == 0 || ret->class != PROVIDER_OK);
}

static void run_on_ended(void *userdata, int fd, uint32_t events) {
        auto_cleanup(run_freep) Run *run = userdata;
        ProviderReply reply = { .call_id = run->id };
        int status = 0, r;

        r = child_reap(&run->child, &status);
        if (r == 0) {
                TAKE(run); /* a spurious wake-up: not ended yet */
                return;
        }
        /* Its output may have arrived together with its end. Something that it left behind may hold the
         * pipe open, so the end of the stream is not waited for. */
        if (run->out)
                run_drain(run, run->child.out, run_read_out);
        if (run->err)
                run_drain(run, run->child.err, run_read_err);
        (void) map_remove(run->runner->runs, run->id);
        if (run_is_answered(run, status, &reply))
                run->runner->setup.events.on_reply(run->runner->setup.events.userdata, &reply);
        else
                run_reply_unknown(run, status);
}

/* ---- starting ---- */

int runner_program(const Config *config, const char *provider, char **ret, Error *reterr) {
        const char *path = NULL, *folder = getenv("MAYFLY_PROVIDERS_DIR");
        auto_cleanup(freep) char *program = NULL;

        if (!path_component_valid(provider))
                return error_set(reterr, -EINVAL, "'%.60s' is not a provider's name", provider);
        if (config)
                path = json_string_value(
                        json_object_get(json_object_get(config->providers, provider), "path"));
        if (path)
                program = strdup(path);
        else
                program = str_format("%s/mayfly-provider-%s", folder ? folder : MAYFLY_LIBEXECDIR,
                                     provider);
        if (program && !path && folder && access(program, X_OK) < 0) {
                free(program);
                program = str_format("%s/%s/mayfly-provider-%s", folder, provider, provider);
        }
        if (!program)
                return -ENOMEM;
        if (access(program, X_OK) < 0)
                return error_set(
                        reterr, -ENOENT,
                        "The provider '%s' cannot be run: '%s' is not there or is no program",
                        provider, program);
        *ret = TAKE(program);
        return 0;
}

static int provider_folder(Runner *r, const char *provider, Error *reterr) {
        auto_cleanup(freep) char *path = str_format("%s/providers/%s", r->state_dir, provider);

        if (!path)
                return -ENOMEM;
        return path_exists(path) ? 0 : mkdir_p(path, 0711, reterr);
}

static int run_watch(Run *run, Error *reterr) {
        Loop *loop = run->runner->setup.loop;
        int r;

        r = loop_add_io(loop, run->child.in, EPOLLOUT, "a provider's input", run_on_in, run,
                        &run->in, reterr);
        if (r == 0)
                r = loop_add_io(loop, run->child.out, EPOLLIN, "a provider's output", run_on_out,
                                run, &run->out, reterr);
        if (r == 0)
                r = loop_add_io(loop, run->child.err, EPOLLIN, "a provider's words", run_on_err,
                                run, &run->err, reterr);
        if (r == 0)
                r = loop_add_io(loop, run->child.pidfd, EPOLLIN, "a provider's end", run_on_ended,
                                run, &run->ended, reterr);
        if (r == 0)
                r = loop_add_timer(loop, "a provider's deadline", run_on_timer, run, &run->timer,
                                   reterr);
        if (r == 0 && run->deadline_ms > 0)
                r = loop_timer_arm_after(run->timer, (uint64_t) run->deadline_ms * 1000);
        return r;
}

static size_t bytes_of(const ProviderCall *call) {
        if (streq(call->verb, "list"))
                return LIMIT_PROVIDER_LIST_BYTES;
        return call->stream ? 0 : LIMIT_PROVIDER_REPLY_BYTES;
}

static int run_new(Runner *runner, const ProviderCall *call, Run **ret, Error *reterr) {
        auto_cleanup(run_freep) Run *run = calloc(1, sizeof(Run));

        if (!run)
                return -ENOMEM;
        run->child = CHILD_NONE;
        run->runner = runner;
        run->reply =
                (Reply){ .max_bytes = bytes_of(call), .on_line = run_on_line, .userdata = run };
        run->deadline_ms = call->deadline_ms;
        run->id = strdup(call->id);
        run->provider = strdup(call->provider);
        run->verb = strdup(call->verb);
        run->request = json_dumps(call->request, JSON_COMPACT);
        if (!run->id || !run->provider || !run->verb || !run->request)
                return -ENOMEM;
        run->request_size = strlen(run->request);
        if (run->request_size > LIMIT_PROVIDER_REQUEST_BYTES)
                return error_set(reterr, -E2BIG, "The request to '%s' is larger than %d bytes",
                                 call->provider, LIMIT_PROVIDER_REQUEST_BYTES);
        *ret = TAKE(run);
        return 0;
}

static int runner_start(void *userdata, const ProviderCall *call, Error *reterr) {
        auto_cleanup(freep) char *program = NULL;
        auto_cleanup(run_freep) Run *run = NULL;
        Runner *runner = userdata;
        int r;

        r = runner_program(runner->setup.config, call->provider, &program, reterr);
        if (r == 0)
                r = provider_folder(runner, call->provider, reterr);
        if (r == 0)
                r = run_new(runner, call, &run, reterr);
        if (r < 0)
                return r;
        r = child_start((char *[]){ program, NULL }, NULL,
                        CHILD_IN | CHILD_OUT | CHILD_ERR | CHILD_DIE, &run->child, reterr);
        if (r == 0)
                r = run_watch(run, reterr);
        if (r == 0)
                r = map_put(runner->runs, run->id, run);
        if (r < 0)
                return r;
        TAKE(run);
        return 0;
}

static void runner_cancel(void *userdata, const char *call_id) {
        Runner *runner = userdata;
        Run *run = map_get(runner->runs, call_id);

        if (run)
                run_end(run, "was cancelled");
}

int runner_new(const RunnerSetup *setup, Runner **ret, Error *reterr) {
        auto_cleanup(runner_freep) Runner *r = calloc(1, sizeof(Runner));

        if (!r)
                return -ENOMEM;
        r->setup = *setup;
        r->state_dir = strdup(setup->state_dir);
        r->runs = map_new(NULL);
        if (!r->state_dir || !r->runs)
                return -ENOMEM;
        signal(SIGPIPE, SIG_IGN); /* a provider that closes its input early is no reason to end */
        *ret = TAKE(r);
        return 0;
}

Runner *runner_free(Runner *r) {
        size_t at = 0;
        Run *run;

        if (!r)
                return NULL;
        while (r->runs && (run = map_next(r->runs, &at, NULL)))
                run_free(run);
        map_free(r->runs);
        free(r->state_dir);
        free(r);
        return NULL;
}

ProviderOps runner_ops(Runner *r) {
        return (ProviderOps){ .start = runner_start, .cancel = runner_cancel, .userdata = r };
}

void runner_set_config(Runner *r, const Config *config) {
        r->setup.config = config;
}
