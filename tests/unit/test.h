/* What every unit test includes first. */
#pragma once

#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* MAYFLY_TEST=NAME in the environment: that test alone (tests/mutants/run asks for it). */
__attribute__((constructor)) static void test_choose(void) {
        const char *name = getenv("MAYFLY_TEST");

        if (name)
                cmocka_set_test_filter(name);
}
