/* Faults for people: like a good compiler, with the line, a mark under the column, and the cure. */
#pragma once

#include <stdio.h>

#include "orchestrator/base/str.h"
#include "orchestrator/cli/input.h"
#include "orchestrator/spec/fault.h"

/* word: what stands before each message, or NULL for its stage. Everything from the files is printed
 * safe for a terminal. colour: with escape sequences of our own. */
void faults_print(FILE *out, const SpecFaults *faults, const char *word, const Inputs *inputs,
                  bool colour);
/* {"valid","faults"[,"notices"]} on one line. */
int faults_print_json(FILE *out, const SpecFaults *faults, const SpecFaults *notices);

/* Appends text with control characters and direction marks as \u{...}. */
void terminal_safe(StrBuf *b, const char *text, size_t size);
