/* What a container's file system gets besides the system: declared files and volumes. */
#pragma once

#include "providers/process/sandbox.h"

/* Folders of the host that the sandbox shows read-only; a target beneath one needs an overlay. */
typedef struct ContentBound {
        const char *target; /* where it is seen */
        char *source;       /* owned */
        bool folder;
        bool own; /* the source is a folder of ours for this container: things are put right into it */
        const char *merged; /* the overlay to bind instead, borrowed from the sandbox; NULL: none */
} ContentBound;

typedef struct Content {
        const SandboxSpec *spec;
        Sandbox *sandbox;
        ContentBound *bounds;
        size_t n_bounds;
        char **args;  /* owned; for bubblewrap, after the system's */
        char **taken; /* owned; targets of volumes */
} Content;

int content_add_volumes(Content *c, Error *reterr);
int content_add_files(Content *c, Error *reterr);

/* Decodes standard base64 into an owned buffer. */
int base64_decode(const char *text, char **ret, size_t *ret_size);
/* Writes a file with exactly this mode, owned by uid when root. Fails when it is there. */
int content_write(const char *path, const void *data, size_t size, mode_t mode, bool root,
                  uid_t uid, Error *reterr);
