/* What the API answers to. packaging/doc/api.md says the same in words; a test holds them together. */
#include "orchestrator/api/api.h"

#define FIELDS(...)            \
        (const ApiField[]) {   \
                __VA_ARGS__, { \
                        0      \
                }              \
        }
#define NO_FIELDS            \
        (const ApiField[]) { \
                { 0 }        \
        }

const ApiRoute api_routes[] = {
        { "GET", "/v1/status", api_status_show, NULL, false },
        { "GET", "/v1/projects", api_project_list, NULL, false },
        { "POST", "/v1/projects", api_project_add,
          FIELDS({ "name", 's', true }, { "repository", 's', true }, { "base_branch", 's', false },
                 { "team", 's', false }, { "owner", 's', false }, { "clocks", 'o', false }),
          true },
        { "GET", "/v1/projects/*", api_project_show, NULL, false },
        { "DELETE", "/v1/projects/*", api_project_remove, NULL, true },
        { "POST", "/v1/projects/*/push", api_project_push,
          FIELDS({ "branch", 's', true }, { "commit", 'S', true }), true },
        { "POST", "/v1/projects/*/compare", api_project_compare, NO_FIELDS, true },
        { "GET", "/v1/environments", api_environment_list, NULL, false },
        { "POST", "/v1/environments", api_environment_add,
          FIELDS({ "project", 's', true }, { "branch", 's', true }, { "commit", 's', false }),
          true },
        { "GET", "/v1/environments/*", api_environment_show, NULL, false },
        { "GET", "/v1/environments/*/why", api_environment_why, NULL, false },
        { "POST", "/v1/environments/*/down", api_environment_down, NO_FIELDS, true },
        { "POST", "/v1/environments/*/sleep", api_environment_sleep, NO_FIELDS, true },
        { "POST", "/v1/environments/*/wake", api_environment_wake, NO_FIELDS, true },
        { "POST", "/v1/environments/*/extend", api_environment_extend,
          FIELDS({ "by_ms", 'i', true }), true },
        { "POST", "/v1/environments/*/pin", api_environment_pin,
          FIELDS({ "until_ms", 'i', false }, { "reason", 's', false }), true },
        { "POST", "/v1/environments/*/unpin", api_environment_unpin, NO_FIELDS, true },
        { "POST", "/v1/environments/*/retry", api_environment_retry, NO_FIELDS, true },
        { "GET", "/v1/environments/*/receipt", api_receipt_show, NULL, false },
        { "POST", "/v1/environments/*/verify", api_receipt_verify, NO_FIELDS, false },
        { "GET", "/v1/environments/*/logs", api_environment_logs, NULL, false },
        { "POST", "/v1/environments/*/exec", api_environment_exec,
          FIELDS({ "command", 'a', true }, { "workload", 's', false }, { "container", 's', false }),
          false },
        { "GET", "/v1/events", api_event_list, NULL, false },
        { "GET", "/v1/backup", api_backup, NULL, false },
        { "GET", "/v1/orphans", api_orphan_list, NULL, false },
        { "POST", "/v1/orphans/look", api_orphan_look, NO_FIELDS, false },
        { "POST", "/v1/orphans/remove", api_orphan_remove,
          FIELDS({ "uids", 'a', false }, { "all", 'b', false }, { "dry_run", 'b', false },
                 { "young", 'b', false }),
          true },
        { "POST", "/v1/orphans/adopt", api_orphan_adopt,
          FIELDS({ "uids", 'a', true }, { "dry_run", 'b', false }), true },
        { "POST", "/v1/reap", api_reap,
          FIELDS({ "dry_run", 'b', false }, { "environment", 's', false }), true },
        { "POST", "/v1/freeze", api_freeze,
          FIELDS({ "on", 'b', true }, { "reason", 's', false }, { "accept_clock", 'b', false }),
          true },
};
const size_t api_n_routes = N_ELEMENTS(api_routes);
