#include <string.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/cli/cli.h"

#define REQUEST_MS 120000 /* a listing of a far repository's branches is the slowest answer */
#define ANSWER_MAX (64 * 1024 * 1024)

/* The API's statuses in the words of exit statuses. */
static const struct {
        int http;
        CliExit status;
} request_statuses[] = {
        { 403, CLI_REFUSED },
        { 404, CLI_NOT_FOUND },
        { 409, CLI_REFUSED },
        { 504, CLI_TIMEOUT },
};

static CliExit status_of(int http) {
        for (size_t i = 0; i < N_ELEMENTS(request_statuses); i++)
                if (request_statuses[i].http == http)
                        return request_statuses[i].status;
        return CLI_FAILED;
}

char *cli_path(const char *noun, const char *name, const char *tail) {
        auto_cleanup(freep) char *escaped = http_escape(name);

        return escaped ? str_format("/v1/%s/%s%s", noun, escaped, tail) : NULL;
}

int cli_connect(Cli *cli) {
        auto_error error = { 0 };
        int r;

        if (cli->client)
                return CLI_OK;
        r = http_client_new(cli->socket_path, &cli->client, &error);
        return r < 0 ? cli_fail(cli, CLI_FAILED, "%s", error_text(&error, r)) : CLI_OK;
}

static int unreachable(Cli *cli, int r, Error *error, Error *reterr) {
        static const char advice[] =
                "Start it with 'mayflyd --state FOLDER' (or 'systemctl start "
                "mayflyd'), or say where it listens with --socket or MAYFLY_STATE";

        switch (r) {
        case -ENOENT:
        case -ECONNREFUSED:
        case -ENOTDIR:
                error_set(reterr, r, "No daemon answers at '%s' (%s). %s", cli->socket_path,
                          strerror(-r), advice);
                return CLI_UNREACHABLE;
        case -EACCES:
        case -EPERM:
                error_set(reterr, r, "You may not connect to '%s'", cli->socket_path);
                return CLI_REFUSED;
        case -EPIPE:
                error_set(reterr, r, "The daemon went away before it answered");
                return CLI_UNREACHABLE;
        case -ETIMEDOUT:
                error_set(reterr, r, "The daemon did not answer in time");
                return CLI_TIMEOUT;
        default:
                error_set(reterr, r, "The request failed: %s", error_text(error, r));
                return CLI_FAILED;
        }
}

/* Reads {"error":{"message"}}, or says what else came. */
static int refused(const HttpReply *reply, Error *reterr) {
        json_t *json = json_loads(reply->text, 0, NULL);
        const char *message = cli_string(json_object_get(json, "error"), "message");

        if (*message)
                error_set(reterr, -EREMOTEIO, "%s", message);
        else
                error_set(reterr, -EREMOTEIO, "The daemon answered with HTTP status %d",
                          reply->status);
        json_decref(json);
        return status_of(reply->status);
}

int cli_request_quiet(Cli *cli, const char *method, const char *path, json_t *body, json_t **ret,
                      Error *reterr) {
        auto_cleanup(freep) char *url = path ? str_format("http://localhost%s", path) : NULL;
        auto_cleanup(freep) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
        auto_cleanup(http_reply_done) HttpReply reply = { 0 };
        auto_error error = { 0 };
        HttpCall call = { .method = method,
                          .url = url,
                          .body = text,
                          .max = ANSWER_MAX,
                          .timeout_ms = REQUEST_MS };
        json_t *json;
        int r;

        if (!url || (body && !text)) {
                json_decref(body);
                return error_set(reterr, -ENOMEM, "out of memory"), CLI_FAILED;
        }
        json_decref(body);
        r = cli_connect(cli);
        if (r != CLI_OK)
                return r;
        r = http_client_call(cli->client, &call, &reply, &error);
        if (r < 0)
                return unreachable(cli, r, &error, reterr);
        if (reply.status < 200 || reply.status > 299)
                return refused(&reply, reterr);
        if (!ret)
                return CLI_OK;
        json = json_loadb(reply.text, reply.size, JSON_ALLOW_NUL, NULL);
        if (!json)
                return error_set(reterr, -EBADMSG, "The daemon's answer is not JSON"), CLI_FAILED;
        *ret = json;
        return CLI_OK;
}

int cli_request(Cli *cli, const char *method, const char *path, json_t *body, json_t **ret) {
        auto_error error = { 0 };
        int status = cli_request_quiet(cli, method, path, body, ret, &error);

        return status == CLI_OK ? status : cli_fail(cli, status, "%s", error_text(&error, -EIO));
}

int cli_reply_check(Cli *cli, int r, const HttpReply *reply, Error *error) {
        auto_error reason = { 0 };
        int status;

        if (r == 0 && reply->status == 200)
                return CLI_OK;
        status = r < 0 ? unreachable(cli, r, error, &reason) : refused(reply, &reason);
        return cli_fail(cli, status, "%s", error_text(&reason, -EIO));
}

/* ---- streams ---- */

typedef struct Lines {
        const CliStream *stream;
        bool ended; /* by on_line or on_tick */
} Lines;

static int lines_on_line(void *userdata, const char *text) {
        Lines *l = userdata;
        json_t *line;
        int r;

        if (!*text)
                return 0;
        line = json_loads(text, JSON_ALLOW_NUL, NULL);
        if (!line)
                return -EBADMSG;
        r = l->stream->on_line(l->stream->userdata, line);
        json_decref(line);
        if (r < 0)
                l->ended = true;
        return r;
}

static int lines_on_tick(void *userdata) {
        Lines *l = userdata;
        int r = l->stream->on_tick ? l->stream->on_tick(l->stream->userdata) : 0;

        if (r < 0)
                l->ended = true;
        return r;
}

int cli_stream(Cli *cli, const char *method, const char *path, json_t *body,
               const CliStream *stream) {
        auto_cleanup(freep) char *url = path ? str_format("http://localhost%s", path) : NULL;
        auto_cleanup(freep) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
        auto_cleanup(http_reply_done) HttpReply reply = { 0 };
        auto_error error = { 0 }, reason = { 0 };
        Lines lines = { .stream = stream };
        HttpCall call = { .method = method,
                          .url = url,
                          .body = text,
                          .max = LIMIT_API_BODY_BYTES,
                          .timeout_ms = stream->timeout_ms,
                          .on_line = lines_on_line,
                          .on_tick = lines_on_tick,
                          .userdata = &lines };
        int r, status;

        if (!url || (body && !text)) {
                json_decref(body);
                return cli_fail(cli, CLI_FAILED, "out of memory");
        }
        json_decref(body);
        status = cli_connect(cli);
        if (status != CLI_OK)
                return status;
        r = http_client_call(cli->client, &call, &reply, &error);
        if (stream->ret_error)
                *stream->ret_error = r;
        if (lines.ended || (r == 0 && reply.status == 200))
                return CLI_OK;
        status = r < 0 ? unreachable(cli, r, &error, &reason) : refused(&reply, &reason);
        return stream->quiet ? status : cli_fail(cli, status, "%s", error_text(&reason, -EIO));
}
