/* What a provider writes, as it comes: bytes into lines, lines into the protocol. Pure; all of it is
 * hostile. Bounded in the length of a line and, unless it goes on for ever, in all. Lines before the last
 * are handed on and forgotten. */
#pragma once

#include "orchestrator/base/str.h"
#include "orchestrator/engine/provider.h"

typedef struct Reply {
        size_t max_bytes; /* in all; 0: no limit */
        void (*on_line)(void *userdata, const json_t *line);
        void *userdata;
        const char
                *fault; /* why nothing more is read; NULL while all is well. Set by others, too */

        StrBuf line;    /* the one under way */
        size_t n_bytes; /* so far */
        json_t *final;  /* its result or error line */
} Reply;

void reply_done(Reply *r);
void reply_read(Reply *r, const char *data, size_t size);
/* What it said in the end; everything in *ret is borrowed. False when it said nothing that counts. */
bool reply_end(const Reply *r, ProviderReply *ret);
