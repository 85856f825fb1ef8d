/* Compose in three steps: what each service becomes (a resource, a workload, or a container of the
 * workload that waits for its end), then its keys, then what waits for what. */
#include "orchestrator/base/hash.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/compose-internal.h"
#include "orchestrator/spec/file.h"

static const char *const verdict_names[_VERDICT_MAX] = {
        [HONOURED] = "honoured",
        [CHANGED] = "changed",
        [LEFT_OUT] = "left out",
        [REFUSED] = "refused",
};

void compose_say(Compose *c, YamlPlace place, const char *path, Verdict verdict, const char *fmt,
                 ...) {
        SpecFaults *to = verdict == REFUSED    ? c->request->faults
                         : verdict == HONOURED ? NULL
                                               : c->request->notices;
        auto_cleanup(freep) char *text = NULL;
        auto_strbuf b = { 0 };
        va_list args;

        va_start(args, fmt);
        strbuf_addv(&b, fmt, args);
        va_end(args);
        text = strbuf_take(&b);
        if (text)
                utf8_repair(text); /* "%.80s" may have cut a character */
        if (!text ||
            (json_array_size(c->report) < LIMIT_SPEC_REPORT &&
             json_array_append_new(c->report,
                                   json_pack("{s:i, s:i, s:s, s:s, s:s}", "line", (int) place.line,
                                             "column", (int) place.column, "path", path, "verdict",
                                             verdict_names[verdict], "text", text)) < 0))
                c->no_memory = true;
        if (to)
                spec_faults_add(to, SPEC_STAGE_SEMANTIC, c->request->file, place.line, place.column,
                                path, NULL, "%s", text ? text : "");
}

bool compose_full(const Compose *c) {
        return c->request->faults->n_items >= LIMIT_SPEC_FAULTS;
}

/* ---- small helpers ---- */

Service *compose_find(const Compose *c, const char *name) {
        for (size_t i = 0; i < c->n_services; i++)
                if (streq(c->services[i].name, name))
                        return &c->services[i];
        return NULL;
}

void compose_set(Compose *c, json_t *object, const char *key, json_t *value) {
        if (json_object_set_new(object, key, value) < 0)
                c->no_memory = true;
}

json_t *compose_object(Compose *c, json_t *object, const char *key) {
        if (!json_object_get(object, key))
                compose_set(c, object, key, json_object());
        return json_object_get(object, key);
}

void compose_place(Compose *c, Service *s, const char *pointer, YamlPlace place) {
        compose_set(c, s->places, pointer,
                    json_pack("[i, i]", (int) place.line, (int) place.column));
}

void compose_resource(Compose *c, Service *s, const char *name, const char *type, const char *id) {
        Service *owner = &c->services[s->owner];
        json_t *resources = compose_object(c, owner->document, "resources");

        if (!json_object_get(resources, name))
                compose_set(c, resources, name,
                            id ? json_pack("{s:s, s:s}", "type", type, "id", id)
                               : json_pack("{s:s}", "type", type));
}

char *compose_label(const char *text) {
        char label[64] = "", *at = label;
        bool same = true;

        for (const char *t = text; *t && at < label + 50; t++) {
                char ch = *t >= 'A' && *t <= 'Z' ? (char) (*t - 'A' + 'a') : *t;
                bool good = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') ||
                            (ch == '-' && at > label);

                if (good)
                        *at++ = ch;
                else if (at > label && at[-1] != '-')
                        *at++ = '-';
                same = same && good && ch == *t;
        }
        while (at > label && at[-1] == '-') {
                *--at = 0;
                same = false;
        }
        if (same && strlen(text) == (size_t) (at - label) && at - label >= 2)
                return strdup(label);
        return str_format("%s%sx%04x", label, *label ? "-" : "",
                          (unsigned) (hash_string(0, text) & 0xffff));
}

/* ---- images that become resources ---- */

static const struct {
        const char *image;
        const char *types[3]; /* the first one that is served */
} known_images[] = {
        { "postgres", { "postgres" } },         { "mysql", { "mysql" } },
        { "mariadb", { "mariadb", "mysql" } },  { "redis", { "redis" } },
        { "valkey", { "valkey", "redis" } },    { "mongo", { "mongo", "mongodb" } },
        { "rabbitmq", { "rabbitmq", "amqp" } }, { "minio", { "minio", "s3" } },
};

/* "docker.io/library/postgres:16@sha256:..." is "postgres"; so are "valkey/valkey" and the like. */
static bool image_is(const char *image, const char *known) {
        static const char *const before[] = { "docker.io/", "index.docker.io/", "library/",
                                              "quay.io/" };
        size_t n = strlen(known);
        const char *rest;

        for (size_t i = 0; i < N_ELEMENTS(before); i++)
                if ((rest = str_after(image, before[i])))
                        image = rest;
        if ((rest = str_after(image, "library/")))
                image = rest;
        if (strncmp(image, known, n) == 0 && image[n] == '/') /* "minio/minio" */
                image += n + 1;
        return strncmp(image, known, n) == 0 && (!image[n] || image[n] == ':' || image[n] == '@');
}

static void service_become(Compose *c, Service *s) {
        const YamlNode *image = yaml_get(s->node, "image");
        auto_cleanup(freep) char *text = NULL, *path = str_format("/services/%s/image", s->name);
        const Config *config = c->request->config;

        if (!image || service_is_built(s))
                return;
        text = compose_text(c, image, NULL);
        if (!text || !path) {
                c->no_memory = c->no_memory || !path;
                return;
        }
        for (size_t i = 0; i < N_ELEMENTS(known_images); i++) {
                const char *const *types = known_images[i].types;

                if (!image_is(text, known_images[i].image))
                        continue;
                for (size_t t = 0; t < N_ELEMENTS(known_images[i].types) && types[t]; t++)
                        if (!s->type && (!config || config_serves(config, types[t])))
                                s->type = types[t];
                if (s->type) {
                        compose_say(c, image->place, path, CHANGED,
                                    "becomes a resource of type '%s'%s", s->type,
                                    config ? "" : ", if the server serves that type");
                } else {
                        s->type = types[0];
                        compose_say(c, image->place, path, REFUSED,
                                    "'%s' would become a resource of type '%s', and no definition "
                                    "serves that type",
                                    text, s->type);
                }
                return;
        }
}

/* ---- order ---- */

static const YamlNode *condition_of(const YamlNode *value) {
        return yaml_get(value, "condition");
}

/* Calls func for each service that s waits for. */
static void each_dependency(Compose *c, Service *s,
                            void (*func)(Compose *c, Service *s, Service *other,
                                         const char *condition, YamlPlace place,
                                         const char *path)) {
        const YamlNode *list = yaml_get(s->node, "depends_on");
        size_t n = !list                          ? 0
                   : list->kind == YAML_KIND_LIST ? list->n_items
                   : list->kind == YAML_KIND_MAP  ? list->n_entries
                                                  : 0;

        for (size_t i = 0; i < n; i++) {
                bool map = list->kind == YAML_KIND_MAP;
                const char *name = map ? list->entries[i].key : list->items[i]->text;
                const YamlNode *condition = map ? condition_of(list->entries[i].value) : NULL;
                auto_cleanup(freep) char *path =
                        str_format("/services/%s/depends_on/%s", s->name, name);
                YamlPlace place = map ? list->entries[i].place : list->items[i]->place;

                if (!path)
                        c->no_memory = true;
                else
                        func(c, s, compose_find(c, name),
                             condition && condition->kind == YAML_KIND_STRING ? condition->text
                                                                              : "service_started",
                             place, path);
        }
}

/* First walk: who must end before somebody starts. */
static void mark_end(Compose *c, Service *s, Service *other, const char *condition, YamlPlace place,
                     const char *path) {
        if (!other || other->left_out || s->left_out || other->type || other == s || other->ends ||
            !streq(condition, "service_completed_successfully"))
                return;
        other->ends = true;
        other->owner = (size_t) (s - c->services);
}

/* A container of a container's workload: the owner is the one that is nobody's container. */
static void find_owners(Compose *c) {
        for (size_t i = 0; i < c->n_services; i++) {
                Service *s = &c->services[i];
                size_t steps = 0;

                while (c->services[s->owner].owner != s->owner && steps++ <= c->n_services)
                        s->owner = c->services[s->owner].owner;
                if (steps > c->n_services) {
                        compose_say(c, s->place, "", REFUSED,
                                    "The service '%s' waits for its own end in a circle", s->name);
                        s->owner = i;
                }
        }
}

/* Last walk: what that means in the documents. */
static void depend(Compose *c, Service *s, Service *other, const char *condition, YamlPlace place,
                   const char *path) {
        Service *owner = &c->services[s->owner];
        bool ended = streq(condition, "service_completed_successfully");
        json_t *list;

        if (!other) {
                compose_say(c, place, path, REFUSED, "There is no such service");
        } else if (other == s) {
                compose_say(c, place, path, REFUSED, "A service cannot wait for itself");
        } else if (other->left_out) {
                compose_say(c, place, path, LEFT_OUT,
                            "That service is not started: it has a profile");
        } else if (!ended && !streq(condition, "service_started") &&
                   !streq(condition, "service_healthy")) {
                compose_say(c, place, path, REFUSED, "'%s' is not a condition", condition);
        } else if (other->type) {
                compose_resource(c, s, other->name, other->type, other->name);
                compose_say(c, place, path, ended ? REFUSED : HONOURED,
                            ended ? "A resource never ends" : "starts when the resource is there");
        } else if (ended && other->owner == s->owner) {
                compose_set(c, compose_object(c, other->container, "before"),
                            s == owner ? "main" : s->name, json_pack("{s:s}", "ready", "complete"));
                compose_say(c, place, path, HONOURED,
                            "runs to its end in this workload, before it");
        } else if (other->owner == s->owner && other != owner) {
                compose_set(c, compose_object(c, other->container, "before"),
                            s == owner ? "main" : s->name,
                            json_pack("{s:s}", "ready",
                                      streq(condition, "service_healthy") ? "healthy" : "started"));
                compose_say(c, place, path, HONOURED, "starts in this workload, before it");
        } else if (other->owner == s->owner) {
                compose_say(c, place, path, REFUSED,
                            "waits for a service that waits for the end of this one");
        } else {
                list = json_object_get(owner->settings, "waits_for");
                if (!list) {
                        compose_set(c, owner->settings, "waits_for", json_array());
                        list = json_object_get(owner->settings, "waits_for");
                }
                if (json_array_append_new(list, json_string(c->services[other->owner].name)) < 0)
                        c->no_memory = true;
                compose_say(c, place, path,
                            streq(condition, "service_started") ? CHANGED : HONOURED,
                            "starts when that service is ready");
        }
}

/* Waiting in a circle: take away who waits for nobody until nothing changes. */
static bool waits_for_living(const Compose *c, const Service *s, const bool *gone) {
        const json_t *list = json_object_get(s->settings, "waits_for"), *item;
        size_t i;

        json_array_foreach(list, i, item) {
                const Service *other = compose_find(c, json_string_value(item));

                if (other && !gone[other - c->services])
                        return true;
        }
        return false;
}

static void check_circles(Compose *c) {
        auto_cleanup(freep) bool *gone = calloc(c->n_services + 1, sizeof(bool));
        bool more = true;

        if (!gone) {
                c->no_memory = true;
                return;
        }
        while (more) {
                more = false;
                for (size_t i = 0; i < c->n_services; i++)
                        if (!gone[i] && !waits_for_living(c, &c->services[i], gone))
                                gone[i] = more = true;
        }
        for (size_t i = 0; i < c->n_services; i++)
                if (!gone[i]) {
                        compose_say(c, c->services[i].place, "", REFUSED,
                                    "The service '%s' waits for itself in a circle",
                                    c->services[i].name);
                        return;
                }
}

/* ---- the top ---- */

static const struct {
        const char *key;
        Verdict verdict;
        const char *text;
} top_keys[] = {
        { "services", HONOURED, NULL },
        { "volumes", HONOURED, NULL },
        { "secrets", HONOURED, NULL },
        { "configs", HONOURED, NULL },
        { "version", LEFT_OUT, "Compose files have no version any more" },
        { "name", LEFT_OUT, "the project's name is the one it was added with" },
        { "networks", CHANGED, "all services of an environment share one network of their own" },
        { "include", REFUSED, "one file says what a branch needs" },
        { "models", REFUSED, "nothing serves models" },
};

static void check_volume(Compose *c, const YamlEntry *entry) {
        static const char *const keys[] = { "external", "driver", "driver_opts", "name", "labels" };
        const YamlNode *external = yaml_get(entry->value, "external");
        auto_cleanup(freep) char *path = str_format("/volumes/%s", entry->key);

        if (external && !(external->kind == YAML_KIND_BOOLEAN && !external->boolean))
                compose_say(c, external->place, path, REFUSED,
                            "An environment has its own volumes; none from outside can be mounted");
        for (size_t i = 1; i < N_ELEMENTS(keys); i++) {
                const YamlNode *value = yaml_get(entry->value, keys[i]);

                if (value)
                        compose_say(c, value->place, path, LEFT_OUT,
                                    "'%s': a definition decides how a volume is kept", keys[i]);
        }
}

static void check_top(Compose *c) {
        const YamlNode *volumes = yaml_get(c->root, "volumes");

        for (size_t i = 0; i < c->root->n_entries; i++) {
                const YamlEntry *entry = &c->root->entries[i];
                auto_cleanup(freep) char *path = str_format("/%s", entry->key);
                size_t k = 0;

                while (k < N_ELEMENTS(top_keys) && !streq(top_keys[k].key, entry->key))
                        k++;
                if (k < N_ELEMENTS(top_keys) && top_keys[k].text)
                        compose_say(c, entry->place, path, top_keys[k].verdict, "%s",
                                    top_keys[k].text);
                else if (k == N_ELEMENTS(top_keys) && !str_after(entry->key, "x-"))
                        compose_say(c, entry->place, path, REFUSED, "'%s' is not a key of Compose",
                                    entry->key);
        }
        for (size_t i = 0; volumes && volumes->kind == YAML_KIND_MAP && i < volumes->n_entries; i++)
                check_volume(c, &volumes->entries[i]);
}

static bool name_is_label(Compose *c, const char *name) {
        auto_cleanup(freep) char *label = compose_label(name);

        c->no_memory = c->no_memory || !label;
        return !label || streq(label, name);
}

static int services_init(Compose *c) {
        const YamlNode *services = yaml_get(c->root, "services");

        if (!services || services->kind != YAML_KIND_MAP || services->n_entries == 0) {
                compose_say(c, services ? services->place : c->root->place, "/services", REFUSED,
                            "A Compose file must have 'services', and at least one");
                return 0;
        }
        if (services->n_entries > LIMIT_SPEC_SCORE_FILES) {
                compose_say(c, services->place, "/services", REFUSED,
                            "There may be at most %d services", LIMIT_SPEC_SCORE_FILES);
                return 0;
        }
        c->services = calloc(services->n_entries, sizeof(Service));
        if (!c->services)
                return -ENOMEM;
        c->n_services = services->n_entries;
        for (size_t i = 0; i < c->n_services; i++) {
                Service *s = &c->services[i];
                const YamlEntry *entry = &services->entries[i];
                const YamlNode *profiles = yaml_get(entry->value, "profiles");

                *s = (Service){ .name = entry->key,
                                .place = entry->place,
                                .node = entry->value,
                                .owner = i,
                                .settings = json_object(),
                                .places = json_object() };
                if (!name_is_label(c, s->name))
                        compose_say(
                                c, s->place, "", REFUSED,
                                "'%.80s' must be two or more of a-z, 0-9 and inner '-' to be the "
                                "name of a workload",
                                s->name);
                if (s->node->kind != YAML_KIND_MAP) {
                        compose_say(c, s->place, "", REFUSED, "The service '%.80s' must be a map",
                                    s->name);
                        s->left_out = true;
                }
                if (profiles && profiles->kind == YAML_KIND_LIST && profiles->n_items > 0) {
                        compose_say(c, profiles->place, "", LEFT_OUT,
                                    "'%s' is not started: no profile is ever active", s->name);
                        s->left_out = true;
                }
        }
        return 0;
}

static void documents_init(Compose *c) {
        for (size_t i = 0; i < c->n_services; i++) {
                Service *s = &c->services[i];

                if (s->left_out || s->type || s->owner != i)
                        continue;
                s->document = json_pack("{s:s, s:{s:s}, s:{s:{}}}", "apiVersion", "score.dev/v1b1",
                                        "metadata", "name", s->name, "containers", "main");
                s->container = json_object_get(json_object_get(s->document, "containers"), "main");
                c->no_memory = c->no_memory || !s->document;
                compose_place(c, s, "", s->place);
        }
        for (size_t i = 0; i < c->n_services && !c->no_memory; i++) {
                Service *s = &c->services[i];

                if (!s->left_out && !s->type && s->owner != i)
                        s->container = compose_object(
                                c, compose_object(c, c->services[s->owner].document, "containers"),
                                s->name);
        }
}

static int convert(Compose *c) {
        int r;

        check_top(c);
        r = services_init(c);
        if (r < 0)
                return r;
        for (size_t i = 0; i < c->n_services; i++)
                if (!c->services[i].left_out)
                        service_become(c, &c->services[i]);
        for (size_t i = 0; i < c->n_services; i++)
                each_dependency(c, &c->services[i], mark_end);
        find_owners(c);
        documents_init(c);
        for (size_t i = 0; i < c->n_services && !c->no_memory; i++) {
                Service *s = &c->services[i];

                if (s->left_out)
                        continue;
                if (s->type)
                        compose_resource_service(c, s);
                else
                        compose_service(c, s);
                if (!s->type)
                        each_dependency(c, s, depend);
        }
        check_circles(c);
        return c->no_memory ? -ENOMEM : 0;
}

static int result_make(Compose *c, json_t **ret) {
        auto_cleanup(json_decrefp) json_t *documents = json_array(), *workloads = json_object();

        for (size_t i = 0; i < c->n_services; i++) {
                Service *s = &c->services[i];

                if (s->document &&
                    (json_array_append_new(documents, json_pack("{s:O, s:O}", "score", s->document,
                                                                "places", s->places)) < 0 ||
                     json_object_set(workloads, s->name, s->settings) < 0))
                        return -ENOMEM;
        }
        *ret = json_pack("{s:O, s:O}", "documents", documents, "workloads", workloads);
        return *ret ? 0 : -ENOMEM;
}

static void compose_done(Compose *c) {
        for (size_t i = 0; i < c->n_services; i++) {
                free(c->services[i].folder);
                json_decref(c->services[i].document);
                json_decref(c->services[i].settings);
                json_decref(c->services[i].places);
        }
        free(c->services);
        json_decref(c->report);
        yaml_tree_free(c->tree);
}

int compose_convert(const ComposeRequest *request, json_t **ret, json_t **ret_report,
                    Error *reterr) {
        auto_cleanup(compose_done) Compose c = { .request = request, .report = json_array() };
        size_t before = request->faults->n_items + request->faults->n_dropped;
        int r;

        r = spec_file_read(request->file, request->text, request->size, &c.tree, &c.root,
                           request->faults, reterr);
        if (r < 0)
                return r;
        if (!c.root || c.root->kind != YAML_KIND_MAP)
                spec_faults_add(request->faults, SPEC_STAGE_SCHEMA, request->file, 1, 1, "", NULL,
                                "A Compose file must be a map");
        else if ((r = convert(&c)) < 0)
                return r;
        if (ret_report)
                *ret_report = json_incref(c.report);
        if (request->faults->n_items + request->faults->n_dropped > before)
                return spec_faults_error(request->faults, reterr);
        return result_make(&c, ret);
}
