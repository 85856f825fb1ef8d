#include "providers/git/url.h"

#include <string.h>

#include "orchestrator/base/str.h"

#define LETTERS    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define HOST_CHARS LETTERS ".-_"
#define USER_CHARS LETTERS ".-_"

void url_done(Url *url) {
        free(url->text);
        free(url->host);
        *url = (Url){ 0 };
}

static int url_make(UrlKind kind, const char *text, const char *host, size_t host_size, Url *ret) {
        auto_url url = { .kind = kind, .text = strdup(text) };

        if (host)
                url.host = strndup(host, host_size);
        if (!url.text || (host && !url.host))
                return -ENOMEM;
        *ret = url;
        url = (Url){ 0 };
        return 0;
}

static int hex(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* file:///a%20b; NULL when a %XX is no byte that a path may hold. */
static char *percent_decode(const char *s) {
        auto_strbuf text = { 0 };

        for (; *s; s++) {
                int byte = (unsigned char) *s;

                if (*s == '%') {
                        int high = hex(s[1]), low = high < 0 ? -1 : hex(s[2]);

                        byte = low < 0 ? 0 : high * 16 + low;
                        if (byte < 0x20 || byte == 0x7f)
                                return NULL;
                        s += 2;
                }
                strbuf_addc(&text, (char) byte);
        }
        return strbuf_take(&text);
}

static int parse_local(const char *path, Url *ret, Error *reterr) {
        if (*path != '/')
                return error_set(reterr, -EINVAL, "The repository '%s' is not an absolute path",
                                 path);
        return url_make(URL_LOCAL, path, NULL, 0, ret);
}

static int parse_file(const char *text, const char *rest, Url *ret, Error *reterr) {
        const char *path = str_after(rest, "localhost");
        auto_cleanup(freep) char *decoded = percent_decode(path ? path : rest);

        if (!decoded)
                return error_set(reterr, -EINVAL, "The repository '%s' holds a wrong %%XX", text);
        if (*decoded != '/')
                return error_set(reterr, -EINVAL,
                                 "The repository '%s' names another machine: "
                                 "file:// needs an absolute path",
                                 text);
        return parse_local(decoded, ret, reterr);
}

/* [user@]host[:port]/path, where nothing can be taken for an option or a password. */
static int parse_remote(UrlKind kind, const char *text, const char *rest, Url *ret, Error *reterr) {
        size_t n = strcspn(rest, "/@"), host_size;
        const char *host = rest, *after;

        if (rest[n] == '@') {
                if (kind == URL_HTTPS)
                        return error_set(reterr, -EINVAL,
                                         "The repository's address holds a user name: "
                                         "give the provider 'authorization' instead");
                if (n == 0 || strspn(rest, USER_CHARS) != n || *rest == '-')
                        return error_set(reterr, -EINVAL, "The user name in '%s' is not valid",
                                         text);
                host = rest + n + 1;
        }
        if (*host == '[') {
                host_size = strspn(host + 1, "0123456789abcdefABCDEF:.") + 1;
                host_size = host[host_size] == ']' ? host_size + 1 : 0;
        } else
                host_size = *host == '-' ? 0 : strspn(host, HOST_CHARS);
        after = host + host_size;
        if (*after == ':')
                after += 1 + strspn(after + 1, "0123456789");
        if (host_size == 0 || *after != '/')
                return error_set(reterr, -EINVAL, "The host in '%s' is not valid", text);
        if (!after[1] || after[1] == '-')
                return error_set(reterr, -EINVAL, "The path in '%s' is not valid", text);
        return url_make(kind, text, host, host_size, ret);
}

/* user@host:path, as people copy it from a forge. */
static int parse_scp(const char *text, Url *ret, Error *reterr) {
        size_t user = strspn(text, USER_CHARS), host;
        const char *path;

        if (user == 0 || *text == '-' || text[user] != '@')
                return -ENOENT;
        host = strspn(text + user + 1, HOST_CHARS);
        path = text + user + 1 + host;
        if (host == 0 || text[user + 1] == '-' || *path != ':')
                return -ENOENT;
        path++;
        if (!*path || *path == ':' || *path == '-')
                return error_set(reterr, -EINVAL, "The path in '%s' is not valid", text);
        return url_make(URL_SSH, text, text + user + 1, host, ret);
}

int url_parse(const char *text, Url *ret, Error *reterr) {
        const char *rest;
        int r;

        if (strlen(text) > URL_BYTES_MAX)
                return error_set(reterr, -EINVAL,
                                 "The repository's address is longer than %d bytes", URL_BYTES_MAX);
        for (const char *c = text; *c; c++)
                if ((unsigned char) *c < 0x20 || *c == 0x7f)
                        return error_set(reterr, -EINVAL,
                                         "The repository's address holds a control character");
        if (*text == '/')
                return parse_local(text, ret, reterr);
        if ((rest = str_after(text, "file://")))
                return parse_file(text, rest, ret, reterr);
        if ((rest = str_after(text, "https://")))
                return parse_remote(URL_HTTPS, text, rest, ret, reterr);
        if ((rest = str_after(text, "ssh://")))
                return parse_remote(URL_SSH, text, rest, ret, reterr);
        r = parse_scp(text, ret, reterr);
        if (r != -ENOENT)
                return r;
        return error_set(reterr, -EINVAL,
                         "The repository '%s' is refused: give an absolute path, "
                         "file://, https:// or ssh://",
                         text);
}

/* Where the part begins that ".." may take away. */
static size_t path_start(const Url *url) {
        const char *after;

        if (url->kind == URL_LOCAL)
                return 0;
        after = strstr(url->text, "://");
        if (!after)
                return (size_t) (strchr(url->text, ':') - url->text);
        return (size_t) (strchrnul(after + 3, '/') - url->text);
}

int url_parse_relative(const Url *parent, const char *text, Url *ret, Error *reterr) {
        auto_cleanup(freep) char *base = NULL, *joined = NULL;
        size_t start, size;

        if (!str_after(text, "./") && !str_after(text, "../"))
                return url_parse(text, ret, reterr);

        base = strdup(parent->text);
        if (!base)
                return -ENOMEM;
        start = path_start(parent);
        size = strlen(base);
        while (size > start + 1 && base[size - 1] == '/')
                size--;
        for (;;) {
                const char *rest;

                if ((rest = str_after(text, "./"))) {
                        text = rest;
                        continue;
                }
                rest = str_after(text, "../");
                if (!rest)
                        break;
                while (size > start && base[size - 1] != '/')
                        size--;
                if (size <= start)
                        return error_set(reterr, -EINVAL, "A submodule's address leaves '%s'",
                                         parent->text);
                size--;
                text = rest;
        }
        base[size] = 0;
        if (!*text || strstr(text, "../"))
                return error_set(reterr, -EINVAL, "A submodule's address '%s' is not valid", text);
        joined = str_format("%s/%s", base, text);
        return joined ? url_parse(joined, ret, reterr) : -ENOMEM;
}
