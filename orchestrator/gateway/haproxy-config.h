/* The text of HAProxy's files. Pure. */
#pragma once

#include <stdbool.h>

#include "orchestrator/gateway/site.h"

typedef struct HaproxyNames { /* absolute paths, addresses as HAProxy writes them */
        const char *dir, *listen, *door;
        bool drop_root; /* run as the user that Debian's package makes */
        unsigned n_threads;
} HaproxyNames;

/* The whole configuration, owned; NULL when out of memory. Its "description" is a hash of the rest, by
 * which a running process is known to have the same. */
char *haproxy_config(const HaproxyNames *names);
/* The description within a configuration or the answer to "show info"; owned, NULL when there is none. */
char *haproxy_description(const char *text);
/* A regular expression that the names of robots match. */
char *haproxy_robots(void);
/* The i-th answer of its own, for the file DIR/STATUS.http: 1 with *ret_text owned, 0 after the last. */
int haproxy_page(size_t i, int *ret_status, char **ret_text);
/* A path that needs no quoting in the configuration, in a map or in a command. */
bool haproxy_word_valid(const char *s);

/* How a site looks in HAProxy: *ret_value is what its host maps to ("10.0.0.2:8080", or "paths"), NULL
 * when it is left to the door; for "paths" *ret_paths are lines "HOST/PATH/ ADDRESS" of the second map.
 * Both owned. */
int haproxy_view(const Site *s, char **ret_value, char ***ret_paths);
