/* What a service mounts. Named volumes become resources of type volume that the environment's services
 * share by name; single files of the repository become files; nothing of the server is ever mounted. */
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/spec/compose-internal.h"
#include "orchestrator/spec/plan-internal.h"

typedef struct Mount {
        const char *source; /* NULL: anonymous */
        const char *target, *type, *path;
        bool read_only;
        YamlPlace place;
} Mount;

/* ---- volumes ---- */

static void volume_mount(Compose *c, Service *s, const Mount *m, const char *path) {
        json_t *volumes = compose_object(c, s->container, "volumes");
        auto_cleanup(freep) char *label = NULL, *name = NULL, *source = NULL;
        json_t *volume;

        if (m->source)
                label = compose_label(m->source);
        name = m->source ? str_format("volume-%s", label ? label : "")
                         : str_format("own-%s-%zu", &c->services[s->owner] == s ? "main" : s->name,
                                      json_object_size(volumes));
        source = str_format("${resources.%s}", name ? name : "");
        if (!name || !source || (m->source && !label)) {
                c->no_memory = true;
                return;
        }
        name[strlen(name) > 63 ? 63 : strlen(name)] = 0;
        compose_resource(c, s, name, "volume", m->source ? label : NULL);
        volume = json_pack("{s:s, s:b}", "source", source, "readOnly", m->read_only);
        if (m->path)
                compose_set(c, volume, "path", json_string(m->path));
        compose_set(c, volumes, m->target, volume);
}

static void named_volume(Compose *c, Service *s, const Mount *m, const char *path) {
        const YamlNode *declared = yaml_get(c->root, "volumes");

        if (m->source && !yaml_entry(declared, m->source)) {
                compose_say(c, m->place, path, REFUSED,
                            "'volumes' at the top declares no volume '%.80s'", m->source);
                return;
        }
        volume_mount(c, s, m, path);
        compose_say(c, m->place, path, HONOURED,
                    "a volume that lives as long as the environment, across pushes");
}

/* ---- files of the repository ---- */

static void file_mount(Compose *c, Service *s, const char *source, const char *target,
                       const char *mode) {
        json_t *file = json_pack("{s:s, s:b}", "source", source, "noExpand", 1);

        if (mode)
                compose_set(c, file, "mode", json_string(mode));
        compose_set(c, compose_object(c, s->container, "files"), target, file);
}

/* 1: a file, 0: a folder or nothing that can be read. */
static bool is_file(Compose *c, const char *path) {
        const SpecReader *reader = c->request->reader;
        auto_cleanup(freep) char *text = NULL;
        const char *slash = strrchr(path, '/');
        size_t size;
        int r;

        if (!reader) /* nothing at hand: by its name */
                return strchr(slash ? slash : path, '.') != NULL;
        r = reader->read(reader->userdata, path, LIMIT_SPEC_SOURCE_BYTES, &text, &size, NULL);
        c->no_memory = c->no_memory || r == -ENOMEM;
        return r == 0;
}

/* The path of a bind in the repository: owned, "" for the top; NULL: outside. */
static char *bind_path(Compose *c, const char *source) {
        auto_strbuf b = { 0 };
        char *path;

        if (*source == '/' || *source == '~')
                return NULL;
        while (*source) {
                size_t n = strcspn(source, "/");

                if (n == 2 && source[0] == '.' && source[1] == '.')
                        return NULL;
                if (n > 0 && !(n == 1 && *source == '.')) {
                        strbuf_add(&b, b.size > 0 ? "/" : "");
                        strbuf_addn(&b, source, n);
                }
                source += n + (source[n] == '/');
        }
        path = strbuf_take(&b);
        c->no_memory = c->no_memory || !path;
        return path;
}

/* True when folder is inner or around it. */
static bool folder_holds(const char *folder, const char *inner) {
        const char *rest = str_after(inner, folder);

        return !*folder || (rest && (!*rest || *rest == '/'));
}

static void bind_mount(Compose *c, Service *s, const Mount *m, const char *path) {
        auto_cleanup(freep) char *source = bind_path(c, m->source);
        const Service *owner = &c->services[s->owner];

        if (!source)
                compose_say(c, m->place, path, REFUSED,
                            "Nothing of the server is mounted into an environment: '%.200s'",
                            m->source);
        else if (folder_holds(source, owner->folder) && !(*source && is_file(c, source)))
                compose_say(
                        c, m->place, path, CHANGED,
                        "the workload already runs in its folder of the checkout, which it sees as "
                        "/app, not as '%s'",
                        m->target);
        else if (is_file(c, source)) {
                file_mount(c, s, source, m->target, NULL);
                compose_say(c, m->place, path, m->read_only ? HONOURED : CHANGED,
                            "a copy of the file, as it is in this commit%s",
                            m->read_only ? "" : "; what is written to it stays in the environment");
        } else
                compose_say(
                        c, m->place, path, REFUSED,
                        "'%.200s' is no file of the repository; a folder of it cannot be mounted "
                        "elsewhere: the workload sees its own as /app",
                        m->source);
}

static void tmpfs_mount(Compose *c, Service *s, const Mount *m, const char *path) {
        Mount volume = *m;

        volume.source = NULL;
        if (streq(m->target, "/tmp")) {
                compose_say(c, m->place, path, HONOURED, "/tmp is private and can be written");
                return;
        }
        volume_mount(c, s, &volume, path);
        compose_say(c, m->place, path, CHANGED, "a volume: what is written stays until the end");
}

/* ---- one entry ---- */

static void mount(Compose *c, Service *s, const Mount *m, const char *path) {
        if (*m->target != '/')
                compose_say(c, m->place, path, REFUSED, "The target '%.200s' must begin with '/'",
                            m->target);
        else if (streq(m->type, "volume"))
                named_volume(c, s, m, path);
        else if (streq(m->type, "bind") && m->source)
                bind_mount(c, s, m, path);
        else if (streq(m->type, "tmpfs"))
                tmpfs_mount(c, s, m, path);
        else
                compose_say(c, m->place, path, REFUSED,
                            "A mount of type '%.40s' cannot be had here", m->type);
}

/* [SOURCE:]TARGET[:MODE] */
static void mount_short(Compose *c, Service *s, const YamlNode *item, const char *path) {
        auto_cleanup(freep) char *text = compose_text(c, item, path);
        char *second = text ? strchr(text, ':') : NULL, *third;
        Mount m = { .type = "volume", .place = item->place };

        if (!text || !*text) {
                compose_say(c, item->place, path, REFUSED, "This is not a mount");
                return;
        }
        m.target = text;
        if (second) {
                *second++ = 0;
                m.source = text;
                m.target = second;
                third = strchr(second, ':');
                if (third)
                        *third++ = 0;
                m.read_only = third && (streq(third, "ro") || str_after(third, "ro,") ||
                                        str_ends_with(third, ",ro"));
                if (strchr("./~", *text))
                        m.type = "bind";
        }
        mount(c, s, &m, path);
}

static void mount_long(Compose *c, Service *s, const YamlNode *item, const char *path) {
        const YamlNode *type = yaml_get(item, "type"), *source = yaml_get(item, "source");
        const YamlNode *target = yaml_get(item, "target"), *only = yaml_get(item, "read_only");
        const YamlNode *sub = yaml_get(yaml_get(item, "volume"), "subpath");
        auto_cleanup(freep) char *kind = type ? compose_text(c, type, path) : NULL;
        auto_cleanup(freep) char *from = source ? compose_text(c, source, path) : NULL;
        auto_cleanup(freep) char *to = target ? compose_text(c, target, path) : NULL;
        auto_cleanup(freep) char *inner = sub ? compose_text(c, sub, path) : NULL;
        Mount m = { .source = from,
                    .target = to,
                    .type = kind,
                    .path = inner,
                    .read_only = only && only->kind == YAML_KIND_BOOLEAN && only->boolean,
                    .place = item->place };

        if (!kind || !to)
                compose_say(c, item->place, path, REFUSED, "A mount needs 'type' and 'target'");
        else
                mount(c, s, &m, path);
}

void compose_volumes(Compose *c, Service *s, const YamlNode *value, const char *path) {
        if (value->kind != YAML_KIND_LIST) {
                compose_say(c, value->place, path, REFUSED, "'volumes' must be a list");
                return;
        }
        for (size_t i = 0; i < value->n_items; i++)
                (value->items[i]->kind == YAML_KIND_MAP ? mount_long
                                                        : mount_short)(c, s, value->items[i], path);
}

void compose_tmpfs(Compose *c, Service *s, const YamlNode *value, const char *path) {
        auto_cleanup(json_decrefp) json_t *list = compose_texts(c, value, path);
        const json_t *item;
        size_t i;

        json_array_foreach(list, i, item) {
                auto_cleanup(freep) char *target = strdup(json_string_value(item));

                if (target)
                        target[strcspn(target, ":")] = 0;
                mount(c, s,
                      &(Mount){ .type = "tmpfs",
                                .target = target ? target : "",
                                .place = value->place },
                      path);
        }
}

/* ---- secrets and configs: files that the file at the top declares ---- */

static void declared_file(Compose *c, Service *s, const char *kind, const char *name,
                          const char *target, YamlPlace place, const char *path) {
        const YamlNode *declared = yaml_get(yaml_get(c->root, kind), name);
        const YamlNode *file = yaml_get(declared, "file"), *content = yaml_get(declared, "content");
        auto_cleanup(freep) char *text = NULL, *source = NULL;

        if (file) {
                text = compose_text(c, file, path);
                source = text ? bind_path(c, text) : NULL;
                if (!source || !*source) {
                        compose_say(c, place, path, REFUSED,
                                    "'%.80s' is not a file of the repository", name);
                        return;
                }
                file_mount(c, s, source, target, NULL);
        } else if (content) {
                text = compose_text(c, content, path);
                compose_set(c, compose_object(c, s->container, "files"), target,
                            json_pack("{s:s, s:b}", "content", text ? text : "", "noExpand", 1));
        } else {
                compose_say(
                        c, place, path, REFUSED,
                        "'%.80s' has neither 'file' nor 'content' at the top: use a resource for it",
                        name);
                return;
        }
        compose_say(c, place, path, HONOURED, "a file at '%s'", target);
}

static void declared_files(Compose *c, Service *s, const char *kind, const char *folder,
                           const YamlNode *value, const char *path) {
        for (size_t i = 0; value->kind == YAML_KIND_LIST && i < value->n_items; i++) {
                const YamlNode *item = value->items[i];
                const YamlNode *source =
                        item->kind == YAML_KIND_MAP ? yaml_get(item, "source") : item;
                const YamlNode *to = yaml_get(item, "target");
                auto_cleanup(freep) char *name = source ? compose_text(c, source, path) : NULL;
                auto_cleanup(freep) char *said = to ? compose_text(c, to, path) : NULL,
                                         *target = NULL;

                if (!name || !*name) {
                        compose_say(c, item->place, path, REFUSED, "This must name one of '%s'",
                                    kind);
                        continue;
                }
                target = said && *said == '/' ? strdup(said)
                                              : str_format("%s%s", folder, said ? said : name);
                if (target)
                        declared_file(c, s, kind, name, target, item->place, path);
        }
}

void compose_secrets(Compose *c, Service *s, const YamlNode *value, const char *path) {
        declared_files(c, s, "secrets", "/run/secrets/", value, path);
}

void compose_configs(Compose *c, Service *s, const YamlNode *value, const char *path) {
        declared_files(c, s, "configs", "/", value, path);
}
