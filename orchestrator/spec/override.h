/* Changes to a dependency file from outside: an overrides file and single properties.
 *
 * File: JSON Merge Patch (RFC 7396). Maps merge, anything else replaces, null deletes; empty strings,
 * lists and maps are values like any other.
 * Property: PATH=VALUE. PATH is split at "."; "\." is a dot and "\\" a backslash. In lists a step is an
 * index, -1 appends. VALUE is YAML; an empty one deletes. Missing maps are made. */
#pragma once

#include "orchestrator/base/error.h"
#include "orchestrator/glue/yaml.h"

int override_merge(YamlTree *t, YamlNode *into, const YamlNode *from);
/* value NULL deletes. -EINVAL or -ERANGE with a sentence. */
int override_path(YamlTree *t, YamlNode *root, const char *path, YamlNode *value, Error *reterr);
/* "PATH=VALUE" as on the command line. */
int override_property(YamlTree *t, YamlNode *root, const char *property, Error *reterr);
