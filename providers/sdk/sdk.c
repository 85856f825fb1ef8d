/* From a request on standard input to exactly one answer. Whatever is wrong with the request is
 * answered as "invalid" before any verb runs: a verb sees only well-formed calls for a type of its
 * own, under a marker that names its resource. */
#include "providers/sdk/sdk.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "providers/sdk/describe.h"
#include "providers/sdk/reply.h"
#include "providers/sdk/schema.h"

static const struct {
        int code;
        SdkClass class;
} classes_of_codes[] = {
        { -EINVAL, SDK_INVALID },        { -EPERM, SDK_DENIED },    { -EACCES, SDK_DENIED },
        { -ENOENT, SDK_GONE },           { -EEXIST, SDK_CONFLICT }, { -EAGAIN, SDK_THROTTLED },
        { -EUCLEAN, SDK_UNRECOVERABLE },
};

static SdkClass class_of_code(int code) {
        for (size_t i = 0; i < N_ELEMENTS(classes_of_codes); i++)
                if (classes_of_codes[i].code == code)
                        return classes_of_codes[i].class;
        return SDK_TRANSIENT;
}

const char *sdk_string(const json_t *object, const char *key, const char *fallback) {
        const char *s = json_string_value(json_object_get(object, key));

        return s ? s : fallback;
}

int64_t sdk_integer(const json_t *object, const char *key, int64_t fallback) {
        const json_t *value = json_object_get(object, key);

        return json_is_integer(value) ? json_integer_value(value) : fallback;
}

int64_t sdk_time_left(const SdkCall *call) {
        int64_t left;

        if (call->deadline_ms == 0)
                return INT64_MAX;
        left = call->started_boot_ms + call->deadline_ms - clock_boot_ms(&clock_system);
        return left > 0 ? left : 0;
}

/* One line, or all there is until the other side closes. */
static int request_read(int fd, json_t **ret, Error *reterr) {
        auto_strbuf text = { 0 };
        char chunk[65536], *end = NULL;
        json_error_t fault;
        ssize_t n;

        while (!end) {
                n = read(fd, chunk, sizeof(chunk));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_set(reterr, -errno, "Cannot read the request: %s",
                                         strerror(errno));
                if (n == 0)
                        break;
                end = memchr(chunk, '\n', (size_t) n);
                strbuf_addn(&text, chunk, end ? (size_t) (end - chunk) : (size_t) n);
                if (text.broken)
                        return -ENOMEM;
                if (text.size > LIMIT_PROVIDER_REQUEST_BYTES)
                        return error_set(reterr, -EINVAL, "The request is larger than %d bytes",
                                         LIMIT_PROVIDER_REQUEST_BYTES);
        }

        *ret = json_loadb(text.text ? text.text : "", text.size, JSON_REJECT_DUPLICATES, &fault);
        if (!*ret)
                return error_set(reterr, -EINVAL, "The request is not JSON: %s, at byte %d",
                                 fault.text, fault.position);
        return 0;
}

static int member_string(const json_t *object, const char *key, const char **ret, Error *reterr) {
        *ret = json_string_value(json_object_get(object, key));
        return *ret ? 0 : error_set(reterr, -EINVAL, "The request has no text '%s'", key);
}

static int member_object(const json_t *object, const char *key, const json_t **ret, Error *reterr) {
        *ret = json_object_get(object, key);
        return json_is_object(*ret)
                       ? 0
                       : error_set(reterr, -EINVAL, "The request has no object '%s'", key);
}

/* INSTALLATION/ENVIRONMENT/UID, naming this very resource. */
static int marker_check(const SdkCall *call, Error *reterr) {
        const char *environment = sdk_string(call->environment, "id", NULL);
        auto_cleanup(freep) char *copy = strdup(call->marker);
        char *at = copy, *part[3];

        if (!copy)
                return -ENOMEM;
        for (size_t i = 0; i < N_ELEMENTS(part); i++) {
                part[i] = i < 2 ? strsep(&at, "/") : at;
                if (!part[i] || !path_component_valid(part[i]))
                        return error_set(reterr, -EINVAL,
                                         "The marker is not of the form "
                                         "INSTALLATION/ENVIRONMENT/RESOURCE");
        }
        if (!streq(part[0], call->installation) || !streq(part[2], call->uid) ||
            (environment && !streq(part[1], environment)))
                return error_set(reterr, -EINVAL,
                                 "The marker '%s' names another installation, "
                                 "environment or resource",
                                 call->marker);
        return 0;
}

static int resource_read(SdkCall *call, Error *reterr) {
        struct {
                const char *key;
                const char **to;
        } texts[] = {
                { "uid", &call->uid },        { "type", &call->type }, { "class", &call->class },
                { "id", &call->resource_id }, { "name", &call->name }, { "marker", &call->marker },
        };
        const json_t *resource;
        int r;

        r = member_object(call->request, "resource", &resource, reterr);
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(texts); i++)
                r = member_string(resource, texts[i].key, texts[i].to, reterr);
        if (r == 0)
                r = member_object(resource, "params", &call->params, reterr);
        if (r < 0)
                return r;
        if (!path_component_valid(call->uid))
                return error_set(reterr, -EINVAL, "The resource's uid is not a valid name");
        call->slot = sdk_integer(resource, "slot", 0);
        call->state = json_object_get(resource, "state");
        if (call->slot < 0 ||
            (call->state && !json_is_object(call->state) && !json_is_null(call->state)))
                return error_set(reterr, -EINVAL, "The resource's slot or state has a wrong form");
        if (!call->state)
                call->state = json_null();
        return marker_check(call, reterr);
}

static int config_read(SdkCall *call, Error *reterr) {
        struct stat st;
        int r;

        r = member_object(call->request, "config", &call->config, reterr);
        if (r == 0)
                r = member_object(call->request, "environment", &call->environment, reterr);
        if (r == 0)
                r = member_string(call->config, "installation", &call->installation, reterr);
        if (r == 0)
                r = member_string(call->config, "state_dir", &call->state_dir, reterr);
        if (r < 0)
                return r;
        if (!path_component_valid(call->installation))
                return error_set(reterr, -EINVAL, "The installation is not a valid name");
        if (*call->state_dir != '/' || stat(call->state_dir, &st) < 0 || !S_ISDIR(st.st_mode))
                return error_set(reterr, -EINVAL,
                                 "state_dir '%s' is not the absolute path of a folder",
                                 call->state_dir);
        return 0;
}

static int head_read(SdkCall *call, Error *reterr) {
        const json_t *deadline = json_object_get(call->request, "deadline_ms");
        int r;

        if (!json_is_object(call->request))
                return error_set(reterr, -EINVAL, "The request is not an object");
        if (sdk_integer(call->request, "protocol", 0) != 1)
                return error_set(reterr, -EINVAL, "This program speaks protocol 1");
        r = member_string(call->request, "verb", &call->verb, reterr);
        if (r == 0)
                r = member_string(call->request, "call", &call->id, reterr);
        if (r < 0)
                return r;
        if (deadline && (!json_is_integer(deadline) || json_integer_value(deadline) < 0))
                return error_set(reterr, -EINVAL, "deadline_ms must be a number of milliseconds");
        call->deadline_ms = json_integer_value(deadline);
        return 0;
}

static const VerbOfType *verb_find(const char *name) {
        for (size_t i = 0; i < VERBS_OF_TYPE; i++)
                if (streq(verbs_of_type[i].name, name))
                        return &verbs_of_type[i];
        return NULL;
}

static const SdkType *type_find(const SdkProvider *provider, const char *name) {
        for (const SdkType *type = provider->types; type->type; type++)
                if (streq(type->type, name))
                        return type;
        return NULL;
}

/* Params are held against the schema only where they are acted upon: what once was made under other
 * rules must stay removable. */
static int params_check(const SdkCall *call, const SdkType *type, Error *reterr) {
        json_auto_t *schema = NULL;

        if (!type->params_schema || !streq(call->verb, "provision"))
                return 0;
        schema = json_loads(type->params_schema, 0, NULL);
        if (!schema)
                return error_set(reterr, -EUCLEAN, "The params schema of '%s' is no JSON",
                                 type->type);
        return schema_check(schema, call->params, "params", reterr);
}

static int resource_verb(SdkCall *call, const SdkProvider *provider, Error *reterr) {
        const VerbOfType *verb = verb_find(call->verb);
        const SdkType *type;
        SdkVerb function;
        int r;

        if (!verb)
                return error_set(reterr, -EINVAL, "The verb '%s' is not known", call->verb);
        r = resource_read(call, reterr);
        if (r < 0)
                return r;
        type = type_find(provider, call->type);
        if (!type)
                return error_set(reterr, -EINVAL, "Provider '%s' does not serve the type '%s'",
                                 provider->name, call->type);
        function = verb_of_type(type, verb);
        if (!function)
                return error_set(reterr, -EINVAL, "Type '%s' does not offer '%s'", call->type,
                                 call->verb);
        r = params_check(call, type, reterr);
        return r < 0 ? r : function(call, reterr);
}

static int call_run(SdkCall *call, const SdkProvider *provider, Error *reterr) {
        int r;

        r = head_read(call, reterr);
        if (r < 0)
                return r;
        if (streq(call->verb, "describe"))
                return describe_make(provider, &call->ret_extra, reterr);

        r = config_read(call, reterr);
        if (r < 0)
                return r;
        reply_arm_deadline(call->deadline_ms);
        if (streq(call->verb, "list"))
                return provider->list(call, reterr);
        if (streq(call->verb, "watch"))
                return provider->watch ? provider->watch(call, reterr)
                                       : error_set(reterr, -EINVAL, "This provider does not watch");
        return resource_verb(call, provider, reterr);
}

/* A provision always says state, outputs and which of them are secret; the others what they set. */
static json_t *result_make(SdkCall *call) {
        bool full = streq(call->verb, "provision");
        json_t *result = call->ret_extra ? TAKE(call->ret_extra) : json_object();

        if (!result)
                return NULL;
        if (call->ret_state || full)
                json_object_set_new(result, "state",
                                    call->ret_state ? TAKE(call->ret_state) : json_object());
        if (call->ret_outputs || full)
                json_object_set_new(result, "outputs",
                                    call->ret_outputs ? TAKE(call->ret_outputs) : json_object());
        if (call->ret_secret || full)
                json_object_set_new(result, "secret",
                                    call->ret_secret ? TAKE(call->ret_secret) : json_array());
        if (reply_item_lost() && json_is_true(json_object_get(result, "complete")))
                json_object_set_new(result, "complete", json_false());
        return result;
}

static void call_answer(const SdkProvider *provider) {
        json_auto_t *request = NULL, *nothing = json_object();
        auto_error error = { 0 };
        SdkCall call = {
                .started_boot_ms = clock_boot_ms(&clock_system),
                .verb = "",
                .id = "",
                .installation = "",
                .state_dir = "",
                .uid = "",
                .type = "",
                .class = "",
                .resource_id = "",
                .name = "",
                .marker = "",
                .config = nothing,
                .environment = nothing,
                .params = nothing,
                .options = nothing,
                .state = json_null(),
        };
        int r;

        r = nothing ? request_read(STDIN_FILENO, &request, &error) : -ENOMEM;
        if (r == 0) {
                call.request = request;
                if (json_is_object(json_object_get(request, "options")))
                        call.options = json_object_get(request, "options");
                r = call_run(&call, provider, &error);
        }
        if (r < 0)
                reply_error(call.failure != SDK_OK ? call.failure : class_of_code(r),
                            error_text(&error, r), call.retry_after_ms,
                            streq_null(call.verb, "deprovision") ? call.ret_extra : NULL);
        else
                reply_result(result_make(&call));

        json_decref(call.ret_state);
        json_decref(call.ret_outputs);
        json_decref(call.ret_secret);
        json_decref(call.ret_extra);
}

static int help_print(const SdkProvider *provider) {
        printf("Usage: mayfly-provider-%s [--describe | --help]\n\n", provider->name);
        if (provider->summary)
                printf("%s\n\n", provider->summary);
        printf("Reads one request of the provider protocol on standard input and answers on standard\n"
               "output; the mayfly daemon starts it. 'mayfly provider check' tests it.\n");
        return fflush(stdout) == 0 ? 0 : 1;
}

int sdk_main(int argc, char *const *argv, const SdkProvider *provider) {
        sigset_t none;

        /* Whatever was inherited: an end that is asked for must end us. */
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGPIPE, SIG_DFL);

        if (argc == 2 && streq(argv[1], "--describe"))
                return describe_print(provider);
        if (argc == 2 && streq(argv[1], "--help"))
                return help_print(provider);
        if (argc > 1) {
                fprintf(stderr, "mayfly-provider-%s: '%s' is not an option; see --help\n",
                        provider->name, argv[1]);
                return 2;
        }
        call_answer(provider);
        return 0;
}
