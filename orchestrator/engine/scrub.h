/* Secrets taken out of words that a provider said, before anybody reads or keeps them. Looked for are
 * whole values, so a text is scrubbed first and cut to size afterwards. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "orchestrator/base/cleanup.h"

/* Values to look for; zero-initialise it. */
typedef struct Scrub {
        char **secrets; /* owned, wiped at the end */
        size_t n;
        bool broken; /* out of memory: scrub_text() then gives NULL */
} Scrub;

void scrub_done(Scrub *s);
#define auto_scrub auto_cleanup(scrub_done) Scrub

/* Every string and number in the value, however deep. */
void scrub_add(Scrub *s, const json_t *value);
/* The secret outputs of a provider's result; all of its outputs when "secret" is no list of their names. */
void scrub_add_result(Scrub *s, const json_t *result);
/* An owned copy of the text with "***" for each of them; NULL when out of memory. */
char *scrub_text(Scrub *s, const char *text);
