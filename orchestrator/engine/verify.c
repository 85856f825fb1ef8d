/* A receipt, held against the world once more: each resource of it is inspected by its provider, each of
 * these providers lists what carries our marker, and the ledger says where the address leads. Nothing is
 * changed by it, and what cannot be seen is said to be unknown, never to be gone. */
#include <stdio.h>

#include "orchestrator/engine/private.h"

#define AT_ONCE 4

typedef struct Check {
        char *uid, *type, *key, *provider, *marker; /* uid NULL: a list of this provider */
        bool started, ended, complete;
        const char *seen; /* "absent", "present", "taken", "unknown" */
        char *detail;
        char **found; /* by a list: uids of this environment */
} Check;

struct EngineVerify {
        Engine *e;
        EngineVerify *next;
        char *environment_id, *label;
        Check *checks;
        size_t n_checks, left_out;
        void (*done)(void *userdata, json_t *report);
        void *userdata;
};

static void verify_free(EngineVerify *v) {
        for (size_t i = 0; i < v->n_checks; i++) {
                Check *c = &v->checks[i];

                free(c->uid);
                free(c->type);
                free(c->key);
                free(c->provider);
                free(c->marker);
                free(c->detail);
                strv_free(c->found);
        }
        free(v->checks);
        free(v->environment_id);
        free(v->label);
        free(v);
}

/* Out of the engine's list, and none of its calls speaks of it any more. */
static void verify_leave(EngineVerify *v) {
        EngineVerify **at = &v->e->verifies;
        size_t i = 0;
        Call *c;

        while (*at && *at != v)
                at = &(*at)->next;
        if (*at)
                *at = v->next;
        while ((c = map_next(v->e->calls, &i, NULL)))
                if (c->verify == v) {
                        c->verify = NULL;
                        call_cancel(v->e, c);
                }
}

void engine_verify_cancel(EngineVerify *v) {
        if (!v)
                return;
        verify_leave(v);
        v->e->setup.wanted(v->e->setup.userdata);
        verify_free(v);
}

void verifies_free(Engine *e) {
        while (e->verifies) {
                EngineVerify *v = e->verifies;

                e->verifies = v->next;
                verify_free(v);
        }
}

/* ---- what is to be looked at ---- */

static int check_add(EngineVerify *v, const json_t *one, const char *provider) {
        Check *grown = reallocarray(v->checks, v->n_checks + 1, sizeof(Check)), *c;
        const char *const keys[] = { "uid", "type", "key", "marker" };

        if (!grown)
                return -ENOMEM;
        v->checks = grown;
        c = &v->checks[v->n_checks++];
        *c = (Check){ .seen = "unknown" };
        char **const fields[] = { &c->uid, &c->type, &c->key, &c->marker };

        for (size_t i = 0; one && i < N_ELEMENTS(keys); i++)
                if (str_replace(fields[i], json_string_value(json_object_get(one, keys[i])) ?: "") <
                    0)
                        return -ENOMEM;
        return str_replace(&c->provider, provider);
}

/* Those of the receipt list what is left, and all others as well: a ledger that was put back has forgotten
 * what they made for this environment since. */
static int checks_make(EngineVerify *v, const json_t *resources, Error *reterr) {
        size_t n = json_array_size(resources), i = 0;
        auto_cleanup(strv_freep) char **providers = NULL;
        int r = 0;

        if (n > LIMIT_VERIFY_LOOKS)
                i = v->left_out = n - LIMIT_VERIFY_LOOKS;
        for (; r == 0 && i < n; i++) {
                const json_t *one = json_array_get(resources, i);
                const char *provider = json_string_value(json_object_get(one, "provider"));

                if (!provider)
                        continue;
                r = check_add(v, one, provider);
                if (r == 0 && !strv_contains(providers, provider))
                        r = strv_add(&providers, provider);
        }
        if (r == 0)
                r = list_providers(v->e, ever_put_back(v->e), &providers, reterr);
        for (char **p = providers; r == 0 && p && *p; p++)
                r = check_add(v, NULL, *p);
        return r;
}

/* ---- asking ---- */

static int check_start(EngineVerify *v, Check *check) {
        Engine *e = v->e;
        Call *c;
        int r;

        r = call_new(e, CALL_VERIFY, check->provider, check->uid ? "inspect" : "list", &c);
        if (r < 0)
                return r;
        c->deadline_ms = check->uid ? 30 * 1000 : 60 * 1000;
        c->verify = v;
        c->check = (size_t) (check - v->checks);
        c->environment_id = strdup(v->environment_id);
        c->uid = check->uid ? strdup(check->uid) : NULL;
        c->request =
                check->uid ? request_for_marked(e, c, check->type, check->marker, v->environment_id)
                           : request_for_provider(e, c);
        if (!c->request || !c->environment_id || (check->uid && !c->uid)) {
                call_abandon(e, c);
                return -ENOMEM;
        }
        check->started = true;
        return 0;
}

static json_t *route_now(EngineVerify *v, bool *ret_gone) {
        auto_cleanup(freep) char *host = environment_host(v->e, v->label);
        auto_cleanup(route_done) Route route = { 0 };
        int r = host ? ledger_route_get(v->e->ledger, host, &route, NULL) : -ENOMEM;

        *ret_gone = r == -ENOENT ||
                    (r == 0 && (!streq(route.environment_id, v->environment_id) ||
                                (streq(route.answer, "gone") && streq(route.endpoints, "[]"))));
        return json_pack("{s:s?, s:s, s:s?}", "host", host, "answer",
                         r == 0         ? route.answer
                         : r == -ENOENT ? "unknown"
                                        : "cannot be read",
                         "environment", r == 0 ? route.environment_id : NULL);
}

static json_t *found_json(char *const *found) {
        json_t *out = json_array();

        for (; found && *found; found++)
                (void) json_array_append_new(out, json_string(*found));
        return out;
}

static json_t *report_of(EngineVerify *v) {
        json_t *looks = json_array(), *lists = json_array();
        bool gone, holds;
        json_t *route = route_now(v, &gone);
        json_int_t left = 0, unknown = 0;

        for (size_t i = 0; i < v->n_checks; i++) {
                const Check *c = &v->checks[i];

                if (!c->uid) {
                        unknown += !c->complete;
                        left += (json_int_t) strv_length(c->found);
                        json_array_append_new(
                                lists, json_pack("{s:s, s:b, s:o, s:s?}", "provider", c->provider,
                                                 "complete", (int) c->complete, "found",
                                                 found_json(c->found), "detail", c->detail));
                        continue;
                }
                unknown += streq(c->seen, "unknown");
                left += streq(c->seen, "present");
                json_array_append_new(looks,
                                      json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?}", "uid", c->uid,
                                                "type", c->type, "key", c->key, "provider",
                                                c->provider, "seen", c->seen, "detail", c->detail));
        }
        holds = gone && left == 0 && unknown == 0;
        return json_pack("{s:o, s:o, s:o, s:b, s:I, s:I, s:I, s:b}", "looks", looks, "lists", lists,
                         "route", route, "route_gone", (int) gone, "left", left, "unknown", unknown,
                         "only_listed", (json_int_t) v->left_out, "gone", (int) holds);
}

/* Starts what can be started; ends when all has ended. */
static void verify_go_on(EngineVerify *v) {
        size_t running = 0;
        bool all = true;

        for (size_t i = 0; i < v->n_checks; i++)
                running += v->checks[i].started && !v->checks[i].ended;
        for (size_t i = 0; i < v->n_checks; i++) {
                Check *c = &v->checks[i];

                if (!c->started && running < AT_ONCE) {
                        if (check_start(v, c) < 0)
                                c->started = c->ended = true; /* stays unknown */
                        else
                                running++;
                }
                all = all && c->ended;
        }
        v->e->setup.wanted(v->e->setup.userdata);
        if (!all)
                return;
        verify_leave(v);
        v->done(v->userdata, report_of(v));
        verify_free(v);
}

int engine_verify(Engine *e, const Receipt *receipt, void (*done)(void *userdata, json_t *report),
                  void *userdata, EngineVerify **ret, Error *reterr) {
        json_auto_t *body = json_loads(receipt->body, 0, NULL);
        EngineVerify *v;
        size_t n = 0;
        int r;

        clock_look(e);
        for (EngineVerify *other = e->verifies; other; other = other->next)
                n++;
        if (n >= LIMIT_VERIFIES)
                return error_set(reterr, -EBUSY, "%zu receipts are being verified already", n);
        v = calloc(1, sizeof(EngineVerify));
        if (!v)
                return -ENOMEM;
        v->e = e;
        v->done = done;
        v->userdata = userdata;
        r = str_replace(&v->environment_id, receipt->environment_id);
        if (r == 0)
                r = str_replace(&v->label, receipt->label);
        if (r == 0)
                r = checks_make(v, json_object_get(body, "resources"), reterr);
        if (r < 0) {
                verify_free(v);
                return r;
        }
        v->next = e->verifies;
        e->verifies = v;
        *ret = v;
        e->setup.wanted(e->setup.userdata);
        return 0;
}

/* The first calls start in a turn, so that done() never comes from inside engine_verify(). */
void verifies_step(Engine *e) {
        EngineVerify *next;

        for (EngineVerify *v = e->verifies; v; v = next) {
                next = v->next;
                if (v->n_checks == 0 || !v->checks[0].started)
                        verify_go_on(v);
        }
}

void verify_on_line(Engine *e, Call *c, const json_t *item) {
        const char *uid = json_string_value(json_object_get(item, "uid"));
        const char *marker = json_string_value(json_object_get(item, "marker"));
        EngineVerify *v = c->verify;
        const char *rest;

        if (!v || v->checks[c->check].uid || !uid || !marker || !id_possible(uid, 'r'))
                return;
        rest = str_after(marker, ledger_installation(e->ledger));
        rest = rest && *rest == '/' ? str_after(rest + 1, v->environment_id) : NULL;
        if (rest && *rest == '/' && strv_length(v->checks[c->check].found) < LIMIT_ORPHANS)
                (void) strv_add(&v->checks[c->check].found, uid);
}

void verify_on_reply(Engine *e, Call *c) {
        static const char *const words[] = { [SEEN_OURS] = "present",
                                             [SEEN_FOREIGN] = "taken",
                                             [SEEN_ABSENT] = "absent",
                                             [SEEN_UNCERTAIN] = "unknown",
                                             [SEEN_NONSENSE] = "unknown" };
        EngineVerify *v = TAKE(c->verify);
        const char *detail = c->message;
        Check *check;

        if (!v)
                return;
        check = &v->checks[c->check];
        check->ended = true;
        if (!detail)
                detail = json_string_value(json_object_get(c->result, "detail"));
        check->detail = detail ? text_clean(detail) : NULL;
        check->complete =
                c->class == PROVIDER_OK && json_is_true(json_object_get(c->result, "complete"));
        if (check->uid)
                check->seen = words[reply_seen(c, check->marker)];
        verify_go_on(v);
}
