/* Variables of a service. A value that names a service that became a resource gets the resource's
 * outputs instead: the host, and in URLs the user, password, port and database too, since the provider
 * and not the file chooses them. */
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/spec/compose-internal.h"
#include "orchestrator/spec/plan-internal.h"

/* The resource that a host name means, or NULL. */
static const Service *resource_called(const Compose *c, const char *name, size_t size) {
        for (size_t i = 0; i < c->n_services; i++) {
                const Service *s = &c->services[i];

                if (s->type && !s->left_out && strlen(s->name) == size &&
                    memcmp(s->name, name, size) == 0)
                        return s;
        }
        return NULL;
}

static void output_add(StrBuf *b, const Service *resource, const char *output) {
        strbuf_addf(b, "${resources.%s.%s}", resource->name, output);
}

/* "NAME", "NAME:5432": 1 when it was one and b has the new text. */
static const Service *rewrite_address(const Compose *c, const char *value, StrBuf *b) {
        size_t n = strcspn(value, ":/");
        const Service *resource = resource_called(c, value, n);

        if (!resource ||
            (value[n] == ':' && !value[n + 1 + strspn(value + n + 1, "0123456789")] ? false
                                                                                    : value[n]))
                return NULL;
        output_add(b, resource, "host");
        if (value[n]) {
                strbuf_addc(b, ':');
                output_add(b, resource, "port");
        }
        return resource;
}

/* SCHEME://[USER[:PASSWORD]@]NAME[:PORT][/DATABASE][?...] */
static const Service *rewrite_url(const Compose *c, const char *value, StrBuf *b) {
        const char *host = strstr(value, "://"), *end, *at, *colon;
        const Service *resource;
        size_t n;

        if (!host)
                return NULL;
        host += 3;
        end = host + strcspn(host, "/?#");
        at = memrchr(host, '@', (size_t) (end - host));
        n = strcspn(at ? at + 1 : host, ":/?#");
        resource = resource_called(c, at ? at + 1 : host, n);
        if (!resource)
                return NULL;
        strbuf_addn(b, value, (size_t) (host - value));
        if (at) {
                colon = memchr(host, ':', (size_t) (at - host));
                if (colon != host && at != host)
                        output_add(b, resource, "username");
                if (colon) {
                        strbuf_addc(b, ':');
                        output_add(b, resource, "password");
                }
                strbuf_addc(b, '@');
        }
        output_add(b, resource, "host");
        strbuf_addc(b, ':');
        output_add(b, resource, "port");
        n = *end == '/' ? strcspn(end + 1, "?#") : 0;
        if (n > 0 && !streq(resource->type, "redis") && !streq(resource->type, "valkey")) {
                strbuf_addc(b, '/');
                output_add(b, resource, "database");
                end += 1 + n;
        }
        template_escape(b, end);
        return resource;
}

/* Variables of the servers' images and the output that says the same. */
static const struct {
        const char *variable, *output;
} server_variables[] = {
        { "POSTGRES_USER", "username" },
        { "POSTGRES_PASSWORD", "password" },
        { "POSTGRES_DB", "database" },
        { "MYSQL_USER", "username" },
        { "MYSQL_PASSWORD", "password" },
        { "MYSQL_ROOT_PASSWORD", "password" },
        { "MYSQL_DATABASE", "database" },
        { "MARIADB_USER", "username" },
        { "MARIADB_PASSWORD", "password" },
        { "MARIADB_ROOT_PASSWORD", "password" },
        { "MARIADB_DATABASE", "database" },
        { "MONGO_INITDB_ROOT_USERNAME", "username" },
        { "MONGO_INITDB_ROOT_PASSWORD", "password" },
        { "MONGO_INITDB_DATABASE", "database" },
        { "RABBITMQ_DEFAULT_USER", "username" },
        { "RABBITMQ_DEFAULT_PASS", "password" },
        { "RABBITMQ_DEFAULT_VHOST", "vhost" },
        { "MINIO_ROOT_USER", "access_key_id" },
        { "MINIO_ROOT_PASSWORD", "secret_key" },
};

/* What the ending of a variable's name says about its value. */
static const struct {
        const char *ending, *output;
} endings[] = {
        { "USER", "username" },         { "USERNAME", "username" },
        { "PASSWORD", "password" },     { "PASS", "password" },
        { "DATABASE", "database" },     { "DB", "database" },
        { "NAME", "database" },         { "ACCESS_KEY", "access_key_id" },
        { "SECRET_KEY", "secret_key" }, { "ACCESS_KEY_ID", "access_key_id" },
        { "VHOST", "vhost" },
};

static bool name_says(const char *name, const char *output) {
        for (size_t i = 0; i < N_ELEMENTS(endings); i++)
                if (streq(endings[i].output, output) && str_ends_with(name, endings[i].ending))
                        return true;
        return false;
}

/* The text of a variable of a resource's service as the file has it, or NULL. */
static char *server_value(Compose *c, const Service *resource, const char *name) {
        const YamlNode *environment = yaml_get(resource->node, "environment"), *value;
        size_t n = strlen(name);

        if (environment && environment->kind == YAML_KIND_LIST) {
                for (size_t i = 0; i < environment->n_items; i++) {
                        auto_cleanup(freep) char *text =
                                compose_text(c, environment->items[i], NULL);

                        if (text && strncmp(text, name, n) == 0 && text[n] == '=')
                                return strdup(text + n + 1);
                }
                return NULL;
        }
        value = yaml_get(environment, name);
        return value ? compose_text(c, value, NULL) : NULL;
}

/* DB_PASSWORD with the very password that the database's own service was given. */
static const Service *rewrite_same(Compose *c, const char *name, const char *value, StrBuf *b) {
        for (size_t i = 0; *value && i < c->n_services; i++) {
                const Service *s = &c->services[i];

                if (!s->type || s->left_out)
                        continue;
                for (size_t k = 0; k < N_ELEMENTS(server_variables); k++) {
                        auto_cleanup(freep) char *theirs = NULL;

                        if (!name_says(name, server_variables[k].output))
                                continue;
                        theirs = server_value(c, s, server_variables[k].variable);
                        if (theirs && streq(theirs, value)) {
                                output_add(b, s, server_variables[k].output);
                                return s;
                        }
                }
        }
        return NULL;
}

static void variable_set(Compose *c, Service *s, const char *name, const char *value,
                         YamlPlace place, const char *path) {
        auto_cleanup(freep) char *text = NULL, *pointer = NULL;
        auto_strbuf b = { 0 };
        const Service *resource;

        resource = rewrite_url(c, value, &b);
        if (!resource)
                resource = rewrite_address(c, value, &b);
        if (!resource)
                resource = rewrite_same(c, name, value, &b);
        if (!resource)
                template_escape(&b, value);
        text = strbuf_take(&b);
        pointer = str_format("/containers/%s/variables/%s",
                             &c->services[s->owner] == s ? "main" : s->name, name);
        if (!text || !pointer) {
                c->no_memory = true;
                return;
        }
        compose_set(c, compose_object(c, s->container, "variables"), name, json_string(text));
        compose_place(c, &c->services[s->owner], pointer, place);
        if (resource) {
                compose_resource(c, s, resource->name, resource->type, resource->name);
                compose_say(c, place, path, CHANGED,
                            "'%s' becomes '%s': the provider of '%s' decides it", name, text,
                            resource->name);
        } else {
                compose_say(c, place, path, HONOURED, "'%s'", name);
        }
}

static void no_value(Compose *c, const char *name, YamlPlace place, const char *path) {
        compose_say(c, place, path, LEFT_OUT,
                    "'%s' would come from an environment, and none is read: give it a value, or a "
                    "resource of type 'environment' in a Score file",
                    name);
}

static void entry_read(Compose *c, Service *s, const YamlNode *item, const char *path) {
        auto_cleanup(freep) char *text = compose_text(c, item, path);
        char *equals = text ? strchr(text, '=') : NULL;

        if (!text || !*text || equals == text) {
                compose_say(c, item->place, path, REFUSED, "This is not a variable: NAME=VALUE");
                return;
        }
        if (!equals) {
                no_value(c, text, item->place, path);
                return;
        }
        *equals = 0;
        variable_set(c, s, text, equals + 1, item->place, path);
}

void compose_environment(Compose *c, Service *s, const YamlNode *value, const char *path) {
        if (value->kind != YAML_KIND_LIST && value->kind != YAML_KIND_MAP) {
                compose_say(c, value->place, path, REFUSED,
                            "'environment' must be a map or a list");
                return;
        }
        for (size_t i = 0; value->kind == YAML_KIND_LIST && i < value->n_items; i++)
                entry_read(c, s, value->items[i], path);
        for (size_t i = 0; value->kind == YAML_KIND_MAP && i < value->n_entries; i++) {
                const YamlEntry *entry = &value->entries[i];
                auto_cleanup(freep) char *text = compose_text(c, entry->value, path);

                if (entry->value->kind == YAML_KIND_NULL)
                        no_value(c, entry->key, entry->place, path);
                else if (!text || !*entry->key || strchr(entry->key, '='))
                        compose_say(c, entry->place, path, REFUSED, "'%.80s' must be text",
                                    entry->key);
                else
                        variable_set(c, s, entry->key, text, entry->place, path);
        }
}

/* ---- env_file ---- */

/* One line "NAME=VALUE" of an env file; quotes around the value go. Variables of 'environment' win. */
static void file_line(Compose *c, Service *s, char *line, YamlPlace place, const char *path) {
        char *equals, *value, *end;
        const char *rest;

        line += strspn(line, " \t");
        if ((rest = str_after(line, "export ")))
                line = (char *) rest;
        equals = strchr(line, '=');
        if (!*line || *line == '#' || !equals || equals == line)
                return;
        *equals = 0;
        line[strcspn(line, " \t")] = 0;
        value = equals + 1 + strspn(equals + 1, " \t");
        end = value + strlen(value);
        while (end > value && strchr(" \t\r", end[-1]))
                *--end = 0;
        if (end - value >= 2 && (*value == '"' || *value == '\'') && end[-1] == *value) {
                *--end = 0;
                value++;
        }
        if (!json_object_get(json_object_get(s->container, "variables"), line))
                variable_set(c, s, line, value, place, path);
}

static void file_read(Compose *c, Service *s, const char *file, bool required, YamlPlace place,
                      const char *path) {
        const SpecReader *reader = c->request->reader;
        const char *name = str_after(file, "./") ? file + 2 : file;
        auto_cleanup(freep) char *text = NULL;
        auto_error error = { 0 };
        size_t size;
        int r;

        if (!plan_path_is_local(name)) {
                compose_say(c, place, path, REFUSED, "'%.200s' is not in this repository", file);
                return;
        }
        if (!reader) {
                compose_say(c, place, path, HONOURED, "'%s' is read when the branch is", file);
                return;
        }
        r = reader->read(reader->userdata, name, LIMIT_SPEC_FILE_BYTES, &text, &size, &error);
        if (r < 0) {
                compose_say(c, place, path, required ? REFUSED : LEFT_OUT, "%s",
                            error_text(&error, r));
                return;
        }
        if (strlen(text) != size || !utf8_valid(text, size)) {
                compose_say(c, place, path, REFUSED, "'%s' is not text", file);
                return;
        }
        compose_say(c, place, path, HONOURED, "'%s', taken literally: no variables are put in",
                    file);
        for (char *line = text, *next; line; line = next) {
                next = strchr(line, '\n');
                if (next)
                        *next++ = 0;
                file_line(c, s, line, place, path);
        }
}

void compose_env_file(Compose *c, Service *s, const YamlNode *value, const char *path) {
        size_t n = value->kind == YAML_KIND_LIST ? value->n_items : 1;
        const YamlNode *environment = yaml_get(s->node, "environment");

        /* 'environment' wins, so it is read first wherever it stands */
        if (environment && !json_object_get(s->container, "variables"))
                compose_environment(c, s, environment, path);
        for (size_t i = n; i > 0; i--) { /* of two files the later one wins */
                const YamlNode *item = value->kind == YAML_KIND_LIST ? value->items[i - 1] : value;
                const YamlNode *file = item->kind == YAML_KIND_MAP ? yaml_get(item, "path") : item;
                const YamlNode *required = yaml_get(item, "required");
                auto_cleanup(freep) char *text = file ? compose_text(c, file, path) : NULL;

                if (!text || !*text)
                        compose_say(c, item->place, path, REFUSED, "'env_file' must name a file");
                else
                        file_read(c, s, text,
                                  !required || required->kind != YAML_KIND_BOOLEAN ||
                                          required->boolean,
                                  item->place, path);
        }
}
