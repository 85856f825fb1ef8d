/* One line per decision. Lines go to standard error with a "<N>" priority that the journal
 * understands (sd-daemon(3)); fields follow the sentence as KEY=value where a sink wants them.
 * Layers below the engine do not log above debug: they return errors. */
#pragma once

#include <stdbool.h>

typedef enum LogLevel {
        LOG_LEVEL_ERROR = 3,
        LOG_LEVEL_WARNING = 4,
        LOG_LEVEL_NOTICE = 5,
        LOG_LEVEL_INFO = 6,
        LOG_LEVEL_DEBUG = 7,
} LogLevel;

/* Messages above this level are dropped; LOG_LEVEL_INFO at start. */
void log_set_level(LogLevel level);
/* Prefix lines with "<N>" (under systemd) or not (on a terminal); set once at start. */
void log_set_priority_prefix(bool on);

void log_line(LogLevel level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
