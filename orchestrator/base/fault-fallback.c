#include "orchestrator/base/fault.h"

void crash_point(const char *name) {
}

void crash_point_call(const char *when, const char *verb) {
}

bool fault_hit(const char *kind) {
        return false;
}

void fault_arm(const char *kind, unsigned n, unsigned times) {
}

bool fault_fired(void) {
        return false;
}

int64_t fault_clock_ms(void) {
        return 0;
}
