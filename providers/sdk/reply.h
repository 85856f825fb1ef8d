/* The SDK's side of standard output: whole lines, valid UTF-8, bounded, and never a word after the
 * answer. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "providers/sdk/sdk.h"

/* Prints one object as a line and takes the reference. 0, -E2BIG when it is longer than a line of
 * the protocol may be, or another negative errno. */
int reply_line(json_t *object);

/* Ends the call: nothing is printed after it. The message is made valid UTF-8 on the way. did (may be
 * NULL): the lists "removed" and "absent" of a removal that got so far. */
void reply_error(SdkClass class, const char *message, int64_t retry_after_ms, const json_t *did);
void reply_result(json_t *result);

/* An item that could not be printed makes a list that claims to be complete a lie. */
bool reply_item_lost(void);

/* From now on the call ends itself with a transient error when ms have passed. */
void reply_arm_deadline(int64_t ms);

/* A string from anywhere: what is no UTF-8 becomes '?'. NULL when out of memory. */
json_t *reply_text(const char *s);
