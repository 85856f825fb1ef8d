#include "orchestrator/glue/http-client.h"

#include <curl/curl.h>
#include <string.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"

#define TICK_MS 1000

struct HttpClient {
        CURL *easy;
        char *socket_path;
};

/* One transfer under way. */
typedef struct Transfer {
        const HttpCall *call;
        CURL *easy;
        StrBuf text; /* what is collected, or the line that has not ended yet */
        char *page, *backup;
        int failure; /* what a callback decided; wins over curl's own word */
        int64_t tick_ms;
} Transfer;

int http_client_new(const char *socket_path, HttpClient **ret, Error *reterr) {
        auto_cleanup(http_client_freep) HttpClient *c = calloc(1, sizeof(HttpClient));
        int r;

        if (!c)
                return -ENOMEM;
        r = str_replace(&c->socket_path, socket_path);
        if (r < 0)
                return r;
        c->easy = curl_easy_init();
        if (!c->easy)
                return error_set(reterr, -ENOMEM, "Cannot start the HTTP library");
        *ret = TAKE(c);
        return 0;
}

HttpClient *http_client_free(HttpClient *c) {
        if (!c)
                return NULL;
        curl_easy_cleanup(c->easy);
        free(c->socket_path);
        free(c);
        return NULL;
}

void http_reply_done(HttpReply *reply) {
        free(reply->text);
        free(reply->page);
        free(reply->backup);
        *reply = (HttpReply){ 0 };
}

static bool transfer_streams(Transfer *t) {
        long status = 0;

        if (!t->call->on_line && !t->call->on_data)
                return false;
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        return status == 200;
}

/* Hands over every whole line and keeps the rest. */
static int transfer_lines(Transfer *t, const char *data, size_t size) {
        while (size > 0) {
                const char *end = memchr(data, '\n', size);
                size_t n = end ? (size_t) (end - data) : size;
                int r;

                if (t->text.size + n > 2 * LIMIT_PROVIDER_LINE_BYTES)
                        return -EFBIG;
                strbuf_addn(&t->text, data, n);
                if (t->text.broken)
                        return -ENOMEM;
                if (!end)
                        return 0;
                r = t->call->on_line(t->call->userdata, t->text.text ?: "");
                strbuf_done(&t->text);
                if (r < 0)
                        return r;
                data += n + 1;
                size -= n + 1;
        }
        return 0;
}

static size_t on_write(char *data, size_t one, size_t size, void *userdata) {
        Transfer *t = userdata;

        if (transfer_streams(t)) {
                t->failure = t->call->on_data ? t->call->on_data(t->call->userdata, data, size)
                                              : transfer_lines(t, data, size);
        } else if (t->text.size + size > t->call->max) {
                t->failure = -EFBIG;
        } else {
                strbuf_addn(&t->text, data, size);
                if (t->text.broken)
                        t->failure = -ENOMEM;
        }
        return t->failure < 0 ? 0 : size;
}

/* Takes the value when this is the header of that name ("mayfly-page:"); -ENOMEM. */
static int header_take(const char *data, size_t size, const char *name, char **ret) {
        size_t n = strlen(name);
        char *value;

        if (size <= n || strncasecmp(data, name, n) != 0)
                return 0;
        value = strndup(data + n, size - n);
        if (!value)
                return -ENOMEM;
        value[strcspn(value, "\r\n")] = '\0';
        free(*ret);
        *ret = strdup(value + strspn(value, " \t"));
        free(value);
        return *ret ? 0 : -ENOMEM;
}

static size_t on_header(char *data, size_t one, size_t size, void *userdata) {
        Transfer *t = userdata;

        if (header_take(data, size, "mayfly-page:", &t->page) < 0 ||
            header_take(data, size, "mayfly-backup:", &t->backup) < 0)
                return 0;
        return size;
}

static int on_progress(void *userdata, curl_off_t total, curl_off_t now, curl_off_t up_total,
                       curl_off_t up_now) {
        Transfer *t = userdata;
        int64_t ms = clock_boot_ms(&clock_system);

        if (!t->call->on_tick || ms - t->tick_ms < TICK_MS)
                return 0;
        t->tick_ms = ms;
        t->failure = t->call->on_tick(t->call->userdata);
        return t->failure < 0 ? 1 : 0;
}

static const struct {
        CURLcode code;
        int error;
} curl_errors[] = {
        { CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT },
        { CURLE_OUT_OF_MEMORY, -ENOMEM },
        { CURLE_GOT_NOTHING, -EPIPE },
        { CURLE_RECV_ERROR, -EPIPE },
        { CURLE_SEND_ERROR, -EPIPE },
        { CURLE_PARTIAL_FILE, -EPIPE },
        { CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH },
};

static int transfer_error(Transfer *t, CURLcode code) {
        long os_error = 0;

        if (t->failure < 0)
                return t->failure;
        if (code == CURLE_COULDNT_CONNECT) {
                curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_error);
                return os_error > 0 ? (int) -os_error : -ECONNREFUSED;
        }
        for (size_t i = 0; i < N_ELEMENTS(curl_errors); i++)
                if (curl_errors[i].code == code)
                        return curl_errors[i].error;
        return -EIO;
}

/* curl_easy_setopt() is variadic: every value in the type its option wants. */
static int transfer_set_options(HttpClient *c, Transfer *t, struct curl_slist *headers,
                                struct curl_slist *connect_to) {
        const HttpCall *call = t->call;
        CURL *e = c->easy;

        curl_easy_reset(e);
        curl_easy_setopt(e, CURLOPT_URL, call->url);
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, call->method);
        curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(e, CURLOPT_PROXY, ""); /* what it talks to is on this machine */
        curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(e, CURLOPT_CONNECT_TO, connect_to);
        if (c->socket_path)
                curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, c->socket_path);
        if (call->user_agent)
                curl_easy_setopt(e, CURLOPT_USERAGENT, call->user_agent);
        if (call->timeout_ms > 0)
                curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long) call->timeout_ms);
        if (call->body) {
                curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long) strlen(call->body));
                curl_easy_setopt(e, CURLOPT_POSTFIELDS, call->body);
        }
        curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write);
        curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
        curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
        curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(e, CURLOPT_XFERINFODATA, t);
        curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
        return 0;
}

static int transfer_run(HttpClient *c, Transfer *t, HttpReply *ret, Error *reterr) {
        auto_cleanup(freep) char *connect_text = NULL;
        struct curl_slist *headers = curl_slist_append(NULL, "Expect:"), *connect_to = NULL;
        CURLcode code = CURLE_OUT_OF_MEMORY;
        long status = 0;
        int r = 0;

        if (headers && t->call->body)
                headers = curl_slist_append(headers, "Content-Type: application/json") ?: headers;
        if (t->call->connect_to) {
                connect_text = str_format("::%s", t->call->connect_to);
                connect_to = connect_text ? curl_slist_append(NULL, connect_text) : NULL;
        }
        if (headers && (connect_to || !t->call->connect_to)) {
                transfer_set_options(c, t, headers, connect_to);
                code = curl_easy_perform(c->easy);
        }
        if (code != CURLE_OK) {
                r = transfer_error(t, code);
                error_set(reterr, r, "%s",
                          t->failure < 0 ? strerror(-r) : curl_easy_strerror(code));
        }
        curl_slist_free_all(headers);
        curl_slist_free_all(connect_to);
        if (r < 0)
                return r;
        curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
        ret->status = (int) status;
        ret->size = t->text.size;
        ret->text = strbuf_take(&t->text);
        ret->page = TAKE(t->page);
        ret->backup = TAKE(t->backup);
        return ret->text ? 0 : -ENOMEM;
}

int http_client_call(HttpClient *c, const HttpCall *call, HttpReply *ret, Error *reterr) {
        Transfer t = { .call = call, .easy = c->easy, .tick_ms = clock_boot_ms(&clock_system) };
        HttpReply reply = { 0 };
        int r = transfer_run(c, &t, &reply, reterr);

        strbuf_done(&t.text);
        free(t.page);
        free(t.backup);
        if (r < 0) {
                http_reply_done(&reply);
                return r;
        }
        *ret = reply;
        return 0;
}

char *http_escape(const char *s) {
        static const char safe[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
        auto_strbuf out = { 0 };

        for (; *s; s++)
                if (strchr(safe, *s))
                        strbuf_addc(&out, *s);
                else
                        strbuf_addf(&out, "%%%02X", (unsigned char) *s);
        return strbuf_take(&out);
}
