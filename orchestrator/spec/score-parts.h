/* The steps of loading a Score file, in their order. Used by score.c only. Each adds its faults and
 * goes on. */
#pragma once

#include "orchestrator/glue/yaml.h"
#include "orchestrator/spec/fault.h"

/* The deprecated spellings into today's. notices may be NULL. 0 or -ENOMEM. */
int score_upgrade(YamlTree *t, YamlNode *root, SpecFaults *faults, SpecFaults *notices);
void score_check_schema(YamlNode *root, SpecFaults *faults);
/* Placeholders and `before`; root has passed the schema. text is the file, to find references in it. 0 or
 * -ENOMEM. */
int score_check_meaning(const YamlNode *root, const char *file, const char *text, size_t size,
                        SpecFaults *faults, SpecFaults *notices);
