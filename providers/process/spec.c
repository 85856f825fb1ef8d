/* The specs of keepers: see keeper.h for their members. */
#include <string.h>

#include "orchestrator/base/str.h"
#include "providers/process/sandbox.h"
#include "providers/process/types.h"

#define UID_BASE 600000

int64_t spec_user(const SdkCall *call) {
        return sdk_integer(call->config, "uid_base", UID_BASE) +
               sdk_integer(call->environment, "slot", 0);
}

int spec_make(const Run *run, const char *role, json_t **ret, Error *reterr) {
        const SdkCall *call = run->call;
        auto_cleanup(freep) char *inside = NULL, *cwd = NULL;
        const char *checkout = sdk_string(call->params, "checkout", "");
        const char *directory = sdk_string(call->params, "directory", checkout);
        int64_t user = spec_user(call);
        int r = program_beside("mayfly-inside", &inside, reterr);

        if (r < 0)
                return r;
        if (user < 1 || user > INT32_MAX)
                return error_set(reterr, -EPERM, "The user number %lld cannot be used",
                                 (long long) user);
        if (checkout[0] != '/')
                return error_set(reterr, -EINVAL, "The checkout '%s' is not an absolute path",
                                 checkout);
        r = sandbox_directory(checkout, directory, &cwd, reterr);
        if (r < 0)
                return r;
        *ret = json_pack("{s:s,s:s,s:s,s:s,s:b,s:I,s:s,s:s,s:s,s:s,s:s,s:O*,s:I}", "role", role,
                         "marker", call->marker, "uid", call->uid, "run", run->path, "root",
                         is_root(), "user", (json_int_t) user, "bwrap",
                         sdk_string(call->config, "bwrap", "/usr/bin/bwrap"), "inside", inside,
                         "hostname", sdk_string(call->params, "workload", "workload"), "checkout",
                         checkout, "cwd", cwd, "visible", json_object_get(call->config, "visible"),
                         "pids",
                         (json_int_t) sdk_integer(call->config, "pids_max", LIMIT_PROCESS_PIDS));
        return *ret ? 0 : -ENOMEM;
}

static int env_add(json_t *all, const char *name, const char *value) {
        return json_object_set_new(all, name, json_string(value)) < 0 ? -ENOMEM : 0;
}

int spec_env(const SdkCall *call, const json_t *variables, json_t **ret, Error *reterr) {
        const json_t *e = call->environment;
        const struct {
                const char *name, *value;
        } usual[] = {
                { "PATH", "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin" },
                { "HOME", "/tmp" },
                { "TMPDIR", "/tmp" },
                { "LANG", "C.UTF-8" },
                { "MAYFLY_URL", sdk_string(e, "url", "") },
                { "MAYFLY_ENVIRONMENT", sdk_string(e, "label", "") },
                { "MAYFLY_BRANCH", sdk_string(e, "branch", "") },
                { "MAYFLY_COMMIT", sdk_string(e, "commit", "") },
        };
        json_auto_t *all = json_object(), *list = json_array();
        const char *name;
        json_t *value;
        int r = 0;

        for (size_t i = 0; r == 0 && i < N_ELEMENTS(usual); i++)
                r = env_add(all, usual[i].name, usual[i].value);
        json_object_foreach((json_t *) variables, name, value) {
                if (!*name || strchr(name, '=') || !json_is_string(value))
                        return error_set(reterr, -EINVAL, "A variable cannot be named '%s'", name);
                if (r == 0)
                        r = env_add(all, name, json_string_value(value));
        }
        json_object_foreach(all, name, value) {
                auto_cleanup(freep) char *text =
                        str_format("%s=%s", name, json_string_value(value));

                if (!text || json_array_append_new(list, json_string(text)) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE(list);
        return r;
}

int keeper_await(SdkCall *call, KeeperReader *reader, json_t **ret_reply, Error *reterr) {
        static const struct {
                const char *name;
                SdkClass class;
        } classes[] = { { "invalid", SDK_INVALID }, { "conflict", SDK_CONFLICT } };

        for (;;) {
                json_auto_t *reply = NULL;
                int r = keeper_read(reader, sdk_time_left(call), &reply, reterr);
                const char *state, *class;

                if (r < 0)
                        return r;
                if (json_object_get(reply, "log")) {
                        sdk_log("%s", sdk_string(reply, "log", ""));
                        continue;
                }
                state = sdk_string(reply, "state", "");
                if (streq(state, "ready")) {
                        *ret_reply = TAKE(reply);
                        return 0;
                }
                class = sdk_string(reply, "class", "");
                call->failure = SDK_TRANSIENT;
                for (size_t i = 0; i < N_ELEMENTS(classes); i++)
                        if (streq(classes[i].name, class))
                                call->failure = classes[i].class;
                return error_set(reterr, -EIO, "%s", sdk_string(reply, "message", "It failed"));
        }
}
