/* The HTTP API: requests to handlers through one table, one file for each noun. A handler checks, asks
 * the engine or reads the ledger, and leaves its answer in the call. The answer to a change leaves after
 * the commit of its turn. */
#pragma once

#include <jansson.h>

#include "orchestrator/api/manager.h"

/* A field of a request body. The list of a route ends with a NULL name. */
typedef struct ApiField {
        const char *name;
        char type; /* 's' string, 'S' string or null, 'i' integer, 'b' boolean, 'o' object, 'a' array of strings */
        bool required;
} ApiField;

typedef struct ApiRoute {
        const char *method, *path; /* "/v1/environments/" "*" "/logs": a star is one argument */
        int (*func)(ApiCall *c, Error *reterr); /* 0, API_LATER or negative errno */
        const ApiField *fields;                 /* NULL: no body */
        bool change;                            /* answered after the commit */
} ApiRoute;

extern const ApiRoute api_routes[];
extern const size_t api_n_routes;

/* The handler has taken the request (a stream), or will call api_finish(). */
#define API_LATER 1

struct ApiCall {
        Manager *m;
        ApiCall *next, **link;
        HttpRequest *request; /* NULL once it is answered or taken */
        const ApiRoute *route;
        char *args[2];
        json_t *body; /* object, never NULL in a handler with fields */
        char who[96];
        EngineActor actor;
        /* The answer: result as it is, with "environment": the environment as it is after the commit. */
        json_t *result;
        char *environment;
        BranchesJob *job; /* what it waits for; cancelled with it */
        EngineVerify *verify;
        bool looking; /* for orphans */
};

int api_start(Manager *m, Error *reterr);
void api_stop(Manager *m);

/* Ends a call that API_LATER kept: with its result, or the failure r. */
void api_finish(ApiCall *c, int r, const Error *error);
/* Takes the request out of the call, for a stream. The call is freed by the caller's API_LATER. */
HttpRequest *api_take_request(ApiCall *c);
/* Frees a call whose request was taken after its handler had returned API_LATER. */
void api_forget(ApiCall *c);

/* A query value as a number; def when absent, -EINVAL with a sentence when it is none. */
int api_query_number(ApiCall *c, const char *name, uint64_t def, uint64_t max, uint64_t *ret,
                     Error *reterr);
bool api_query_flag(ApiCall *c, const char *name);

/* The route for a request, or NULL; args are owned copies, still escaped. *ret_known: the path is there,
 * with another method. */
const ApiRoute *api_route_find(const char *method, const char *path, char *args[static 2],
                               bool *ret_known);
/* A checked body: an object with the fields of this route and no others. */
int api_body_read(const char *text, size_t size, const ApiField *fields, json_t **ret,
                  Error *reterr);

/* {"error":{"code","message"}}: the code for a negative errno, and its HTTP status. */
int api_status(int r, const char **ret_code);
json_t *api_error_json(int r, const Error *error);

/* The receipt that the call's first argument means; others: those of the same name, id and time. */
int api_receipt_find(ApiCall *c, Receipt *ret, json_t *others, Error *reterr);

/* Handlers, by noun. */
int api_status_show(ApiCall *c, Error *reterr);
int api_reap(ApiCall *c, Error *reterr);
int api_freeze(ApiCall *c, Error *reterr);
int api_project_list(ApiCall *c, Error *reterr);
int api_project_add(ApiCall *c, Error *reterr);
int api_project_show(ApiCall *c, Error *reterr);
int api_project_remove(ApiCall *c, Error *reterr);
int api_project_push(ApiCall *c, Error *reterr);
int api_project_compare(ApiCall *c, Error *reterr);
int api_environment_list(ApiCall *c, Error *reterr);
int api_environment_add(ApiCall *c, Error *reterr);
int api_environment_show(ApiCall *c, Error *reterr);
int api_environment_why(ApiCall *c, Error *reterr);
int api_environment_down(ApiCall *c, Error *reterr);
int api_environment_sleep(ApiCall *c, Error *reterr);
int api_environment_wake(ApiCall *c, Error *reterr);
int api_environment_extend(ApiCall *c, Error *reterr);
int api_environment_pin(ApiCall *c, Error *reterr);
int api_environment_unpin(ApiCall *c, Error *reterr);
int api_environment_retry(ApiCall *c, Error *reterr);
int api_environment_logs(ApiCall *c, Error *reterr);
int api_environment_exec(ApiCall *c, Error *reterr);
int api_receipt_show(ApiCall *c, Error *reterr);
int api_receipt_verify(ApiCall *c, Error *reterr);
int api_orphan_list(ApiCall *c, Error *reterr);
int api_orphan_look(ApiCall *c, Error *reterr);
int api_orphan_remove(ApiCall *c, Error *reterr);
int api_orphan_adopt(ApiCall *c, Error *reterr);
int api_event_list(ApiCall *c, Error *reterr);
int api_backup(ApiCall *c, Error *reterr);
