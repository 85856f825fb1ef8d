#include "orchestrator/gateway/site.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"

static const char *const answers[_ANSWER_MAX] = {
        [ANSWER_DIRECT] = "direct",     [ANSWER_ASLEEP] = "asleep", [ANSWER_WAKING] = "waking",
        [ANSWER_BUILDING] = "building", [ANSWER_FAILED] = "failed", [ANSWER_GONE] = "gone",
};

const char *answer_to_string(Answer a) {
        return a >= 0 && a < _ANSWER_MAX ? answers[a] : NULL;
}

Answer answer_from_string(const char *s) {
        for (Answer a = 0; a < _ANSWER_MAX; a++)
                if (streq(answers[a], s))
                        return a;
        return _ANSWER_INVALID;
}

/* ---- addresses ---- */

int address_make(const char *host, uint16_t port, Address *ret) {
        Address a = { 0 };

        if (inet_pton(AF_INET, host, &a.v4.sin_addr) == 1) {
                a.v4.sin_family = AF_INET;
                a.v4.sin_port = htons(port);
        } else if (inet_pton(AF_INET6, host, &a.v6.sin6_addr) == 1) {
                a.v6.sin6_family = AF_INET6;
                a.v6.sin6_port = htons(port);
        } else {
                return -EINVAL;
        }
        *ret = a;
        return 0;
}

int address_parse(const char *s, Address *ret, Error *reterr) {
        const char *colon = strrchr(s, ':');
        char host[INET6_ADDRSTRLEN + 2] = "";
        uint64_t port = 0;
        size_t n = colon ? (size_t) (colon - s) : sizeof(host);
        bool brackets = n >= 2 && s[0] == '[' && s[n - 1] == ']';

        if (n < sizeof(host)) {
                memcpy(host, s + brackets, n - 2 * brackets);
                if (str_to_u64(colon + 1, UINT16_MAX, &port) == 0 &&
                    brackets == !!strchr(host, ':') &&
                    address_make(host, (uint16_t) port, ret) == 0)
                        return 0;
        }
        return error_set(
                reterr, -EINVAL,
                "'%s' is no address to listen on; write it as 127.0.0.1:8150 or [::1]:8150", s);
}

socklen_t address_size(const Address *a) {
        return a->any.sa_family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
}

bool address_is_loopback(const Address *a) {
        if (a->any.sa_family == AF_INET)
                return ntohl(a->v4.sin_addr.s_addr) >> 24 == 127;
        return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

char *address_format(const Address *a, char buf[static ADDRESS_TEXT_MAX]) {
        char host[INET6_ADDRSTRLEN] = "";

        if (a->any.sa_family == AF_INET) {
                inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof(host));
                snprintf(buf, ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(a->v4.sin_port));
        } else {
                inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof(host));
                snprintf(buf, ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(a->v6.sin6_port));
        }
        return buf;
}

/* ---- one site ---- */

static void endpoints_free(Endpoint *endpoints, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(endpoints[i].path);
        free(endpoints);
}

Site *site_ref(Site *s) {
        s->n_refs++;
        return s;
}

Site *site_unref(Site *s) {
        if (!s || --s->n_refs > 0)
                return NULL;
        endpoints_free(s->endpoints, s->n_endpoints);
        free(s->host);
        free(s->environment_id);
        free(s);
        return NULL;
}

static void site_release(void *value) {
        Site *s = value;

        s->listed = false;
        site_unref(s);
}

/* What a path of a route may be; it goes into a line of HAProxy's map as it is. */
static bool path_valid(const char *path) {
        for (const char *c = path; *c; c++)
                if (*c <= ' ' || *c >= 0x7f || *c == '#' || *c == '?')
                        return false;
        return path[0] == '/' && strlen(path) <= 255;
}

static int endpoint_from_json(const json_t *item, Endpoint *ret) {
        const char *path = json_string_value(json_object_get(item, "path"));
        const char *address = json_string_value(json_object_get(item, "address"));
        json_int_t port = json_integer_value(json_object_get(item, "port"));
        Endpoint e = { 0 };
        size_t n;

        if (!path)
                path = "/";
        if (!address || port < 1 || port > UINT16_MAX || !path_valid(path) ||
            address_make(address, (uint16_t) port, &e.address) < 0)
                return -EINVAL;
        n = strlen(path);
        while (n > 1 && path[n - 1] == '/')
                n--;
        e.path = strndup(path, n);
        if (!e.path)
                return -ENOMEM;
        *ret = e;
        return 0;
}

static int compare_endpoints(const void *a, const void *b) {
        size_t n = strlen(((const Endpoint *) a)->path), m = strlen(((const Endpoint *) b)->path);

        return (n < m) - (n > m);
}

static int endpoints_from_json(const char *text, Endpoint **ret, size_t *ret_n, Error *reterr) {
        json_auto_t *list = json_loads(text, 0, NULL);
        size_t n = json_array_size(list);
        Endpoint *endpoints;
        int r = 0;

        if (!json_is_array(list) || n > LIMIT_ROUTE_PATHS)
                return error_set(reterr, -EINVAL, "The route's endpoints are not a list");
        endpoints = calloc(n + 1, sizeof(Endpoint));
        if (!endpoints)
                return -ENOMEM;
        for (size_t i = 0; i < n && r == 0; i++)
                r = endpoint_from_json(json_array_get(list, i), endpoints + i);
        if (r < 0) {
                endpoints_free(endpoints, n);
                return error_set(reterr, r, "The route has an endpoint that is none");
        }
        if (n > 1)
                qsort(endpoints, n, sizeof(Endpoint), compare_endpoints);
        *ret = endpoints;
        *ret_n = n;
        return 0;
}

const Endpoint *site_endpoint(const Site *s, const char *path, size_t n) {
        for (size_t i = 0; i < s->n_endpoints; i++) {
                const Endpoint *e = s->endpoints + i;
                size_t k = strlen(e->path);

                if (k == 1 ||
                    (n >= k && memcmp(path, e->path, k) == 0 && (n == k || path[k] == '/')))
                        return e;
        }
        return NULL;
}

/* Takes over what the row says; *s is untouched on failure. */
static int site_set(Site *s, const Route *route, Error *reterr) {
        Answer answer = answer_from_string(route->answer);
        Endpoint *endpoints = NULL;
        size_t n = 0;
        int r;

        if (answer < 0)
                return error_set(reterr, -EINVAL, "'%s' is no answer of a route", route->answer);
        r = endpoints_from_json(route->endpoints ? route->endpoints : "[]", &endpoints, &n, reterr);
        if (r < 0)
                return r;
        endpoints_free(s->endpoints, s->n_endpoints);
        s->endpoints = endpoints;
        s->n_endpoints = n;
        s->answer = answer;
        return 0;
}

static int site_new(const Route *route, Site **ret, Error *reterr) {
        auto_cleanup(site_unrefp) Site *s = calloc(1, sizeof(Site));
        int r;

        if (!s)
                return -ENOMEM;
        s->n_refs = 1;
        s->told_answer = _ANSWER_INVALID;
        link_init(&s->conns);
        link_init(&s->due);
        s->host = strdup(route->host);
        s->environment_id = strdup(route->environment_id ? route->environment_id : "");
        if (!s->host || !s->environment_id)
                return -ENOMEM;
        r = site_set(s, route, reterr);
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}

/* ---- the table ---- */

struct Sites {
        Ledger *ledger;
        Map *map; /* host -> Site */
};

static int sites_put(Sites *sites, const Route *route, Site **ret, Error *reterr) {
        auto_cleanup(site_unrefp) Site *s = NULL;
        int r;

        r = site_new(route, &s, reterr);
        if (r < 0)
                return error_prefix(reterr, r, "%s", route->host);
        r = map_put(sites->map, s->host, s);
        if (r < 0)
                return r;
        s->listed = true;
        if (ret)
                *ret = s;
        s = NULL;
        return 0;
}

static int on_route(void *userdata, const Route *route) {
        auto_error error = { 0 };
        int r;

        /* one row that cannot be read must not close the door for the others */
        r = sites_put(userdata, route, NULL, &error);
        return r == -ENOMEM ? r : 0;
}

int sites_new(Ledger *ledger, Sites **ret, Error *reterr) {
        auto_cleanup(sites_freep) Sites *s = calloc(1, sizeof(Sites));
        int r;

        if (!s)
                return -ENOMEM;
        s->ledger = ledger;
        s->map = map_new(site_release);
        if (!s->map)
                return -ENOMEM;
        r = ledger_route_each(ledger, on_route, s, reterr);
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}

Sites *sites_free(Sites *s) {
        if (!s)
                return NULL;
        map_free(s->map);
        free(s);
        return NULL;
}

Site *sites_get(const Sites *s, const char *host) {
        return map_get(s->map, host);
}

int sites_read(Sites *s, const char *host, Site **ret_old, Site **ret_now, Error *reterr) {
        auto_cleanup(route_done) Route route = { 0 };
        auto_error error = { 0 };
        Site *old = map_get(s->map, host);
        int r;

        r = ledger_route_get(s->ledger, host, &route, &error);
        if (r < 0 && r != -ENOENT)
                return error_set(reterr, r, "%s", error_text(&error, r));
        if (r == 0 && old &&
            streq(old->environment_id, route.environment_id ? route.environment_id : "")) {
                r = site_set(old, &route, reterr);
                if (r < 0)
                        return r;
                *ret_old = NULL;
                *ret_now = old;
                return 0;
        }
        if (old) {
                site_ref(old);
                (void) map_remove(s->map, host);
        }
        *ret_old = old;
        *ret_now = NULL;
        return r == 0 ? sites_put(s, &route, ret_now, reterr) : 0;
}

Site *sites_next(const Sites *s, size_t *at) {
        return map_next(s->map, at, NULL);
}

size_t sites_count(const Sites *s) {
        return map_size(s->map);
}
