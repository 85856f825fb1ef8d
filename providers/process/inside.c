/* mayfly-inside: the first program in a sandbox. See launch.h. */
#include <stdio.h>

#include "providers/process/launch.h"

int main(void) {
        auto_error error = { 0 };
        Launch l = { .uid = -1 };
        int r = launch_read(LAUNCH_FD, &l, &error);

        if (r < 0) {
                fprintf(stderr, "%s\n", error_text(&error, r));
                return 126;
        }
        launch_exec(&l, LAUNCH_STARTED_FD);
}
