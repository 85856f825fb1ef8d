/* What is not built yet answers so. */
#include "orchestrator/engine/engine.h"

struct Engine {
        int unused;
};

int engine_new(const EngineSetup *setup, Engine **ret, Error *reterr) {
        *ret = calloc(1, sizeof(Engine));
        return *ret ? 0 : -ENOMEM;
}

Engine *engine_free(Engine *e) {
        free(e);
        return NULL;
}

int engine_start(Engine *e, Error *reterr) {
        return 0;
}

int engine_turn(Engine *e, Error *reterr) {
        return 0;
}

void engine_set_config(Engine *e, const Config *config) {
}

ProviderEvents engine_provider_events(Engine *e) {
        return (ProviderEvents){ 0 };
}

FrontEvents engine_front_events(Engine *e) {
        return (FrontEvents){ 0 };
}

int engine_project_add(Engine *e, const EngineActor *a, const json_t *project, char **ret_id,
                       Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_project_remove(Engine *e, const EngineActor *a, const char *name, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_push(Engine *e, const EngineActor *a, const char *project, const char *branch,
                const char *commit, char **ret_environment, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_compare(Engine *e, const EngineActor *a, const char *project, const json_t *branches,
                   bool complete, json_t **ret_report, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_down(Engine *e, const EngineActor *a, const char *environment, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_sleep(Engine *e, const EngineActor *a, const char *environment, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_wake(Engine *e, const EngineActor *a, const char *environment, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_extend(Engine *e, const EngineActor *a, const char *environment, int64_t by_ms,
                  Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_pin(Engine *e, const EngineActor *a, const char *environment, int64_t until_ms,
               const char *reason, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_unpin(Engine *e, const EngineActor *a, const char *environment, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_retry(Engine *e, const EngineActor *a, const char *environment, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_reap(Engine *e, const EngineActor *a, const char *environment, bool dry_run,
                json_t **ret_report, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_why(Engine *e, const char *environment, json_t **ret, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_freeze(Engine *e, const EngineActor *a, bool on, const char *reason, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

int engine_stream(Engine *e, const char *environment, const char *workload, const char *verb,
                  json_t *params, int64_t deadline_ms, const EngineStreamEvents *events,
                  EngineStream **ret, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "This part of the engine is not built yet");
}

void engine_stream_cancel(EngineStream *s) {
}

void engine_after_commit(Engine *e, void (*done)(void *userdata, int r, const Error *error),
                         void *userdata) {
}

void engine_on_events(Engine *e, void (*func)(void *userdata), void *userdata) {
}
