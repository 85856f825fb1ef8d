/* Runs every scenario with every fault at every place, and asks after each: is what was acknowledged
 * there, is nothing of a failed turn half there, does the event chain hold, does the ledger open or say
 * why not, does it go on?
 *
 * Usage: ledger-faults [SCENARIO [FAULT [N]]]     one of them, as a failure names it
 * MAYFLY_FAULTS_SHARE=K runs every K-th place only (sanitizers are slow). */
#undef NDEBUG
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orchestrator/base/cleanup.h"
#include "orchestrator/base/hash.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/ledger/private.h"
#include "tests/vfs/disk.h"
#include "tests/vfs/scenarios.h"

#define TURNS_MAX     24
#define PLACES_MAX    20000
#define RANDOM_LOSSES 11

typedef enum Judge {
        JUDGE_STRICT, /* everything that was acknowledged is there */
        JUDGE_LIAR, /* the disk lied about a sync of the WAL, then the power failed: an older whole state, and held */
        JUDGE_DAMAGED, /* the disk lied about the database itself: opens or says why not */
} Judge;

typedef struct FaultKind {
        const char *name;
        DiskPlan plan;
        Judge judge;
} FaultKind;

static const FaultKind kinds[] = {
        { "a write fails", { DISK_IOERR, DISK_WRITE }, JUDGE_STRICT },
        { "writes fail", { DISK_IOERR, DISK_WRITE, .onwards = true }, JUDGE_STRICT },
        { "a write finds the disk full", { DISK_FULL, DISK_WRITE }, JUDGE_STRICT },
        { "the disk is full", { DISK_FULL, DISK_WRITE, .onwards = true }, JUDGE_STRICT },
        { "a write is torn", { DISK_TEAR, DISK_WRITE }, JUDGE_STRICT },
        { "writes are torn", { DISK_TEAR, DISK_WRITE, .onwards = true }, JUDGE_STRICT },
        { "a write is torn by a full disk", { DISK_TEAR_FULL, DISK_WRITE }, JUDGE_STRICT },
        { "a sync fails", { DISK_IOERR, DISK_SYNC }, JUDGE_STRICT },
        { "syncs fail", { DISK_IOERR, DISK_SYNC, .onwards = true }, JUDGE_STRICT },
        { "a truncation fails", { DISK_IOERR, DISK_TRUNCATE }, JUDGE_STRICT },
        { "truncations fail", { DISK_IOERR, DISK_TRUNCATE, .onwards = true }, JUDGE_STRICT },
        { "a change fails", { DISK_IOERR, DISK_CHANGES }, JUDGE_STRICT },
        { "changes fail", { DISK_IOERR, DISK_CHANGES, .onwards = true }, JUDGE_STRICT },
        { "changes find the disk full",
          { DISK_FULL, DISK_CHANGES, .onwards = true },
          JUDGE_STRICT },
        { "a read fails", { DISK_IOERR, DISK_READ }, JUDGE_STRICT },
        { "reads fail", { DISK_IOERR, DISK_READ, .onwards = true }, JUDGE_STRICT },
        { "a file cannot be opened", { DISK_IOERR, DISK_OPEN }, JUDGE_STRICT },
        { "a file cannot be deleted", { DISK_IOERR, DISK_DELETE }, JUDGE_STRICT },
        { "no room for the WAL index", { DISK_FULL, DISK_SHM, .onwards = true }, JUDGE_STRICT },
        { "a change is late", { DISK_DELAY, DISK_CHANGES }, JUDGE_STRICT },
        { "the power fails", { DISK_CRASH, DISK_CHANGES | DISK_DELETE }, JUDGE_STRICT },
        { "a sync of the WAL is a lie", { DISK_DROP, DISK_SYNC, .only = "-wal" }, JUDGE_LIAR },
        { "syncs of the WAL are lies",
          { DISK_DROP, DISK_SYNC, .onwards = true, .only = "-wal" },
          JUDGE_LIAR },
        { "a sync of the database is a lie",
          { DISK_DROP, DISK_SYNC, .only = ".db" },
          JUDGE_DAMAGED },
        { "a write is a lie", { DISK_DROP, DISK_WRITE }, JUDGE_DAMAGED },
};

typedef struct Figures {
        unsigned long injections, losses, opened, failed_turns, again, held, older, refused,
                damaged;
        unsigned long violations;
} Figures;

/* Disks that were opened before: what is on a disk decides what is found there. */
#define SEEN_SLOTS (1u << 16)
typedef struct Seen {
        uint64_t disk;
        unsigned state;
} Seen;

/* The disk and the anchor beside it, as they were. */
typedef struct Moment {
        Disk *disk;
        char *anchor; /* NULL: none */
        size_t anchor_size;
} Moment;

typedef struct Run {
        const Scenario *s;
        const FaultKind *kind;
        unsigned n;
        char dir[64], db[96], key[96], anchor[96];
        Moment base;
        uint64_t states[TURNS_MAX +
                        1]; /* what the ledger says after each turn, told without faults */
        unsigned acked;     /* turns whose commit returned 0 */
        bool doubt;         /* one more was tried */
        Ledger *ledger;
        bool careless; /* a ledger that does not sync: the driver must notice */
        Figures *figures;
        uint64_t random;
        Seen *seen;
} Run;

static void fill(void *userdata, void *buf, size_t size) {
        uint64_t *x = userdata;

        for (size_t i = 0; i < size; i++) {
                *x = *x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
                ((uint8_t *) buf)[i] = (uint8_t) (*x >> 33);
        }
}

static void violation(Run *t, const char *invariant, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));
static void violation(Run *t, const char *invariant, const char *fmt, ...) {
        va_list args;

        if (t->figures->violations++ >= 10 || t->careless)
                return;
        printf("# %s: \"%s\", \"%s\", %u: ", invariant, t->s->name, t->kind ? t->kind->name : "-",
               t->n);
        va_start(args, fmt);
        vprintf(fmt, args);
        va_end(args);
        printf("\n");
        fflush(stdout);
}

/* ---- what the ledger says ---- */

/* The epoch, the anchor's values and the ids of the installation belong to the start, not to what was
 * written; a sealed secret has a nonce of its own (that it opens is checked apart). */
#define VALUES " WHERE name NOT IN ('installation', 'epoch', 'anchored', 'key')"
static const char *const tables[] = {
        "value", "project", "environment", "generation", "resource", "intent",
        "event", "route",   "outbox",      "receipt",    "stray",
};
static char *rows[N_ELEMENTS(tables)]; /* a statement for each, that gives each row as one text */

/* Asks the tables themselves for their columns, so that no new one is forgotten. */
static void make_rows(Db *db) {
        for (size_t i = 0; i < N_ELEMENTS(tables); i++) {
                static const char ask[] =
                        "SELECT name FROM pragma_table_info(?1) WHERE name != 'sealed'";
                auto_cleanup(db_query_donep) DbQuery *q = NULL;
                auto_strbuf b = { 0 };

                assert(!rows[i] && db_query(db, ask, &q, NULL) == 0);
                db_bind_text(q, 1, tables[i]);
                strbuf_add(&b, "SELECT ''");
                while (db_step(q, NULL) > 0)
                        strbuf_addf(&b, " || quote(\"%s\") || '|'", db_text(q, 0));
                strbuf_addf(&b, " FROM %s%s ORDER BY 1", tables[i], i == 0 ? VALUES : "");
                rows[i] = strbuf_take(&b);
        }
}

/* What the ledger says, as one number; 0 when it cannot be read. */
static uint64_t digest(Db *db) {
        uint64_t h = 1;
        int r = 0;

        if (!rows[0])
                make_rows(db);
        for (size_t i = 0; i < N_ELEMENTS(tables) && r == 0; i++) {
                auto_cleanup(db_query_donep) DbQuery *q = NULL;

                r = db_query(db, rows[i], &q, NULL);
                while (r == 0 && (r = db_step(q, NULL)) > 0) {
                        h = hash_string(h, db_text(q, 0));
                        r = 0;
                }
                h = hash_bytes(h, "#", 1);
        }
        return r == 0 ? h : 0;
}

/* ---- invariants ---- */

static int count_secrets(void *userdata, const Resource *r) {
        auto_cleanup(freep) char *text = NULL;

        if (!r->secret || !r->secret[0])
                return 0;
        if (ledger_resource_outputs(userdata, r, &text, NULL) < 0 || !strstr(text, "s3cret"))
                return 1;
        return 0;
}

static unsigned state_of(const Run *t, uint64_t h) {
        for (unsigned i = 0; i <= t->s->n_turns; i++)
                if (t->states[i] == h)
                        return i;
        return UINT_MAX;
}

static void what_was_acknowledged_is_there(Run *t, unsigned state) {
        if (state != UINT_MAX && state < t->acked)
                violation(t, __func__, "%u turns were acknowledged, %u are there", t->acked, state);
}

static void nothing_of_a_failed_turn_is_half_there(Run *t, unsigned state) {
        if (state == UINT_MAX)
                violation(t, __func__, "after %u turns: no state that the ledger ever had",
                          t->acked);
        else if (state > t->acked + (t->doubt ? 1 : 0))
                violation(t, __func__, "%u turns were tried, %u are there", t->acked, state);
}

static void the_event_chain_holds(Run *t) {
        int64_t bad = -1;
        int r = ledger_verify_events(t->ledger, &bad, NULL);

        if (r < 0 || bad != 0)
                violation(t, __func__, "result %d, event %lld", r, (long long) bad);
}

static void secrets_open(Run *t) {
        if (ledger_resource_each(t->ledger, NULL, true, count_secrets, t->ledger, NULL) != 0)
                violation(t, __func__, "a secret cannot be opened");
}

static void it_is_not_held_without_reason(Run *t) {
        if (ledger_held(t->ledger))
                violation(t, __func__, "%s", ledger_held(t->ledger));
}

static void a_failure_says_why(Run *t, const char *what, int r, const Error *e) {
        if (t->kind->judge == JUDGE_DAMAGED)
                return;
        if (r >= 0 || r == -EPERM || r == -ESTALE || r == -ENOTRECOVERABLE || r == -EBADMSG)
                violation(t, __func__, "%s: %d %s", what, r, error_text(e, r));
}

/* ---- one run ---- */

static int run_open(Run *t, Error *e) {
        Random random = { fill, &t->random };
        LedgerOptions o = { .path = t->db,
                            .key_path = t->key,
                            .vfs = DISK_VFS,
                            .random = &random,
                            .fast = t->careless };
        int r;

        r = ledger_open(&o, &t->ledger, e);
        if (r == 0 && t->s->small_wal)
                (void) db_exec(t->ledger->db, "PRAGMA wal_autocheckpoint = 6", NULL);
        if (r == 0 && t->s->small_cache)
                (void) db_exec(t->ledger->db, "PRAGMA cache_size = 8", NULL);
        return r;
}

static int run_turn(Run *t, unsigned i, Error *e) {
        int r;

        if (!t->ledger) {
                r = run_open(t, e);
                if (r < 0)
                        return r;
        }
        r = t->s->turn(t->ledger, i, e);
        if (r < 0) {
                ledger_rollback(t->ledger);
                return r;
        }
        t->doubt = true;
        return ledger_commit(t->ledger, e);
}

static Moment moment_take(const Run *t) {
        Moment m = { .disk = disk_copy() };

        (void) read_file(t->anchor, 4096, &m.anchor, &m.anchor_size, NULL); /* or none */
        return m;
}

/* Without write_file(): the anchor's own syncs are not what is tried here. */
static void moment_put(const Run *t, const Moment *m) {
        disk_put(m->disk);
        if (m->anchor) {
                auto_cleanup(closep) int fd = open(t->anchor, O_WRONLY | O_CREAT | O_TRUNC, 0600);

                assert(fd >= 0 && write_all(fd, m->anchor, m->anchor_size) == 0);
        } else
                (void) unlink(t->anchor);
}

static void moment_done(Moment *m) {
        disk_free(m->disk);
        free(m->anchor);
}

static void reset(Run *t) {
        disk_heal();
        moment_put(t, &t->base);
        t->acked = 0;
        t->doubt = false;
        t->random = 7;
        t->ledger = NULL;
}

/* Turns under the fault; a failed one is asked for a second time. */
static void run_turns(Run *t) {
        bool crash = t->kind->plan.fault == DISK_CRASH;

        while (t->acked < t->s->n_turns) {
                auto_error first = { 0 }, second = { 0 };
                int r;

                if (t->s->reopen)
                        t->ledger = ledger_close(t->ledger);
                r = run_turn(t, t->acked, &first);
                if (r < 0) {
                        if (crash)
                                return;
                        a_failure_says_why(t, "a turn", r, &first);
                        t->figures->failed_turns++;
                        r = run_turn(t, t->acked, &second);
                        if (r < 0) {
                                a_failure_says_why(t, "the turn again", r, &second);
                                return;
                        }
                        t->figures->again++;
                }
                t->acked++;
                t->doubt = false;
        }
}

/* The disk is well: opens, holds the invariants. Returns which state was found. */
static unsigned run_inspect(Run *t) {
        auto_error e = { 0 };
        unsigned state;
        int r;

        t->ledger = NULL;
        r = run_open(t, &e);
        t->figures->opened++;
        if (r < 0) {
                if (t->kind->judge == JUDGE_STRICT)
                        violation(t, "it_opens_again", "%d %s", r, error_text(&e, r));
                a_failure_says_why(t, "opening again", r, &e);
                t->figures->refused++;
                return UINT_MAX;
        }
        if (ledger_held(t->ledger) && t->kind->judge != JUDGE_STRICT)
                t->figures->held++;
        state = state_of(t, digest(t->ledger->db));
        if (t->kind->judge == JUDGE_STRICT) {
                it_is_not_held_without_reason(t);
                what_was_acknowledged_is_there(t, state);
                nothing_of_a_failed_turn_is_half_there(t, state);
        }
        if (t->kind->judge == JUDGE_STRICT ||
            (t->kind->judge == JUDGE_LIAR && !ledger_held(t->ledger))) {
                the_event_chain_holds(t);
                secrets_open(t);
        }
        return state;
}

/* From the state that was found, the rest of the turns brings the ledger where it should be. */
static void run_finish(Run *t, unsigned state) {
        auto_error e = { 0 };
        int r = 0;

        while (state < t->s->n_turns && r == 0)
                r = run_turn(t, state++, &e);
        if (r < 0)
                violation(t, "it_goes_on", "%d %s", r, error_text(&e, r));
        else if (digest(t->ledger->db) != t->states[t->s->n_turns])
                violation(t, "it_goes_on", "ends in another state");
}

/* The same object, after the disk is well again. */
static void the_ledger_is_usable_or_says_why_not(Run *t) {
        auto_error e = { 0 };
        int r;

        if (!t->ledger || t->acked == t->s->n_turns)
                return;
        if (ledger_is_open(t->ledger))
                violation(t, __func__, "a turn is open after its failure");
        r = run_turn(t, t->acked, &e);
        if (r < 0) {
                a_failure_says_why(t, "the turn on a healed disk", r, &e);
                violation(t, __func__, "on a healed disk: %d %s", r, error_text(&e, r));
                return;
        }
        t->acked++;
        t->doubt = false;
        t->figures->again++;
}

static Seen *seen_find(Run *t) {
        auto_cleanup(freep) char *anchor = NULL;
        uint64_t h = disk_digest();
        size_t size = 0;
        Seen *s;

        if (read_file(t->anchor, 4096, &anchor, &size, NULL) == 0)
                h = hash_bytes(h, anchor, size);
        s = &t->seen[h % SEEN_SLOTS];
        if (s->disk != h)
                *s = (Seen){ .disk = h, .state = UINT_MAX };
        return s;
}

static void lose_power(Run *t, const Moment *then, DiskLoss loss, uint64_t seed, bool finish) {
        unsigned state;
        Seen *seen;

        moment_put(t, then);
        disk_power_loss(loss, seed);
        t->figures->losses++;
        seen = seen_find(t);
        if (seen->state != UINT_MAX && !finish) {
                what_was_acknowledged_is_there(t, seen->state);
                nothing_of_a_failed_turn_is_half_there(t, seen->state);
                return;
        }
        state = run_inspect(t);
        seen->state = state;
        if (finish && state <= t->s->n_turns)
                run_finish(t, state);
        t->ledger = ledger_close(t->ledger);
}

static void judge_liar(Run *t, const Moment *then) {
        unsigned state;

        moment_put(t, then);
        disk_power_loss(LOSS_ALL, 0);
        t->figures->losses++;
        state = run_inspect(t);
        if (t->ledger && ledger_held(t->ledger))
                ; /* noticed */
        else if (t->ledger && state == UINT_MAX)
                t->figures->damaged++;
        else if (t->ledger && state < t->acked)
                t->figures->older++;
        t->ledger = ledger_close(t->ledger);
}

static void judge_strict(Run *t, const Moment *then, uint64_t place) {
        bool crash = t->kind->plan.fault == DISK_CRASH;

        lose_power(t, then, LOSS_ALL, 0, place % 8 == 0);
        if (crash)
                lose_power(t, then, LOSS_NONE, 0, place % 8 == 1);
        for (unsigned i = 0; i < (crash ? RANDOM_LOSSES : 1); i++)
                lose_power(t, then, LOSS_RANDOM, place * 31 + i, place % 8 == 2 && i == 0);
}

/* False when the fault no longer fires: every place was tried. */
static bool run_place(Run *t, unsigned n) {
        DiskPlan plan = t->kind->plan;
        auto_cleanup(moment_done) Moment then = { 0 };
        bool fired;

        t->n = plan.n = n;
        reset(t);
        disk_arm(&plan);
        run_turns(t);
        fired = disk_fired();
        if (fired)
                t->figures->injections++;
        if (t->kind->plan.fault == DISK_CRASH) {
                t->ledger = ledger_close(t->ledger); /* reaches nothing */
                then = moment_take(t);
        } else {
                disk_heal();
                if (t->kind->judge == JUDGE_STRICT)
                        the_ledger_is_usable_or_says_why_not(t);
                then = moment_take(t);
                t->ledger = ledger_close(t->ledger);
                if (t->kind->judge == JUDGE_STRICT) {
                        unsigned state = run_inspect(t);

                        if (state <= t->s->n_turns && n % 4 == 0)
                                run_finish(t, state);
                        t->ledger = ledger_close(t->ledger);
                }
        }
        if (t->kind->judge == JUDGE_STRICT)
                judge_strict(t, &then, n);
        else
                judge_liar(t, &then);
        return fired;
}

/* ---- a scenario ---- */

static void must(int r, const Error *e) {
        if (r < 0) {
                printf("Bail out! %s\n", error_text(e, r));
                exit(1);
        }
}

/* The disk at the beginning. */
static void make_base(Run *t) {
        auto_error e = { 0 };

        disk_heal();
        disk_wipe();
        if (!t->s->empty) {
                must(run_open(t, &e), &e);
                must((t->s->prepare ? t->s->prepare : scenario_populate)(t->ledger, &e), &e);
                must(ledger_commit(t->ledger, &e), &e);
        }
        if (!t->s->hot)
                t->ledger = ledger_close(t->ledger);
        t->base = moment_take(t);
        t->ledger = ledger_close(t->ledger);
        if (t->s->hot) { /* closing wrote on: go back to the moment of the kill */
                Moment killed = t->base;

                moment_put(t, &killed);
                disk_power_loss(LOSS_NONE, 0);
                t->base = moment_take(t);
                moment_done(&killed);
        }
}

/* Without faults: what the ledger says after each turn. */
static void tell_states(Run *t) {
        reset(t);
        for (unsigned i = 0; i < t->s->n_turns; i++) {
                auto_error e = { 0 };

                if (i == 0) {
                        must(run_open(t, &e), &e);
                        t->states[0] = digest(t->ledger->db);
                }
                must(run_turn(t, i, &e), &e);
                t->states[i + 1] = digest(t->ledger->db);
                assert(state_of(t, t->states[i + 1]) == i + 1);
        }
        t->ledger = ledger_close(t->ledger);
}

static unsigned share(void) {
        const char *text = getenv("MAYFLY_FAULTS_SHARE");
        unsigned n = text ? (unsigned) strtoul(text, NULL, 10) : 0;

        if (n > 0)
                return n;
#ifdef __SANITIZE_ADDRESS__
        return 101;
#else
        return 1;
#endif
}

/* Each how many-th place is tried. A careless ledger is found out at nearly all of them: a tenth will do. */
static unsigned every_nth(const Run *t) {
        unsigned n = share();

        return t->careless && n > 10 ? 10 : n;
}

static void run_kind(Run *t, unsigned only_n) {
        static unsigned at;
        unsigned every = every_nth(t);

        for (unsigned n = only_n ? only_n : 1; n < PLACES_MAX; n++) {
                /* In a share, one place beyond the last still ends it. */
                if (!only_n && ++at % every != 0 && n > 1 && n < 4096)
                        continue;
                if (!run_place(t, n) || only_n)
                        return;
        }
}

static void run_scenario(const Scenario *s, const char *only_kind, unsigned only_n, bool careless,
                         Figures *figures) {
        Run t = { .s = s, .figures = figures, .careless = careless };

        t.seen = calloc(SEEN_SLOTS, sizeof(Seen));
        assert(t.seen && s->n_turns <= TURNS_MAX);
        snprintf(t.dir, sizeof(t.dir), "%s/ledger-faults-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        assert(mkdtemp(t.dir));
        snprintf(t.db, sizeof(t.db), "%s/ledger.db", t.dir);
        snprintf(t.key, sizeof(t.key), "%s/key", t.dir);
        snprintf(t.anchor, sizeof(t.anchor), "%s/ledger.anchor", t.dir);
        make_base(&t);
        tell_states(&t);
        for (size_t k = 0; k < N_ELEMENTS(kinds); k++) {
                t.kind = &kinds[k];
                if (!only_kind || streq(only_kind, t.kind->name))
                        run_kind(&t, only_n);
        }
        moment_done(&t.base);
        free(t.seen);
        disk_wipe();
        assert(remove_tree(t.dir, NULL) == 0);
}

/* ---- the whole ---- */

static int print_figures(const Figures *all, unsigned n) {
        Figures sum = { 0 };

        printf("1..%u\n", n + 1);
        for (unsigned i = 0; i < n; i++) {
                const Figures *f = &all[i];
                const unsigned long *from = (const unsigned long *) f;
                unsigned long *to = (unsigned long *) &sum;

                for (size_t c = 0; c < sizeof(Figures) / sizeof(unsigned long); c++)
                        to[c] += from[c];
                printf("%s %u - %s (%lu injections, %lu power losses)\n",
                       f->violations || f->injections == 0 ? "not ok" : "ok", i + 1,
                       scenarios[i].name, f->injections, f->losses);
        }
        printf("# %lu faults in %u scenarios, %lu power losses, opened again %lu times\n",
               sum.injections, n, sum.losses, sum.opened);
        printf("# %lu turns failed, %lu of them went through when asked for again\n",
               sum.failed_turns, sum.again);
        printf("# lying disks: %lu held, %lu refused, %lu behind, %lu damaged without notice\n",
               sum.held, sum.refused, sum.older, sum.damaged);
        return sum.violations ? 1 : 0;
}

static void free_rows(void) {
        for (size_t i = 0; i < N_ELEMENTS(rows); i++)
                free(TAKE(rows[i]));
}

static void run_worker(Figures *figures, unsigned *next) {
        for (;;) {
                unsigned i = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);

                if (i >= n_scenarios)
                        return;
                run_scenario(&scenarios[i], NULL, 0, false, &figures[i]);
        }
}

/* A driver that cannot fail proves nothing. */
static bool notices_a_careless_ledger(void) {
        Figures f = { 0 };

        for (unsigned i = 0; i < n_scenarios; i++)
                if (streq(scenarios[i].name, "values"))
                        run_scenario(&scenarios[i], "the power fails", 0, true, &f);
        printf("%s %u - a ledger that does not sync is noticed (%lu times in %lu power losses)\n",
               f.violations ? "ok" : "not ok", n_scenarios + 1, f.violations, f.losses);
        free_rows();
        return f.violations > 0;
}

static int run_all(void) {
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        size_t size = n_scenarios * sizeof(Figures) + sizeof(unsigned);
        Figures *figures =
                mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        bool died = false;
        int status;

        assert(figures != MAP_FAILED);
        n = n < 1 ? 1 : n > 8 ? 8 : n;
        for (long i = 0; i < n; i++) {
                pid_t pid = fork();

                assert(pid >= 0);
                if (pid == 0) {
                        run_worker(figures, (unsigned *) (figures + n_scenarios));
                        free_rows();
                        exit(0); /* with the leak check */
                }
        }
        while (wait(&status) > 0)
                died = died || status != 0;
        if (died)
                printf("Bail out! a worker died\n");
        if (print_figures(figures, n_scenarios) != 0)
                died = true;
        return !notices_a_careless_ledger() || died;
}

int main(int argc, char **argv) {
        Figures figures = { 0 };

        sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
        sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
        disk_register();
        if (argc < 2)
                return run_all();
        for (unsigned i = 0; i < n_scenarios; i++)
                if (streq(argv[1], scenarios[i].name))
                        run_scenario(&scenarios[i], argc > 2 ? argv[2] : NULL,
                                     argc > 3 ? (unsigned) strtoul(argv[3], NULL, 10) : 0, false,
                                     &figures);
        free_rows();
        printf("# %lu injections, %lu power losses, %lu violations\n", figures.injections,
               figures.losses, figures.violations);
        return figures.violations ? 1 : 0;
}
