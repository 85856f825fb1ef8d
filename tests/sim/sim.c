/* tests/sim/run: seeds, steps, and the life of one simulated daemon.
 *
 * A step is one of: the next thing that time brings, something people do, something that happens in the
 * world, a crash, a clock step, a disk that is full. After each the invariants of check.c must hold.
 * Then faults stop, and everything must come to rest; then everything is deleted, and nothing may be
 * left. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/log.h"

#define START_MS    INT64_C(1793000000000)
#define REST_EVENTS 6000

/* ---- chance ---- */

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
        uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

uint64_t sim_random(Sim *s) {
        return next_random(&s->state);
}

unsigned sim_below(Sim *s, unsigned n) {
        return (unsigned) (sim_random(s) % n);
}

bool sim_percent(Sim *s, unsigned percent) {
        return sim_below(s, 100) < percent;
}

static void engine_fill(void *userdata, void *buf, size_t size) {
        Sim *s = userdata;
        unsigned char *at = buf;

        while (size > 0) {
                uint64_t value = next_random(&s->engine_state);
                size_t n = size < 8 ? size : 8;

                memcpy(at, &value, n);
                at += n;
                size -= n;
        }
}

/* ---- telling ---- */

void sim_say(Sim *s, const char *fmt, ...) {
        char line[600];
        va_list args;
        int n;

        va_start(args, fmt);
        n = vsnprintf(line, sizeof(line), fmt, args);
        va_end(args);
        s->digest = hash_bytes(s->digest, line, n < (int) sizeof(line) ? (size_t) n : sizeof(line));
        if (s->trace)
                printf("%4u %10lld %s\n", s->step, (long long) (s->boot_ms), line);
}

void sim_violation(Sim *s, const char *invariant, const char *fmt, ...) {
        char detail[300];
        va_list args;

        va_start(args, fmt);
        vsnprintf(detail, sizeof(detail), fmt, args);
        va_end(args);
        if (s->n_violations++ == 0)
                snprintf(s->first_violation, sizeof(s->first_violation), "step %u: %s: %s", s->step,
                         invariant, detail);
        if (s->trace)
                printf("VIOLATION %s: %s\n", invariant, detail);
}

/* ---- the daemon's surroundings ---- */

static int64_t sim_wall(void *userdata) {
        return ((Sim *) userdata)->wall_ms;
}

static int64_t sim_boot(void *userdata) {
        return ((Sim *) userdata)->boot_ms;
}

static void on_wanted(void *userdata) {
        ((Sim *) userdata)->wanted = true;
}

static void on_arm(void *userdata, int64_t wall_ms) {
        Sim *s = userdata;

        s->arm_boot_ms = wall_ms == REAPER_NEVER ? INT64_MAX : s->boot_ms + (wall_ms - s->wall_ms);
}

static void advance(Sim *s, int64_t ms) {
        if (ms < 0)
                return;
        s->boot_ms += ms;
        s->wall_ms += ms;
        s->true_ms += ms;
}

static void daemon_start(Sim *s) {
        Random random = { .fill = engine_fill, .userdata = s };
        LedgerOptions options = {
                .path = s->db, .key_path = s->key, .random = &random, .fast = true
        };
        Clock *clock = &s->clock;
        auto_error error = { 0 };
        EngineSetup setup = {
                .config = s->config,
                .clock = clock,
                .random = &s->random,
                .state_dir = "/sim/state",
                .boot_id = s->boot_id,
                .front_url = "http://%s.preview.localhost:8150",
                .wanted = on_wanted,
                .arm = on_arm,
                .userdata = s,
                .providers = world_providers(s),
                .front = world_front(s),
                .files = world_files(s),
        };

        *clock = (Clock){ .wall_ms = sim_wall, .boot_ms = sim_boot, .userdata = s };
        s->random = random;
        s->dead = false;
        s->dead_after = -1;
        s->arm_boot_ms = INT64_MAX;
        if (ledger_open(&options, &s->ledger, &error) < 0) {
                fprintf(stderr, "ledger: %s\n", error_text(&error, 0));
                abort();
        }
        setup.ledger = s->ledger;
        assert(engine_new(&setup, &s->engine, &error) == 0);
        if (engine_start(s->engine, &error) < 0) {
                fprintf(stderr, "engine: %s\n", error_text(&error, 0));
                abort();
        }
        s->wanted = true;
        check_everything(
                s); /* what was committed before a crash is seen before anything new is promised */
}

static void daemon_crash(Sim *s) {
        s->count.crashes++;
        people_lost(s);
        s->engine = engine_free(s->engine);
        s->ledger = ledger_close(s->ledger);
        world_crash(s);
        fault_arm("none", 0, 0);
        if (sim_percent(s, 20)) { /* the machine, not only the daemon */
                snprintf(s->boot_id, sizeof(s->boot_id), "boot-%u", ++s->boots);
                world_reboot(s);
                advance(s, sim_below(s, 120000));
                s->boot_ms = 1000;
                s->rest_boot_ms = 0;
        } else
                advance(s, sim_below(s, 5000));
        sim_say(s, "CRASH and start again");
        daemon_start(s);
}

static void turn(Sim *s) {
        if (!s->wanted)
                return;
        s->wanted = false;
        (void) engine_turn(s->engine, NULL); /* a failed commit is one of the scenarios */
        if (s->dead)
                daemon_crash(s);
}

static void turns(Sim *s) {
        for (unsigned i = 0; s->wanted && i < 50; i++)
                turn(s);
}

/* A step across a reboot that no turn saw before cannot be noticed by anybody. */
static void let_notice(Sim *s) {
        for (unsigned i = 0; i < 2; i++) { /* the first may be a turn that began before */
                s->wanted = true;
                turns(s);
        }
}

void sim_right_clock(Sim *s) {
        if (s->wall_ms == s->true_ms)
                return;
        sim_say(s, "the clock is put right");
        s->wall_ms = s->true_ms;
        let_notice(s);
}

/* ---- steps ---- */

/* The next answer or the timer, whichever comes first; false when nothing will come. */
static bool time_brings(Sim *s, int64_t at_most_ms) {
        int64_t next;

        turns(s); /* a turn that is wanted is not put off while time passes */
        next = world_next(s);

        if (s->arm_boot_ms < next)
                next = s->arm_boot_ms;
        if (next == INT64_MAX || next - s->boot_ms > at_most_ms)
                return false;
        advance(s, next - s->boot_ms);
        world_answer_due(s);
        if (s->arm_boot_ms <= s->boot_ms) {
                s->arm_boot_ms = INT64_MAX;
                s->wanted = true;
        }
        return true;
}

static void clock_step(Sim *s) {
        static const int64_t steps[] = {
                1000,       MS_PER_MINUTE,   10 * MS_PER_MINUTE, MS_PER_HOUR,
                MS_PER_DAY, 30 * MS_PER_DAY, 3650 * MS_PER_DAY
        };
        int64_t by = steps[sim_below(s, N_ELEMENTS(steps))];

        if (sim_percent(s, 50))
                by = -by;
        if (s->wall_ms + by < MS_PER_DAY)
                return;
        sim_say(s, "the clock is set by %lld ms", (long long) by);
        s->wall_ms += by;
        let_notice(s);
}

static void disk_trouble(Sim *s) {
        const char *kind = sim_percent(s, 50) ? "ledger" : "ledger.commit";
        unsigned n = 1 + sim_below(s, 20), times = 1 + sim_below(s, 4);

        sim_say(s, "the disk fails: %s %u %u", kind, n, times);
        fault_arm(kind, n, times);
}

static void one_step(Sim *s) {
        unsigned what = sim_below(s, 100);

        if (what < 52) {
                if (!time_brings(s, INT64_MAX))
                        people_act(s);
        } else if (what < 82)
                people_act(s);
        else if (what < 87)
                world_chaos(s);
        else if (what < 90) {
                turns(s);
                advance(s, sim_below(s, (unsigned) MS_PER_HOUR));
        } else if (what < 93)
                daemon_crash(s);
        else if (what < 96)
                s->dead_after = (int) sim_below(s, 4);
        else if (what < 98)
                disk_trouble(s);
        else if (sim_percent(s, 40))
                clock_step(s);
        /* Several inputs may fall into one turn. */
        if (sim_percent(s, 85))
                turn(s);
}

/* ---- a whole seed ---- */

/* For people who read a trace: why each environment is as it is. */
static int tell_why(void *userdata, const Environment *env) {
        json_auto_t *why = NULL;
        Sim *s = userdata;

        if (engine_why(s->engine, env->id, &why, NULL) == 0) {
                printf("%s: level %s, due in %lld ms, sleep %d wake %d\n", env->label,
                       env_level_to_string(env->level), (long long) (env->due_ms - s->wall_ms),
                       env->sleep_wanted, env->wake_wanted);
                json_dumpf(json_object_get(why, "lines"), stdout, JSON_INDENT(1));
                printf("\n");
        }
        return 0;
}

static void add_project(Sim *s) {
        json_auto_t *project =
                json_pack("{s:s, s:s}", "name", "shop", "repository", "/sim/shop.git");

        assert(engine_project_add(s->engine, &(EngineActor){ .who = "uid:0" }, project, NULL,
                                  NULL) == 0);
        s->wanted = true;
        turns(s);
}

static void come_to_rest(Sim *s) {
        unsigned n = 0;

        s->quiet_world = true;
        s->dead_after = -1;
        fault_arm("none", 0, 0);
        turns(s);
        people_release(s);
        turns(s);
        sim_say(s, "faults stop");
        while (n++ < REST_EVENTS && time_brings(s, 3 * MS_PER_DAY)) {
                s->step++;
                turns(s);
                if (n % 16 == 0)
                        check_everything(s);
                /* Deadlines of the far future are not waited for. */
                if (s->boot_ms - s->rest_boot_ms > 40 * MS_PER_DAY && !s->work)
                        break;
        }
        if (n >= REST_EVENTS)
                sim_violation(s, "once faults stop, everything converges",
                              "still busy after %u events", n);
        if (n >= REST_EVENTS && s->trace)
                (void) ledger_environment_each(s->ledger, NULL, false, tell_why, s, NULL);
}

static void sim_set_up(Sim *s, uint64_t seed, bool trace) {
        *s = (Sim){ .seed = seed,
                    .trace = trace,
                    .boot_ms = 1000000,
                    .wall_ms = START_MS,
                    .true_ms = START_MS,
                    .dead_after = -1,
                    .next_port = 20000 };
        s->state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
        s->engine_state = seed ^ UINT64_C(0xabcdef);
        s->fault_percent = (unsigned) (seed % 4) * 8; /* a quarter of the worlds is kind */
        s->things = world_things();
        s->lied = map_new(NULL);
        s->foreign_seen = map_new(NULL);
        s->held_until = map_new(free);
        s->deleting = map_new(NULL);
        s->good = map_new(NULL);
        snprintf(s->boot_id, sizeof(s->boot_id), "boot-0");
        snprintf(s->dir, sizeof(s->dir), "/tmp/mayfly-sim-XXXXXX");
        assert(mkdtemp(s->dir));
        snprintf(s->db, sizeof(s->db), "file:/sim-%d-%llu?vfs=memdb", (int) getpid(),
                 (unsigned long long) seed);
        snprintf(s->key, sizeof(s->key), "%s/key", s->dir);
        assert(config_default(&s->config, NULL) == 0);
}

static void sim_tear_down(Sim *s) {
        people_done(s);
        s->engine = engine_free(s->engine);
        s->ledger = ledger_close(s->ledger);
        s->anchor = ledger_close(s->anchor);
        fault_arm("none", 0, 0);
        config_free(s->config);
        world_done(s);
        map_free(s->lied);
        map_free(s->foreign_seen);
        map_free(s->held_until);
        map_free(s->deleting);
        map_free(s->good);
        (void) remove_tree(s->dir, NULL);
}

/* The database lives in memory as long as somebody has it open. */
static void open_anchor(Sim *s) {
        Random random = { .fill = engine_fill, .userdata = s };
        LedgerOptions options = {
                .path = s->db, .key_path = s->key, .random = &random, .fast = true
        };

        assert(ledger_open(&options, &s->anchor, NULL) == 0);
}

static void sim_run(Sim *s, unsigned steps) {
        static bool checked;

        if (!checked)
                world_check_files(s);
        checked = true;
        open_anchor(s);
        daemon_start(s);
        add_project(s);
        for (s->step = 1; s->step <= steps && s->n_violations == 0; s->step++) {
                one_step(s);
                if (!s->wanted)
                        check_everything(s);
        }
        if (s->n_violations > 0)
                return;
        s->rest_boot_ms = s->boot_ms;
        come_to_rest(s);
        check_everything(s);
        check_at_rest(s);
        if (s->n_violations > 0)
                return;
        sim_say(s, "everything is deleted");
        people_down_all(s);
        s->wanted = true;
        turns(s);
        s->rest_boot_ms = s->boot_ms;
        come_to_rest(s);
        check_everything(s);
        check_at_rest(s);
        check_at_end(s);
}

typedef struct Options {
        uint64_t from, seeds;
        unsigned steps;
        bool trace, verify;
} Options;

static int run_seeds(const Options *o) {
        uint64_t bad = 0, calls = 0, crashes = 0, pushes = 0, live = 0, removed = 0;
        int64_t days = 0;

        for (uint64_t seed = o->from; seed < o->from + o->seeds; seed++) {
                uint64_t digest = 0;

                for (unsigned again = 0; again <= (o->verify ? 1u : 0u); again++) {
                        Sim s;

                        sim_set_up(&s, seed, o->trace);
                        sim_run(&s, o->steps);
                        if (again && digest != s.digest)
                                sim_violation(&s, "a seed replays exactly", "it did not");
                        digest = s.digest;
                        if (s.n_violations > 0) {
                                printf("seed %llu: %s\n", (unsigned long long) seed,
                                       s.first_violation);
                                bad++;
                        }
                        calls += s.count.calls;
                        crashes += s.count.crashes;
                        pushes += s.count.pushes;
                        live += s.count.live;
                        removed += s.count.deprovisions;
                        days += (s.true_ms - START_MS) / MS_PER_DAY;
                        sim_tear_down(&s);
                }
        }
        printf("# %llu seeds, %llu pushes, %llu environments that were live, %llu calls, %llu removals, "
               "%llu crashes, %lld simulated days, %llu bad\n",
               (unsigned long long) o->seeds, (unsigned long long) pushes,
               (unsigned long long) live, (unsigned long long) calls, (unsigned long long) removed,
               (unsigned long long) crashes, (long long) days, (unsigned long long) bad);
        return bad > 0;
}

int main(int argc, char **argv) {
        Options o = { .from = 1, .seeds = 100, .steps = 100 };

        log_set_level(LOG_LEVEL_ERROR - 1);
        for (int i = 1; i < argc; i++) {
                const char *value = i + 1 < argc ? argv[i + 1] : "";

                if (streq(argv[i], "--seeds"))
                        o.seeds = strtoull(value, NULL, 10), i++;
                else if (streq(argv[i], "--from"))
                        o.from = strtoull(value, NULL, 10), i++;
                else if (streq(argv[i], "--steps"))
                        o.steps = (unsigned) strtoul(value, NULL, 10), i++;
                else if (streq(argv[i], "--trace")) {
                        o.from = strtoull(value, NULL, 10), i++;
                        o.seeds = 1;
                        o.trace = true;
                        log_set_level(LOG_LEVEL_DEBUG);
                } else if (streq(argv[i], "--verify"))
                        o.verify = true;
                else {
                        fprintf(stderr,
                                "usage: sim [--seeds N] [--from S] [--steps K] [--trace SEED] "
                                "[--verify]\n");
                        return 2;
                }
        }
        return run_seeds(&o);
}
