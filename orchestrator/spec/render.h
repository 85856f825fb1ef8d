/* A Score document with its placeholders filled in: what `mayfly render` prints. */
#pragma once

#include "orchestrator/spec/score.h"

/* outputs: object, resource name -> outputs; NULL is {}. A volume source "${resources.NAME}" becomes the
 * resource's identity. -EINVAL with a fault for each reference that cannot be filled in. */
int score_render(const ScoreDocument *d, const json_t *outputs, json_t **ret, SpecFaults *faults);
