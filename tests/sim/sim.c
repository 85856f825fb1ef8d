/* The life of one simulated daemon: chance, time, start, turn, stop, kill. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/limits.h"

#define START_MS  INT64_C(1793000000000)
#define TURNS_MAX 50 /* while no time passes */

/* ---- chance ---- */

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
        uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

/* What happens from here on depends on the seed and this number alone, and on what is there. */
static void chance_begin(Sim *s, unsigned step) {
        uint64_t state = s->seed * UINT64_C(0x2545f4914f6cdd1d) + step;

        s->state = next_random(&state);
        s->engine_state = next_random(&state);
        s->step = step;
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

bool sim_trouble(Sim *s, unsigned percent) {
        bool hit = sim_percent(s, percent); /* drawn in any case: the rest stays as it is */

        return hit && !s->quiet_world && !s->kind_step;
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
        s->digest =
                hash_bytes(s->digest, line, n < (int) sizeof(line) ? (size_t) n : sizeof(line) - 1);
        if (s->trace)
                printf("%4u %10lld %s\n", s->step, (long long) (s->boot_ms), line);
}

void sim_violation(Sim *s, const char *invariant, const char *fmt, ...) {
        char detail[300];
        va_list args;

        va_start(args, fmt);
        vsnprintf(detail, sizeof(detail), fmt, args);
        va_end(args);
        if (s->n_violations++ == 0) {
                s->invariant = invariant;
                snprintf(s->first_violation, sizeof(s->first_violation), "step %u: %s: %s", s->step,
                         invariant, detail);
        }
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

int64_t sim_now(const Sim *s) {
        return s->true_ms + s->shift_ms;
}

void sim_advance(Sim *s, int64_t ms) {
        if (ms < 0)
                return;
        s->boot_ms += ms;
        s->wall_ms += ms;
        s->true_ms += ms;
}

void sim_start(Sim *s) {
        LedgerOptions options = { .path = store_path(s->store),
                                  .key_path = store_key(),
                                  .random = &s->random,
                                  .fast = true,
                                  .db = store_db(s->store),
                                  .anchor_path = s->anchor };
        auto_error error = { 0 };
        EngineSetup setup = {
                .config = s->config,
                .clock = &s->clock,
                .random = &s->random,
                .state_dir = "/sim/state",
                .boot_id = s->boot_id,
                .front_url = "http://%s.preview.localhost:8150",
                .wanted = on_wanted,
                .arm = on_arm,
                .userdata = s,
                .providers = world_providers(s),
                .front = world_front(s),
                .files = files_of(s),
        };

        s->clock = (Clock){ .wall_ms = sim_wall, .boot_ms = sim_boot, .userdata = s };
        s->random = (Random){ .fill = engine_fill, .userdata = s };
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
        front_copy_all(s);
        s->wanted = true;
}

void sim_stop(Sim *s, bool killed) {
        char kept[128];

        acknowledge_lost(s);
        receipt_forget(s, false);
        s->forge.stale_ms = 0; /* a list that is being made ends with the daemon */
        s->engine = engine_free(s->engine);
        s->verify = NULL;
        map_free(s->looked);
        s->looked = map_new(NULL);
        assert(s->looked);
        fault_arm("none", 0, 0);
        /* An orderly end brings the anchor up to date; a kill leaves it as it is. */
        snprintf(kept, sizeof(kept), "%s.kept", s->anchor);
        if (killed && link(s->anchor, kept) < 0)
                kept[0] = 0;
        s->ledger = ledger_close(s->ledger);
        if (!killed)
                return;
        (void) unlink(s->anchor);
        if (kept[0])
                assert(rename(kept, s->anchor) == 0);
        s->count.crashes++;
        world_crash(s);
}

/* Hours or weeks; somebody may set the clock meanwhile. */
static void stay_down(Sim *s, int64_t shortest_ms) {
        int64_t down = sim_below(s, (unsigned) shortest_ms);

        if (sim_trouble(s, 6))
                down = (int64_t) (1 + sim_below(s, 30 * 24)) * MS_PER_HOUR;
        if (down > MS_PER_HOUR)
                sim_say(s, "it is down for %lld hours", (long long) (down / MS_PER_HOUR));
        sim_advance(s, down);
        s->down_ms = down;
        if (sim_trouble(s, 4)) {
                int64_t by = (int64_t) (1 + sim_below(s, 72)) * MS_PER_HOUR;

                by = sim_percent(s, 50) ? -by : by;
                sim_say(s, "the clock is set by %lld ms meanwhile", (long long) by);
                sim_step_clock(s, by);
        }
}

static void machine_starts(Sim *s) {
        snprintf(s->boot_id, sizeof(s->boot_id), "boot-%u", ++s->boots);
        world_reboot(s);
        stay_down(s, 120000);
        check_step_missed(s);
        s->boot_ms = 1000;
        s->rest_boot_ms = 0;
        s->storm_until_boot_ms = 0;
        for (Echo *e = s->echoes; e; e = e->next)
                e->due_boot_ms = 0;
}

/* Something was written down since the machine started. */
static bool boot_is_marked(Sim *s) {
        auto_cleanup(freep) char *mark = NULL;
        const char *rest = NULL;

        if (ledger_value_get(s->ledger, "clock.mark", &mark, NULL) == 0)
                rest = str_after(mark, s->boot_id);
        return rest && *rest == ' ';
}

void sim_crash(Sim *s) {
        int64_t died_ms = sim_now(s);

        sim_stop(s, true);
        if (sim_percent(s, 20)) /* the machine, not only the daemon */
                machine_starts(s);
        else
                stay_down(s, 5000);
        sim_say(s, "CRASH and start again");
        sim_start(s);
        if (!boot_is_marked(s)) /* then it is time that passed, for all that anybody knows */
                check_step_missed(s);
        /* What was committed before a crash is seen before anything new is promised. */
        s->died_ms = died_ms;
        check_everything(s);
        s->died_ms = 0;
        check_away(s);
        if (sim_trouble(s, 25)) /* and again, while it recovers */
                s->dead_after = (int) sim_below(s, 3);
}

void sim_turn(Sim *s) {
        int r;

        if (!s->wanted)
                return;
        s->wanted = false;
        s->count.turns++;
        r = engine_turn(s->engine, NULL); /* a failed commit is one of the scenarios */
        if (s->dead) {
                sim_crash(s);
                return;
        }
        if (r == 0) {
                check_step_seen(s);
                receipt_told(s);
        }
        check_turn(s);
}

void sim_turns(Sim *s) {
        unsigned i = 0;

        for (; s->wanted && i < TURNS_MAX; i++)
                sim_turn(s);
        if (s->wanted && i == TURNS_MAX)
                sim_violation(s, "idle costs nothing", "%u turns, and one more is wanted", i);
}

/* A step across a reboot that no turn saw before cannot be noticed by anybody. */
static void let_notice(Sim *s) {
        s->dead_after = -1;
        for (unsigned i = 0; i < 2; i++) { /* the first may be a turn that began before */
                s->wanted = true;
                sim_turns(s);
        }
}

void sim_step_clock(Sim *s, int64_t by_ms) {
        int64_t before = s->engine ? engine_now_ms(s->engine) : 0;

        s->wall_ms += by_ms;
        if (by_ms > LIMIT_CLOCK_STEP_MS || by_ms < -LIMIT_CLOCK_STEP_MS) {
                s->step_ms += by_ms;
                /* A turn that has begun has read the clock already. */
                s->step_turns = s->engine && engine_now_ms(s->engine) == before ? 2 : 1;
        } else
                s->drift_ms += by_ms < 0 ? -by_ms : by_ms;
}

void sim_right_clock(Sim *s) {
        if (s->wall_ms == s->true_ms)
                return;
        sim_say(s, "the clock is put right");
        sim_step_clock(s, s->true_ms - s->wall_ms);
        let_notice(s);
}

bool sim_time_brings(Sim *s, int64_t at_most_ms) {
        int64_t next;

        sim_turns(s); /* a turn that is wanted is not put off while time passes */
        next = world_next(s);
        if (s->arm_boot_ms < next)
                next = s->arm_boot_ms;
        if (next == INT64_MAX || next - s->boot_ms > at_most_ms)
                return false;
        sim_advance(s, next - s->boot_ms);
        world_answer_due(s);
        if (s->arm_boot_ms <= s->boot_ms) {
                s->arm_boot_ms = INT64_MAX;
                s->wanted = true;
        }
        return true;
}

/* ---- a whole scenario ---- */

int64_t sim_days(const Sim *s) {
        return (s->true_ms - START_MS) / MS_PER_DAY;
}

void sim_watch(void) {
        struct itimerval length = { .it_value.tv_sec = SCENARIO_SECONDS };

        assert(setitimer(ITIMER_PROF, &length, NULL) == 0);
}

void sim_set_up(Sim *s, uint64_t seed, bool trace) {
        *s = (Sim){ .seed = seed,
                    .trace = trace,
                    .boot_ms = 1000000,
                    .wall_ms = START_MS,
                    .true_ms = START_MS,
                    .dead_after = -1,
                    .next_port = 20000 };
        s->fault_percent = (unsigned) (seed % 4) * 8; /* a quarter of the worlds is kind */
        s->things = world_things();
        s->foreign_seen = map_new(NULL);
        s->looked = map_new(NULL);
        s->wished = map_new(NULL);
        s->asked = map_new(NULL);
        s->removing = map_new(NULL);
        s->removed = map_new(NULL);
        s->leases = map_new(free);
        s->front = map_new(free);
        s->tried = map_new(NULL);
        s->left_ms = map_new(free);
        s->in_use = map_new(NULL);
        snprintf(s->boot_id, sizeof(s->boot_id), "boot-0");
        snprintf(s->anchor, sizeof(s->anchor), "%s/anchor-%d", store_folder(), (int) getpid());
        s->store = store_new();
        assert(config_default(&s->config, NULL) == 0);
        s->usual_clocks = s->config->clocks;
        s->wide = seed >= WIDE_SEEDS;
        stale_set_up(s);
}

void sim_tear_down(Sim *s) {
        acknowledge_lost(s);
        s->engine = engine_free(s->engine);
        s->ledger = ledger_close(s->ledger);
        fault_arm("none", 0, 0);
        config_free(s->config);
        world_done(s);
        stale_done(s);
        map_free(s->foreign_seen);
        map_free(s->looked);
        map_free(s->wished);
        map_free(s->asked);
        json_decref(s->verified);
        map_free(s->removing);
        map_free(s->removed);
        map_free(s->leases);
        map_free(s->front);
        map_free(s->tried);
        map_free(s->left_ms);
        map_free(s->in_use);
        copy_free(s);
        (void) unlink(s->anchor);
}

static void add_project(Sim *s) {
        json_auto_t *project =
                json_pack("{s:s, s:s}", "name", "shop", "repository", "/sim/shop.git");

        assert(engine_project_add(s->engine, &people_actor, project, NULL, NULL) == 0);
        s->wanted = true;
        sim_turns(s);
        forge_set_up(s);
        s->wanted = true;
        sim_turns(s);
}

#define REST_STEP 1000000

static void rest(Sim *s, unsigned number) {
        s->kind_step = false;
        s->quiet_world = true;
        chance_begin(s, number);
        s->rest_boot_ms = s->boot_ms;
        if (s->wide)
                policy_back(s);
        steps_come_to_rest(s, number == REST_STEP);
        check_everything(s);
        check_at_rest(s);
        if (s->n_violations == 0 && number == REST_STEP)
                rest_people(s);
        if (s->n_violations == 0 && s->wide && (number != REST_STEP || s->seed < STALE_SEEDS))
                check_verified(s);
}

void sim_run(Sim *s, const Scenario *scenario) {
        chance_begin(s, 0);
        sim_start(s);
        add_project(s);
        for (size_t i = 0; i < scenario->n && s->n_violations == 0; i++) {
                s->kind_step = scenario->steps[i].kind;
                chance_begin(s, scenario->steps[i].number);
                steps_one(s);
                if (!s->wanted)
                        check_everything(s);
                s->count.steps++;
        }
        if (s->n_violations > 0)
                return;
        rest(s, REST_STEP);
        if (s->n_violations > 0)
                return;
        sim_say(s, "everything is deleted");
        people_down_all(s);
        s->wanted = true;
        sim_turns(s);
        rest(s, 2 * REST_STEP);
        check_at_end(s);
}
