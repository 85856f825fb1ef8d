/* The first step with every YAML file of our own: read it, or say what is wrong with it. */
#pragma once

#include "orchestrator/glue/yaml.h"
#include "orchestrator/spec/fault.h"

/* -EINVAL with faults. *ret_root is NULL for an empty file. A second document is a fault. */
int spec_file_read(const char *file, const char *text, size_t size, YamlTree **ret,
                   YamlNode **ret_root, SpecFaults *faults, Error *reterr);

/* Sorts the faults and makes an error of the first: always returns a negative errno. */
int spec_faults_error(SpecFaults *faults, Error *reterr);
