/* Receipts: what a teardown removed and what it looked for and found absent. Each answer to a removal is
 * kept in the events, in the turn that applies it, so a teardown that was interrupted any number of times
 * still has all of them; the turn that ends the environment puts them together, signs, and writes the
 * receipt beside the last move. Another turn cannot: gone is a state that nothing leaves. */
#include <stdio.h>

#include "orchestrator/engine/private.h"
#include "orchestrator/glue/crypto.h"

/* ---- one answer ---- */

/* Cut last: half a secret is not found. */
static char *clean_name(View *v, const json_t *value) {
        char *clean = view_scrub(v, json_is_string(value) ? json_string_value(value) : "unnamed");
        size_t size = clean ? strlen(clean) : 0;

        if (size > LIMIT_REPORT_NAME_BYTES) {
                size = LIMIT_REPORT_NAME_BYTES;
                while (size > 0 && ((unsigned char) clean[size] & 0xc0) == 0x80)
                        size--; /* not in the middle of a character */
                clean[size] = 0;
        }
        return clean;
}

/* [{"kind","name"}] of a provider, bounded and cleaned; what does not fit is counted. */
static json_t *report_list(View *v, const json_t *given, int64_t *more) {
        json_t *out = json_array();
        json_t *item;
        size_t i;

        json_array_foreach(given, i, item) {
                auto_cleanup(freep) char *kind = NULL, *name = NULL;

                if (json_array_size(out) >= LIMIT_REPORT_ENTRIES) {
                        *more += (int64_t) (json_array_size(given) - i);
                        break;
                }
                kind = clean_name(v, json_object_get(item, "kind"));
                name = clean_name(v, json_object_get(item, "name"));
                if (!kind || !name ||
                    json_array_append_new(out,
                                          json_pack("{s:s, s:s}", "kind", kind, "name", name)) < 0)
                        return json_decref(out), NULL;
        }
        return out;
}

int receipt_note_attempt(View *v, const Part *p, Error *reterr) {
        EventWhere where = event_of(v);

        where.data = json_pack("{s:s, s:b}", "resource", p->row.uid, "attempt", 1);
        if (!where.data)
                return -ENOMEM;
        return event_add(v->e, EVENT_RESOURCE_REMOVING, where, "%s '%s' is being removed",
                         p->row.type, p->row.name ? p->row.name : p->row.key);
}

int receipt_note(View *v, Part *p, const Call *c, Error *reterr) {
        EventWhere where = event_of(v);
        int64_t more = 0;
        json_t *removed = report_list(v, json_object_get(c->result, "removed"), &more);
        json_t *absent = report_list(v, json_object_get(c->result, "absent"), &more);

        where.data = json_pack("{s:s, s:s, s:s, s:o, s:o, s:I}", "resource", p->row.uid, "type",
                               p->row.type, "provider", p->row.provider, "removed", removed,
                               "absent", absent, "more", (json_int_t) more);
        if (!where.data)
                return -ENOMEM;
        return event_add(v->e, EVENT_RESOURCE_REMOVING, where, "%s '%s' was removed%s", p->row.type,
                         p->row.name ? p->row.name : p->row.key,
                         c->class == PROVIDER_OK || c->class == PROVIDER_GONE
                                 ? "; looking whether it is gone"
                                 : " in part");
}

/* ---- all of them ---- */

typedef struct Gathering {
        json_t *list;         /* resources in the order in which they were made */
        json_t *by_uid;       /* the same, to find them */
        int64_t left_out;     /* older ones for which there was no room */
        int64_t n_never_made; /* planned, and given up before anything was asked for */
} Gathering;

static void gathering_done(Gathering *g) {
        json_decref(g->list);
        json_decref(g->by_uid);
}

static int gather_resource(void *userdata, const Resource *r) {
        Gathering *g = userdata;
        json_t *one;

        if (!r->touched) {
                g->n_never_made++;
                return 0;
        }
        one = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:I, s:[], s:[]}", "uid", r->uid,
                        "type", r->type, "key", r->key, "generation", (json_int_t) r->generation,
                        "provider", r->provider, "marker", r->marker, "made_ms",
                        (json_int_t) r->created_ms, "absent_ms", (json_int_t) r->removed_ms,
                        "removed", "absent");
        if (!one || json_object_set(g->by_uid, r->uid, one) < 0 ||
            json_array_append_new(g->list, one) < 0)
                return -ENOMEM;
        if (json_array_size(g->list) <= LIMIT_RECEIPT_RESOURCES)
                return 0;
        g->left_out++;
        (void) json_object_del(g->by_uid,
                               json_string_value(json_object_get(json_array_get(g->list, 0),
                                                                 "uid"))); /* it is there */
        return json_array_remove(g->list, 0) < 0 ? -ENOMEM : 0;
}

static bool listed(const json_t *list, const json_t *thing) {
        json_t *item;
        size_t i;

        json_array_foreach(list, i, item) {
                if (json_equal(item, thing))
                        return true;
        }
        return false;
}

/* A later answer finds absent what an earlier one removed: that was removed. */
static int merge(json_t *one, const json_t *data) {
        json_t *removed = json_object_get(one, "removed"), *absent = json_object_get(one, "absent");
        json_t *item;
        size_t i;

        json_array_foreach(json_object_get(data, "removed"), i, item) {
                if (!listed(removed, item) && json_array_append(removed, item) < 0)
                        return -ENOMEM;
        }
        json_array_foreach(json_object_get(data, "absent"), i, item) {
                if (!listed(removed, item) && !listed(absent, item) &&
                    json_array_append(absent, item) < 0)
                        return -ENOMEM;
        }
        for (i = 0; i < json_array_size(absent);)
                if (listed(removed, json_array_get(absent, i)))
                        (void) json_array_remove(absent, i);
                else
                        i++;
        return 0;
}

static int count(json_t *one, const char *key, json_int_t by) {
        json_int_t before = json_integer_value(json_object_get(one, key));

        return json_object_set_new(one, key, json_integer(before + by)) < 0 ? -ENOMEM : 0;
}

static int gather_event(void *userdata, const Event *e) {
        Gathering *g = userdata;
        json_auto_t *data = NULL;
        json_t *one;
        json_int_t more;

        if (!e->data || !streq(e->kind, "resource.removing"))
                return 0;
        data = json_loads(e->data, 0, NULL);
        one = json_object_get(g->by_uid,
                              json_string_value(json_object_get(data, "resource")) ?: "");
        if (!one)
                return 0;
        if (json_is_true(json_object_get(data, "attempt")))
                return count(one, "attempts", 1);
        more = json_integer_value(json_object_get(data, "more"));
        if (count(one, "answers", 1) < 0 ||
            json_object_set_new(one, "answered_ms", json_integer(e->time_ms)) < 0 ||
            (more > 0 && count(one, "more", more) < 0))
                return -ENOMEM;
        return merge(one, data);
}

/* Where its address leads now: to a page that says it is gone, or to a newer environment. */
static json_t *route_json(View *v) {
        auto_cleanup(freep) char *host = environment_host(v->e, v->env.label);
        auto_cleanup(route_done) Route route = { 0 };

        if (!host)
                return NULL;
        if (ledger_route_get(v->e->ledger, host, &route, NULL) < 0)
                return json_pack("{s:s, s:s}", "host", host, "answer", "unknown");
        if (!streq(route.environment_id, v->env.id))
                return json_pack("{s:s, s:s, s:s}", "host", host, "answer", "another environment",
                                 "environment", route.environment_id);
        return json_pack("{s:s, s:s, s:i, s:I}", "host", host, "answer", route.answer, "endpoints",
                         streq(route.endpoints, "[]") ? 0 : 1, "since_ms",
                         (json_int_t) route.changed_ms);
}

static json_t *body_of(View *v, Gathering *g) {
        const Environment *env = &v->env;
        json_t *who = json_pack(
                "{s:s, s:s, s:s*, s:s, s:s, s:s*, s:I, s:I, s:s*, s:s*}", "id", env->id, "label",
                env->label, "project", env->project, "branch", env->branch, "commit", env->commit,
                "owner", env->owner, "created_ms", (json_int_t) env->created_ms, "deleted_ms",
                (json_int_t) env->deleted_ms, "by", env->gone_by, "why", env->gone_why);

        return json_pack("{s:i, s:s, s:o, s:I, s:O, s:o, s:I, s:I}", "version", 1, "installation",
                         ledger_installation(v->e->ledger), "environment", who, "ended_ms",
                         (json_int_t) v->e->now_ms, "resources", g->list, "route", route_json(v),
                         "never_made", (json_int_t) g->n_never_made, "left_out",
                         (json_int_t) g->left_out);
}

int receipt_write(View *v, char digest[static SHA256_HEX], Error *reterr) {
        auto_cleanup(gathering_done)
                Gathering g = { .list = json_array(), .by_uid = json_object() };
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *body = NULL;
        int r;

        if (!g.list || !g.by_uid)
                return -ENOMEM;
        r = ledger_resource_each(v->e->ledger, v->env.id, true, gather_resource, &g, reterr);
        if (r == 0)
                r = ledger_event_each(v->e->ledger, 0, v->env.id, SIZE_MAX >> 1, gather_event, &g,
                                      reterr);
        if (r < 0)
                return r;
        body = body_of(v, &g);
        text = body ? json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
        if (!text)
                return -ENOMEM;
        r = sha256_hex(text, strlen(text), digest);
        return r < 0 ? r
                     : ledger_receipt_add(v->e->ledger,
                                          &(Receipt){ .environment_id = v->env.id,
                                                      .label = v->env.label,
                                                      .ended_ms = v->e->now_ms,
                                                      .body = text },
                                          reterr);
}
