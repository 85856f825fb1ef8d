/* A Compose file to a graph. */
#include "tests/fuzz/checkout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        return checkout_plan("compose.yaml", data, size);
}
