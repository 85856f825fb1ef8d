/* sim: runs scenarios, in several processes; one that ends takes only its scenario with it. What breaks
 * is shrunk and printed in the form in which tests/sim/kept has it. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orchestrator/base/log.h"
#include "tests/sim/sim.h"

typedef struct Options {
        uint64_t from, seeds;
        unsigned steps, jobs;
        bool trace, verify, no_shrink;
        const char *kept, *replay, *junit;
} Options;

#define JOBS_MAX 64

/* Shared by the processes: what is done, and what each of them is at. */
typedef struct Board {
        Totals totals[JOBS_MAX];
        uint64_t at[JOBS_MAX]; /* seed */
} Board;

static void broken(const Options *o, Scenario *scenario, const char *invariant,
                   const char *detail) {
        auto_cleanup(freep) char *text = NULL;

        printf("seed %llu: %s\n", (unsigned long long) scenario->seed, detail);
        if (!o->no_shrink)
                shrink(scenario, invariant);
        text = scenario_format(scenario);
        printf("  kept form: %s %s\n", text, invariant);
        fflush(stdout);
}

/* True when every invariant held. */
static bool run_one(const Options *o, Scenario *scenario, Totals *totals) {
        char invariant[128], detail[sizeof(((Sim *) 0)->first_violation)];
        uint64_t digest = 0;
        bool bad = false;

        for (unsigned again = 0; again <= (o->verify ? 1u : 0u); again++) {
                Sim s;

                sim_set_up(&s, scenario->seed, o->trace);
                sim_run(&s, scenario);
                if (again && digest != s.digest)
                        sim_violation(&s, "a seed replays exactly", "it did not");
                digest = s.digest;
                totals_add(totals, &s);
                if (s.n_violations > 0 && !bad) {
                        bad = true;
                        snprintf(invariant, sizeof(invariant), "%s", s.invariant);
                        snprintf(detail, sizeof(detail), "%s", s.first_violation);
                }
                sim_tear_down(&s);
        }
        if (bad)
                broken(o, scenario, invariant, detail);
        return !bad;
}

static void run_range(const Options *o, Board *board, unsigned job, uint64_t from, uint64_t to) {
        for (uint64_t seed = from; seed < to; seed++) {
                Scenario scenario;

                board->at[job] = seed;
                sim_watch();
                scenario_whole(&scenario, seed, o->steps);
                (void) run_one(o, &scenario, &board->totals[job]);
                scenario_done(&scenario);
        }
}

/* One process after another, until the range is done. */
static void run_job(const Options *o, Board *board, unsigned job, uint64_t from, uint64_t to) {
        while (from < to) {
                Scenario scenario;
                int status = 0;
                pid_t pid;

                fflush(NULL);
                pid = fork();
                assert(pid >= 0);
                if (pid == 0) {
                        run_range(o, board, job, from, to);
                        fflush(NULL);
                        _exit(0);
                }
                assert(waitpid(pid, &status, 0) == pid);
                if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                        return;
                scenario_whole(&scenario, board->at[job], o->steps);
                board->totals[job].seeds++;
                board->totals[job].violations++;
                board->totals[job].broken[invariants_count() - 1]++;
                broken(o, &scenario, "the program does not end", "the program ended");
                scenario_done(&scenario);
                from = board->at[job] + 1;
        }
}

static void board_sum(const Board *board, unsigned jobs, Totals *ret) {
        *ret = (Totals){ 0 };
        for (unsigned j = 0; j < jobs; j++) {
                const uint64_t *from = (const uint64_t *) &board->totals[j];
                uint64_t *to = (uint64_t *) ret;

                for (size_t i = 0; i < sizeof(Totals) / sizeof(uint64_t); i++)
                        to[i] += from[i];
        }
}

static int run_seeds(const Options *o) {
        Board *board = mmap(NULL, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                            -1, 0);
        uint64_t each = (o->seeds + o->jobs - 1) / o->jobs;
        pid_t pids[JOBS_MAX];
        Totals totals;

        assert(board != MAP_FAILED);
        for (unsigned j = 0; j < o->jobs; j++) {
                uint64_t from = o->from + j * each, end = o->from + o->seeds;

                fflush(NULL);
                pids[j] = fork();
                assert(pids[j] >= 0);
                if (pids[j] > 0)
                        continue;
                run_job(o, board, j, from, from + each < end ? from + each : end);
                _exit(0);
        }
        for (unsigned j = 0; j < o->jobs; j++)
                (void) waitpid(pids[j], NULL, 0);
        board_sum(board, o->jobs, &totals);
        totals_print(&totals, o->steps);
        if (totals.seeds < o->seeds)
                printf("not all seeds were run\n");
        if (totals_hollow(&totals))
                printf("something of the above never happened\n");
        if (o->junit && totals_junit(&totals, o->junit) < 0)
                return 2;
        return totals.violations > 0 || totals.seeds < o->seeds || totals_hollow(&totals);
}

static int run_text(const Options *o, const char *text) {
        Totals totals = { 0 };
        Scenario scenario;
        bool good;

        if (!scenario_parse(text, &scenario)) {
                fprintf(stderr, "not a scenario: %s\n", text);
                return 2;
        }
        good = run_one(o, &scenario, &totals);
        scenario_done(&scenario);
        return good ? 0 : 1;
}

/* TAP: each line of the file is a test. */
static int run_kept(const Options *o) {
        FILE *f = fopen(o->kept, "r");
        char line[4096];
        unsigned n = 0;
        int bad = 0;

        if (!f) {
                perror(o->kept);
                return 2;
        }
        while (fgets(line, sizeof(line), f)) {
                int r;

                line[strcspn(line, "\n")] = 0;
                if (*line == '#' || *line == 0)
                        continue;
                r = run_text(o, line);
                printf("%s %u - %s\n", r == 0 ? "ok" : "not ok", ++n, line);
                bad = bad || r != 0;
        }
        fclose(f);
        printf("1..%u\n", n);
        return bad;
}

static const char usage[] =
        "usage: sim [--seeds N] [--from S] [--steps K] [--jobs J] [--junit FILE] [--verify]\n"
        "       sim --trace SEED [--steps K]      one seed, every step told\n"
        "       sim --shrink SEED [--steps K]     the shortest list of steps that still fails\n"
        "       sim --replay 'SEED STEPS'         a scenario as it is kept, every step told\n"
        "       sim --kept FILE                   all scenarios of a file\n";

typedef struct Option {
        const char *name;
        char kind; /* n: number, s: text, b: none */
        void *target;
} Option;

static bool option_read(const Option *options, size_t n, char **argv, int *at) {
        const char *value = argv[*at + 1];

        for (size_t i = 0; i < n; i++) {
                if (!streq(options[i].name, argv[*at]))
                        continue;
                if (options[i].kind == 'b') {
                        *(bool *) options[i].target = true;
                        return true;
                }
                if (!value)
                        return false;
                if (options[i].kind == 's')
                        *(const char **) options[i].target = value;
                else
                        *(uint64_t *) options[i].target = strtoull(value, NULL, 10);
                (*at)++;
                return true;
        }
        return false;
}

static int run(const Options *o) {
        if (o->kept)
                return run_kept(o);
        if (o->replay)
                return run_text(o, o->replay);
        if (o->trace || o->seeds == 1) {
                Totals totals = { 0 };
                Scenario scenario;
                bool good;

                scenario_whole(&scenario, o->from, o->steps);
                good = run_one(o, &scenario, &totals);
                scenario_done(&scenario);
                totals_print(&totals, o->steps);
                return good ? 0 : 1;
        }
        return run_seeds(o);
}

int main(int argc, char **argv) {
        uint64_t from = 1, seeds = 100, steps = 60, jobs = 1, trace = 0, shrink_seed = 0;
        Options o = { 0 };
        const Option options[] = {
                { "--seeds", 'n', &seeds },           { "--from", 'n', &from },
                { "--steps", 'n', &steps },           { "--jobs", 'n', &jobs },
                { "--trace", 'n', &trace },           { "--shrink", 'n', &shrink_seed },
                { "--kept", 's', &o.kept },           { "--replay", 's', &o.replay },
                { "--junit", 's', &o.junit },         { "--verify", 'b', &o.verify },
                { "--no-shrink", 'b', &o.no_shrink },
        };
        int r;

        log_set_level(LOG_LEVEL_ERROR - 1);
        for (int i = 1; i < argc; i++)
                if (!option_read(options, N_ELEMENTS(options), argv, &i)) {
                        fputs(usage, stderr);
                        return 2;
                }
        o.from = trace ? trace : shrink_seed ? shrink_seed : from;
        o.seeds = trace || shrink_seed ? 1 : seeds;
        o.steps = (unsigned) (steps < SCENARIO_STEPS_MAX ? steps : SCENARIO_STEPS_MAX);
        o.jobs = (unsigned) (jobs < 1 ? 1 : jobs < JOBS_MAX ? jobs : JOBS_MAX);
        o.trace = trace || o.replay;
        o.no_shrink = o.no_shrink || o.trace;
        if (o.trace)
                log_set_level(LOG_LEVEL_DEBUG);
        store_init();
        files_check();
        r = run(&o);
        store_done();
        return r;
}
