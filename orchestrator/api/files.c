#include "orchestrator/api/files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/io.h"

typedef struct Checkout {
        int fd;
} Checkout;

static int checkout_read(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                         Error *reterr) {
        const Checkout *c = userdata;

        return read_file_beneath(c->fd, path, max, ret, ret_size, reterr);
}

static int checkout_open(void *userdata, const json_t *outputs, SpecReader *ret, Error *reterr) {
        const char *path = json_string_value(json_object_get(outputs, "path"));
        Checkout *c;
        int fd;

        if (!path || path[0] != '/')
                return error_set(reterr, -EBADMSG, "The checkout has no path");
        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return error_set(reterr, -errno, "Cannot open the checkout: %s", strerror(errno));
        c = malloc(sizeof(Checkout));
        if (!c) {
                close(fd);
                return -ENOMEM;
        }
        c->fd = fd;
        *ret = (SpecReader){ .read = checkout_read, .userdata = c };
        return 0;
}

static void checkout_close(void *userdata, SpecReader *reader) {
        Checkout *c = reader->userdata;

        close(c->fd);
        free(c);
}

const EngineFiles checkout_files = { .open = checkout_open, .close = checkout_close };
