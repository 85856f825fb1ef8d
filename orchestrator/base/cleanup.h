/* Ownership in local variables: a variable says at its declaration how it is released, and TAKE
 * hands the value on. Descriptors have a set of their own, because 0 is a valid descriptor. */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define auto_cleanup(f) __attribute__((cleanup(f)))

#define DEFINE_CLEANUP(type, func)            \
        static inline void func##p(type *p) { \
                if (*p)                       \
                        func(*p);             \
        }

/* Reads a pointer variable and leaves NULL in it. */
#define TAKE(x)                                 \
        ({                                      \
                typeof(x) *x_ = &(x), v_ = *x_; \
                *x_ = (typeof(x)) 0;            \
                v_;                             \
        })

/* Reads a descriptor variable and leaves -1 in it. */
#define TAKE_FD(x)                        \
        ({                                \
                int *x_ = &(x), v_ = *x_; \
                *x_ = -1;                 \
                v_;                       \
        })

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

static inline void freep(void *p) {
        free(*(void **) p);
}

static inline void closep(int *fd) {
        if (*fd >= 0)
                close(*fd);
}

/* Closes a descriptor if there is one; returns -1 so that the variable can be reset in one line. */
static inline int fd_close(int fd) {
        if (fd >= 0)
                close(fd);
        return -1;
}
