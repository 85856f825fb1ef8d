/* Is everything as it was written? Checked are the chain of events (events.c), its end, the receipts
 * (receipts.c), and what was noticed to be lost in former times: that stays lost, so it stays a finding,
 * whoever released it since. */
#include <stdio.h>

#include "orchestrator/ledger/private.h"

int finding(Findings *f, int64_t event, const char *fmt, ...) {
        auto_strbuf text = { 0 };
        va_list args;

        va_start(args, fmt);
        strbuf_addv(&text, fmt, args);
        va_end(args);
        if (text.broken)
                return -ENOMEM;
        if (f->n++ == 0)
                f->first_bad = event;
        if (f->found)
                f->found(f->userdata, text.text);
        return 0;
}

int finding_range(Findings *f, int64_t first, int64_t last, const char *more, const char *words) {
        if (first == last)
                return finding(f, first, "event %lld is missing%s%s", (long long) first, more,
                               words);
        return finding(f, first, "events %lld to %lld are missing%s%s", (long long) first,
                       (long long) last, more, words);
}

int ledger_verify_events(Ledger *l, int64_t *ret_first_bad, Error *reterr) {
        Findings f = { 0 };
        int r = events_check(l, &f, reterr);

        if (r < 0)
                return r;
        *ret_first_bad = f.first_bad;
        return f.n > 0;
}

int ledger_verify(Ledger *l, void (*found)(void *userdata, const char *sentence), void *userdata,
                  Error *reterr) {
        Findings f = { .found = found, .userdata = userdata, .lost = true };
        int r = events_check(l, &f, reterr);

        if (r == 0 && l->doubt)
                r = finding(&f, 0, "that the newest events are there cannot be shown: %s",
                            l->doubt);
        if (r == 0)
                r = receipts_check(l, &f, reterr);
        return r < 0 ? r : f.n;
}
