/* Orphans, ghosts, and receipts held against the world: what the engine's files say to each other of them. */
#pragma once

#include "orchestrator/engine/engine.h"
#include "orchestrator/engine/event.h"

typedef struct Call Call;

/* ---- stray.c: what is seen on one side only; orphan.c: what is done about it ---- */
typedef struct StrayVerdict {
        const char *word; /* "orphan": it may be removed */
        char text[200];
} StrayVerdict;
/* absent_counts: also what an empty list does not show. */
int strays_update(Engine *e, Call *c, bool complete, bool absent_counts, Error *reterr);
int stray_is_there(Engine *e, const char *uid, Error *reterr); /* no ghost any more */
int stray_judge(Engine *e, const Stray *s, bool young_too, StrayVerdict *ret, Error *reterr);
json_t *stray_json(const Stray *s, const StrayVerdict *v);
EventWhere stray_where(Engine *e, const Stray *s, const char *actor); /* NULL: its own */
int strays_relook(Engine *e, Error *reterr);
int64_t strays_next_time(Engine *e);
void lookers_answer(Engine *e);
int orphans_step(Engine *e, Error *reterr);
int orphans_resume(Engine *e, Error *reterr);
int orphan_on_reply(Engine *e, Call *c, Error *reterr);
/* A complete list that began after it was seen to be absent: it is over, or it is not. */
int orphan_confirmed(Engine *e, const char *uid, bool listed, Error *reterr);
bool orphan_waits_for(const Stray *s, int64_t list_started_ms);
#define ADOPTED_KEY "adopted#" /* keys of resources that were orphans */

/* ---- verify.c ---- */
void verifies_step(Engine *e);
void verifies_free(Engine *e);
void verify_on_line(Engine *e, Call *c, const json_t *item);
void verify_on_reply(Engine *e, Call *c);
