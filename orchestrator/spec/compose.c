#include "orchestrator/spec/compose.h"

int compose_convert(const char *file, const char *text, size_t size, const PlanContext *context,
                    json_t **ret, SpecFaults *faults, SpecFaults *notices, Error *reterr) {
        return error_set(reterr, -EOPNOTSUPP, "'%s': Compose files are not read yet", file);
}
