/* The pages of addresses that are not ready: what was here, why it is not, who did it, what to do. As
 * HTML for a person's browser (one file, no script, nothing loaded) and as plain text for everything
 * else. Every word of them may come from a hostile branch, so all of it is escaped, and control
 * characters and what turns the direction of writing are shown as marks. */
#pragma once

#include "orchestrator/base/error.h"
#include "orchestrator/ledger/ledger.h"

/* GatewaySetup.page. route NULL: nothing is known of host. Facts (all may be absent): "project",
 * "branch", "commit", "cause", "who", "when" (milliseconds or text), "why", "back", "url". userdata is
 * not used. */
int pages_render(void *userdata, const Route *route, const char *host, int *ret_status,
                 char **ret_html, char **ret_plain, Error *reterr);
