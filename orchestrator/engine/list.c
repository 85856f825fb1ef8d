/* Ledger and world, held against each other. At the start each provider lists what carries our marker:
 *
 *   in the ledger and not in a complete list -> inspected, and made again when it is wanted
 *   in the list as a mark without its thing  -> the same
 *   in the list and not in the ledger        -> an orphan: recorded and shown, never removed by itself
 *   in the list under another marker, or of another provider, than the ledger has -> the same
 *   in the list and never asked for, by a ledger that was put back -> it was asked for: see_stranger()
 *
 * A partial list proves nothing about what it leaves out. Providers that can watch tell changes as they
 * happen; a watch that ends is begun again with growing delay, with a list for what was missed. */
#include "orchestrator/engine/private.h"

static const char *const watched[] = { "process" };

typedef struct Watch {
        bool running;
        bool wanted;
        int64_t again_ms, started_ms;
        unsigned failures;
} Watch;

void list_free(ListRun *l) {
        if (!l)
                return;
        map_free(l->seen);
        map_free(l->listed);
        map_free(l->suspect);
        map_free(l->lost);
        json_decref(l->strangers);
        free(l);
}

static bool list_whole(const ListRun *l) {
        return l && l->seen && l->listed && l->suspect && l->lost && l->strangers;
}

static int list_start(Engine *e, const char *provider) {
        Call *c;
        int r;

        r = call_new(e, CALL_LIST, provider, "list", &c);
        if (r < 0)
                return r;
        c->deadline_ms = 60 * 1000;
        c->list = calloc(1, sizeof(ListRun));
        if (c->list) {
                c->list->seen = map_new(NULL);
                c->list->listed = map_new(NULL);
                c->list->suspect = map_new(NULL);
                c->list->lost = map_new(NULL);
                c->list->strangers = json_array();
        }
        c->request = request_for_provider(e, c);
        if (!list_whole(c->list) || !c->request)
                return -ENOMEM; /* the call is started without them and changes nothing */
        return 0;
}

static bool list_under_way(Engine *e, const char *provider, bool queued_only) {
        size_t at = 0;
        Call *c;

        while ((c = map_next(e->calls, &at, NULL)))
                if (c->kind == CALL_LIST && streq(c->provider, provider) &&
                    (c->state == CALL_QUEUED || (c->state == CALL_RUNNING && !queued_only)))
                        return true;
        return false;
}

int list_start_fresh(Engine *e, const char *provider) {
        return list_under_way(e, provider, true) ? 0 : list_start(e, provider);
}

static int collect_provider(void *userdata, const Resource *r) {
        char ***providers = userdata;

        return strv_contains(*providers, r->provider) ? 0 : strv_add(providers, r->provider);
}

int list_providers(Engine *e, bool known, char ***providers, Error *reterr) {
        int r = ledger_resource_each(e->ledger, NULL, false, collect_provider, providers, reterr);

        for (size_t i = 0; r == 0 && known && i < e->config->n_definitions; i++)
                if (!strv_contains(*providers, e->config->definitions[i].provider))
                        r = strv_add(providers, e->config->definitions[i].provider);
        return r;
}

static int list_start_of(Engine *e, bool known, Error *reterr) {
        auto_cleanup(strv_freep) char **providers = NULL;
        int r = list_providers(e, known, &providers, reterr);

        for (char **p = providers; r == 0 && p && *p; p++) {
                r = list_under_way(e, *p, false) ? 0 : list_start(e, *p);
                watch_wanted(e, *p);
        }
        return r;
}

/* Of a ledger that was put back nobody knows what it has forgotten, and where that is, also long after it
 * was released. */
bool ever_put_back(const Engine *e) {
        return e->freeze_held != NULL;
}

int list_start_all(Engine *e, Error *reterr) {
        return list_start_of(e, ever_put_back(e), reterr);
}

int list_start_known(Engine *e, Error *reterr) {
        return list_start_of(e, true, reterr);
}

/* "INSTALLATION/ENVIRONMENT/UID" of this installation and this uid. */
static bool marker_names(Engine *e, const char *marker, const char *uid) {
        const char *environment = str_after(marker, ledger_installation(e->ledger)), *end;

        if (!environment || *environment++ != '/' || !*uid)
                return false;
        end = strchr(environment, '/');
        return end && end > environment && streq(end + 1, uid);
}

/* Only what can be one of ours is worth memory: an item that cannot even be read makes the list a cut one. */
static bool item_is_ours(Engine *e, ListRun *l, const char *uid, const char *marker) {
        if (!uid || !marker || strlen(marker) > LIMIT_PROVIDER_MARKER_BYTES) {
                l->overflow = true;
                return false;
        }
        /* Verified here: a provider that ignores our marker must not make others' things ours. */
        if (!marker_names(e, marker, uid))
                return false;
        if (!id_possible(uid, 'r') || ++l->n_items > LIMIT_PROVIDER_LISTED) {
                l->overflow = true;
                return false;
        }
        return true;
}

/* Something that the ledger does not have alive; bounded at once, as it is kept until the list ends. */
static void add_stranger(ListRun *l, const json_t *item, const char *uid, const char *marker) {
        const char *type = json_string_value(json_object_get(item, "type")),
                   *detail = json_string_value(json_object_get(item, "detail"));
        auto_cleanup(freep) char *kind = type ? text_clean(type) : NULL,
                                 *words = detail ? text_clean(detail) : NULL;

        if (json_array_size(l->strangers) >= LIMIT_ORPHANS)
                l->cut = true;
        else
                json_array_append_new(l->strangers,
                                      json_pack("{s:s, s:s, s:s?, s:s?}", "uid", uid, "marker",
                                                marker, "type", kind, "detail", words));
}

/* Something under a uid of the ledger, with its marker, of its provider. */
static int list_known(Engine *e, ListRun *l, const Resource *res, const json_t *item) {
        const char *present = json_string_value(json_object_get(item, "present"));
        const char *level = json_string_value(json_object_get(item, "level"));
        bool lost = streq_null(present, "uncertain"), ready = res->state == RES_READY;
        int r = map_put(l->seen, res->uid, l);

        if (r == 0 && lost)
                r = map_put(l->lost, res->uid, l);
        if (r == 0 && (lost || (ready && streq_null(level, "stopped"))))
                r = map_put(l->suspect, res->uid, l);
        /* One that stands need not be proved again before something wakes in it. */
        if (r == 0 && ready && streq(res->type, "network") && streq_null(present, "present"))
                r = map_put(e->sound, res->uid, e);
        return r;
}

void list_on_line(Engine *e, Call *c, const json_t *item) {
        const char *uid = json_string_value(json_object_get(item, "uid"));
        const char *marker = json_string_value(json_object_get(item, "marker"));
        auto_cleanup(resource_done) Resource res = { 0 };
        ListRun *l = c->list;
        bool known;
        int r;

        if (!list_whole(l) || !item_is_ours(e, l, uid, marker))
                return;
        r = ledger_resource_get(e->ledger, uid, &res, NULL);
        known = r == 0 && streq(res.marker, marker) && streq(res.provider, c->provider);
        if (map_put(l->listed, uid, l) < 0 || (known && list_known(e, l, &res, item) < 0))
                l->overflow = true;
        /* What is under our uid and not as the ledger has it is something else: ours was not seen. */
        if (!known || res.state == RES_REMOVED || !res.touched)
                add_stranger(l, item, uid, marker);
}

/* ---- the end of a list ---- */

typedef struct Missing {
        Engine *e;
        Call *c;
        bool absent_counts;
        char **uids;
} Missing;

static int collect_missing(void *userdata, const Resource *r) {
        Missing *m = userdata;

        if (!streq(r->provider, m->c->provider) ||
            (m->absent_counts
                     ? map_get(m->c->list->seen, r->uid) && !map_get(m->c->list->suspect, r->uid)
                     : !map_get(m->c->list->suspect, r->uid)) ||
            (r->state != RES_READY && r->state != RES_ASLEEP) || r->ready_ms >= m->c->started_ms)
                return 0;
        return strv_add(&m->uids, r->uid);
}

static int inspect_missing(Engine *e, Call *c, bool complete, Error *reterr) {
        Missing missing = { .e = e, .c = c, .absent_counts = complete };
        int r;

        r = ledger_resource_each(e->ledger, NULL, false, collect_missing, &missing, reterr);
        for (char **uid = missing.uids; r == 0 && uid && *uid; uid++) {
                auto_cleanup(resource_done) Resource res = { 0 };

                if (map_get(e->busy, *uid))
                        continue;
                r = ledger_resource_get(e->ledger, *uid, &res, reterr);
                if (r < 0)
                        break;
                res.inspect = true;
                r = ledger_resource_update(e->ledger, &res, reterr);
                look_mark(e, res.environment_id);
        }
        strv_free(missing.uids);
        return r;
}

void list_end_free(void *p) {
        ListEnd *end = p;

        if (!end)
                return;
        free(end->detail);
        free(end);
}

static void list_remember(Engine *e, const Call *c, bool complete) {
        ListEnd *end = calloc(1, sizeof(ListEnd));
        const char *detail = json_string_value(json_object_get(c->result, "detail"));

        if (!end)
                return; /* then the one before is what is known */
        if (!complete)
                end->detail = text_clean(c->message                     ? c->message
                                         : detail                       ? detail
                                         : c->list && c->list->overflow ? "it has too many things"
                                                                        : "it does not say why");
        end->complete = complete;
        end->cut = c->list && c->list->cut;
        end->at_ms = e->now_ms;
        map_remove(e->lists, c->provider);
        if (map_put(e->lists, c->provider, end) < 0)
                list_end_free(end);
}

json_t *list_ends_json(Engine *e) {
        json_t *all = json_array();
        const char *provider;
        const ListEnd *end;
        size_t at = 0;

        while (all && (end = map_next(e->lists, &at, &provider)))
                (void) json_array_append_new(all,
                                             json_pack("{s:s, s:b, s:I, s:b, s:s?}", "provider",
                                                       provider, "complete", (int) end->complete,
                                                       "at_ms", (json_int_t) end->at_ms, "cut",
                                                       (int) end->cut, "detail", end->detail));
        return all;
}

int list_end(Engine *e, Call *c, Error *reterr) {
        bool complete = c->class == PROVIDER_OK && list_whole(c->list) && !c->list->overflow &&
                        json_is_true(json_object_get(c->result, "complete"));
        /* Some compute all they give and have nothing to list, and say so. A list that came out empty by
         * mistake costs looks at what the ledger has, and nothing else. */
        bool absent_counts = complete && (c->list->n_items > 0 ||
                                          !json_is_true(json_object_get(c->result, "computed")));
        int r;

        if (!list_whole(c->list)) {
                list_remember(e, c, false);
                lookers_answer(e);
                return 0;
        }
        r = inspect_missing(e, c, absent_counts, reterr);
        if (!complete) {
                auto_cleanup(freep) char *why = text_clean(c->message ? c->message : "");

                log_debug("The list of %s is not complete: %s", c->provider, why ? why : "");
        }
        if (r == 0)
                r = strays_update(e, c, complete, absent_counts, reterr);
        if (r < 0)
                return r;
        list_remember(e, c, complete);
        lookers_answer(e);
        return 0;
}

/* ---- watch ---- */

void watch_wanted(Engine *e, const char *provider) {
        bool may = false;
        Watch *w;

        for (size_t i = 0; i < N_ELEMENTS(watched); i++)
                may = may || streq(watched[i], provider);
        if (!may || map_get(e->watches, provider))
                return;
        w = calloc(1, sizeof(Watch));
        if (!w || map_put(e->watches, provider, w) < 0) {
                free(w);
                return;
        }
        w->wanted = true;
}

int watch_step(Engine *e, Error *reterr) {
        const char *provider;
        size_t at = 0;
        Watch *w;

        while ((w = map_next(e->watches, &at, &provider))) {
                Call *c;
                int r;

                if (!w->wanted || w->running || w->again_ms > e->now_ms)
                        continue;
                r = call_new(e, CALL_WATCH, provider, "watch", &c);
                if (r < 0)
                        return r;
                c->deadline_ms = 0; /* it stays */
                c->request = request_for_provider(e, c);
                w->running = true;
                w->started_ms = e->now_ms;
                if (w->failures > 0 && (r = list_start(e, provider)) < 0)
                        return r;
        }
        return 0;
}

void watch_on_line(Engine *e, Call *c, const json_t *item) {
        const char *uid = json_string_value(json_object_get(item, "uid"));
        const char *change = json_string_value(json_object_get(item, "change"));
        auto_cleanup(resource_done) Resource res = { 0 };
        auto_error error = { 0 };
        Call *busy = uid ? map_get(e->busy, uid) : NULL;
        int r;

        if (!uid || !change || ledger_resource_get(e->ledger, uid, &res, NULL) < 0 ||
            !streq(res.provider, c->provider) || streq(change, "ready"))
                return;
        if (busy)
                busy->overtaken = true; /* it may have looked before */
        if (res.state != RES_READY || res.inspect || busy)
                return;
        clock_turn(e);
        res.inspect = true;
        r = ledger_resource_update(e->ledger, &res, &error);
        if (r < 0)
                log_error("Cannot note that %s changed: %s", uid, error_text(&error, r));
        look_mark(e, res.environment_id);
        e->setup.wanted(e->setup.userdata);
}

int watch_end(Engine *e, Call *c, Error *reterr) {
        Watch *w = map_get(e->watches, c->provider);
        int64_t delay;

        if (!w)
                return 0;
        w->running = false;
        if (c->class == PROVIDER_INVALID || c->class == PROVIDER_UNRECOVERABLE) {
                w->wanted = false; /* it does not offer it */
                return 0;
        }
        if (e->now_ms - w->started_ms > 60 * 1000)
                w->failures = 0;
        delay = (int64_t) 1000 << (w->failures < 8 ? w->failures : 8);
        w->failures++;
        w->again_ms = time_add(e->now_ms, delay);
        return 0;
}

int64_t watch_next_time(Engine *e) {
        int64_t next = INT64_MAX;
        size_t at = 0;
        Watch *w;

        while ((w = map_next(e->watches, &at, NULL)))
                if (w->wanted && !w->running && w->again_ms < next)
                        next = w->again_ms;
        return next;
}
