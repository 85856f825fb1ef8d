/* The part of private.h that is about calls: how they are made, what becomes of lists, watches and streams.
 * Included by it alone, as it needs its types. */
#pragma once

/* ---- call.c ---- */
/* Queues a call for after the commit, with an intent when the verb changes the world. 1 when queued, 0
 * when it must wait (no place, the provider is slowed). */
typedef struct CallWish {
        const char *verb;
        const GraphNode *node; /* NULL: the resource's own */
        json_t *params;        /* resolved, borrowed; NULL: what can be resolved */
        int64_t generation;    /* which it serves */
} CallWish;
int call_resource(View *v, Part *p, const CallWish *wish, Error *reterr);
int call_new(Engine *e, CallKind kind, const char *provider, const char *verb, Call **ret);
void call_cancel(Engine *e, Call *c);
void call_abandon(Engine *e, Call *c); /* one that was never started */
/* request.c: what a provider is told. The reference is the caller's; NULL when out of memory. */
json_t *request_for_resource(View *v, Part *p, const Call *c, const CallWish *wish);
char *environment_url(Engine *e, const char *label);    /* owned */
char *environment_host(Engine *e, const char *label);   /* owned */
json_t *request_for_provider(Engine *e, const Call *c); /* list, watch */
/* For something that has no row, or one that is over: its marker says whose it is. */
json_t *request_for_marked(Engine *e, const Call *c, const char *type, const char *marker,
                           const char *environment_id);
void call_free(void *call);
void call_start_queued(Engine *e);
void call_undo_environment(Engine *e, const char *environment_id);
void call_turn_failed(Engine *e);
void call_turn_done(Engine *e);
int call_apply_replies(Engine *e, Error *reterr);
void call_on_reply(void *userdata, const ProviderReply *reply);
void call_on_line(void *userdata, const char *call_id, const json_t *line);
void provider_slow(Engine *e, const char *provider, int64_t until_ms);
int64_t provider_slow_until(Engine *e, const char *provider);

/* ---- said.c ---- */
void said_on_line(Call *c, const json_t *line);
/* Logs it without secrets, those of the call's own result included. */
void said_log(View *v, const Part *p, const Call *c);
void said_done(Said *s);

/* ---- list.c ---- */
typedef struct ListRun {
        Map *seen;         /* uids in the list, as the ledger has them */
        Map *listed;       /* all uids in it, whatever else is said of them */
        Map *suspect;      /* those seen that are not as the ledger has them */
        Map *lost;         /* those seen of which only the mark is there */
        json_t *strangers; /* items that the ledger does not know, has as removed, or otherwise */
        size_t n_items;    /* of ours */
        bool overflow;     /* some of it was not kept or could not be read: not complete */
        bool cut;          /* there were more strangers than are kept */
} ListRun;
/* How the last list of a provider ended, for those who want to know whether anybody looked. */
typedef struct ListEnd {
        bool complete, cut;
        int64_t at_ms;
        char *detail; /* NULL: none */
} ListEnd;
void list_end_free(void *end);
json_t *list_ends_json(Engine *e);
/* A list of this provider that begins from now on: one that is about to be asked will do. */
int list_start_fresh(Engine *e, const char *provider);
int list_start_all(Engine *e, Error *reterr);
bool ever_put_back(const Engine *e);
int list_start_known(Engine *e, Error *reterr); /* also of providers that have nothing living */
/* Added to the names that are there: providers of what lives; known: those of all definitions too. */
int list_providers(Engine *e, bool known, char ***providers, Error *reterr);
void list_on_line(Engine *e, Call *c, const json_t *item);
int list_end(Engine *e, Call *c, Error *reterr);
void list_free(ListRun *l);
void watch_on_line(Engine *e, Call *c, const json_t *item);
int watch_end(Engine *e, Call *c, Error *reterr);
int watch_step(Engine *e, Error *reterr);
void watch_wanted(Engine *e, const char *provider);
int64_t watch_next_time(Engine *e);

/* ---- stream.c ---- */
void stream_on_line(Engine *e, Call *c, const json_t *line);
void stream_end(Engine *e, Call *c);
void stream_orphan(EngineStream *s);
