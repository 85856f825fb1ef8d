#include "providers/process/content.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "providers/process/launch.h"

static int base64_digit(char c) {
        static const char digits[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *at = c ? strchr(digits, c) : NULL;

        return at ? (int) (at - digits) : -1;
}

int base64_decode(const char *text, char **ret, size_t *ret_size) {
        auto_strbuf b = { 0 };
        uint32_t bits = 0;
        unsigned n = 0, padding = 0;
        size_t size;

        for (; *text; text++) {
                int digit = base64_digit(*text);

                if (*text == '\n' || *text == '\r')
                        continue;
                if (*text == '=' ? ++padding > 2 : digit < 0 || padding > 0)
                        return -EINVAL;
                bits = bits << 6 | (uint32_t) (digit < 0 ? 0 : digit);
                if (++n % 4 == 0) {
                        strbuf_addc(&b, (char) (bits >> 16));
                        strbuf_addc(&b, (char) (bits >> 8));
                        strbuf_addc(&b, (char) bits);
                        bits = 0;
                }
        }
        if (n % 4 != 0)
                return -EINVAL;
        size = b.size - padding;
        *ret = strbuf_take(&b);
        if (!*ret)
                return -ENOMEM;
        *ret_size = size;
        return 0;
}

int content_write(const char *path, const void *data, size_t size, mode_t mode, bool root,
                  uid_t uid, Error *reterr) {
        auto_cleanup(closep) int fd =
                open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        int r;

        if (fd < 0)
                return error_set(reterr, -errno, "Cannot make '%s': %s", path, strerror(errno));
        r = write_all(fd, data, size);
        if (r == 0 && root && fchown(fd, uid, uid) < 0)
                r = -errno;
        if (r == 0 && fchmod(fd, mode) < 0)
                r = -errno;
        return r < 0 ? error_set(reterr, r, "Cannot write '%s': %s", path, strerror(-r)) : 0;
}

/* The rest of path beneath folder ("" when equal), or NULL. */
static const char *path_beneath(const char *path, const char *folder) {
        const char *rest = str_after(path, folder);

        if (!rest || (*rest && *rest != '/'))
                return NULL;
        return *rest ? rest + 1 : rest;
}

/* The shown folder that target lies in, the innermost one. */
static ContentBound *bound_find(Content *c, const char *target) {
        ContentBound *best = NULL;

        for (size_t i = 0; i < c->n_bounds; i++) {
                ContentBound *b = c->bounds + i;

                if (b->folder && path_beneath(target, b->target) &&
                    (!best || strlen(b->target) > strlen(best->target)))
                        best = b;
        }
        return best;
}

/* Where, on the host, a thing must be made to be seen at target: in the layer of an overlay. */
static int overlay_place(Content *c, ContentBound *b, const char *target, char **ret,
                         Error *reterr) {
        SandboxOverlay *o = NULL;
        const char *rest = path_beneath(target, b->target);
        int r;

        if (!*rest)
                return error_set(reterr, -EINVAL, "'%s' is taken by the system", target);
        if (b->own) {
                *ret = path_join(b->source, rest);
                return *ret ? 0 : -ENOMEM;
        }
        for (size_t i = 0; i < c->sandbox->n_overlays; i++)
                if (c->sandbox->overlays[i].merged == b->merged)
                        o = c->sandbox->overlays + i;
        if (!o) {
                size_t n = c->sandbox->n_overlays;

                if (n == SANDBOX_OVERLAYS)
                        return error_set(reterr, -EINVAL, "Files in more than %d system folders",
                                         SANDBOX_OVERLAYS);
                o = c->sandbox->overlays + n;
                o->below = strdup(b->source);
                o->layer = str_format("%s/layer%zu", c->spec->folder, n);
                o->merged = str_format("%s/merged%zu", c->spec->folder, n);
                c->sandbox->n_overlays++;
                if (!o->below || !o->layer || !o->merged)
                        return -ENOMEM;
                r = mkdir_p(o->layer, 0755, reterr);
                if (r == 0)
                        r = mkdir_p(o->merged, 0755, reterr);
                if (r < 0)
                        return r;
                b->merged = o->merged;
        }
        *ret = path_join(o->layer, rest);
        return *ret ? 0 : -ENOMEM;
}

static int parent_make(const char *path, Error *reterr) {
        auto_cleanup(freep) char *parent = strdup(path);

        if (!parent)
                return -ENOMEM;
        *strrchr(parent, '/') = '\0';
        return mkdir_p(parent, 0755, reterr);
}

/* bubblewrap would give folders that it makes on the way the modes of what they lead to. */
static int args_add_parents(Content *c, const char *target) {
        int r = 0;

        if (bound_find(c, target))
                return 0;
        for (const char *at = strchr(target + 1, '/'); at && r == 0; at = strchr(at + 1, '/')) {
                auto_cleanup(freep) char *parent = strndup(target, (size_t) (at - target));

                r = parent ? strv_add(&c->args, "--perms") : -ENOMEM;
                if (r == 0)
                        r = strv_add(&c->args, "0755");
                if (r == 0)
                        r = strv_add(&c->args, "--dir");
                if (r == 0)
                        r = strv_add(&c->args, parent);
        }
        return r;
}

static int args_add(Content *c, const char *option, const char *source, const char *target) {
        int r = args_add_parents(c, target);

        if (r == 0)
                r = strv_add(&c->args, option);
        if (r == 0 && source)
                r = strv_add(&c->args, source);
        return r == 0 ? strv_add(&c->args, target) : r;
}

/* Opens the folder sub beneath fd, making what is missing; no step follows a link. */
static int folder_open_beneath(int fd, const char *sub, int *ret, Error *reterr) {
        auto_cleanup(closep) int at = fcntl(fd, F_DUPFD_CLOEXEC, LAUNCH_FD_FREE);
        struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };

        if (at < 0)
                return -errno;
        while (*sub) {
                size_t n = strcspn(sub, "/");
                auto_cleanup(freep) char *part = strndup(sub, n);
                int next;

                sub += n + (sub[n] == '/');
                if (n == 0)
                        continue;
                if (!part)
                        return -ENOMEM;
                if (streq(part, ".") || streq(part, ".."))
                        return error_set(reterr, -EINVAL, "A path in a volume may not have '%s'",
                                         part);
                if (mkdirat(at, part, 0755) < 0 && errno != EEXIST)
                        return error_set(reterr, -errno, "Cannot make '%s' in a volume: %s", part,
                                         strerror(errno));
                next = (int) syscall(SYS_openat2, at, part, &how, sizeof(how));
                if (next < 0)
                        return error_set(reterr, -EINVAL,
                                         "'%s' in a volume is not a folder that can be used: %s",
                                         part, strerror(errno));
                close(at);
                at = fcntl(next, F_DUPFD_CLOEXEC, LAUNCH_FD_FREE);
                close(next);
                if (at < 0)
                        return -errno;
        }
        *ret = TAKE_FD(at);
        return 0;
}

int sandbox_keep_fd(Sandbox *s, int fd) {
        int *fds = realloc(s->fds, (s->n_fds + 1) * sizeof(int));

        if (!fds)
                return -ENOMEM;
        s->fds = fds;
        s->fds[s->n_fds++] = fd;
        return 0;
}

static int volume_bind(Content *c, const json_t *volume, const char *target, Error *reterr) {
        const json_t *from = json_object_get(volume, "source");
        const char *source = json_string_value(json_object_get(from, "source"));
        const char *sub = json_string_value(json_object_get(volume, "path"));
        bool read_only = json_is_true(json_object_get(volume, "read_only"));
        auto_cleanup(closep) int top = -1, fd = -1;
        char path[64];
        int r;

        if (!source || source[0] != '/')
                return error_set(reterr, -EINVAL, "The volume at '%s' has no folder", target);
        top = open(source, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (top < 0)
                return error_set(reterr, -errno, "Cannot open the volume at '%s': %s", target,
                                 strerror(errno));
        r = folder_open_beneath(top, sub ? sub : "", &fd, reterr);
        if (r < 0)
                return r;
        if (c->spec->root && !read_only &&
            fchownat(fd, "", c->spec->uid, c->spec->uid, AT_EMPTY_PATH) < 0)
                return error_set(reterr, -errno, "Cannot hand over the volume at '%s': %s", target,
                                 strerror(errno));
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        r = args_add(c, read_only ? "--ro-bind" : "--bind", path, target);
        if (r == 0)
                r = sandbox_keep_fd(c->sandbox, fd);
        if (r == 0)
                TAKE_FD(fd);
        return r;
}

static int volume_add(Content *c, const json_t *volume, Error *reterr) {
        const char *target = json_string_value(json_object_get(volume, "target"));
        const char *type =
                json_string_value(json_object_get(json_object_get(volume, "source"), "type"));
        auto_cleanup(freep) char *path = NULL, *place = NULL;
        ContentBound *bound;
        int r = sandbox_target(target ? target : "", &path, reterr);

        if (r < 0)
                return r;
        for (char **t = c->taken; t && *t; t++)
                if (path_beneath(path, *t) || path_beneath(*t, path))
                        return error_set(reterr, -EINVAL, "The volumes at '%s' and '%s' overlap",
                                         path, *t);
        bound = bound_find(c, path);
        if (bound) {
                r = overlay_place(c, bound, path, &place, reterr);
                if (r == 0)
                        r = mkdir_p(place, 0755, reterr);
        }
        if (r == 0)
                r = strv_add(&c->taken, path);
        if (r < 0)
                return r;
        if (streq_null(type, "tmpfs")) {
                return args_add(c, "--tmpfs", NULL, path);
        }
        if (!streq_null(type, "bind"))
                return error_set(reterr, -EINVAL,
                                 "The volume at '%s' is of the type '%s'; this provider"
                                 " mounts 'bind' and 'tmpfs'",
                                 path, type ? type : "");
        return volume_bind(c, volume, path, reterr);
}

int content_add_volumes(Content *c, Error *reterr) {
        const json_t *volume;
        size_t i;

        if (json_array_size(c->spec->volumes) > LIMIT_PROCESS_FILES)
                return error_set(reterr, -EINVAL, "More than %d volumes", LIMIT_PROCESS_FILES);
        json_array_foreach(c->spec->volumes, i, volume) {
                int r = volume_add(c, volume, reterr);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int file_write(Content *c, const json_t *file, const char *path, Error *reterr) {
        const json_t *content = json_object_get(file, "content");
        const char *mode = json_string_value(json_object_get(file, "mode"));
        const char *binary = json_string_value(json_object_get(file, "binary"));
        auto_cleanup(freep) char *decoded = NULL;
        const char *data = json_string_value(content);
        size_t size = json_string_length(content);

        if (binary) {
                if (base64_decode(binary, &decoded, &size) < 0)
                        return error_set(reterr, -EINVAL, "The content of '%s' is not base64",
                                         json_string_value(json_object_get(file, "target")));
                data = decoded;
        }
        return content_write(path, data ? data : "", size,
                             mode ? (mode_t) strtoul(mode, NULL, 8) & 0777 : 0644, c->spec->root,
                             c->spec->uid, reterr);
}

static int file_add(Content *c, const json_t *file, size_t index, Error *reterr) {
        const char *target = json_string_value(json_object_get(file, "target"));
        auto_cleanup(freep) char *path = NULL, *place = NULL;
        ContentBound *bound;
        int r = sandbox_target(target ? target : "", &path, reterr);

        if (r < 0)
                return r;
        /* A running sibling may write there, also links, while this one is being set up. */
        for (char **t = c->taken; t && *t; t++)
                if (path_beneath(path, *t))
                        return error_set(reterr, -EINVAL,
                                         "The file '%s' lies in the volume at '%s';"
                                         " choose a target outside of volumes",
                                         path, *t);
        bound = bound_find(c, path);
        if (bound) {
                r = overlay_place(c, bound, path, &place, reterr);
                if (r == 0)
                        r = parent_make(place, reterr);
                if (r == 0)
                        (void) unlink(place); /* a declared /etc/hosts replaces ours */
                return r < 0 ? r : file_write(c, file, place, reterr);
        }
        place = str_format("%s/file%zu", c->spec->folder, index);
        if (!place)
                return -ENOMEM;
        r = file_write(c, file, place, reterr);
        return r < 0 ? r : args_add(c, "--ro-bind", place, path);
}

int content_add_files(Content *c, Error *reterr) {
        const json_t *file;
        size_t i;

        if (json_array_size(c->spec->files) > LIMIT_PROCESS_FILES)
                return error_set(reterr, -EINVAL, "More than %d files", LIMIT_PROCESS_FILES);
        json_array_foreach(c->spec->files, i, file) {
                int r = file_add(c, file, i, reterr);

                if (r < 0)
                        return r;
        }
        return 0;
}
