/* What is left of an environment that is gone: one receipt, written in the turn that ends it, never
 * changed. The signature is over the bytes of its body as they are stored. */
#include <jansson.h>
#include <stdio.h>

#include "orchestrator/ledger/private.h"

#define COLUMNS "environment_id, label, ended_ms, body, public_key, signature"

static const Column columns[] = {
        TEXT(Receipt, environment_id), TEXT(Receipt, label),      INT(Receipt, ended_ms),
        TEXT(Receipt, body),           TEXT(Receipt, public_key), TEXT(Receipt, signature),
};

DEFINE_ROW(Receipt, receipt, columns)

int ledger_receipt_add(Ledger *l, const Receipt *receipt, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        char signature[SIGN_SIGNATURE_TEXT];
        Receipt row = *receipt; /* borrowed strings */
        int r;

        r = sign(l->signing_key, row.body, strlen(row.body), signature, reterr);
        if (r < 0)
                return r;
        row.public_key = l->signing_public;
        row.signature = signature;
        r = ledger_write(l, "INSERT INTO receipt (" COLUMNS ") VALUES (?,?,?,?,?,?)", &q, reterr);
        if (r < 0)
                return r;
        r = row_bind(q, columns, N_ELEMENTS(columns), &row);
        return r < 0 ? r : ledger_run(l, q, reterr);
}

int ledger_receipt_get(Ledger *l, const char *environment_id, Receipt *ret, Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db, "SELECT " COLUMNS " FROM receipt WHERE environment_id = ?1", &q,
                     reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, environment_id);
        r = receipt_first(q, ret, reterr);
        if (r == 0)
                return error_set(reterr, -ENOENT, "No receipt of '%s'", environment_id);
        return r < 0 ? r : 0;
}

int ledger_receipt_each(Ledger *l, const char *label, size_t max,
                        int (*func)(void *userdata, const Receipt *r), void *userdata,
                        Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db,
                     "SELECT " COLUMNS " FROM receipt WHERE label = ?1"
                     " ORDER BY ended_ms DESC, rowid DESC LIMIT ?2",
                     &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, label);
        db_bind_int(q, 2, (int64_t) max);
        return receipt_walk(q, func, userdata, reterr);
}

/* ---- checking ---- */

static int check_signature(Ledger *l, const Receipt *receipt, Error *reterr) {
        json_auto_t *keys = NULL;
        bool known = false;
        json_t *key;
        size_t i;
        int r;

        r = signing_keys(l, &keys, reterr);
        if (r < 0)
                return r;
        json_array_foreach(keys, i, key)
                known = known || streq_null(json_string_value(key), receipt->public_key);
        if (!known)
                return error_set(reterr, -EKEYREJECTED,
                                 "It is signed with a key that this installation never had");
        r = sign_check(receipt->public_key, receipt->signature, receipt->body,
                       strlen(receipt->body));
        if (r == -EBADMSG)
                return error_set(reterr, r,
                                 "The signature does not fit: it was changed after it was signed");
        return r;
}

/* What stands beside the body is not signed, so it must be what the body says. */
static int check_row(Ledger *l, const Receipt *receipt, Error *reterr) {
        json_auto_t *body = json_loads(receipt->body, 0, NULL);
        const json_t *e = json_object_get(body, "environment");

        if (!streq_null(json_string_value(json_object_get(body, "installation")), l->installation))
                return error_set(reterr, -EBADMSG, "It is a receipt of another installation");
        if (!streq_null(json_string_value(json_object_get(e, "id")), receipt->environment_id))
                return error_set(reterr, -EBADMSG, "It is the receipt of another environment");
        if (!streq_null(json_string_value(json_object_get(e, "label")), receipt->label) ||
            json_integer_value(json_object_get(body, "ended_ms")) != receipt->ended_ms)
                return error_set(reterr, -EBADMSG,
                                 "Its name or time is not what was signed: it was changed");
        return 0;
}

/* The event of the environment's end names what was signed, and events cannot be forged. 1 and the digest,
 * or 0 when it names none. */
static int digest_of(Ledger *l, const char *environment_id, char ret[static SHA256_HEX],
                     Error *reterr) {
        static const char sql[] = "SELECT data FROM event WHERE environment_id = ?1"
                                  " AND kind = 'environment.gone' ORDER BY number DESC LIMIT 1";
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        json_auto_t *data = NULL;
        const char *digest;
        int r;

        r = db_query(l->db, sql, &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, environment_id);
        r = db_step(q, reterr);
        if (r <= 0)
                return r;
        data = db_text(q, 0) ? json_loads(db_text(q, 0), 0, NULL) : NULL;
        digest = json_string_value(json_object_get(data, "receipt"));
        if (digest)
                snprintf(ret, SHA256_HEX, "%s", digest);
        return digest != NULL;
}

int ledger_receipt_expected(Ledger *l, const char *environment_id, Error *reterr) {
        char digest[SHA256_HEX];

        return digest_of(l, environment_id, digest, reterr);
}

int ledger_receipt_check(Ledger *l, const Receipt *receipt, Error *reterr) {
        char digest[SHA256_HEX], expected[SHA256_HEX] = "";
        int r;

        r = check_signature(l, receipt, reterr);
        if (r == 0)
                r = check_row(l, receipt, reterr);
        if (r == 0)
                r = sha256_hex(receipt->body, strlen(receipt->body), digest);
        if (r == 0)
                r = digest_of(l, receipt->environment_id, expected, reterr);
        if (r < 0)
                return r;
        if (!streq(digest, expected))
                return error_set(reterr, -EBADMSG,
                                 "It is not the one that the log of events names");
        return 0;
}

typedef struct Checking {
        Ledger *l;
        Findings *f;
} Checking;

static int check_one(void *userdata, const Receipt *receipt) {
        Checking *c = userdata;
        auto_error why = { 0 };
        int r = ledger_receipt_check(c->l, receipt, &why);

        if (r != -EBADMSG && r != -EKEYREJECTED)
                return r;
        return finding(c->f, 0, "the receipt of '%s' (%s) does not hold: %s", receipt->label,
                       receipt->environment_id, error_text(&why, r));
}

static int check_plain(Checking *c, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(c->l->db, "SELECT " COLUMNS " FROM receipt", &q, reterr);
        while (r >= 0 && (r = db_step(q, reterr)) > 0) {
                bool plain = true;

                for (size_t i = 0; i < N_ELEMENTS(columns); i++)
                        plain = plain && db_is_plain(q, (int) i);
                if (!plain)
                        r = finding(c->f, 0, "the receipt of %s has more in it than it shows",
                                    db_text(q, 0) ?: "?");
        }
        return r;
}

/* Named by an event, and not there. */
static int check_missing(Checking *c, bool kept, Error *reterr) {
        static const char all[] = "SELECT environment_id, data FROM event e"
                                  " WHERE kind = 'environment.gone'";
        static const char without[] = "SELECT environment_id, data FROM event e"
                                      " WHERE kind = 'environment.gone' AND NOT EXISTS"
                                      " (SELECT 1 FROM receipt r"
                                      "  WHERE r.environment_id = e.environment_id)";
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(c->l->db, kept ? without : all, &q, reterr);
        while (r >= 0 && (r = db_step(q, reterr)) > 0) {
                json_auto_t *data = db_text(q, 1) ? json_loads(db_text(q, 1), 0, NULL) : NULL;

                if (json_object_get(data, "receipt"))
                        r = finding(c->f, 0, "the receipt of %s is missing", db_text(q, 0) ?: "?");
        }
        return r;
}

/* One of the format before has no table for them. */
static int are_kept(Ledger *l, bool *ret, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(l->db, "SELECT 1 FROM sqlite_schema WHERE name = 'receipt'", &q, reterr);
        if (r == 0)
                r = db_step(q, reterr);
        *ret = r > 0;
        return r < 0 ? r : 0;
}

int receipts_check(Ledger *l, Findings *f, Error *reterr) {
        Checking c = { .l = l, .f = f };
        DbQuery *q = NULL;
        bool kept;
        int r;

        r = are_kept(l, &kept, reterr);
        if (r == 0 && kept)
                r = check_plain(&c, reterr);
        if (r == 0 && kept)
                r = db_query(l->db, "SELECT " COLUMNS " FROM receipt ORDER BY ended_ms", &q,
                             reterr);
        if (r == 0 && kept)
                r = receipt_walk(q, check_one, &c, reterr);
        return r < 0 ? r : check_missing(&c, kept, reterr);
}
