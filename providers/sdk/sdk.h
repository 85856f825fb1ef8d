/* Writing a provider in C: one table of types and verbs, one call in main(). The SDK reads the request,
 * checks its form, finds the verb, prints the reply and maps a failure to its class. A verb function
 * may block; it is ended from outside (SIGTERM to the process group, later SIGKILL) when the deadline
 * passes or the call is cancelled. Protocol: the project's design, section 4; protocol version 1.
 *
 * Standard output belongs to the protocol: use sdk_log() for words. Secrets never go to sdk_log(). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/base/error.h"

typedef enum SdkClass {
        SDK_OK,
        SDK_INVALID,
        SDK_DENIED,
        SDK_GONE,
        SDK_CONFLICT,
        SDK_DEPENDENCY,
        SDK_THROTTLED,
        SDK_TRANSIENT,
        SDK_UNRECOVERABLE,
} SdkClass;

/* Strings are borrowed from the request and never NULL unless said. */
typedef struct SdkCall {
        const json_t *request;
        const char *verb, *id;
        int64_t deadline_ms; /* time allowed for this call; 0: no limit (watch, followed logs) */
        int64_t started_boot_ms; /* when it began, on the boot clock */
        const json_t
                *config; /* object: from the admin and the daemon: state_dir, installation ... */
        const json_t *environment; /* object, may be empty for list and describe */
        const char *installation, *state_dir;
        /* of "resource"; empty strings for describe, list, watch */
        const char *uid, *type, *class, *resource_id, *name, *marker;
        int64_t slot;          /* small number, unique among living resources; 0: none */
        const json_t *params;  /* object, resolved */
        const json_t *state;   /* object as last returned, or null */
        const json_t *options; /* object, of logs and exec; empty for the others */

        /* to fill in; owned by the SDK afterwards */
        json_t *ret_state, *ret_outputs;
        json_t *ret_secret; /* array of output names, or NULL */
        json_t *ret_extra;  /* object merged into "result": "complete", "present", "removed" ... */
        SdkClass failure;   /* class of a returned error; SDK_OK: derived from the errno */
        int64_t retry_after_ms;
} SdkCall;

/* Returns 0, or negative errno with a sentence in reterr. Unless call->failure says otherwise, -EINVAL
 * is invalid, -EPERM and -EACCES denied, -ENOENT gone, -EEXIST conflict, -EAGAIN throttled,
 * -EUCLEAN unrecoverable, everything else transient. */
typedef int (*SdkVerb)(SdkCall *call, Error *reterr);

typedef struct SdkType {
        const char *type;
        SdkVerb provision, inspect, deprovision;
        SdkVerb sleep, wake, snapshot, restore, usage, logs, exec; /* NULL: not offered */
        const char *
                params_schema; /* JSON Schema as text, NULL: any object. The SDK holds the params of
                                    * provision against the keywords that schema.h names */
        const char *outputs;   /* names, separated by spaces; "*": others, too */
        const char *scope;     /* "generation" or "environment" */
        const char *cost;      /* what holding one costs, for people: "disk"; NULL: nothing */
        bool computed;         /* answers only, nothing in the world: never in list */
} SdkType;

typedef struct SdkProvider {
        const char *name;
        const char *summary;  /* one sentence for --help, may be NULL */
        const SdkType *types; /* ends with a zero type */
        SdkVerb list, watch;  /* for all types; watch may be NULL */
} SdkProvider;

int sdk_main(int argc, char *const *argv, const SdkProvider *provider);

/* Lines of the protocol while a verb runs. */
void sdk_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void sdk_progress(int64_t done, int64_t total, const char *text);
/* Prints {"item": item} and takes the reference. */
void sdk_item(json_t *item);
/* Milliseconds left until the deadline, at least 0. */
int64_t sdk_time_left(const SdkCall *call);
/* A member of params (or of any object), or the fallback when absent or of another type. */
const char *sdk_string(const json_t *object, const char *key, const char *fallback);
int64_t sdk_integer(const json_t *object, const char *key, int64_t fallback);
