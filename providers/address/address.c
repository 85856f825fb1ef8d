/* Workloads of one environment share a network and a hosts file, so a sibling's host name is its
 * workload name. Its ports inside are the target ports of its service ports: with no proxy between
 * siblings, what the process listens on is what a sibling connects to.
 *
 * A route's path is a literal prefix. Other tools paste it into regular expressions or treat it as
 * exact; what would mean something else there is refused here, so that a file means one thing. */
#include "providers/address/address.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "providers/sdk/computed.h"
#include "providers/sdk/schema.h"

static void names_add(StrBuf *list, const json_t *object) {
        const char *name;
        json_t *unused;

        json_object_foreach((json_t *) object, name, unused) {
                strbuf_addf(list, "%s'%s'", list->size ? ", " : "", name);
        }
        if (list->size == 0)
                strbuf_add(list, "none");
}

/* "There is no WHAT 'nmae'; did you mean 'name'? There are: ..." */
static int unknown_name(const char *what, const char *name, const json_t *known, Error *reterr) {
        const char *near = schema_nearest_key(known, name);
        auto_strbuf list = { 0 };

        names_add(&list, known);
        if (near)
                return error_set(reterr, -EINVAL, "There is no %s '%s'; did you mean '%s'?", what,
                                 name, near);
        return error_set(reterr, -EINVAL, "There is no %s '%s'; there are: %s", what, name,
                         list.text ? list.text : "none");
}

static int workload_find(const SdkCall *call, const char *name, const json_t **ret, Error *reterr) {
        const json_t *workloads = json_object_get(call->environment, "workloads");

        *ret = json_object_get(workloads, name);
        return *ret ? 0 : unknown_name("workload", name, workloads, reterr);
}

/* Params say it; else it is the last part of the resource's id, as service resources are written. */
static const char *workload_name(const SdkCall *call) {
        const char *name = sdk_string(call->params, "workload", NULL), *dot;

        if (name)
                return name;
        dot = strrchr(call->resource_id, '.');
        if (dot)
                return dot + 1;
        return *call->resource_id ? call->resource_id : call->name;
}

static bool port_matches(const json_t *port, uint64_t number) {
        return (uint64_t) sdk_integer(port, "port", -1) == number;
}

/* By name, or by number as a text or a number: the number is that of the service port. */
static int port_find(const json_t *workload, const char *workload_text, const json_t *wanted,
                     int64_t *ret, Error *reterr) {
        const json_t *ports = json_object_get(workload, "ports"), *port;
        auto_cleanup(freep) char *text = NULL, *what = NULL;
        const char *name;
        uint64_t number;

        text = json_is_integer(wanted)
                       ? str_format("%" JSON_INTEGER_FORMAT, json_integer_value(wanted))
                       : strdup(json_is_string(wanted) ? json_string_value(wanted) : "");
        what = str_format("port of workload '%s' named", workload_text);
        if (!text || !what)
                return -ENOMEM;

        port = json_object_get(ports, text);
        if (!port && str_to_u64(text, 65535, &number) == 0)
                json_object_foreach((json_t *) ports, name, port) {
                        if (port_matches(port, number))
                                break;
                        port = NULL;
                }
        if (!port)
                return unknown_name(what, text, ports, reterr);
        *ret = sdk_integer(port, "target_port", sdk_integer(port, "port", 0));
        return *ret >= 1 && *ret <= 65535
                       ? 0
                       : error_set(reterr, -EINVAL, "Port '%s' of workload '%s' is no port number",
                                   text, workload_text);
}

int address_service(SdkCall *call, Error *reterr) {
        const char *name = workload_name(call);
        const json_t *workload;
        int r;

        r = workload_find(call, name, &workload, reterr);
        if (r < 0)
                return r;
        return computed_provision(call, json_pack("{s:s, s:s}", "name", name, "hostname", name),
                                  reterr);
}

int address_service_port(SdkCall *call, Error *reterr) {
        const char *name = workload_name(call);
        const json_t *workload;
        int64_t port;
        int r;

        r = workload_find(call, name, &workload, reterr);
        if (r == 0)
                r = port_find(workload, name, json_object_get(call->params, "port"), &port, reterr);
        if (r < 0)
                return r;
        return computed_provision(
                call, json_pack("{s:s, s:I}", "hostname", name, "port", (json_int_t) port), reterr);
}

int address_dns(SdkCall *call, Error *reterr) {
        const char *host = sdk_string(call->environment, "host", ""),
                   *url = sdk_string(call->environment, "url", "");

        if (!*host || !*url)
                return error_set(reterr, -EINVAL, "The environment has no host name yet");
        return computed_provision(call, json_pack("{s:s, s:s}", "host", host, "url", url), reterr);
}

/* An absolute path of RFC 3986 (section 3.3) without empty, "." and ".." segments; a trailing slash is
 * dropped, since a prefix matches whole segments anyway. */
static int path_check(const char *path, char **ret, Error *reterr) {
        static const char allowed[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                "-._~%!$&'()*+,;=:@/";
        size_t n = strlen(path);
        auto_cleanup(freep) char *copy = NULL;

        if (*path != '/')
                return error_set(reterr, -EINVAL,
                                 "The path '%s' of the route does not begin with '/'", path);
        if (path[strspn(path, allowed)])
                return error_set(reterr, -EINVAL,
                                 "The path '%s' of the route holds '%c': a path is a "
                                 "literal prefix, not a pattern",
                                 path, path[strspn(path, allowed)]);
        if (n > 1 && path[n - 1] == '/')
                n--;
        copy = strndup(path, n);
        if (!copy)
                return -ENOMEM;
        if (strstr(copy, "//") || strstr(copy, "/./") || strstr(copy, "/../") ||
            str_ends_with(copy, "/.") || str_ends_with(copy, "/.."))
                return error_set(reterr, -EINVAL,
                                 "The path '%s' of the route has an empty, '.' or '..' "
                                 "segment",
                                 path);
        *ret = TAKE(copy);
        return 0;
}

static int host_check(const SdkCall *call, const char **ret, Error *reterr) {
        const char *own = sdk_string(call->environment, "host", ""),
                   *host = sdk_string(call->params, "host", "");

        if (!*own)
                return error_set(reterr, -EINVAL, "The environment has no host name yet");
        if (*host && !streq(host, own))
                return error_set(reterr, -EINVAL,
                                 "The host '%s' of the route is not the environment's: "
                                 "leave it out, or use the output 'host' of a dns "
                                 "resource ('%s')",
                                 host, own);
        *ret = own;
        return 0;
}

int address_route(SdkCall *call, Error *reterr) {
        const char *name = sdk_string(call->params, "workload", ""), *host;
        auto_cleanup(freep) char *path = NULL;
        const json_t *workload;
        int64_t port;
        int r;

        r = host_check(call, &host, reterr);
        if (r == 0)
                r = path_check(sdk_string(call->params, "path", "/"), &path, reterr);
        if (r == 0)
                r = workload_find(call, name, &workload, reterr);
        if (r == 0)
                r = port_find(workload, name, json_object_get(call->params, "port"), &port, reterr);
        if (r < 0)
                return r;
        return computed_provision(call,
                                  json_pack("{s:s, s:s, s:s, s:I}", "host", host, "path", path,
                                            "workload", name, "port", (json_int_t) port),
                                  reterr);
}
