/* Is this ledger the newest one? A database that was put back from a backup looks sound, but renewals,
 * pins and deletions since then are missing from it, and acting on it would delete what lives. So a small
 * file beside it, the anchor, remembers how far the ledger had come: installation, epoch (one more for
 * each start that wrote something), number and chain of an event, and its time.
 *
 * The anchor never runs ahead of the ledger: it is written only after the commit that it names returned,
 * and with synchronous=FULL that commit is on the disk. So after a kill or a power loss the ledger is as
 * far as its anchor or farther, and a ledger that is not was replaced. It is written before the first turn
 * of a new ledger, after the first commit of a start, after every LIMIT_ANCHOR_EVENTS events, at the end, and
 * when a start finds it behind. In between it is behind, which can only miss the loss of the newest events of
 * a start that was killed and had no successor, never raise a false alarm.
 * So a ledger in which anything stands has an anchor, and a missing one is an alarm.
 * Backups made by ledger_backup() say in themselves that they are backups.
 * Ledger and anchor together, as they were some days ago or in a folder that was copied, agree with each
 * other. So the anchor also says which file it is itself, and on which machine: each time it is written it is
 * another file, and no copy is the same one. Only a disk that is put back as a whole is not recognised.
 *
 * A ledger that was put back is held: it freezes everything destructive in its first turn, under the
 * value that the engine's freeze has, and tells what is missing in an event. A person looks, renews and
 * releases. The anchor then goes on from there, in a new epoch, so the same ledger is not held again.
 *
 * Who holds the installation's key can forge both; who has only the files cannot (proof). */
#include <fcntl.h>
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
        bool used;   /* something stands in it, so it has an anchor */
        bool copied; /* it is a backup */
        Anchor head; /* its newest event */
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
        auto_strbuf text = { 0 };

        strbuf_addf(&text, "%s %" PRId64 " %" PRId64 " %s %" PRId64, a->installation, a->epoch,
                    a->event, a->chain, a->time_ms);
        if (a->placed)
                strbuf_addf(&text, " %s %" PRId64 " %" PRId64 " %s", a->which.handle,
                            a->which.born_ns, a->which.inode, a->machine);
        return text.broken ? -ENOMEM : ledger_proof(l, "anchor", text.text, text.size, ret);
}

/* Which machine this is (machine-id(5)), as nobody else can tell; "" where that is not known. */
static int machine_tell(const Ledger *l, char ret[static SHA256_HEX]) {
        auto_cleanup(freep) char *id = NULL;
        size_t size = 0;

        *ret = 0;
        if (read_file("/etc/machine-id", 64, &id, &size, NULL) < 0 || size < 32)
                return 0;
        return ledger_proof(l, "machine", id, 32, ret);
}

/* Anchors of former versions do not say where they stand. */
static int place_read(json_t *object, Anchor *a) {
        const char *handle, *machine;
        json_int_t born_ns, inode;

        if (!json_object_get(object, "machine"))
                return 0;
        if (json_unpack(object, "{s:s, s:I, s:I, s:s}", "handle", &handle, "born_ns", &born_ns,
                        "inode", &inode, "machine", &machine) < 0)
                return -EBADMSG;
        a->placed = true;
        a->which = (FileWhich){ .born_ns = born_ns, .inode = inode };
        snprintf(a->which.handle, sizeof(a->which.handle), "%s", handle);
        snprintf(a->machine, sizeof(a->machine), "%s", machine);
        return 0;
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
        r = place_read(object, &a);
        if (r == 0)
                r = anchor_proof(l, &a, expected);
        if (r < 0)
                return r;
        if (!streq(proof, expected) || epoch < 1 || event < 0)
                return -EBADMSG;
        *ret = a;
        return 0;
}

typedef struct Writing {
        const Ledger *l;
        Anchor *a;
} Writing;

static int anchor_put(void *userdata, int fd) {
        Writing *w = userdata;
        auto_strbuf text = { 0 };
        char proof[SHA256_HEX];
        Anchor *a = w->a;
        int r = 0;

        a->placed = w->l->placed;
        if (a->placed)
                r = file_which(fd, "", &a->which);
        if (a->placed && r == 0)
                r = machine_tell(w->l, a->machine);
        if (r == 0)
                r = anchor_proof(w->l, a, proof);
        if (r < 0)
                return r;
        strbuf_addf(&text,
                    "{\"installation\":\"%s\",\"epoch\":%" PRId64 ",\"event\":%" PRId64
                    ",\"chain\":\"%s\",\"time_ms\":%" PRId64,
                    a->installation, a->epoch, a->event, a->chain, a->time_ms);
        if (a->placed)
                strbuf_addf(&text,
                            ",\"handle\":\"%s\",\"born_ns\":%" PRId64 ",\"inode\":%" PRId64
                            ",\"machine\":\"%s\"",
                            a->which.handle, a->which.born_ns, a->which.inode, a->machine);
        strbuf_addf(&text, ",\"proof\":\"%s\"}\n", proof);
        return text.broken ? -ENOMEM : write_all(fd, text.text, text.size);
}

static int anchor_write(const Ledger *l, Anchor *a, Error *reterr) {
        return write_file_by(l->anchor_path, 0600, anchor_put, &(Writing){ l, a }, reterr);
}

/* Each anchor is a file of its own, so one that says of itself that it is another was copied. */
static bool has_moved(const Ledger *l, const Anchor *a) {
        char machine[SHA256_HEX];
        FileWhich which;

        if (!l->placed || !a->placed)
                return false;
        if (file_which(AT_FDCWD, l->anchor_path, &which) == 0 &&
            !file_which_same(&which, &a->which))
                return true;
        return machine_tell(l, machine) == 0 && *machine && *a->machine &&
               !streq(machine, a->machine);
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

static int has_things(Ledger *l, bool *ret, Error *reterr) {
        static const char any[] =
                "SELECT EXISTS (SELECT 1 FROM project) OR EXISTS (SELECT 1 FROM environment)";
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(l->db, any, &q, reterr);
        if (r == 0)
                r = db_step(q, reterr);
        if (r < 0)
                return r;
        *ret = r > 0 && db_int(q, 0) != 0;
        return 0;
}

static int found_load(Ledger *l, const Anchor *anchor, Found *ret, Error *reterr) {
        Anchor at = { 0 };
        int64_t n = 0;
        int r;

        *ret = (Found){ 0 };
        r = value_number(l, "epoch", &ret->epoch, reterr);
        if (r == 0)
                r = value_number(l, "copied", &n, reterr);
        ret->copied = n != 0;
        if (r == 0)
                r = has_things(l, &ret->used, reterr);
        if (r == 0)
                r = event_at(l, 0, &ret->head, reterr);
        if (r == 0 && anchor->event > 0)
                r = event_at(l, anchor->event, &at, reterr);
        ret->used = ret->used || ret->head.event > 0 || ret->epoch > 1;
        memcpy(ret->chain_at_anchor, at.chain, sizeof(at.chain));
        return r;
}

/* Why a ledger is not the newest one. */
typedef enum Reason {
        REASON_NONE,
        REASON_COPIED,
        REASON_MISSING,
        REASON_UNREADABLE,
        REASON_FOREIGN,
        REASON_OLDER,
        REASON_PAST,
        REASON_MOVED,
        _REASON_MAX,
} Reason;

static const char *const reasons[_REASON_MAX] = {
        [REASON_COPIED] = "a backup was put in the ledger's place",
        [REASON_MISSING] = "the ledger's anchor is missing",
        [REASON_UNREADABLE] = "the ledger's anchor cannot be read",
        [REASON_FOREIGN] = "the ledger's anchor belongs to another ledger",
        [REASON_OLDER] = "the ledger is older than its anchor: a backup was put back",
        [REASON_PAST] = "the ledger's past is not the one that its anchor knows",
        [REASON_MOVED] = "the state folder was copied, moved to another disk or put back",
};

/* Does it leave open whether the newest events are there? */
static bool is_doubtful(Reason reason) {
        return reason == REASON_MISSING || reason == REASON_UNREADABLE ||
               reason == REASON_FOREIGN || reason == REASON_PAST;
}

static Reason reason_of(const Ledger *l, int read, const Anchor *a, const Found *f) {
        if (f->copied)
                return REASON_COPIED;
        if (read == -ENOENT)
                return f->used ? REASON_MISSING : REASON_NONE;
        if (read < 0)
                return REASON_UNREADABLE;
        if (!streq(a->installation, l->installation))
                return REASON_FOREIGN;
        if (a->event > f->head.event || a->epoch > f->epoch)
                return REASON_OLDER;
        if (a->event > 0 && !streq(a->chain, f->chain_at_anchor))
                return REASON_PAST;
        return has_moved(l, a) ? REASON_MOVED : REASON_NONE;
}

/* ---- holding ---- */

static int value_set_json(Ledger *l, const char *name, json_t *taken, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *value = taken;

        text = value ? json_dumps(value, JSON_COMPACT) : NULL;
        return text ? ledger_value_set(l, name, text, reterr) : -ENOMEM;
}

/* What is checked ever after (events.c). */
static int hold_event(Ledger *l, const char *sentence, int64_t missing, int64_t gap_ms, bool doubt,
                      int64_t time_ms, Error *reterr) {
        char data[128];

        snprintf(data, sizeof(data),
                 "{\"missing\":%" PRId64 ",\"gap_ms\":%" PRId64 ",\"doubt\":%s}", missing, gap_ms,
                 doubt ? "true" : "false");
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

/* How much is missing, where that can be told. */
static char *sentence_of(const char *why, int64_t missing, const Found *f, int64_t gap_ms) {
        char gap[TIME_TEXT_MAX];

        if (missing <= 0)
                return strdup(why);
        if (f->head.event == 0)
                return str_format("%s, all its events are missing (%" PRId64 ")", why, missing);
        duration_format(gap_ms, gap);
        return str_format("%s, %" PRId64 " event%s of %s %s missing", why, missing,
                          missing == 1 ? "" : "s", gap, missing == 1 ? "is" : "are");
}

static int64_t missing_of(const Anchor *a, const Found *f) {
        return a->event > f->head.event ? a->event - f->head.event : 0;
}

static int64_t gap_of(const Anchor *a, const Found *f) {
        return f->head.event > 0 && a->time_ms > f->head.time_ms ? a->time_ms - f->head.time_ms : 0;
}

static int hold(Ledger *l, Reason reason, const Anchor *a, const Found *f, int64_t now_ms,
                Error *reterr) {
        int64_t missing = missing_of(a, f), gap_ms = gap_of(a, f), time_ms = now_ms;
        auto_cleanup(freep) char *sentence = sentence_of(reasons[reason], missing, f, gap_ms);
        int r;

        if (!sentence)
                return -ENOMEM;
        if (time_ms < f->head.time_ms)
                time_ms = f->head.time_ms;
        if (time_ms < a->time_ms)
                time_ms = a->time_ms;
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
                r = ledger_slots_skip(l, missing, reterr);
        if (r == 0)
                r = ledger_value_set(l, "copied", NULL, reterr);
        if (r == 0)
                r = hold_event(l, sentence, missing, gap_ms, is_doubtful(reason), time_ms, reterr);
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

int ledger_hold(Ledger *l, char **ret, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *value = NULL;
        const char *reason;
        int r;

        r = ledger_value_get(l, "held", &text, NULL);
        if (r < 0)
                return r == -ENOENT ? r : error_set(reterr, r, "Cannot read whether it is held");
        value = json_loads(text, 0, NULL);
        if (json_object_get(value, "released_ms"))
                return -ENOENT;
        reason = json_string_value(json_object_get(value, "reason"));
        *ret = strdup(reason ? reason : "for a reason that cannot be read");
        return *ret ? 0 : -ENOMEM;
}

/* ---- the ledger's steps ---- */

static char *anchor_path(const LedgerOptions *o) {
        size_t size = strlen(o->path);

        if (o->anchor_path)
                return strdup(o->anchor_path);
        return str_format("%.*s.anchor", (int) (str_ends_with(o->path, ".db") ? size - 3 : size),
                          o->path);
}

static int anchor_drop(Ledger *l, int64_t epoch, Error *reterr) {
        Anchor a = { .epoch = epoch };
        int r;

        memcpy(a.installation, l->installation, sizeof(a.installation));
        r = event_at(l, 0, &a, reterr);
        if (r < 0)
                return r;
        if (a.time_ms < l->anchor.time_ms)
                a.time_ms = l->anchor.time_ms;
        crash_point("ledger.anchor.before");
        r = anchor_write(l, &a, reterr);
        crash_point("ledger.anchor.after");
        if (r < 0)
                return r;
        l->anchor = a;
        l->n_events = 0;
        return 0;
}

/* A failure is no failure of the turn: the anchor stays behind, and is tried again. */
static void anchor_try(Ledger *l, int64_t epoch) {
        auto_error e = { 0 };
        int r = anchor_drop(l, epoch, &e);

        if (r < 0)
                log_debug("anchor: %s", error_text(&e, r));
}

/* Before anything stands in the ledger: the epoch first, then its anchor. A kill in between leaves a ledger
 * in which nothing stands. */
static int anchor_begin(Ledger *l, Error *reterr) {
        int r;

        l->epoch = 1;
        r = ledger_value_set(l, "epoch", "1", reterr);
        if (r == 0)
                r = ledger_commit(l, reterr);
        if (r == 0 && l->anchor.epoch == 0)
                r = anchor_drop(l, l->epoch, reterr); /* once more, for its words */
        l->n_events = LIMIT_ANCHOR_EVENTS;            /* the first turn is followed by another */
        return r;
}

/* What the next start will find. */
static int anchor_look(Ledger *l, Reason reason, const Anchor *a, const Found *f) {
        if (reason != REASON_FOREIGN)
                l->anchor = *a;
        if (reason == REASON_NONE)
                return 0;
        l->held = sentence_of(reasons[reason], missing_of(a, f), f, gap_of(a, f));
        if (is_doubtful(reason))
                l->doubt = reasons[reason];
        return l->held ? 0 : -ENOMEM;
}

int anchor_open(Ledger *l, const LedgerOptions *o, Error *reterr) {
        Anchor a = { 0 };
        Reason reason;
        Found f;
        int r, read;

        if (o->fast && !o->anchor_path)
                return 0;
        l->anchor_path = anchor_path(o);
        if (!l->anchor_path)
                return -ENOMEM;
        l->placed = !o->vfs && o->path[0] == '/'; /* else it stands nowhere */
        /* The anchor first: a daemon may be writing, and the ledger is never behind it. */
        read = anchor_read(l, &a);
        r = found_load(l, &a, &f, reterr);
        if (r < 0)
                return r;
        reason = reason_of(l, read, &a, &f);
        if (o->read_only)
                return anchor_look(l, reason, &a, &f);
        l->epoch = (f.epoch > a.epoch ? f.epoch : a.epoch) + 1;
        if (reason != REASON_NONE)
                return hold(l, reason, &a, &f, o->now_ms, reterr);
        l->anchor = a;
        if (read == -ENOENT)
                return anchor_begin(l, reterr);
        /* A start that was killed left it behind; this one may end before its first commit. */
        if (f.head.event > a.event)
                anchor_try(l, a.epoch);
        return 0;
}

int anchor_before_commit(Ledger *l, Error *reterr) {
        char epoch[24];

        if (l->epoch == 0 || l->epoch_written)
                return 0;
        snprintf(epoch, sizeof(epoch), "%" PRId64, l->epoch);
        return ledger_value_set(l, "epoch", epoch, reterr);
}

void anchor_after_commit(Ledger *l) {
        if (l->epoch == 0)
                return;
        l->epoch_written = true;
        if (l->anchor.epoch != l->epoch || l->n_events >= LIMIT_ANCHOR_EVENTS)
                anchor_try(l, l->epoch);
}

void anchor_close(Ledger *l) {
        if (l->epoch_written && (l->anchor.epoch != l->epoch || l->n_events > 0))
                anchor_try(l, l->epoch);
        free(l->anchor_path);
        free(l->held);
}
