/* A checkout's dependency files to a graph. */
#include "tests/fuzz/checkout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        return checkout_plan("score.yaml", data, size);
}
