#include "orchestrator/base/log.h"

#include <stdio.h>

#include "orchestrator/base/str.h"

static LogLevel log_level = LOG_LEVEL_INFO;
static bool log_prefix = false;

void log_set_level(LogLevel level) {
        log_level = level;
}

void log_set_priority_prefix(bool on) {
        log_prefix = on;
}

void log_line(LogLevel level, const char *fmt, ...) {
        auto_strbuf line = { 0 };
        va_list args;

        if (level > log_level)
                return;
        if (log_prefix)
                strbuf_addf(&line, "<%d>", (int) level);
        va_start(args, fmt);
        strbuf_addv(&line, fmt, args);
        va_end(args);
        if (line.broken || !line.text)
                return;

        /* What came from outside may hold line ends or escape sequences: one message, one line. */
        for (char *c = line.text; *c; c++)
                if ((unsigned char) *c < 0x20 || *c == 0x7f)
                        *c = ' ';
        strbuf_addc(&line, '\n');
        if (!line.broken)
                (void) !write(2, line.text, line.size); /* nowhere left to report to */
}
