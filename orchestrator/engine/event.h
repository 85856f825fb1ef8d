/* The event log, as the engine writes it: kinds by name, each with a sentence for people. */
#pragma once

#include <jansson.h>

#include "orchestrator/engine/engine.h"

typedef enum EventKind {
        EVENT_PROJECT_ADDED,
        EVENT_PROJECT_CHANGED,
        EVENT_PROJECT_REMOVED,
        EVENT_PROJECT_COMPARED,
        EVENT_ENVIRONMENT_CREATED,
        EVENT_ENVIRONMENT_BUILDING,
        EVENT_ENVIRONMENT_READY,
        EVENT_ENVIRONMENT_FAILED,
        EVENT_ENVIRONMENT_CLOSED,
        EVENT_ENVIRONMENT_REOPENED,
        EVENT_ENVIRONMENT_DELETING,
        EVENT_ENVIRONMENT_GONE,
        EVENT_ENVIRONMENT_FALLING,
        EVENT_ENVIRONMENT_STOPPED,
        EVENT_ENVIRONMENT_WAKING,
        EVENT_ENVIRONMENT_AWAKE,
        EVENT_ENVIRONMENT_EXTENDED,
        EVENT_ENVIRONMENT_PINNED,
        EVENT_ENVIRONMENT_UNPINNED,
        EVENT_ENVIRONMENT_RETRIED,
        EVENT_ENVIRONMENT_UNCERTAIN,
        EVENT_GENERATION_WANTED,
        EVENT_GENERATION_CHECKOUT,
        EVENT_GENERATION_PROVISIONING,
        EVENT_GENERATION_LIVE,
        EVENT_GENERATION_FAILED,
        EVENT_GENERATION_RETIRING,
        EVENT_GENERATION_REMOVED,
        EVENT_RESOURCE_PROVISIONING,
        EVENT_RESOURCE_READY,
        EVENT_RESOURCE_FAILED,
        EVENT_RESOURCE_TROUBLE,
        EVENT_RESOURCE_REPAIR,
        EVENT_RESOURCE_FOUND,
        EVENT_RESOURCE_REMOVING,
        EVENT_RESOURCE_REMOVED,
        EVENT_RESOURCE_STUCK,
        EVENT_ORPHAN_FOUND,
        EVENT_ORPHAN_GONE,
        EVENT_ORPHAN_REMOVING,
        EVENT_ORPHAN_REMOVED,
        EVENT_ORPHAN_STUCK,
        EVENT_ORPHAN_ADOPTED,
        EVENT_FROZEN,
        EVENT_UNFROZEN,
        EVENT_LEASES_MOVED,
        EVENT_CLOCK_STEPPED,
        EVENT_BACKUP_MADE,
        _EVENT_KIND_MAX,
} EventKind;

typedef struct EventWhere {
        const char *environment_id, *project_id, *actor, *trace;
        json_t *data; /* taken over; may be NULL */
} EventWhere;

int event_add(Engine *e, EventKind kind, EventWhere where, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
