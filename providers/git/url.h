/* Where a repository is. Accepted: an absolute path, file:///path, https://host/path, ssh://host/path and
 * user@host:path. Everything else is refused: ext:: and other helpers run commands, git:// and http://
 * can be altered on the way, a name or password inside an address would be seen in lists of processes. */
#pragma once

#include <stdbool.h>

#include "orchestrator/base/error.h"

#define URL_BYTES_MAX 2048

typedef enum UrlKind {
        URL_LOCAL,
        URL_HTTPS,
        URL_SSH,
} UrlKind;

typedef struct Url {
        UrlKind kind;
        char *text; /* owned; as given to git, or the absolute path */
        char *host; /* owned, without port; NULL when local */
} Url;

int url_parse(const char *text, Url *ret, Error *reterr);
/* A submodule's address: "./x" and "../x" start from the parent's. */
int url_parse_relative(const Url *parent, const char *text, Url *ret, Error *reterr);
void url_done(Url *url);

#define auto_url auto_cleanup(url_done) Url
