/* One call of a provider program as the daemon makes it, for "mayfly provider check": with the same
 * limits, and with ways to interrupt it that the daemon meets only by accident. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/base/error.h"
#include "orchestrator/base/str.h"

/* Goes off once, when at_byte bytes of the answer were read or at_ms milliseconds have passed (-1: never):
 * the signal goes to the group, or, when it is 0, the reading side of the answer is closed. */
typedef struct Interrupt {
        int64_t at_byte, at_ms;
        int signal;
} Interrupt;
#define INTERRUPT_NONE ((Interrupt){ .at_byte = -1, .at_ms = -1 })

typedef struct Answer {
        json_t *items;          /* array of the "item" objects */
        json_t *result, *error; /* the last line's, or NULL */
        StrBuf words;   /* every text and number of it but those of "outputs" and "state"; stderr */
        StrBuf states;  /* those of "state", which is not sealed */
        char *fault;    /* owned: how it breaks the protocol, or NULL */
        int status;     /* as waitpid(2) */
        size_t n_bytes; /* of standard output */
        int64_t took_ms;
        bool interrupted; /* the interrupt went off while it ran */
        bool overdue;     /* it had to be killed */
        bool stopped;     /* somebody wants the whole check to end */
        int left_behind;  /* a process of its group that outlived it, or 0 */
} Answer;

/* Sends text (size bytes) and reads to the end. Whatever the program does is in the answer; negative only
 * when it cannot be started. patience_ms: when to kill it. */
int provider_call(const char *program, const char *text, size_t size, Interrupt interrupt,
                  int64_t patience_ms, Answer *ret, Error *reterr);
void answer_done(Answer *answer);
#define auto_answer auto_cleanup(answer_done) Answer

/* Once, before the first call: SIGINT, SIGTERM and SIGHUP end the call under way and all later ones. */
void calls_prepare(void);
bool calls_stopped(void);
/* From now on calls are made in spite of that. */
void calls_for_cleaning(void);
/* A process that a call has started and that still runs, or 0. */
int calls_left_behind(void);

/* provider-form.c: what it wrote, against the form of the protocol; all of it is hostile. */
void answer_read(Answer *answer, const StrBuf *out);
/* The first fault counts. */
void answer_fault(Answer *answer, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds every text and number of a value, decoded, a line each. */
void words_add(StrBuf *words, const json_t *value);
/* An owned copy that is safe to print: one line of valid UTF-8 without control characters, at most max
 * bytes, cut between characters. */
char *text_printable(const char *text, size_t size, size_t max);

/* "invalid", or "" when it is no error. */
const char *answer_class(const Answer *answer);
/* What it was, in a few words for a person; buf of at least 256 bytes. */
char *answer_words(const Answer *answer, char *buf);
