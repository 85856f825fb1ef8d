/* backup: the daemon makes the copy and hands over its bytes; this process, with the rights of who asks,
 * writes them beside FILE, holds size and digest against what the daemon said, and only then gives them
 * the name. FILE is the whole backup or what it was before. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"
#include "orchestrator/glue/crypto.h"

static char part_path[4096]; /* what an interruption removes; "" when there is none */

typedef struct Receiver {
        Cli *cli;
        int fd;
        int64_t size;
        bool shown, failed; /* failed: FILE's side could not be written */
} Receiver;

static void on_interrupt(int signal) {
        if (part_path[0])
                (void) unlink(part_path);
        _exit(CLI_INTERRUPTED);
}

static int on_data(void *userdata, const void *data, size_t size) {
        Receiver *x = userdata;
        int r = write_all(x->fd, data, size);

        x->failed = r < 0;
        x->size += (int64_t) size;
        return r;
}

/* Comes about once a second, so what is quick shows nothing. */
static int on_tick(void *userdata) {
        Receiver *x = userdata;

        if (x->cli->json || isatty(STDERR_FILENO) <= 0)
                return 0;
        x->shown = true;
        if (x->size == 0)
                fprintf(stderr, "\r\033[Kthe daemon copies and checks the ledger ...");
        else
                fprintf(stderr, "\r\033[K%lld KiB", (long long) (x->size / 1024));
        return 0;
}

/* In the daemon's own folder it could take the place of the ledger, or of the key. */
static bool in_state(const char *state) {
        auto_cleanup(freep) char *file = realpath(part_path, NULL), *folder = realpath(state, NULL);
        const char *rest = file && folder ? str_after(file, folder) : NULL;

        return rest && *rest == '/';
}

static int receive(Cli *cli, Receiver *x, HttpReply *reply, json_t **ret_status) {
        auto_error error = { 0 };
        HttpCall call = { .method = "GET",
                          .url = "http://localhost/v1/backup",
                          .max = 1024 * 1024,
                          .on_data = on_data,
                          .on_tick = on_tick,
                          .userdata = x };
        int status = cli_request(cli, "GET", "/v1/status", NULL, ret_status), r;

        if (status != CLI_OK)
                return status;
        if (in_state(cli_string(*ret_status, "state_dir")))
                return cli_fail(cli, CLI_REFUSED,
                                "That is in the daemon's own folder %s; take another one, best on "
                                "another disk",
                                cli_string(*ret_status, "state_dir"));
        r = http_client_call(cli->client, &call, reply, &error);
        if (x->shown)
                fprintf(stderr, "\r\033[K");
        if (r < 0 && x->failed)
                return cli_fail(cli, CLI_FAILED, "Cannot write '%s': %s", part_path, strerror(-r));
        return cli_reply_check(cli, r, reply, &error);
}

/* What lies on the disk is what the daemon said it would send. */
static int check(Cli *cli, const Receiver *x, const HttpReply *reply,
                 char digest[static SHA256_HEX]) {
        auto_cleanup(freep) char *have = NULL;
        int64_t size = 0;
        int r = fsync(x->fd) < 0 ? -errno : sha256_fd(x->fd, digest, &size);

        if (r < 0)
                return cli_fail(cli, CLI_FAILED, "Cannot write '%s': %s", part_path, strerror(-r));
        have = str_format("%lld %s", (long long) size, digest);
        if (!have || !reply->backup || !streq(have, reply->backup))
                return cli_fail(cli, CLI_FAILED,
                                "The backup did not arrive whole (%lld bytes); nothing was "
                                "written. Try again",
                                (long long) size);
        return CLI_OK;
}

/* Gives it the name; without force never in another file's place, also when that came meanwhile. */
static int name_it(const char *file, bool force) {
        auto_cleanup(freep) char *folder = strdup(file);
        auto_cleanup(closep) int dir = -1;
        char *slash = folder ? strrchr(folder, '/') : NULL;
        int r;

        if (!folder)
                return -ENOMEM;
        if (slash)
                slash[slash == folder ? 1 : 0] = '\0';
        r = force ? rename(part_path, file)
                  : renameat2(AT_FDCWD, part_path, AT_FDCWD, file, RENAME_NOREPLACE);
        if (r < 0 && !force && errno == EINVAL) { /* a file system that does not know that */
                r = link(part_path, file);
                if (r == 0)
                        (void) unlink(part_path);
        }
        if (r < 0)
                return -errno;
        part_path[0] = '\0';
        dir = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return dir < 0 || fsync(dir) < 0 ? -errno : 0;
}

static void print_words(const char *file, const char *state, const Receiver *x,
                        const char *digest) {
        printf("%s: %lld bytes, SHA-256 %s\n", file, (long long) x->size, digest);
        printf("  in it      projects, previews, their resources, events and receipts, as of now\n");
        printf("  not in it  %s/key and %s/key.signing: keep copies of them in a safe place.\n"
               "             Without 'key' secrets and the chain of events cannot be read.\n"
               "             Nor volumes, checkouts and mayflyd.yaml.\n",
               state, state);
        printf("  to restore stop mayflyd, run 'mayflyd --restore %s --state %s', start mayflyd.\n"
               "             It starts held: look ('mayfly status'), then 'mayfly unfreeze'.\n",
               file, state);
}

static int save(Cli *cli, const char *file, bool force, Receiver *x) {
        auto_cleanup(http_reply_done) HttpReply reply = { 0 };
        json_t *daemon = NULL;
        char digest[SHA256_HEX];
        const char *state;
        int status = receive(cli, x, &reply, &daemon), r;

        if (status == CLI_OK)
                status = check(cli, x, &reply, digest);
        if (status == CLI_OK) {
                r = name_it(file, force);
                if (r < 0)
                        status = cli_fail(cli, r == -EEXIST ? CLI_REFUSED : CLI_FAILED,
                                          "Cannot write '%s': %s", file, strerror(-r));
        }
        state = cli_string(daemon, "state_dir");
        if (status == CLI_OK && cli->json) {
                json_t *out = json_pack("{s:s, s:I, s:s, s:s, s:[s+, s+]}", "file", file, "size",
                                        (json_int_t) x->size, "sha256", digest, "installation",
                                        cli_string(daemon, "installation"), "not_included", state,
                                        "/key", state, "/key.signing");

                if (out)
                        cli_print_json(out);
                else
                        status = cli_fail(cli, CLI_FAILED, "'%s' is not valid UTF-8", file);
                json_decref(out);
        } else if (status == CLI_OK) {
                print_words(file, state, x, digest);
        }
        json_decref(daemon);
        return status;
}

int command_backup(Cli *cli) {
        const char *file = cli->args[0];
        bool force = cli_option(cli, "force") != NULL;
        Receiver x = { .cli = cli, .fd = -1 };
        struct stat st;
        int status, n;

        if (lstat(file, &st) == 0 && (!force || !S_ISREG(st.st_mode)))
                return cli_fail(cli, CLI_REFUSED,
                                S_ISREG(st.st_mode)
                                        ? "'%s' exists; --force replaces it"
                                        : "'%s' exists and is no plain file; it is not replaced",
                                file);
        n = snprintf(part_path, sizeof(part_path), "%s.XXXXXX", file);
        if (n < 0 || (size_t) n >= sizeof(part_path)) {
                part_path[0] = '\0';
                return cli_usage(cli, "The name of the file is too long");
        }
        x.fd = mkostemp(part_path, O_CLOEXEC); /* mode 0600 */
        if (x.fd < 0) {
                n = errno;
                part_path[0] = '\0';
                return cli_fail(cli, CLI_FAILED, "Cannot write '%s': %s", file, strerror(n));
        }
        (void) signal(SIGINT, on_interrupt);
        (void) signal(SIGTERM, on_interrupt);
        status = save(cli, file, force, &x);
        if (part_path[0])
                (void) unlink(part_path);
        close(x.fd);
        return status;
}
