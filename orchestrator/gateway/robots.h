/* Who visits without using: crawlers, link previews of chat programs, monitors and the orchestrator's
 * own check. They are answered like anybody, but neither wake an environment nor count as a visit. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Parts of a User-Agent, lower-case; ends with NULL. HAProxy is given the same list. */
extern const char *const robots_agents[];

bool robots_match(const char *agent, size_t n);
