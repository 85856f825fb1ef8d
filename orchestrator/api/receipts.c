/* What is left of environments that are gone. A receipt is found by the id of its environment, or by the
 * name that several may have had one after the other: then it is the newest one's. */
#include <string.h>

#include "orchestrator/api/api.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/crypto.h"

static int receipt_copy(const Receipt *from, Receipt *to) {
        char *const texts[] = { from->environment_id, from->label, from->body, from->public_key,
                                from->signature };
        char **const copies[] = { &to->environment_id, &to->label, &to->body, &to->public_key,
                                  &to->signature };

        to->ended_ms = from->ended_ms;
        for (size_t i = 0; i < N_ELEMENTS(texts); i++)
                if (str_replace(copies[i], texts[i]) < 0)
                        return -ENOMEM;
        return 0;
}

typedef struct Found {
        Receipt *receipt; /* the first that is seen, when it is empty */
        json_t *others;
} Found;

static int find_one(void *userdata, const Receipt *r) {
        Found *f = userdata;
        int added;

        if (!f->receipt->body)
                return receipt_copy(r, f->receipt);
        if (streq(r->environment_id, f->receipt->environment_id))
                return 0;
        added = json_array_append_new(f->others, json_pack("{s:s, s:I}", "id", r->environment_id,
                                                           "ended_ms", (json_int_t) r->ended_ms));
        return added < 0 ? -ENOMEM : 0;
}

static int no_receipt(ApiCall *c, const Environment *e, Error *reterr) {
        int r;

        switch (e->state) {
        case ENV_GONE:
                r = ledger_receipt_expected(c->m->ledger, e->id, reterr);
                if (r < 0)
                        return r;
                if (r > 0)
                        return error_set(
                                reterr, -ENOENT,
                                "%s was removed and left a receipt, but its receipt is missing "
                                "from the ledger; see 'mayflyd --verify-log'",
                                e->label);
                return error_set(reterr, -ENOENT, "%s was removed before receipts were kept",
                                 e->label);
        case ENV_DELETING:
                return error_set(reterr, -EPERM,
                                 "%s is being removed; its receipt comes when nothing is left",
                                 e->label);
        default:
                return error_set(reterr, -EPERM, "%s is not gone; a receipt says what was removed",
                                 e->label);
        }
}

int api_receipt_find(ApiCall *c, Receipt *ret, json_t *others, Error *reterr) {
        auto_cleanup(environment_done) Environment e = { 0 };
        Found found = { .receipt = ret, .others = others };
        int r = ledger_environment_get(c->m->ledger, c->args[0], &e, reterr);

        if (r == -ENOENT) {
                error_done(reterr);
                return error_set(reterr, r, "There is no environment '%s'", c->args[0]);
        }
        if (r == 0 && streq(e.id, c->args[0])) {
                r = ledger_receipt_get(c->m->ledger, e.id, ret, NULL);
                if (r == -ENOENT)
                        return no_receipt(c, &e, reterr);
        }
        if (r == 0)
                r = ledger_receipt_each(c->m->ledger, e.label, LIMIT_RECEIPT_OTHERS + 1, find_one,
                                        &found, reterr);
        if (r < 0)
                return r;
        /* An older one of this name is not shown in the place of one that is missing. */
        if (ret->body && e.state == ENV_GONE && !streq(ret->environment_id, e.id)) {
                r = ledger_receipt_expected(c->m->ledger, e.id, reterr);
                if (r < 0)
                        return r;
                if (r > 0)
                        return no_receipt(c, &e, reterr);
        }
        return ret->body ? 0 : no_receipt(c, &e, reterr);
}

/* What was found of it after its receipt was written, and what became of that. */
static int later_event(void *userdata, const Event *e) {
        json_t *later = userdata;

        if (!str_after(e->kind, "orphan.") || json_array_size(later) >= LIMIT_RECEIPT_LATER)
                return 0;
        return json_array_append_new(later, json_pack("{s:I, s:I, s:s, s:s}", "number",
                                                      (json_int_t) e->number, "time_ms",
                                                      (json_int_t) e->time_ms, "kind", e->kind,
                                                      "text", e->text)) < 0
                       ? -ENOMEM
                       : 0;
}

/* Whoever has the name now, when that is not the one whose receipt it is. */
static json_t *living_json(ApiCall *c, const Receipt *receipt) {
        auto_cleanup(environment_done) Environment e = { 0 };

        if (ledger_environment_get(c->m->ledger, receipt->label, &e, NULL) < 0 ||
            e.state == ENV_GONE || streq(e.id, receipt->environment_id))
                return json_null();
        return json_pack("{s:s, s:s}", "id", e.id, "state", env_state_to_string(e.state));
}

static int receipt_more(ApiCall *c, const Receipt *receipt, json_t *others, json_t *to) {
        bool cut = json_array_size(others) >= LIMIT_RECEIPT_OTHERS;
        json_auto_t *later = json_array();
        int r = later ? ledger_event_each(c->m->ledger, 0, receipt->environment_id, SIZE_MAX >> 1,
                                          later_event, later, NULL)
                      : -ENOMEM;

        if (r < 0)
                return r;
        return json_object_set(to, "others", others) < 0 ||
                               json_object_set_new(to, "others_cut", json_boolean(cut)) < 0 ||
                               json_object_set(to, "later", later) < 0 ||
                               json_object_set_new(to, "living", living_json(c, receipt)) < 0
                       ? -ENOMEM
                       : 0;
}

static int receipt_json(ApiCall *c, const Receipt *receipt, json_t *others, json_t **ret) {
        auto_cleanup(freep) char *pem = NULL;
        auto_error why = { 0 };
        int holds = ledger_receipt_check(c->m->ledger, receipt, &why), r;
        json_t *body;

        r = sign_public_pem(receipt->public_key, &pem);
        if (r == -ENOMEM || holds == -ENOMEM)
                return -ENOMEM;
        body = json_loads(receipt->body, 0, NULL);
        *ret = json_pack("{s:s, s:s, s:I, s:o, s:s, s:s, s:s?, s:b, s:s?}", "id",
                         receipt->environment_id, "label", receipt->label, "ended_ms",
                         (json_int_t) receipt->ended_ms, "receipt", body ?: json_null(), "signed",
                         receipt->body, "signature", receipt->signature, "public_key", pem, "holds",
                         holds == 0, "fault", holds == 0 ? NULL : error_text(&why, holds));
        return *ret ? receipt_more(c, receipt, others, *ret) : -ENOMEM;
}

int api_receipt_show(ApiCall *c, Error *reterr) {
        auto_cleanup(receipt_done) Receipt receipt = { 0 };
        json_auto_t *others = json_array();
        int r = others ? api_receipt_find(c, &receipt, others, reterr) : -ENOMEM;

        return r == 0 ? receipt_json(c, &receipt, others, &c->result) : r;
}

/* ---- held against the world ---- */

static void on_verified(void *userdata, json_t *report) {
        ApiCall *c = userdata;
        bool holds = json_is_true(json_object_get(c->result, "holds")) &&
                     json_is_true(json_object_get(report, "gone"));
        int r = report && json_object_set_new(c->result, "world", report) == 0 &&
                                json_object_set_new(c->result, "verified", json_boolean(holds)) == 0
                        ? 0
                        : -ENOMEM;

        c->verify = NULL;
        api_finish(c, r, NULL);
}

int api_receipt_verify(ApiCall *c, Error *reterr) {
        auto_cleanup(receipt_done) Receipt receipt = { 0 };
        json_auto_t *others = json_array();
        int r = others ? api_receipt_find(c, &receipt, others, reterr) : -ENOMEM;

        if (r == 0)
                r = receipt_json(c, &receipt, others, &c->result);
        if (r == 0)
                r = engine_verify(c->m->engine, &receipt, on_verified, c, &c->verify, reterr);
        return r == 0 ? API_LATER : r;
}
