/* Calls to provider programs as the engine sees them. The daemon's implementation (runner.c) starts
 * programs; the simulation's answers from a model of the world. Protocol: design, section 4. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/base/error.h"

typedef enum ProviderClass {
        PROVIDER_OK,
        PROVIDER_INVALID,       /* tell the owner, do not retry */
        PROVIDER_DENIED,        /* stuck, tell the admin */
        PROVIDER_GONE,          /* done */
        PROVIDER_CONFLICT,      /* inspect, plan again */
        PROVIDER_DEPENDENCY,    /* order again, no attempt spent */
        PROVIDER_THROTTLED,     /* slow this provider */
        PROVIDER_TRANSIENT,     /* again, with growing delay */
        PROVIDER_UNRECOVERABLE, /* stuck */
        _PROVIDER_CLASS_MAX,
        _PROVIDER_CLASS_INVALID = -EINVAL,
} ProviderClass;

const char *provider_class_to_string(ProviderClass c);
ProviderClass provider_class_from_string(const char *s);

/* One call. Everything borrowed for the length of start(). */
typedef struct ProviderCall {
        const char *id;        /* chosen by the engine, unique, in the ledger before the call */
        const char *provider;  /* "process" */
        const char *verb;      /* "provision" */
        int64_t deadline_ms;   /* how long it may take; 0: as long as it likes (watch) */
        const json_t *request; /* the whole request object of the protocol */
        bool stream; /* may go on and on (list, logs, exec, watch): its lines are not counted */
} ProviderCall;

/* The end of a call. Everything borrowed for the length of the callback. */
typedef struct ProviderReply {
        const char *call_id;
        ProviderClass class;
        const char *message;    /* for a person; NULL when OK */
        int64_t retry_after_ms; /* 0: none */
        const json_t *result;   /* {"state","outputs","secret","complete",...} or NULL */
        const json_t *items;    /* array of "item"s that were not delivered as lines, or NULL */
        bool unknown;           /* died, hung or wrote nonsense: what it did must be inspected */
} ProviderReply;

typedef struct ProviderEvents {
        void (*on_line)(void *userdata, const char *call_id,
                        const json_t *line); /* log, progress, item */
        void (*on_reply)(void *userdata, const ProviderReply *reply);
        void *userdata;
} ProviderEvents;

/* Implemented by runner.c and by the simulation. */
typedef struct ProviderOps {
        /* Replies later, never from inside start(), exactly once per started call. */
        int (*start)(void *userdata, const ProviderCall *call, Error *reterr);
        /* Ends the call's process group; its reply still comes, as TRANSIENT with unknown set. */
        void (*cancel)(void *userdata, const char *call_id);
        void *userdata;
} ProviderOps;
