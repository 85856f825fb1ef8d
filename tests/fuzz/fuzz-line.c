/* What a provider writes, without the engine: bytes into lines, lines into the protocol. Three bytes say
 * how, the rest is what it wrote:
 *
 *   HOW     bit 0: the call streams; bit 1: the first line begins with spaces, so many that it ends
 *           about the limit of a line
 *   A B     lengths of the pieces it comes in, in turn: A + 1 and 3 B + 1
 *
 * However it was cut, the same came of it. The limits are small here, or they would be reached seldom and
 * slowly. */
#undef NDEBUG
#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/limits.h"

#undef LIMIT_PROVIDER_LINE_BYTES
#define LIMIT_PROVIDER_LINE_BYTES 5000
#undef LIMIT_PROVIDER_REPLY_BYTES
#define LIMIT_PROVIDER_REPLY_BYTES 5400
#include "orchestrator/engine/reply.c" /* for the limits */

#define HEADER 3
#define NEAR   64 /* bytes that are left of the limit */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Outcome {
        const char *fault;
        bool said;
        ProviderReply reply;
        char *result, *message;
        StrBuf lines; /* what was handed over as it came */
} Outcome;

static char *text_of(const json_t *json) {
        return json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS) : NULL;
}

static void on_line(void *userdata, const json_t *line) {
        auto_cleanup(freep) char *text = text_of(line);
        Outcome *o = userdata;

        assert(json_is_object(line) && text);
        strbuf_add(&o->lines, text);
}

/* In a block of exactly its size, so that a read behind the end is seen. */
static void hand_over(Reply *r, const char *data, size_t size) {
        auto_cleanup(freep) char *block = malloc(size > 0 ? size : 1);

        assert(block);
        memcpy(block, data, size);
        reply_read(r, block, size);
}

static void outcome_of(const char *data, size_t size, bool stream, const size_t cut[2],
                       Outcome *ret) {
        auto_cleanup(reply_done) Reply r = { .max_bytes = stream ? 0 : LIMIT_PROVIDER_REPLY_BYTES,
                                             .on_line = on_line,
                                             .userdata = ret };

        for (unsigned n = 0; size > 0; n++) {
                size_t piece = cut[n % 2] < size ? cut[n % 2] : size;

                hand_over(&r, data, piece);
                data += piece;
                size -= piece;
        }
        ret->fault = r.fault;
        ret->said = reply_end(&r, &ret->reply);
        if (!ret->said)
                return;
        ret->result = text_of(ret->reply.result);
        if (ret->reply.message)
                ret->message = strdup(ret->reply.message);
}

static void outcome_done(Outcome *o) {
        free(o->result);
        free(o->message);
        strbuf_done(&o->lines);
}

static void plausible(const Outcome *o) {
        const ProviderReply *reply = &o->reply;

        if (!o->said)
                return;
        assert(!o->fault);
        assert(reply->class >= PROVIDER_OK && reply->class < _PROVIDER_CLASS_MAX);
        assert(reply->result); /* of a failure, what it says of itself */
        assert((reply->class == PROVIDER_OK) == (reply->message == NULL));
        assert(reply->retry_after_ms >= 0);
        /* what was read can be written, and passed on */
        assert(!reply->result || o->result);
}

static void same(const Outcome *a, const Outcome *b, bool too_much) {
        if (too_much) { /* all at once it is too much before anything else is wrong with it */
                assert(a->fault && b->fault && !a->said && !b->said);
                return;
        }
        assert(streq_null(a->fault, b->fault));
        assert(a->said == b->said);
        assert(a->reply.class == b->reply.class && a->reply.unknown == b->reply.unknown);
        assert(a->reply.retry_after_ms == b->reply.retry_after_ms);
        assert(streq_null(a->result, b->result));
        assert(streq_null(a->message, b->message));
        assert(a->lines.size == b->lines.size);
        assert(a->lines.size == 0 || memcmp(a->lines.text, b->lines.text, a->lines.size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        auto_cleanup(outcome_done) Outcome whole = { 0 }, pieces = { 0 };
        auto_cleanup(freep) char *bytes = NULL;
        size_t spaces, n, all[2] = { SIZE_MAX, SIZE_MAX }, cut[2];
        bool stream;

        if (size < HEADER)
                return 0;
        stream = data[0] & 1;
        spaces = data[0] & 2 ? LIMIT_PROVIDER_LINE_BYTES - NEAR : 0;
        cut[0] = (size_t) data[1] + 1;
        cut[1] = (size_t) data[2] * 3 + 1;
        n = spaces + size - HEADER;
        bytes = malloc(n > 0 ? n : 1);
        assert(bytes);
        memset(bytes, ' ', spaces);
        memcpy(bytes + spaces, data + HEADER, size - HEADER);
        outcome_of(bytes, n, stream, all, &whole);
        outcome_of(bytes, n, stream, cut, &pieces);
        plausible(&whole);
        same(&whole, &pieces, !stream && n > LIMIT_PROVIDER_REPLY_BYTES);
        return 0;
}
