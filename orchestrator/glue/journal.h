/* Records in the journal that an operator may filter on: a sentence, a MESSAGE_ID explained in
 * units/mayfly.catalog, and fields. Without a journal nothing is written; log.h has the sentence. */
#pragma once

#define JOURNAL_READY          "6c1f0a9e0f7c4d1b8a52d3b7f04e9a11"
#define JOURNAL_STOPPING       "6c1f0a9e0f7c4d1b8a52d3b7f04e9a12"
#define JOURNAL_CONFIG_REFUSED "6c1f0a9e0f7c4d1b8a52d3b7f04e9a13"
#define JOURNAL_COMMIT_FAILED  "6c1f0a9e0f7c4d1b8a52d3b7f04e9a14"
#define JOURNAL_CLOCK_STEPPED  "6c1f0a9e0f7c4d1b8a52d3b7f04e9a15"
#define JOURNAL_AWAY           "6c1f0a9e0f7c4d1b8a52d3b7f04e9a16"
#define JOURNAL_HELD           "6c1f0a9e0f7c4d1b8a52d3b7f04e9a17"

/* 1 when it was written, which makes a line on standard error needless; else 0. */
int journal_record(int priority, const char *message_id, const char *text);
