#include "orchestrator/engine/reply.h"

#include <string.h>

#include "orchestrator/base/limits.h"

void reply_done(Reply *r) {
        strbuf_done(&r->line);
        json_decref(r->final);
        *r = (Reply){ 0 };
}

/* One line of the protocol. False when it is nonsense. "error" beside a result may be null, as some
 * programs write what is not there; another word there leaves open which of them counts. */
static bool take(Reply *r, const char *text, size_t size) {
        json_t *line = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        const json_t *fault = json_object_get(line, "error");
        bool result = json_is_object(json_object_get(line, "result")),
             error = json_is_object(fault);
        bool ok = json_is_object(line) && !r->final && !(result && fault && !json_is_null(fault));

        if (ok && (result || error)) {
                r->final = line;
                return true;
        }
        if (ok)
                r->on_line(r->userdata, line);
        json_decref(line);
        return ok;
}

void reply_read(Reply *r, const char *data, size_t size) {
        r->n_bytes += size;
        if (!r->fault && r->max_bytes > 0 && r->n_bytes > r->max_bytes)
                r->fault = "wrote more than a reply may have";
        while (size > 0 && !r->fault) {
                const char *end = memchr(data, '\n', size);
                size_t n = end ? (size_t) (end - data) : size;

                strbuf_addn(&r->line, data, n);
                if (r->line.broken || r->line.size > LIMIT_PROVIDER_LINE_BYTES) {
                        r->fault = "wrote a line that is too long";
                        return;
                }
                if (end) {
                        if (r->line.size > 0 && !take(r, r->line.text, r->line.size) && !r->fault)
                                r->fault = "wrote a line that is not of the protocol";
                        strbuf_done(&r->line);
                        n++;
                }
                data += n;
                size -= n;
        }
}

bool reply_end(const Reply *r, ProviderReply *ret) {
        const json_t *error = json_object_get(r->final, "error");
        const char *class = json_string_value(json_object_get(error, "class"));

        if (!r->final || r->fault)
                return false;
        ret->class = PROVIDER_OK;
        if (!json_is_object(error)) {
                ret->result = json_object_get(r->final, "result");
                return true;
        }
        ret->result = error; /* a removal that failed may say what it did until then */
        ret->class = class ? provider_class_from_string(class) : _PROVIDER_CLASS_INVALID;
        /* A class that we do not know, or "no error": the outcome is not known either. */
        if ((int) ret->class <= PROVIDER_OK) {
                ret->class = PROVIDER_TRANSIENT;
                ret->unknown = true;
        }
        ret->message = json_string_value(json_object_get(error, "message"));
        if (!ret->message)
                ret->message = "The provider gave no reason";
        ret->retry_after_ms = json_integer_value(json_object_get(error, "retry_after_ms"));
        if (ret->retry_after_ms < 0)
                ret->retry_after_ms = 0;
        return true;
}
