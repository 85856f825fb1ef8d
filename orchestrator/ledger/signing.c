/* The installation's key for signatures: a file beside the ledger's own key. The ledger knows the public
 * key of each it ever had, so a lost one is noticed: another one takes its place only when a person says
 * so, because from then on nothing new carries the signature that others may have noted down. */
#include <jansson.h>
#include <stdio.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/ledger/private.h"

#define VALUE "signing" /* JSON array of public keys, the last one is in use */

int signing_keys(Ledger *l, json_t **ret, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        int r;

        r = ledger_value_get(l, VALUE, &text, NULL);
        if (r < 0 && r != -ENOENT)
                return error_set(reterr, r, "The ledger's signing keys cannot be read");
        *ret = r == -ENOENT ? json_array() : json_loads(text, 0, NULL);
        if (!*ret)
                return r == -ENOENT ? -ENOMEM
                                    : error_set(reterr, -EBADMSG,
                                                "The ledger's signing keys are damaged");
        return 0;
}

static int keys_add(Ledger *l, json_t *keys, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        int r;

        if (json_array_append_new(keys, json_string(l->signing_public)) < 0)
                return -ENOMEM;
        text = json_dumps(keys, JSON_COMPACT);
        r = text ? ledger_value_set(l, VALUE, text, reterr) : -ENOMEM;
        return r < 0 ? r : ledger_commit(l, reterr);
}

static int missing(const char *path, Error *reterr) {
        return error_set(reterr, -ENOKEY,
                         "The signing key '%s' is missing. Put it back; when it is lost, make a "
                         "new one with 'mayflyd --new-signing-key' and tell whoever noted the old "
                         "public key down",
                         path);
}

int signing_open(Ledger *l, const LedgerOptions *o, Error *reterr) {
        auto_cleanup(freep) char *path = str_format("%s.signing", o->key_path);
        json_auto_t *keys = NULL;
        const char *newest;
        int r;

        if (!path)
                return -ENOMEM;
        r = signing_keys(l, &keys, reterr);
        if (r < 0)
                return r;
        newest = json_string_value(json_array_get(keys, json_array_size(keys) - 1));
        r = sign_key_load(path, l->signing_key, NULL);
        if (r == -ENOENT && newest && !o->new_signing_key)
                return missing(path, reterr);
        if (r == -ENOENT)
                r = sign_key_make(path, l->signing_key, reterr);
        else if (r < 0)
                r = sign_key_load(path, l->signing_key, reterr); /* for its words */
        if (r == 0)
                r = sign_public(l->signing_key, l->signing_public);
        crash_point("ledger.signing");
        if (r < 0 || streq_null(newest, l->signing_public))
                return r;
        if (newest && !o->new_signing_key)
                return error_set(reterr, -EKEYREJECTED,
                                 "'%s' is not the key that this ledger signs with; put that one "
                                 "back, or take this one with 'mayflyd --new-signing-key'",
                                 path);
        return keys_add(l, keys, reterr);
}

int ledger_public_key(const Ledger *l, char **ret) {
        return sign_public_pem(l->signing_public, ret);
}
