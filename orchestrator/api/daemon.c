#include "orchestrator/api/daemon.h"

#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/api/backup.h"
#include "orchestrator/api/manager.h"
#include "orchestrator/api/restore.h"
#include "orchestrator/api/settings.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/glue/child.h"

#include "config.h"

#define VERIFY_SHOWN 20 /* things that --verify-log tells one by one */

typedef struct Arguments {
        ManagerOptions options;
        const char *log_level, *copy_ledger, *restore;
        bool check_config, verify_log, new_signing_key;
} Arguments;

static const char help[] =
        "mayflyd --state FOLDER [OPTION...]\n\n"
        "Gives every branch its own running preview, and takes it away again.\n\n"
        "  --state FOLDER          where everything is kept (default: $STATE_DIRECTORY)\n"
        "  --config FILE           mayflyd.yaml(5); SIGHUP reads it again\n"
        "  --listen ADDRESS:PORT   the door (default 127.0.0.1:8150; port 0: the system chooses)\n"
        "  --front door|haproxy    what visitors reach: the door itself, or HAProxy before it\n"
        "  --front-listen A:P      where HAProxy listens (default 127.0.0.1:8200)\n"
        "  --domain DOMAIN         previews are at LABEL.DOMAIN (default preview.localhost)\n"
        "  --socket PATH           the API's Unix socket (default FOLDER/api.sock)\n"
        "  --log-level LEVEL       error, warning, notice, info or debug (default info)\n"
        "  --check-config          read --config, say what is wrong with it, and exit\n"
        "  --verify-log            check that no event and no receipt was changed, and exit\n"
        "  --restore FILE          put a backup in the ledger's place, while no daemon runs, and exit\n"
        "  --new-signing-key       take another key for receipts when the old one is lost, and exit\n"
        "  --version, --help\n";

enum {
        OPT_STATE = 256,
        OPT_CONFIG,
        OPT_LISTEN,
        OPT_FRONT,
        OPT_FRONT_LISTEN,
        OPT_DOMAIN,
        OPT_SOCKET,
        OPT_LOG_LEVEL,
        OPT_CHECK_CONFIG,
        OPT_VERIFY_LOG,
        OPT_NEW_SIGNING_KEY,
        OPT_RESTORE,
        OPT_COPY_LEDGER,
        OPT_VERSION,
};

static const struct option long_options[] = {
        { "state", required_argument, NULL, OPT_STATE },
        { "config", required_argument, NULL, OPT_CONFIG },
        { "listen", required_argument, NULL, OPT_LISTEN },
        { "front", required_argument, NULL, OPT_FRONT },
        { "front-listen", required_argument, NULL, OPT_FRONT_LISTEN },
        { "domain", required_argument, NULL, OPT_DOMAIN },
        { "socket", required_argument, NULL, OPT_SOCKET },
        { "log-level", required_argument, NULL, OPT_LOG_LEVEL },
        { "check-config", no_argument, NULL, OPT_CHECK_CONFIG },
        { "verify-log", no_argument, NULL, OPT_VERIFY_LOG },
        { "new-signing-key", no_argument, NULL, OPT_NEW_SIGNING_KEY },
        { "restore", required_argument, NULL, OPT_RESTORE },
        /* What the daemon runs to make a backup (backup.c); nothing for people. */
        { "copy-ledger", required_argument, NULL, OPT_COPY_LEDGER },
        { "version", no_argument, NULL, OPT_VERSION },
        { "help", no_argument, NULL, 'h' },
        { 0 },
};

/* Where the value of an option goes; NULL for those without one. */
static const char **argument_slot(Arguments *a, int option) {
        const struct {
                int option;
                const char **slot;
        } slots[] = {
                { OPT_STATE, &a->options.state },
                { OPT_CONFIG, &a->options.config },
                { OPT_LISTEN, &a->options.listen },
                { OPT_FRONT, &a->options.front },
                { OPT_FRONT_LISTEN, &a->options.front_listen },
                { OPT_DOMAIN, &a->options.domain },
                { OPT_SOCKET, &a->options.socket },
                { OPT_LOG_LEVEL, &a->log_level },
                { OPT_COPY_LEDGER, &a->copy_ledger },
                { OPT_RESTORE, &a->restore },
        };

        for (size_t i = 0; i < N_ELEMENTS(slots); i++)
                if (slots[i].option == option)
                        return slots[i].slot;
        return NULL;
}

/* 0 to go on, 1 when done (help, version), -EINVAL. */
static int arguments_read(Arguments *a, int argc, char **argv) {
        int option;

        while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
                const char **slot = argument_slot(a, option);

                if (slot) {
                        *slot = optarg;
                } else if (option == OPT_CHECK_CONFIG) {
                        a->check_config = true;
                } else if (option == OPT_VERIFY_LOG) {
                        a->verify_log = true;
                } else if (option == OPT_NEW_SIGNING_KEY) {
                        a->new_signing_key = true;
                } else if (option == 'h') {
                        fputs(help, stdout);
                        return 1;
                } else if (option == OPT_VERSION) {
                        printf("mayflyd %s\n", MAYFLY_VERSION);
                        return 1;
                } else {
                        return -EINVAL;
                }
        }
        if (optind < argc) {
                fprintf(stderr, "mayflyd: there is one argument too many: '%s'\n", argv[optind]);
                return -EINVAL;
        }
        return 0;
}

static int arguments_check(Arguments *a) {
        static const struct {
                const char *name;
                LogLevel level;
        } levels[] = {
                { "error", LOG_LEVEL_ERROR },   { "warning", LOG_LEVEL_WARNING },
                { "notice", LOG_LEVEL_NOTICE }, { "info", LOG_LEVEL_INFO },
                { "debug", LOG_LEVEL_DEBUG },
        };
        bool found = a->log_level == NULL;

        for (size_t i = 0; a->log_level && i < N_ELEMENTS(levels); i++)
                if (streq(levels[i].name, a->log_level)) {
                        log_set_level(levels[i].level);
                        found = true;
                }
        if (!found) {
                fprintf(stderr, "mayflyd: there is no log level '%s'\n", a->log_level);
                return -EINVAL;
        }
        if (a->options.front && !streq(a->options.front, "door") &&
            !streq(a->options.front, "haproxy")) {
                fprintf(stderr, "mayflyd: --front is 'door' or 'haproxy', not '%s'\n",
                        a->options.front);
                return -EINVAL;
        }
        if (!a->options.state)
                a->options.state = getenv("STATE_DIRECTORY");
        if (!a->options.state && !a->check_config) {
                fprintf(stderr, "mayflyd: say where to keep everything, with --state FOLDER\n");
                return -EINVAL;
        }
        return 0;
}

static int check_config(const Arguments *a) {
        auto_error error = { 0 };
        int r;

        if (!a->options.config) {
                fprintf(stderr, "mayflyd: say which file to check, with --config FILE\n");
                return 2;
        }
        r = settings_check(a->options.config, &error);
        if (r < 0 && r != -EINVAL)
                fprintf(stderr, "mayflyd: %s\n", error_text(&error, r));
        if (r == 0)
                printf("%s is in order\n", a->options.config);
        return r < 0 ? 1 : 0;
}

static int ledger_of(const Arguments *a, bool read_only, Ledger **ret, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(a->options.state, "ledger.db");
        auto_cleanup(freep) char *key = path_join(a->options.state, "key");
        LedgerOptions options = { .path = path,
                                  .key_path = key,
                                  .random = &random_system,
                                  .new_signing_key = a->new_signing_key,
                                  .read_only = read_only,
                                  .now_ms = clock_wall_ms(&clock_system) };

        if (!path || !key)
                return -ENOMEM;
        if (!path_exists(path))
                return error_set(reterr, -ENOENT, "there is no ledger in '%s'", a->options.state);
        return ledger_open(&options, ret, reterr);
}

static void tell_holds(Ledger *ledger) {
        auto_cleanup(freep) char *hold = NULL, *frozen = NULL;

        if (ledger_held(ledger))
                printf("The next start will be held: %s. Nothing is removed then until 'mayfly "
                       "unfreeze'\n",
                       ledger_held(ledger));
        else if (ledger_hold(ledger, &hold, NULL) == 0)
                printf("The ledger is held: %s. Nothing is removed until 'mayfly unfreeze'\n",
                       hold);
        else if (ledger_value_get(ledger, "frozen", &frozen, NULL) == 0 ||
                 ledger_value_get(ledger, "clock.frozen", &frozen, NULL) == 0)
                printf("The ledger is frozen. Nothing is removed until 'mayfly unfreeze'\n");
}

static void tell_finding(void *userdata, const char *sentence) {
        unsigned *n = userdata;

        if (++*n <= VERIFY_SHOWN)
                fprintf(stderr, "mayflyd: %s\n", sentence);
}

/* Looks only: a daemon may be running, and what was noticed once is noticed again (ledger.h). */
static int verify_log(const Arguments *a) {
        auto_cleanup(ledger_closep) Ledger *ledger = NULL;
        auto_error error = { 0 };
        unsigned n = 0;
        int r = ledger_of(a, true, &ledger, &error);

        if (r == 0) {
                tell_holds(ledger);
                r = ledger_verify(ledger, tell_finding, &n, &error);
        }
        if (r < 0) {
                fprintf(stderr, "mayflyd: %s\n", error_text(&error, r));
                return 1;
        }
        if (n > VERIFY_SHOWN)
                fprintf(stderr, "mayflyd: and %u more\n", n - VERIFY_SHOWN);
        if (n > 0)
                return 1;
        printf("Every event and every receipt is as it was written\n");
        return 0;
}

static int new_signing_key(const Arguments *a) {
        auto_cleanup(ledger_closep) Ledger *ledger = NULL;
        auto_cleanup(freep) char *key = NULL;
        auto_error error = { 0 };
        int r = ledger_of(a, false, &ledger, &error);

        if (r == 0)
                r = ledger_public_key(ledger, &key);
        if (r < 0) {
                fprintf(stderr, "mayflyd: %s\n", error_text(&error, r));
                return 1;
        }
        printf("Receipts are signed with the key of:\n%s", key);
        return 0;
}

/* One arena, given back early: the daemon is small and stays small. */
static void tune_memory(void) {
        (void) mallopt(M_ARENA_MAX, 1);
        (void) mallopt(M_TRIM_THRESHOLD, 64 * 1024);
        (void) mallopt(M_MMAP_THRESHOLD, 256 * 1024);
}

static int serve(const Arguments *a) {
        auto_cleanup(manager_freep) Manager *m = NULL;
        auto_error error = { 0 };
        int r;

        r = child_raise_files(&error); /* each visitor at the door is two */
        if (r < 0)
                log_warning("%s", error_text(&error, r));
        error_done(&error);
        r = manager_start(&a->options, &m, &error);
        if (r == 0) {
                if (isatty(STDERR_FILENO) > 0)
                        log_notice("For the command: export MAYFLY_STATE=%s", m->state_dir);
                r = manager_run(m, &error);
        }
        if (r < 0) {
                log_error("%s", error_text(&error, r));
                return r == -EINVAL ? 2 : 1;
        }
        return 0;
}

int daemon_main(int argc, char **argv) {
        Arguments a = { 0 };
        int r = arguments_read(&a, argc, argv);

        if (r > 0)
                return 0;
        log_set_priority_prefix(getenv("JOURNAL_STREAM") != NULL);
        if (r == 0)
                r = arguments_check(&a);
        if (r < 0) {
                fprintf(stderr, "See 'mayflyd --help'.\n");
                return 2;
        }
        if (a.check_config)
                return check_config(&a);
        if (a.copy_ledger)
                return backup_copy(a.options.state, a.copy_ledger);
        tune_memory();
        umask(0022);
        if (a.restore)
                return restore_run(a.options.state, a.restore);
        if (a.new_signing_key)
                return new_signing_key(&a);
        return a.verify_log ? verify_log(&a) : serve(&a);
}
