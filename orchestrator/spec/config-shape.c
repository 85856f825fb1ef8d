/* The table of mayflyd.yaml: every key, what may stand there, and one sentence on it. */
#include <arpa/inet.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/spec/config.h"
#include "orchestrator/spec/pattern.h"
#include "orchestrator/spec/shape.h"

/* ---- checks of single texts ---- */

static int check_domain(const char *text, Error *reterr) {
        size_t label = 0, length = strlen(text);

        for (const char *at = text;; at++) {
                bool alnum = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9');

                if ((*at == '.' || !*at) && (label == 0 || label > LIMIT_LABEL || at[-1] == '-'))
                        break;
                if (!*at && length <= 180) /* leaves room for an environment's label */
                        return 0;
                if (!alnum && *at != '.' && (*at != '-' || label == 0))
                        break;
                label = *at == '.' ? 0 : label + 1;
        }
        return error_set(reterr, -EINVAL,
                         "'%.80s' is not a domain name in lower case such as preview.example.com",
                         text);
}

static int check_address(const char *text, Error *reterr) {
        const char *colon = strrchr(text, ':');
        unsigned char bytes[16];
        char host[64] = "";
        uint64_t port;
        int family = AF_INET;

        if (colon && (size_t) (colon - text) < sizeof(host))
                memcpy(host, text, (size_t) (colon - text));
        if (host[0] == '[' && str_ends_with(host, "]")) {
                family = AF_INET6;
                host[strlen(host) - 1] = 0;
                memmove(host, host + 1, strlen(host));
        }
        if (!colon || inet_pton(family, host, bytes) != 1 ||
            str_to_u64(colon + 1, 65535, &port) < 0)
                return error_set(reterr, -EINVAL,
                                 "'%.80s' is not an address and port such as 127.0.0.1:8150 or "
                                 "[::1]:8150",
                                 text);
        return 0;
}

static int check_program(const char *text, Error *reterr) {
        return text[0] == '/' ? 0
                              : error_set(reterr, -EINVAL,
                                          "'%.80s' must be the full path of a program", text);
}

static int check_component(const char *text, Error *reterr) {
        return path_component_valid(text)
                       ? 0
                       : error_set(reterr, -EINVAL,
                                   "'%.80s' is not a name of letters, digits, '.', '_' and '-'",
                                   text);
}

static int check_project(const char *text, Error *reterr) {
        size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");

        if (n == 0 || text[n] || n > LIMIT_PROJECT_NAME || text[0] == '-' || text[n - 1] == '-' ||
            strstr(text, "--"))
                return error_set(
                        reterr, -EINVAL,
                        "'%.80s' is not the name of a project: up to %d of a-z, 0-9 and single "
                        "inner '-'",
                        text, LIMIT_PROJECT_NAME);
        return 0;
}

static int check_project_or_all(const char *text, Error *reterr) {
        return streq(text, "*") ? 0 : check_project(text, reterr);
}

static int check_definition_name(const char *text, Error *reterr) {
        return str_after(text, "builtin:")
                       ? error_set(reterr, -EINVAL, "Names that begin with 'builtin:' are taken")
                       : 0;
}

/* ---- the shape ---- */

#define PROJECT_PATTERN "^[a-z0-9]+(-[a-z0-9]+)*$"

static const char *const fronts[] = { "door", "haproxy", NULL };
static const char *const trusts[] = { "member", "approved", "stranger", NULL };

static const Shape clocks_fields[] = {
        { .name = "sleep_after_idle",
          .kind = SHAPE_DURATION,
          .or_off = true,
          .min = MS_PER_SECOND,
          .help = "An environment that nobody visits falls asleep after this" },
        { .name = "delete_after_asleep",
          .kind = SHAPE_DURATION,
          .or_off = true,
          .min = MS_PER_SECOND,
          .help = "An environment that has slept this long is deleted" },
        { .name = "delete_after_age",
          .kind = SHAPE_DURATION,
          .or_off = true,
          .min = MS_PER_SECOND,
          .help = "An environment of this age is deleted" },
        { .name = "delete_after_close",
          .kind = SHAPE_DURATION,
          .or_off = true,
          .min = MS_PER_SECOND,
          .help = "An environment whose branch is gone is deleted after this" },
        { 0 },
};

static const Shape bounds_fields[] = {
        { .name = "clocks",
          .kind = SHAPE_FIELDS,
          .fields = clocks_fields,
          .help = "The longest that a project, a branch or 'extend' may ask for" },
        { 0 },
};

static const Shape scalar = { .kind = SHAPE_SCALAR };
static const Shape values_of_project = { .kind = SHAPE_MAP, .inner = &scalar };

static const Shape provider_fields[] = {
        { .name = "path",
          .kind = SHAPE_TEXT,
          .check = check_program,
          .pattern = "^/",
          .help = "The provider's program, when it is not one of mayfly's own" },
        { .name = "config", .kind = SHAPE_TREE, .help = "Handed to the provider with every call" },
        { 0 },
};
static const Shape provider = { .kind = SHAPE_FIELDS, .fields = provider_fields };

static const Shape project_fields[] = {
        { .name = "team", .kind = SHAPE_TEXT, .help = "The team that answers for the project" },
        { .name = "owner",
          .kind = SHAPE_TEXT,
          .help = "The person to ask when nobody else is known" },
        { .name = "clocks",
          .kind = SHAPE_FIELDS,
          .fields = clocks_fields,
          .help = "Clocks of this project's environments" },
        { 0 },
};
static const Shape project = { .kind = SHAPE_FIELDS, .fields = project_fields };

static const Shape match_fields[] = {
        { .name = "type", .kind = SHAPE_TEXT, .required = true, .help = "The resource's type" },
        { .name = "class",
          .kind = SHAPE_TEXT,
          .help = "The resource's class; 'default' for one that names none" },
        { .name = "id",
          .kind = SHAPE_TEXT,
          .help = "The resource's id; WORKLOAD.NAME for one that names none" },
        { .name = "project",
          .kind = SHAPE_TEXT,
          .check = check_project,
          .pattern = PROJECT_PATTERN,
          .help = "Environments of this project" },
        { .name = "branch",
          .kind = SHAPE_TEXT,
          .check = pattern_check,
          .help = "Environments whose branch matches this shell pattern; '*' also matches '/'" },
        { .name = "trust",
          .kind = SHAPE_TEXT,
          .choices = trusts,
          .help = "Environments whose branch has this trust class" },
        { 0 },
};

static const Shape bound_fields[] = {
        { .name = "min",
          .kind = SHAPE_SCALAR,
          .help = "The least: a number, an amount such as 1Gi, "
                  "or a duration" },
        { .name = "max", .kind = SHAPE_SCALAR, .help = "The most" },
        { .name = "one_of", .kind = SHAPE_SCALARS, .help = "Nothing but one of these" },
        { 0 },
};
static const Shape bound = { .kind = SHAPE_FIELDS, .fields = bound_fields };

static const Shape definition_fields[] = {
        { .name = "name",
          .kind = SHAPE_TEXT,
          .required = true,
          .check = check_definition_name,
          .help = "What 'plan' and 'why' call this definition" },
        { .name = "match",
          .kind = SHAPE_FIELDS,
          .required = true,
          .fields = match_fields,
          .help = "Which resources it serves; the most specific definition wins" },
        { .name = "provider",
          .kind = SHAPE_TEXT,
          .required = true,
          .check = check_component,
          .pattern = "^[A-Za-z0-9._][A-Za-z0-9._-]*$",
          .help = "Who makes the resource" },
        { .name = "params",
          .kind = SHAPE_TREE,
          .help = "Fixed params; a file that says something else has a fault" },
        { .name = "defaults", .kind = SHAPE_TREE, .help = "Params for files that do not say them" },
        { .name = "bounds", .kind = SHAPE_MAP, .inner = &bound, .help = "Limits of single params" },
        { .name = "config",
          .kind = SHAPE_TREE,
          .help = "Handed to the provider for these resources" },
        { .name = "deadline",
          .kind = SHAPE_DURATION,
          .min = MS_PER_SECOND,
          .help = "How long one "
                  "call may take" },
        { 0 },
};
static const Shape definition = { .kind = SHAPE_FIELDS, .fields = definition_fields };

static const Shape config_fields[] = {
        { .name = "domain",
          .kind = SHAPE_TEXT,
          .check = check_domain,
          .help = "Environments answer at LABEL.DOMAIN" },
        { .name = "listen",
          .kind = SHAPE_TEXT,
          .check = check_address,
          .help = "Address and port of the door" },
        { .name = "front",
          .kind = SHAPE_TEXT,
          .choices = fronts,
          .help = "What people connect to: the door alone, or HAProxy with the door behind it" },
        { .name = "front_listen",
          .kind = SHAPE_TEXT,
          .check = check_address,
          .help = "Address and port of HAProxy" },
        { .name = "front_beyond_loopback",
          .kind = SHAPE_BOOLEAN,
          .help = "Allows the door alone to listen beyond this machine" },
        { .name = "clocks",
          .kind = SHAPE_FIELDS,
          .fields = clocks_fields,
          .help = "Clocks of all environments" },
        { .name = "bounds",
          .kind = SHAPE_FIELDS,
          .fields = bounds_fields,
          .help = "What projects and branches may ask for at most" },
        { .name = "values",
          .kind = SHAPE_MAP,
          .inner = &values_of_project,
          .check = check_project_or_all,
          .pattern = "^(\\*|[a-z0-9]+(-[a-z0-9]+)*)$",
          .help = "What resources of type 'environment' give, for each project; '*' is every project" },
        { .name = "providers",
          .kind = SHAPE_MAP,
          .inner = &provider,
          .check = check_component,
          .pattern = "^[A-Za-z0-9._][A-Za-z0-9._-]*$",
          .help = "Programs and settings of providers" },
        { .name = "projects",
          .kind = SHAPE_MAP,
          .inner = &project,
          .check = check_project,
          .pattern = PROJECT_PATTERN,
          .help = "What holds for single projects" },
        { .name = "definitions",
          .kind = SHAPE_LIST,
          .inner = &definition,
          .help = "Who serves which resources" },
        { 0 },
};

const Shape config_shape = { .kind = SHAPE_FIELDS, .fields = config_fields };
