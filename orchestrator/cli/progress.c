#include "orchestrator/cli/progress.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"

struct Progress {
        Cli *cli;
        Map *seen;        /* plain: resource uid -> owned word last printed */
        unsigned n_lines; /* terminal: drawn and not scrolled away */
        int64_t start_ms;
};

int progress_new(Cli *cli, Progress **ret) {
        auto_cleanup(progress_freep) Progress *p = calloc(1, sizeof(Progress));

        if (!p)
                return -ENOMEM;
        p->cli = cli;
        p->start_ms = clock_wall_ms(&clock_system);
        p->seen = map_new(free);
        if (!p->seen)
                return -ENOMEM;
        *ret = TAKE(p);
        return 0;
}

Progress *progress_free(Progress *p) {
        if (!p)
                return NULL;
        map_free(p->seen);
        free(p);
        return NULL;
}

/* A resource of an older generation, or of the environment from before, is no part of the story. */
static bool shown(const json_t *resource, int64_t generation) {
        int64_t own = cli_integer(resource, "generation");

        return (own == generation || own == 0) && !streq(cli_string(resource, "state"), "removed");
}

/* "workload api": what people know it by. */
static void resource_name(const json_t *x, char buf[static 64]) {
        const char *type = cli_string(x, "type"), *name = cli_string(x, "name");

        if (streq(type, "workload") || streq(type, "build"))
                name = *cli_string(x, "workload") ? cli_string(x, "workload") : cli_string(x, "id");
        if (streq(name, type) || streq(name, "default"))
                name = "";
        snprintf(buf, 64, "%.24s%s%.36s", type, *name ? " " : "", name);
}

static void elapsed(const json_t *x, int64_t now, char *buf) {
        int64_t ready = cli_integer(x, "ready_ms"), from = cli_integer(x, "created_ms");
        int64_t ms = (ready >= from && ready > 0 ? ready : now) - from;

        snprintf(buf, 32, "%lld.%llds", (long long) (ms / 1000),
                 (long long) (ms < 0 ? 0 : ms % 1000 / 100));
}

static unsigned terminal_width(void) {
        struct winsize size = { 0 };

        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void draw_line(Progress *p, const json_t *x, int64_t now, unsigned width) {
        const char *state = cli_string(x, "state"), *cause = cli_string(x, "cause");
        char name[64], time[32], line[512];
        int used;

        resource_name(x, name);
        elapsed(x, now, time);
        used = snprintf(line, sizeof(line), "  %-32s %-13s %7s  ", name, state, time);
        if (*cause && used > 0 && (unsigned) used < width)
                snprintf(line + used, sizeof(line) - (size_t) used, "%.*s",
                         (int) (width - (unsigned) used), cause);
        line[width < sizeof(line) ? width : sizeof(line) - 1] = '\0';
        printf("\033[2K%s", cli_color(p->cli, cli_state_color(state)));
        cli_print_text(stdout, line);
        printf("%s\n", cli_color(p->cli, CLI_PLAIN));
}

static void draw(Progress *p, const json_t *resources, int64_t generation) {
        int64_t now = clock_wall_ms(&clock_system);
        unsigned n = 0, width = terminal_width();
        const json_t *x;
        size_t i;

        if (p->n_lines > 0)
                printf("\033[%uA", p->n_lines);
        json_array_foreach(resources, i, x) {
                if (!shown(x, generation))
                        continue;
                draw_line(p, x, now, width);
                n++;
        }
        printf("\033[J");
        p->n_lines = n;
        fflush(stdout);
}

static void print_changes(Progress *p, const json_t *resources, int64_t generation) {
        int64_t now = clock_wall_ms(&clock_system);
        const json_t *x;
        size_t i;

        json_array_foreach(resources, i, x) {
                const char *uid = cli_string(x, "uid"), *state = cli_string(x, "state");
                const char *before = map_get(p->seen, uid);
                char name[64], time[32];
                char *copy;

                if (!shown(x, generation) || streq(state, "planned") ||
                    (before && streq(before, state)))
                        continue;
                copy = strdup(state);
                if (!copy || map_put(p->seen, uid, copy) < 0) {
                        free(copy);
                        return;
                }
                resource_name(x, name);
                elapsed(x, now, time);
                printf("  %-32s %-13s %7s", name, state, time);
                if (*cli_string(x, "cause") && !streq(state, "ready")) {
                        printf("  ");
                        cli_print_text(stdout, cli_string(x, "cause"));
                }
                fputc('\n', stdout);
        }
        fflush(stdout);
}

void progress_show(Progress *p, const json_t *environment, int64_t generation) {
        const json_t *resources = json_object_get(environment, "resources");

        if (p->cli->json)
                return;
        if (p->cli->terminal)
                draw(p, resources, generation);
        else
                print_changes(p, resources, generation);
}

void progress_end(Progress *p) {
        p->n_lines = 0;
}
