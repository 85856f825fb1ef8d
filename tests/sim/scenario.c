/* A scenario as text, as it is kept in tests/sim/kept. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

void scenario_whole(Scenario *s, uint64_t seed, unsigned steps) {
        *s = (Scenario){ .seed = seed, .steps = calloc(steps + 1, sizeof(Step)), .n = steps };
        assert(s->steps);
        for (unsigned i = 0; i < steps; i++)
                s->steps[i].number = i + 1;
}

static bool number(const char **at, uint64_t max, uint64_t *ret) {
        char *end;

        if (**at < '0' || **at > '9')
                return false;
        errno = 0;
        *ret = strtoull(*at, &end, 10);
        *at = end;
        return errno == 0 && *ret <= max;
}

bool scenario_parse(const char *text, Scenario *ret) {
        Scenario s = { .steps = calloc(SCENARIO_STEPS_MAX, sizeof(Step)) };
        uint64_t first, last;
        bool good;

        assert(s.steps);
        good = number(&text, UINT64_MAX, &s.seed) && *text == ' ';
        while (good && *text != 0) {
                text++;
                good = number(&text, SCENARIO_STEPS_MAX, &first);
                last = first;
                if (good && *text == '-') {
                        text++;
                        good = number(&text, SCENARIO_STEPS_MAX, &last);
                }
                for (uint64_t i = first; good && i <= last && s.n < SCENARIO_STEPS_MAX; i++)
                        s.steps[s.n++] = (Step){ (unsigned) i, *text == 'k' };
                text += *text == 'k';
                good = good && (*text == ',' || *text == 0 || *text == ' ');
                if (*text == ' ')
                        break; /* what it is about */
        }
        if (good)
                *ret = s;
        else
                free(s.steps);
        return good;
}

char *scenario_format(const Scenario *s) {
        auto_strbuf b = { 0 };

        strbuf_addf(&b, "%llu ", (unsigned long long) s->seed);
        for (size_t i = 0; i < s->n; i++) {
                size_t end = i;

                while (end + 1 < s->n && s->steps[end + 1].number == s->steps[end].number + 1 &&
                       s->steps[end + 1].kind == s->steps[i].kind)
                        end++;
                strbuf_addf(&b, "%s%u", i == 0 ? "" : ",", s->steps[i].number);
                if (end > i)
                        strbuf_addf(&b, "-%u", s->steps[end].number);
                strbuf_add(&b, s->steps[i].kind ? "k" : "");
                i = end;
        }
        return strbuf_take(&b);
}

void scenario_done(Scenario *s) {
        free(s->steps);
        *s = (Scenario){ 0 };
}
