/* Is this ledger the newest one? A database that was put back from a backup looks sound, but renewals,
 * pins and deletions since then are missing from it, and acting on it would delete what lives. So a small
 * file beside it, the anchor, remembers how far the ledger had come: installation, epoch (one more for
 * each start that wrote something), number and chain of an event, and its time.
 *
 * The anchor never runs ahead of the ledger: it is written only after the commit that it names returned,
 * and with synchronous=FULL that commit is on the disk. So after a kill or a power loss the ledger is as
 * far as its anchor or farther, and a ledger that is not was replaced. It is written after the first
 * commit of a start, after every LIMIT_ANCHOR_EVENTS events, at the end, and when a start finds it behind.
 * In between it is behind, which can only miss the loss of the newest events of a start that was killed and
 * had no successor, never raise a false alarm.
 * A missing anchor is an alarm only once the ledger says, in a later turn, that there was one.
 * Backups made by ledger_backup() say in themselves that they are backups.
 *
 * A ledger that was put back is held: it freezes everything destructive in its first turn, under the
 * value that the engine's freeze has, and tells what is missing in an event. A person looks, renews and
 * releases. The anchor then goes on from there, in a new epoch, so the same ledger is not held again.
 *
 * Who holds the installation's key can forge both; who has only the files cannot (proof). */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/time.h"
#include "orchestrator/ledger/private.h"

#define ANCHOR_BYTES 1024

/* What the database says of itself. */
typedef struct Found {
        int64_t epoch;
        bool anchored; /* it once had an anchor */
        bool copied;   /* it is a backup */
        Anchor head;   /* its newest event */
        char chain_at_anchor[SHA256_HEX];
} Found;

int ledger_key_for(const Ledger *l, const char *purpose, uint8_t ret[static SHA256_BYTES]) {
        return hmac_sha256(l->key, sizeof(l->key), purpose, strlen(purpose), ret);
}

int ledger_proof_with(const uint8_t key[static SHA256_BYTES], const void *data, size_t size,
                      char ret[static SHA256_HEX]) {
        static const char digits[] = "0123456789abcdef";
        uint8_t digest[SHA256_BYTES];
        int r;

        r = hmac_sha256(key, SHA256_BYTES, data, size, digest);
        for (size_t i = 0; r == 0 && i < sizeof(digest); i++) {
                ret[i * 2] = digits[digest[i] >> 4];
                ret[i * 2 + 1] = digits[digest[i] & 15];
        }
        ret[SHA256_HEX - 1] = 0;
        return r;
}

int ledger_proof(const Ledger *l, const char *purpose, const void *data, size_t size,
                 char ret[static SHA256_HEX]) {
        uint8_t key[SHA256_BYTES];
        int r;

        r = ledger_key_for(l, purpose, key);
        if (r == 0)
                r = ledger_proof_with(key, data, size, ret);
        wipe(key, sizeof(key));
        return r;
}

/* ---- the file ---- */

static int anchor_proof(const Ledger *l, const Anchor *a, char ret[static SHA256_HEX]) {
        char text[ANCHOR_BYTES];
        int n;

        n = snprintf(text, sizeof(text), "%s %" PRId64 " %" PRId64 " %s %" PRId64, a->installation,
                     a->epoch, a->event, a->chain, a->time_ms);
        return ledger_proof(l, "anchor", text, (size_t) n, ret);
}

/* 0, -ENOENT, or another negative errno when it says nothing that can be trusted. */
static int anchor_read(const Ledger *l, Anchor *ret) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *object = NULL;
        const char *installation, *chain, *proof;
        json_int_t epoch, event, time_ms;
        char expected[SHA256_HEX];
        Anchor a = { 0 };
        int r;

        r = read_file(l->anchor_path, ANCHOR_BYTES, &text, NULL, NULL);
        if (r < 0)
                return r;
        object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        if (json_unpack(object, "{s:s, s:I, s:I, s:s, s:I, s:s}", "installation", &installation,
                        "epoch", &epoch, "event", &event, "chain", &chain, "time_ms", &time_ms,
                        "proof", &proof) < 0)
                return -EBADMSG;
        snprintf(a.installation, sizeof(a.installation), "%s", installation);
        snprintf(a.chain, sizeof(a.chain), "%s", chain);
        a.epoch = epoch;
        a.event = event;
        a.time_ms = time_ms;
        r = anchor_proof(l, &a, expected);
        if (r < 0)
                return r;
        if (!streq(proof, expected) || epoch < 1 || event < 0)
                return -EBADMSG;
        *ret = a;
        return 0;
}

static int anchor_write(const Ledger *l, const Anchor *a, Error *reterr) {
        char proof[SHA256_HEX], text[ANCHOR_BYTES];
        int n, r;

        r = anchor_proof(l, a, proof);
        if (r < 0)
                return r;
        n = snprintf(text, sizeof(text),
                     "{\"installation\":\"%s\",\"epoch\":%" PRId64 ",\"event\":%" PRId64
                     ",\"chain\":\"%s\",\"time_ms\":%" PRId64 ",\"proof\":\"%s\"}\n",
                     a->installation, a->epoch, a->event, a->chain, a->time_ms, proof);
        return write_file(l->anchor_path, text, (size_t) n, 0600, reterr);
}

/* ---- the database ---- */

/* Event `number`, or the newest one when 0; all zero when there is none. */
static int event_at(Ledger *l, int64_t number, Anchor *ret, Error *reterr) {
        static const char newest[] =
                "SELECT number, time_ms, chain FROM event ORDER BY number DESC LIMIT 1";
        static const char one[] = "SELECT number, time_ms, chain FROM event WHERE number = ?1";
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(l->db, number > 0 ? one : newest, &q, reterr);
        if (r < 0)
                return r;
        if (number > 0)
                db_bind_int(q, 1, number);
        r = db_step(q, reterr);
        if (r <= 0)
                return r;
        ret->event = db_int(q, 0);
        ret->time_ms = db_int(q, 1);
        snprintf(ret->chain, sizeof(ret->chain), "%s", db_text(q, 2) ? db_text(q, 2) : "");
        return 0;
}

static int value_number(Ledger *l, const char *name, int64_t *ret, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        int r;

        *ret = 0;
        r = ledger_value_get(l, name, &text, NULL);
        if (r == 0)
                *ret = strtoll(text, NULL, 10);
        return r == 0 || r == -ENOENT ? 0 : error_set(reterr, r, "Cannot read '%s'", name);
}

static int found_load(Ledger *l, const Anchor *anchor, Found *ret, Error *reterr) {
        Anchor at = { 0 };
        int64_t n = 0;
        int r;

        *ret = (Found){ 0 };
        r = value_number(l, "epoch", &ret->epoch, reterr);
        if (r == 0)
                r = value_number(l, "anchored", &n, reterr);
        ret->anchored = n != 0;
        if (r == 0)
                r = value_number(l, "copied", &n, reterr);
        ret->copied = n != 0;
        if (r == 0)
                r = event_at(l, 0, &ret->head, reterr);
        if (r == 0 && anchor->event > 0)
                r = event_at(l, anchor->event, &at, reterr);
        memcpy(ret->chain_at_anchor, at.chain, sizeof(at.chain));
        return r;
}

/* Why this ledger is not the newest one; NULL when it is. */
static const char *why_held(const Ledger *l, int read, const Anchor *a, const Found *f) {
        if (f->copied)
                return "a backup was put in the ledger's place";
        if (read == -ENOENT)
                return f->anchored ? "the ledger's anchor is missing" : NULL;
        if (read < 0)
                return "the ledger's anchor cannot be read";
        if (!streq(a->installation, l->installation))
                return "the ledger's anchor belongs to another ledger";
        if (a->event > f->head.event || a->epoch > f->epoch)
                return "the ledger is older than its anchor: a backup was put back";
        if (a->event > 0 && !streq(a->chain, f->chain_at_anchor))
                return "the ledger's past is not the one that its anchor knows";
        return NULL;
}

/* ---- holding ---- */

static int value_set_json(Ledger *l, const char *name, json_t *taken, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *value = taken;

        text = value ? json_dumps(value, JSON_COMPACT) : NULL;
        return text ? ledger_value_set(l, name, text, reterr) : -ENOMEM;
}

static int hold_event(Ledger *l, const char *sentence, int64_t missing, int64_t gap_ms,
                      int64_t time_ms, Error *reterr) {
        char data[128];

        snprintf(data, sizeof(data), "{\"missing\":%" PRId64 ",\"gap_ms\":%" PRId64 "}", missing,
                 gap_ms);
        return ledger_event_add(l,
                                &(Event){ .time_ms = time_ms,
                                          .kind = (char *) "ledger.held",
                                          .actor = (char *) "ledger",
                                          .text = (char *) sentence,
                                          .data = data },
                                reterr);
}

/* Since when the ledger knows nothing. One that was put back, and again before anybody released it, lost
 * all since the older of the two. */
static int64_t lost_from(Ledger *l, const Found *f) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *before = NULL;
        json_int_t from;

        if (ledger_value_get(l, "held", &text, NULL) < 0)
                return f->head.time_ms;
        before = json_loads(text, 0, NULL);
        from = json_integer_value(json_object_get(before, "from_ms"));
        return !json_object_get(before, "released_ms") && from > 0 && from < f->head.time_ms
                       ? from
                       : f->head.time_ms;
}

static int hold(Ledger *l, const char *why, const Anchor *a, const Found *f, Error *reterr) {
        auto_cleanup(freep) char *sentence = NULL;
        int64_t missing = a->event > f->head.event ? a->event - f->head.event : 0;
        int64_t gap_ms = a->time_ms > f->head.time_ms ? a->time_ms - f->head.time_ms : 0;
        int64_t time_ms = f->head.time_ms + gap_ms;
        char gap[TIME_TEXT_MAX];
        int r;

        duration_format(gap_ms, gap);
        sentence = missing > 0 ? str_format("%s, %" PRId64 " events of %s are missing", why,
                                            missing, gap)
                               : strdup(why);
        if (!sentence)
                return -ENOMEM;
        l->first_missing = missing > 0 ? f->head.event + 1 : 0;
        r = value_set_json(l, "frozen",
                           json_pack("{s:s, s:s, s:I, s:b}", "by", "ledger", "reason", sentence,
                                     "since_ms", (json_int_t) time_ms, "clock", 0),
                           reterr);
        if (r == 0)
                r = value_set_json(l, "held",
                                   json_pack("{s:s, s:I, s:I, s:I, s:I}", "reason", sentence,
                                             "since_ms", (json_int_t) time_ms, "from_ms",
                                             (json_int_t) lost_from(l, f), "gap_ms",
                                             (json_int_t) gap_ms, "missing", (json_int_t) missing),
                                   reterr);
        if (r == 0)
                r = ledger_value_set(l, "copied", NULL, reterr);
        if (r == 0)
                r = hold_event(l, sentence, missing, gap_ms, time_ms, reterr);
        if (r < 0) {
                ledger_rollback(l);
                return r;
        }
        l->held = TAKE(sentence);
        return ledger_commit(l, reterr);
}

const char *ledger_held(const Ledger *l) {
        return l->held;
}

/* ---- the ledger's steps ---- */

static char *anchor_path(const LedgerOptions *o) {
        size_t size = strlen(o->path);

        if (o->anchor_path)
                return strdup(o->anchor_path);
        return str_format("%.*s.anchor", (int) (str_ends_with(o->path, ".db") ? size - 3 : size),
                          o->path);
}

/* A failure is no failure of the turn: the anchor stays behind, and is tried again. */
static void anchor_drop(Ledger *l, int64_t epoch) {
        auto_error e = { 0 };
        Anchor a = { .epoch = epoch };
        int r;

        memcpy(a.installation, l->installation, sizeof(a.installation));
        r = event_at(l, 0, &a, &e);
        if (r == 0 && a.time_ms < l->anchor.time_ms)
                a.time_ms = l->anchor.time_ms;
        crash_point("ledger.anchor.before");
        if (r == 0)
                r = anchor_write(l, &a, &e);
        crash_point("ledger.anchor.after");
        if (r < 0) {
                log_debug("anchor: %s", error_text(&e, r));
                return;
        }
        l->anchor = a;
        l->n_events = 0;
}

int anchor_open(Ledger *l, const LedgerOptions *o, Error *reterr) {
        Anchor a = { 0 };
        const char *why;
        Found f;
        int r, read;

        if (o->fast && !o->anchor_path)
                return 0;
        l->anchor_path = anchor_path(o);
        if (!l->anchor_path)
                return -ENOMEM;
        read = anchor_read(l, &a);
        r = found_load(l, &a, &f, reterr);
        if (r < 0)
                return r;
        l->epoch = (f.epoch > a.epoch ? f.epoch : a.epoch) + 1;
        l->anchored = f.anchored;
        why = why_held(l, read, &a, &f);
        if (why)
                return hold(l, why, &a, &f, reterr);
        l->anchor = a;
        /* A start that was killed left it behind; this one may end before its first commit. */
        if (a.epoch > 0 && f.head.event > a.event)
                anchor_drop(l, a.epoch);
        return 0;
}

int anchor_before_commit(Ledger *l, Error *reterr) {
        char epoch[24];
        int r = 0;

        if (l->epoch == 0)
                return 0;
        if (!l->epoch_written) {
                snprintf(epoch, sizeof(epoch), "%" PRId64, l->epoch);
                r = ledger_value_set(l, "epoch", epoch, reterr);
        }
        if (r == 0 && !l->anchored && l->anchor.epoch > 0)
                r = ledger_value_set(l, "anchored", "1", reterr);
        return r;
}

void anchor_after_commit(Ledger *l) {
        if (l->epoch == 0)
                return;
        if (l->anchor.epoch > 0)
                l->anchored = true; /* anchor_before_commit() wrote it, if it was not there */
        l->epoch_written = true;
        if (l->anchor.epoch != l->epoch || l->n_events >= LIMIT_ANCHOR_EVENTS)
                anchor_drop(l, l->epoch);
}

void anchor_close(Ledger *l) {
        if (l->epoch_written && (l->anchor.epoch != l->epoch || l->n_events > 0))
                anchor_drop(l, l->epoch);
        free(l->anchor_path);
        free(l->held);
}
