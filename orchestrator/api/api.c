#include "orchestrator/api/api.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "orchestrator/api/branches.h"
#include "orchestrator/api/render.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"

#define GROUP "mayfly" /* its members may use the API */

/* ---- answers ---- */

/* The only place where an errno becomes an HTTP status. */
static const struct {
        int error, status;
        const char *code;
} api_errors[] = {
        { -EINVAL, 400, "invalid" },       { -ERANGE, 400, "invalid" },
        { -EBADMSG, 400, "invalid" },      { -ENAMETOOLONG, 400, "invalid" },
        { -EACCES, 403, "forbidden" },     { -ENOENT, 404, "not_found" },
        { -ESRCH, 404, "not_found" },      { -EOPNOTSUPP, 409, "not_possible" },
        { -EEXIST, 409, "exists" },        { -EPERM, 409, "not_possible" },
        { -ESTALE, 409, "changed" },       { -EBUSY, 409, "busy" },
        { -EFBIG, 413, "too_large" },      { -E2BIG, 413, "too_large" },
        { -EREMOTEIO, 502, "repository" }, { -EAGAIN, 503, "busy" },
        { -ECANCELED, 503, "stopping" },   { -ENOMEM, 503, "busy" },
        { -EMFILE, 503, "busy" },          { -ETIMEDOUT, 504, "timeout" },
        { -ENOSPC, 507, "no_space" },
};

int api_status(int r, const char **ret_code) {
        for (size_t i = 0; i < N_ELEMENTS(api_errors); i++)
                if (api_errors[i].error == r) {
                        *ret_code = api_errors[i].code;
                        return api_errors[i].status;
                }
        *ret_code = "internal";
        return 500;
}

json_t *api_error_json(int r, const Error *error) {
        const char *code;

        (void) api_status(r, &code);
        return json_pack("{s:{s:s, s:s}}", "error", "code", code, "message", error_text(error, r));
}

static void answer_json(HttpRequest *request, int status, const json_t *json) {
        auto_cleanup(freep) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
        static const char oom[] = "{\"error\":{\"code\":\"busy\",\"message\":\"Out of memory\"}}";

        if (text)
                http_answer(request, status, "application/json", text, strlen(text));
        else
                http_answer(request, 503, "application/json", oom, strlen(oom));
}

static void answer_error(HttpRequest *request, int r, const Error *error) {
        json_t *json = api_error_json(r, error);
        const char *code;
        int status = api_status(r, &code);

        if (status == 500)
                log_error("A request failed: %s", error_text(error, r));
        answer_json(request, status, json);
        json_decref(json);
}

/* ---- calls ---- */

static ApiCall *call_free(ApiCall *c) {
        if (!c)
                return NULL;
        if (c->link) {
                *c->link = c->next;
                if (c->next)
                        c->next->link = c->link;
        }
        branches_cancel(c->job);
        if (c->m->engine) {
                engine_verify_cancel(c->verify);
                if (c->looking)
                        engine_orphans_forget(c->m->engine, c);
        }
        free(c->args[0]);
        free(c->args[1]);
        json_decref(c->body);
        json_decref(c->result);
        free(c->environment);
        free(c);
        return NULL;
}

static ApiCall *call_new(Manager *m, HttpRequest *request) {
        ApiCall *c = calloc(1, sizeof(ApiCall));

        if (!c)
                return NULL;
        c->m = m;
        c->request = request;
        c->next = m->calls;
        c->link = &m->calls;
        if (c->next)
                c->next->link = &c->next;
        m->calls = c;
        return c;
}

void api_forget(ApiCall *c) {
        call_free(c);
}

HttpRequest *api_take_request(ApiCall *c) {
        return TAKE(c->request);
}

static int call_result(ApiCall *c, Error *reterr) {
        json_t *environment = NULL;
        int r;

        if (!c->result)
                c->result = json_object();
        if (!c->route->change && json_is_object(c->result))
                (void) json_object_set_new(c->result, "now_ms",
                                           json_integer(engine_now_ms(c->m->engine)));
        if (!c->environment)
                return c->result ? 0 : -ENOMEM;
        r = render_environment_by_id(c->m, c->environment, &environment, reterr);
        if (r < 0)
                return r;
        return json_object_set_new(c->result, "environment", environment) < 0 ? -ENOMEM : 0;
}

static void call_answer(ApiCall *c, int r, const Error *error) {
        auto_error own = { 0 };

        if (r >= 0) {
                r = call_result(c, &own);
                error = &own;
        }
        if (r < 0)
                answer_error(c->request, r, error);
        else
                answer_json(c->request, 200, c->result);
        call_free(c);
}

static void call_on_commit(void *userdata, int r, const Error *error) {
        call_answer(userdata, r, error);
}

void api_finish(ApiCall *c, int r, const Error *error) {
        if (r < 0 || !c->route->change) {
                call_answer(c, r, error);
                return;
        }
        engine_after_commit(c->m->engine, call_on_commit, c);
        manager_want_turn(c->m);
}

/* ---- who ---- */

/* root, the daemon's own user, and members of the group "mayfly". */
static bool peer_allowed(const Manager *m, const HttpPeer *peer) {
        if (!peer->known)
                return false;
        if (peer->uid == 0 || peer->uid == geteuid())
                return true;
        if (m->group == (gid_t) -1)
                return false;
        if (peer->gid == m->group)
                return true;
        for (size_t i = 0; i < peer->n_groups; i++)
                if (peer->groups[i] == m->group)
                        return true;
        return false;
}

static void call_set_actor(ApiCall *c, const HttpPeer *peer) {
        struct passwd pw, *found = NULL;
        char buf[1024];

        if (getpwuid_r(peer->uid, &pw, buf, sizeof(buf), &found) == 0 && found)
                snprintf(c->who, sizeof(c->who), "uid:%u(%.64s)", (unsigned) peer->uid,
                         found->pw_name);
        else
                snprintf(c->who, sizeof(c->who), "uid:%u", (unsigned) peer->uid);
        c->actor.who = c->who;
}

/* ---- which route ---- */

/* Matches one path against a pattern; the arguments are copied out, still escaped. */
static bool path_match(const char *pattern, const char *path, char *args[static 2]) {
        size_t n = 0;

        while (*pattern && *path) {
                if (*pattern == '*') {
                        size_t size = strcspn(path, "/");

                        if (size == 0 || n >= 2)
                                return false;
                        args[n++] = strndup(path, size);
                        path += size;
                        pattern++;
                        continue;
                }
                if (*pattern++ != *path++)
                        return false;
        }
        return !*pattern && !*path;
}

const ApiRoute *api_route_find(const char *method, const char *path, char *args[static 2],
                               bool *ret_known) {
        *ret_known = false;
        for (size_t i = 0; i < api_n_routes; i++) {
                char *found[2] = { NULL, NULL };

                if (path_match(api_routes[i].path, path, found)) {
                        *ret_known = true;
                        if (streq(api_routes[i].method, method)) {
                                args[0] = found[0];
                                args[1] = found[1];
                                return &api_routes[i];
                        }
                }
                free(found[0]);
                free(found[1]);
        }
        return NULL;
}

static int call_find_route(ApiCall *c, Error *reterr) {
        const char *path = http_request_path(c->request), *method = http_request_method(c->request);
        bool known;

        c->route = api_route_find(method, path, c->args, &known);
        if (!c->route)
                return error_set(reterr, known ? -EINVAL : -ENOENT, "There is no %s %s", method,
                                 path);
        for (size_t i = 0; i < 2; i++)
                if (c->args[i] && http_unescape(c->args[i]) < 0)
                        return error_set(reterr, -EINVAL, "The path is badly escaped");
        return 0;
}

/* ---- bodies ---- */

static const struct {
        char type;
        const char *words;
} field_types[] = {
        { 's', "a string" },      { 'S', "a string or null" }, { 'i', "a whole number" },
        { 'b', "true or false" }, { 'o', "an object" },        { 'a', "a list of strings" },
};

static bool strings_only(const json_t *array) {
        const json_t *item;
        size_t i;

        json_array_foreach(array, i, item) {
                if (!json_is_string(item))
                        return false;
        }
        return true;
}

static bool field_fits(const json_t *value, char type) {
        switch (type) {
        case 's':
                return json_is_string(value);
        case 'S':
                return json_is_string(value) || json_is_null(value);
        case 'i':
                return json_is_integer(value);
        case 'b':
                return json_is_boolean(value);
        case 'o':
                return json_is_object(value);
        case 'a':
                return json_is_array(value) && strings_only(value);
        default:
                return false;
        }
}

static const char *field_words(char type) {
        for (size_t i = 0; i < N_ELEMENTS(field_types); i++)
                if (field_types[i].type == type)
                        return field_types[i].words;
        return "";
}

static int body_check(const json_t *body, const ApiField *fields, Error *reterr) {
        const char *key;
        json_t *value;

        json_object_foreach((json_t *) body, key, value) {
                const ApiField *f = fields;

                while (f->name && !streq(f->name, key))
                        f++;
                if (!f->name)
                        return error_set(reterr, -EINVAL, "The field '%s' is unknown here", key);
                if (!field_fits(value, f->type))
                        return error_set(reterr, -EINVAL, "The field '%s' must be %s", key,
                                         field_words(f->type));
        }
        for (const ApiField *f = fields; f->name; f++)
                if (f->required && !json_object_get(body, f->name))
                        return error_set(reterr, -EINVAL, "The field '%s' is missing", f->name);
        return 0;
}

int api_body_read(const char *text, size_t size, const ApiField *fields, json_t **ret,
                  Error *reterr) {
        json_auto_t *body = NULL;
        json_error_t json_error;
        int r;

        if (!fields)
                return size == 0 ? 0 : error_set(reterr, -EINVAL, "This request takes no body");
        if (size == 0)
                body = json_object();
        else
                body = json_loadb(text, size, JSON_REJECT_DUPLICATES, &json_error);
        if (!body)
                return size == 0 ? -ENOMEM
                                 : error_set(reterr, -EINVAL, "The body is not JSON: %s",
                                             json_error.text);
        if (!json_is_object(body))
                return error_set(reterr, -EINVAL, "The body must be an object");
        r = body_check(body, fields, reterr);
        if (r < 0)
                return r;
        *ret = TAKE(body);
        return 0;
}

int api_query_number(ApiCall *c, const char *name, uint64_t def, uint64_t max, uint64_t *ret,
                     Error *reterr) {
        const char *text = http_request_query(c->request, name);

        *ret = def;
        if (text && str_to_u64(text, max, ret) < 0)
                return error_set(reterr, -EINVAL, "'%s' must be a whole number of at most %llu",
                                 name, (unsigned long long) max);
        return 0;
}

bool api_query_flag(ApiCall *c, const char *name) {
        const char *text = http_request_query(c->request, name);

        return text && (!*text || streq(text, "1") || streq(text, "true"));
}

/* ---- requests ---- */

static int call_prepare(ApiCall *c, Error *reterr) {
        const HttpPeer *peer = http_request_peer(c->request);
        const char *text;
        size_t size;
        int r;

        if (!peer_allowed(c->m, peer))
                return error_set(reterr, -EACCES,
                                 "Only root, the daemon's own user and members of the group '" GROUP
                                 "' may use this daemon");
        call_set_actor(c, peer);
        if (!c->m->engine || c->m->stopping)
                return error_set(reterr, -EAGAIN, "The daemon is starting or stopping; try again");
        r = call_find_route(c, reterr);
        if (r < 0)
                return r;
        text = http_request_body(c->request, &size);
        return api_body_read(text, size, c->route->fields, &c->body, reterr);
}

static void api_on_request(void *userdata, HttpRequest *request) {
        Manager *m = userdata;
        auto_error error = { 0 };
        ApiCall *c = call_new(m, request);
        int r;

        if (!c) {
                answer_error(request, -ENOMEM, NULL);
                return;
        }
        r = call_prepare(c, &error);
        if (r < 0) {
                call_answer(c, r, &error);
                return;
        }
        r = c->route->func(c, &error);
        if (r == API_LATER && !c->request)
                call_free(c); /* the stream has the request */
        else if (r != API_LATER)
                api_finish(c, r, &error);
}

/* ---- start and stop ---- */

/* A Unix socket that systemd passed (sd_listen_fds(3)), or our own. */
static int api_socket(Manager *m, int *ret, Error *reterr) {
        int n = loop_listen_fds(), family;
        socklen_t size = sizeof(family);

        if (n > 0) {
                if (getsockopt(3, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0 || family != AF_UNIX)
                        return error_set(reterr, -EINVAL,
                                         "The socket passed by systemd is not a Unix "
                                         "socket");
                *ret = 3;
                return 0;
        }
        /* Anyone may connect; who may do anything is decided by SO_PEERCRED, with words. */
        return http_listen_unix(m->socket_path, 0666, ret, reterr);
}

static gid_t group_find(void) {
        struct group gr, *found = NULL;
        char buf[16384];

        return getgrnam_r(GROUP, &gr, buf, sizeof(buf), &found) == 0 && found ? found->gr_gid
                                                                              : (gid_t) -1;
}

int api_start(Manager *m, Error *reterr) {
        HttpServerSetup setup = { .loop = m->loop,
                                  .body_max = LIMIT_API_BODY_BYTES,
                                  .connections_max = LIMIT_API_CONNECTIONS,
                                  .on_request = api_on_request,
                                  .userdata = m };
        int r;

        m->group = group_find();
        r = api_socket(m, &setup.fd, reterr);
        return r == 0 ? http_server_new(&setup, &m->server, reterr) : r;
}

void api_stop(Manager *m) {
        bool served = m->server != NULL;

        while (m->calls)
                call_free(m->calls);
        m->server = http_server_free(m->server);
        if (served && loop_listen_fds() <= 0)
                (void) unlink(m->socket_path);
}
