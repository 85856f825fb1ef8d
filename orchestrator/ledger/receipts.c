/* What is left of an environment that is gone: one receipt, written in the turn that ends it, never
 * changed. The signature is over the bytes of its body as they are stored. */
#include <jansson.h>

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

int ledger_receipt_check(Ledger *l, const Receipt *receipt, Error *reterr) {
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
