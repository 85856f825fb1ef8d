#include "orchestrator/base/error.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/base/str.h"

int error_setv(Error *e, int code, const char *fmt, va_list args) {
        if (!e || e->code != 0)
                return code;

        e->code = code;
        if (vasprintf(&e->message, fmt, args) < 0)
                e->message = NULL;
        else
                utf8_repair(e->message); /* it goes into JSON; "%.80s" may cut a character */
        return code;
}

int error_set(Error *e, int code, const char *fmt, ...) {
        va_list args;
        int r;

        va_start(args, fmt);
        r = error_setv(e, code, fmt, args);
        va_end(args);
        return r;
}

int error_prefix(Error *e, int code, const char *fmt, ...) {
        auto_cleanup(freep) char *context = NULL;
        char *joined;
        va_list args;
        int r;

        if (!e)
                return code;

        va_start(args, fmt);
        r = vasprintf(&context, fmt, args);
        va_end(args);
        if (r < 0) {
                context = NULL;
                return code;
        }

        if (asprintf(&joined, "%s: %s", context, error_text(e, code)) < 0)
                return code;
        free(e->message);
        e->message = joined;
        e->code = code;
        return code;
}

const char *error_text(const Error *e, int code) {
        if (e && e->message)
                return e->message;
        return strerror(code < 0 ? -code : code);
}

void error_done(Error *e) {
        free(e->message);
        *e = (Error){ 0 };
}
