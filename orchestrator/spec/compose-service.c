/* The keys of a service. One table: what has a function becomes part of the Score document, the others
 * have their verdict and its reason beside them. */
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/spec/compose-internal.h"
#include "orchestrator/spec/plan-internal.h"

typedef void (*Handler)(Compose *c, Service *s, const YamlNode *value, const char *path);

bool service_is_built(const Service *s) {
        return yaml_get(s->node, "build") != NULL;
}

static const char *container_name(const Compose *c, const Service *s) {
        return &c->services[s->owner] == s ? "main" : s->name;
}

/* Remembers the place of a part of this service's container. */
static void place_part(Compose *c, Service *s, const char *part, YamlPlace place) {
        auto_cleanup(freep) char *pointer =
                str_format("/containers/%s%s", container_name(c, s), part);

        if (pointer)
                compose_place(c, &c->services[s->owner], pointer, place);
}

/* ---- where it runs ---- */

/* "./api/" is "api", "." is "": owned; NULL for what leads out of the checkout. */
static char *folder_normalise(Compose *c, const char *path) {
        auto_strbuf b = { 0 };
        char *folder;

        if (*path == '/' || *path == '~' || strstr(path, "://") || strchr(path, ':'))
                return NULL;
        while (*path) {
                size_t n = strcspn(path, "/");

                if (n == 2 && path[0] == '.' && path[1] == '.')
                        return NULL;
                if (n > 0 && !(n == 1 && *path == '.')) {
                        strbuf_add(&b, b.size > 0 ? "/" : "");
                        strbuf_addn(&b, path, n);
                }
                path += n + (path[n] == '/');
        }
        folder = strbuf_take(&b);
        c->no_memory = c->no_memory || !folder;
        return folder;
}

static const YamlNode *build_context(const Service *s) {
        const YamlNode *build = yaml_get(s->node, "build");

        return build && build->kind == YAML_KIND_MAP ? yaml_get(build, "context") : build;
}

char *service_folder(Compose *c, const Service *s) {
        const YamlNode *context = build_context(s);
        auto_cleanup(freep) char *text = context ? compose_text(c, context, NULL) : NULL;
        char *folder;

        folder = folder_normalise(c, text ? text : "");
        return folder ? folder : strdup("");
}

static void do_build(Compose *c, Service *s, const YamlNode *value, const char *path) {
        static const char *const known[] = { "context", "dockerfile", "dockerfile_inline" };
        const YamlNode *context = build_context(s);
        auto_cleanup(freep) char *text = context ? compose_text(c, context, path) : strdup(".");
        auto_cleanup(freep) char *folder = text ? folder_normalise(c, text) : NULL;

        if (!folder) {
                compose_say(c, context ? context->place : value->place, path, REFUSED,
                            "The build context must be a folder of this repository");
                return;
        }
        compose_say(c, value->place, path, CHANGED,
                    "no image is built: it runs from the folder '%s' of the checkout; a build step "
                    "belongs into mayfly.yaml",
                    *folder ? folder : ".");
        for (size_t i = 0; value->kind == YAML_KIND_MAP && i < value->n_entries; i++) {
                const YamlEntry *entry = &value->entries[i];

                if (!streq(entry->key, known[0]))
                        compose_say(c, entry->place, path, LEFT_OUT, "'%s': no image is built",
                                    entry->key);
        }
}

static void do_image(Compose *c, Service *s, const YamlNode *value, const char *path) {
        auto_cleanup(freep) char *text = compose_text(c, value, path);

        if (!text || !*text) {
                compose_say(c, value->place, path, REFUSED, "'image' must be text");
        } else if (service_is_built(s)) {
                compose_say(c, value->place, path, LEFT_OUT, "no image is built");
        } else {
                compose_set(c, s->container, "image", json_string(text));
                place_part(c, s, "/image", value->place);
                if (!streq(text, "."))
                        compose_say(c, value->place, path, CHANGED,
                                    "needs a runtime that runs images, or a 'command' for this "
                                    "workload in mayfly.yaml that runs it from the checkout");
        }
}

static void do_working_dir(Compose *c, Service *s, const YamlNode *value, const char *path) {
        compose_say(c, value->place, path, CHANGED,
                    "a workload starts in its own folder, which it sees as /app");
}

/* ---- command ---- */

/* A command as an array, or NULL: absent, empty, or refused. */
static json_t *command_of(Compose *c, const YamlNode *node, const char *path) {
        auto_cleanup(freep) char *line = NULL;
        json_t *words = NULL;
        int r;

        if (!node || node->kind == YAML_KIND_NULL)
                return NULL;
        if (node->kind == YAML_KIND_LIST)
                return node->n_items > 0 ? compose_texts(c, node, path) : NULL;
        line = compose_text(c, node, path);
        r = line ? compose_split(line, &words) : -EINVAL;
        if (r == -ENOMEM)
                c->no_memory = true;
        if (r < 0) {
                compose_say(
                        c, node->place, path, REFUSED,
                        "This is not a command: a list of texts, or one line with closed quotes");
                return NULL;
        }
        if (json_array_size(words) == 0) {
                json_decref(words);
                return NULL;
        }
        return words;
}

static void do_command(Compose *c, Service *s, const YamlNode *value, const char *path) {
        json_t *words = command_of(c, value, path);
        const YamlNode *entrypoint = yaml_get(s->node, "entrypoint");

        if (!words)
                return;
        compose_say(c, value->place, path, HONOURED, "runs as it is, without a shell");
        /* with an entrypoint these are its arguments */
        compose_set(c, s->container,
                    entrypoint && entrypoint->kind != YAML_KIND_NULL ? "args" : "command", words);
        place_part(c, s, "/command", value->place);
}

static void do_entrypoint(Compose *c, Service *s, const YamlNode *value, const char *path) {
        json_t *words = command_of(c, value, path);

        if (!words)
                return;
        compose_say(c, value->place, path, HONOURED, "runs as it is, without a shell");
        compose_set(c, s->container, "command", words);
}

/* ---- ports ---- */

/* "8080" or "8000-8003"; false for anything else. */
static bool port_range(const char *text, uint64_t *from, uint64_t *to) {
        char copy[16], *dash;

        if (strlen(text) >= sizeof(copy))
                return false;
        strcpy(copy, text);
        dash = strchr(copy, '-');
        if (dash)
                *dash = 0;
        if (str_to_u64(copy, 65535, from) < 0 || *from == 0)
                return false;
        *to = *from;
        return !dash || (str_to_u64(dash + 1, 65535, to) == 0 && *to >= *from && *to - *from < 100);
}

/* The workloads of an environment share one network: what another one listens on, or NULL. */
static const Service *port_owner(const Compose *c, const Service *owner, const char *name) {
        for (size_t i = 0; i < c->n_services; i++) {
                const Service *other = &c->services[i];
                const json_t *service = json_object_get(other->document, "service");

                if (other != owner && json_object_get(json_object_get(service, "ports"), name))
                        return other;
        }
        return NULL;
}

/* 0 added, -EEXIST after saying whose it is, -EINVAL for what is no port. */
static int port_add(Compose *c, Service *s, const char *port, const char *protocol, YamlPlace place,
                    const char *path) {
        Service *owner = &c->services[s->owner];
        uint64_t from, to;
        json_t *ports;

        if (!port_range(port, &from, &to) ||
            (strcasecmp(protocol, "tcp") != 0 && strcasecmp(protocol, "udp") != 0))
                return -EINVAL;
        ports = compose_object(c, compose_object(c, owner->document, "service"), "ports");
        for (uint64_t p = from; p <= to; p++) {
                bool udp = strcasecmp(protocol, "udp") == 0;
                auto_cleanup(freep) char *name =
                        str_format("%s-%u", udp ? "udp" : "port", (unsigned) p);
                auto_cleanup(freep) char *pointer =
                        str_format("/service/ports/%s", name ? name : "");

                const Service *other;

                if (!name || !pointer) {
                        c->no_memory = true;
                        return 0;
                }
                other = port_owner(c, owner, name);
                if (other) {
                        compose_say(c, place, path, REFUSED,
                                    "'%s' listens on port %u%s too, and the services of an "
                                    "environment share one network: give one of them another port",
                                    other->name, (unsigned) p, udp ? "/udp" : "");
                        return -EEXIST;
                }
                if (json_object_size(ports) >= LIMIT_SPEC_PORTS) {
                        compose_say(c, place, path, REFUSED, "A workload may have at most %d ports",
                                    LIMIT_SPEC_PORTS);
                        return -EEXIST;
                }
                compose_set(
                        c, ports, name,
                        json_pack("{s:i, s:s}", "port", (int) p, "protocol", udp ? "UDP" : "TCP"));
                compose_place(c, owner, pointer, place);
        }
        return 0;
}

static void port_short(Compose *c, Service *s, const YamlNode *item, const char *path) {
        auto_cleanup(freep) char *text = compose_text(c, item, path);
        char *slash = text ? strchr(text, '/') : NULL, *colon;
        int r;

        if (slash)
                *slash = 0;
        colon = text ? strrchr(text, ':') : NULL;
        r = text ? port_add(c, s, colon ? colon + 1 : text, slash ? slash + 1 : "tcp", item->place,
                            path)
                 : -EINVAL;
        if (r == -EEXIST)
                return;
        if (r < 0) {
                compose_say(
                        c, item->place, path, REFUSED,
                        "This is not a port: [HOST:]CONTAINER[/tcp|/udp], up to 100 in a range");
                return;
        }
        compose_say(
                c, item->place, path, colon ? CHANGED : HONOURED, "port %s of the workload; %s",
                colon ? colon + 1 : text,
                colon ? "visitors come by the environment's host name, not by a port of the server"
                      : "reached by the environment's host name");
}

static void port_long(Compose *c, Service *s, const YamlNode *item, const char *path) {
        static const char *const used[] = { "target", "protocol", "published",   "host_ip",
                                            "mode",   "name",     "app_protocol" };
        const YamlNode *target = yaml_get(item, "target"), *protocol = yaml_get(item, "protocol");
        auto_cleanup(freep) char *port = target ? compose_text(c, target, path) : NULL;
        auto_cleanup(freep) char *kind = protocol ? compose_text(c, protocol, path) : NULL;
        int r = -EINVAL;

        if (port && (!protocol || kind))
                r = port_add(c, s, port, kind ? kind : "tcp", item->place, path);
        if (r == -EEXIST)
                return;
        if (r < 0) {
                compose_say(c, item->place, path, REFUSED,
                            "A port needs a 'target' from 1 to 65535");
                return;
        }
        compose_say(c, item->place, path, CHANGED,
                    "port %s of the workload; visitors come by the environment's host name", port);
        for (size_t i = 0; i < item->n_entries; i++) {
                size_t k = 0;

                while (k < N_ELEMENTS(used) && !streq(used[k], item->entries[i].key))
                        k++;
                if (k == N_ELEMENTS(used) && !str_after(item->entries[i].key, "x-"))
                        compose_say(c, item->entries[i].place, path, REFUSED,
                                    "'%s' is not a key of a port", item->entries[i].key);
        }
}

static void do_ports(Compose *c, Service *s, const YamlNode *value, const char *path) {
        if (value->kind != YAML_KIND_LIST) {
                compose_say(c, value->place, path, REFUSED, "'ports' must be a list");
                return;
        }
        if (s->owner != (size_t) (s - c->services)) {
                compose_say(c, value->place, path, REFUSED,
                            "Others wait for the end of '%s', so it cannot serve a port", s->name);
                return;
        }
        for (size_t i = 0; i < value->n_items && !compose_full(c); i++)
                (value->items[i]->kind == YAML_KIND_MAP ? port_long
                                                        : port_short)(c, s, value->items[i], path);
}

static void do_expose(Compose *c, Service *s, const YamlNode *value, const char *path) {
        const YamlNode *ports = yaml_get(s->node, "ports");

        for (size_t i = 0; value->kind == YAML_KIND_LIST && i < value->n_items; i++)
                port_short(c, s, value->items[i], path);
        if (!ports)
                compose_set(c, s->settings, "public", json_false());
}

/* ---- health ---- */

static void probe_set(Compose *c, Service *s, json_t *words, const YamlNode *value,
                      const char *path) {
        static const char *const timing[] = { "interval", "timeout", "retries", "start_period",
                                              "start_interval" };

        compose_set(c, s->container, "readinessProbe",
                    json_pack("{s:{s:o}}", "exec", "command", words));
        compose_say(c, value->place, path, HONOURED, "the workload is ready when this ends with 0");
        for (size_t i = 0; i < N_ELEMENTS(timing); i++) {
                const YamlNode *t = yaml_get(value, timing[i]);

                if (t)
                        compose_say(c, t->place, path, LEFT_OUT,
                                    "'%s': readiness is asked often until it is there", timing[i]);
        }
}

static void do_healthcheck(Compose *c, Service *s, const YamlNode *value, const char *path) {
        const YamlNode *test = yaml_get(value, "test"), *disable = yaml_get(value, "disable");
        auto_cleanup(json_decrefp) json_t *words = NULL;
        const char *first;

        if (disable && disable->kind == YAML_KIND_BOOLEAN && disable->boolean) {
                compose_say(c, value->place, path, HONOURED, "no probe");
                return;
        }
        words = test ? compose_texts(c, test, path) : NULL;
        first = json_string_value(json_array_get(words, 0));
        if (!first || !*first)
                compose_say(c, value->place, path, REFUSED, "'healthcheck' needs a 'test'");
        else if (test->kind != YAML_KIND_LIST)
                probe_set(c, s, json_pack("[s, s, s]", "/bin/sh", "-c", first), value, path);
        else if (streq(first, "NONE"))
                compose_say(c, value->place, path, HONOURED, "no probe");
        else if (streq(first, "CMD-SHELL") && json_array_size(words) == 2)
                probe_set(c, s, json_pack("[s, s, O]", "/bin/sh", "-c", json_array_get(words, 1)),
                          value, path);
        else if (streq(first, "CMD") && json_array_size(words) > 1) {
                json_array_remove(words, 0);
                probe_set(c, s, TAKE(words), value, path);
        } else
                compose_say(c, test->place, path, REFUSED,
                            "'test' must begin with CMD, CMD-SHELL or NONE");
}

/* ---- amounts ---- */

static void amount_set(Compose *c, Service *s, const char *where, bool cpu, const YamlNode *value,
                       const char *path) {
        auto_cleanup(freep) char *text = compose_text(c, value, path), *amount = NULL;
        int64_t n = 0;

        if (!text || (cpu ? compose_cpus(text, &n) : compose_bytes(text, &n)) < 0 || n == 0) {
                compose_say(c, value->place, path, REFUSED, "This is not an amount of %s",
                            cpu ? "CPUs, such as 0.5" : "memory, such as 512m");
                return;
        }
        amount = str_format(cpu ? "%lldm" : "%lld", (long long) n);
        compose_set(c, compose_object(c, compose_object(c, s->container, "resources"), where),
                    cpu ? "cpu" : "memory", json_string(amount));
        compose_say(c, value->place, path, HONOURED, "%s %s", where, text);
}

static void do_cpus(Compose *c, Service *s, const YamlNode *value, const char *path) {
        amount_set(c, s, "limits", true, value, path);
}

static void do_mem_limit(Compose *c, Service *s, const YamlNode *value, const char *path) {
        amount_set(c, s, "limits", false, value, path);
}

static void do_mem_reservation(Compose *c, Service *s, const YamlNode *value, const char *path) {
        amount_set(c, s, "requests", false, value, path);
}

static void deploy_amounts(Compose *c, Service *s, const YamlNode *amounts, const char *where,
                           const char *path) {
        for (size_t i = 0; amounts && amounts->kind == YAML_KIND_MAP && i < amounts->n_entries;
             i++) {
                const YamlEntry *entry = &amounts->entries[i];

                if (streq(entry->key, "cpus") || streq(entry->key, "memory"))
                        amount_set(c, s, where, streq(entry->key, "cpus"), entry->value, path);
                else
                        compose_say(c, entry->place, path, LEFT_OUT, "'%s' cannot be given here",
                                    entry->key);
        }
}

static void do_scale(Compose *c, Service *s, const YamlNode *value, const char *path) {
        compose_say(c, value->place, path, CHANGED, "a preview runs one of each");
}

static void do_deploy(Compose *c, Service *s, const YamlNode *value, const char *path) {
        for (size_t i = 0; value->kind == YAML_KIND_MAP && i < value->n_entries; i++) {
                const YamlEntry *entry = &value->entries[i];

                if (streq(entry->key, "resources")) {
                        deploy_amounts(c, s, yaml_get(entry->value, "limits"), "limits", path);
                        deploy_amounts(c, s, yaml_get(entry->value, "reservations"), "requests",
                                       path);
                } else if (streq(entry->key, "replicas")) {
                        do_scale(c, s, entry->value, path);
                } else {
                        compose_say(c, entry->place, path, LEFT_OUT,
                                    "'%s' is for a cluster; a preview runs one of each",
                                    entry->key);
                }
        }
}

static void do_restart(Compose *c, Service *s, const YamlNode *value, const char *path) {
        bool ends = s->owner != (size_t) (s - c->services);

        compose_say(c, value->place, path, CHANGED,
                    ends ? "it runs to its end once for each start of the workload"
                         : "what ends is started again, with growing delay");
}

static void do_network_mode(Compose *c, Service *s, const YamlNode *value, const char *path) {
        auto_cleanup(freep) char *text = compose_text(c, value, path);

        if (text && (streq(text, "bridge") || str_after(text, "service:")))
                compose_say(c, value->place, path, CHANGED,
                            "all services of an environment share one network of their own");
        else
                compose_say(c, value->place, path, REFUSED,
                            "An environment has a network of its own; '%.40s' cannot be had",
                            text ? text : "");
}

/* ---- the table ---- */

#define ISOLATED    "the sandbox gives no such right to a branch's code"
#define ALREADY     "already so in the sandbox"
#define ONE_NETWORK "all services of an environment share one network of their own"

static const struct {
        const char *key;
        Handler handler;
        Verdict verdict;
        const char *text; /* NULL: nothing to say here */
} keys[] = {
        { .key = "image", .handler = do_image },
        { .key = "build", .handler = do_build },
        { .key = "command", .handler = do_command },
        { .key = "entrypoint", .handler = do_entrypoint },
        { .key = "environment", .handler = compose_environment },
        { .key = "env_file", .handler = compose_env_file },
        { .key = "ports", .handler = do_ports },
        { .key = "expose", .handler = do_expose },
        { .key = "volumes", .handler = compose_volumes },
        { .key = "tmpfs", .handler = compose_tmpfs },
        { .key = "secrets", .handler = compose_secrets },
        { .key = "configs", .handler = compose_configs },
        { .key = "healthcheck", .handler = do_healthcheck },
        { .key = "cpus", .handler = do_cpus },
        { .key = "mem_limit", .handler = do_mem_limit },
        { .key = "mem_reservation", .handler = do_mem_reservation },
        { .key = "deploy", .handler = do_deploy },
        { .key = "scale", .handler = do_scale },
        { .key = "restart", .handler = do_restart },
        { .key = "working_dir", .handler = do_working_dir },
        { .key = "network_mode", .handler = do_network_mode },
        { .key = "depends_on" }, /* read when all services are known */
        { .key = "profiles" },   /* read before */
        { .key = "networks", .verdict = CHANGED, .text = ONE_NETWORK },
        { .key = "links", .verdict = CHANGED, .text = ONE_NETWORK ", and see each other by name" },
        { .key = "hostname", .verdict = CHANGED, .text = "others reach it by the service's name" },
        { .key = "container_name",
          .verdict = CHANGED,
          .text = "others reach it by the service's name" },
        { .key = "domainname",
          .verdict = LEFT_OUT,
          .text = "others reach it by the service's name" },
        { .key = "extra_hosts", .verdict = LEFT_OUT, .text = "no other machine can be reached" },
        { .key = "dns", .verdict = LEFT_OUT, .text = "no other machine can be reached" },
        { .key = "dns_opt", .verdict = LEFT_OUT, .text = "no other machine can be reached" },
        { .key = "dns_search", .verdict = LEFT_OUT, .text = "no other machine can be reached" },
        { .key = "cap_drop", .verdict = HONOURED, .text = ALREADY },
        { .key = "read_only", .verdict = HONOURED, .text = ALREADY },
        { .key = "init", .verdict = HONOURED, .text = ALREADY },
        { .key = "cgroup", .verdict = LEFT_OUT, .text = "every environment has its own" },
        { .key = "security_opt", .verdict = LEFT_OUT, .text = "the sandbox is the same for all" },
        { .key = "user", .verdict = LEFT_OUT, .text = "everything runs without rights of its own" },
        { .key = "group_add",
          .verdict = LEFT_OUT,
          .text = "everything runs without rights of its own" },
        { .key = "tty", .verdict = LEFT_OUT, .text = "nobody sits at it" },
        { .key = "stdin_open", .verdict = LEFT_OUT, .text = "nobody sits at it" },
        { .key = "attach", .verdict = LEFT_OUT, .text = "'mayfly logs' shows what it writes" },
        { .key = "logging", .verdict = LEFT_OUT, .text = "'mayfly logs' shows what it writes" },
        { .key = "labels", .verdict = LEFT_OUT, .text = "nothing reads labels" },
        { .key = "label_file", .verdict = LEFT_OUT, .text = "nothing reads labels" },
        { .key = "annotations", .verdict = LEFT_OUT, .text = "nothing reads annotations" },
        { .key = "develop", .verdict = LEFT_OUT, .text = "a push brings the next generation" },
        { .key = "platform", .verdict = LEFT_OUT, .text = "it runs on this machine as it is" },
        { .key = "pull_policy", .verdict = LEFT_OUT, .text = "no image is pulled here" },
        { .key = "pull_refresh_after", .verdict = LEFT_OUT, .text = "no image is pulled here" },
        { .key = "stop_grace_period",
          .verdict = LEFT_OUT,
          .text = "ten seconds, then it is killed" },
        { .key = "stop_signal", .verdict = CHANGED, .text = "it gets SIGTERM" },
        { .key = "shm_size", .verdict = LEFT_OUT, .text = "counts towards the memory limit" },
        { .key = "ulimits", .verdict = LEFT_OUT, .text = "limits come from cpus and mem_limit" },
        { .key = "pids_limit", .verdict = LEFT_OUT, .text = "limits come from cpus and mem_limit" },
        { .key = "cpu_count", .verdict = LEFT_OUT, .text = "use cpus" },
        { .key = "cpu_percent", .verdict = LEFT_OUT, .text = "use cpus" },
        { .key = "cpu_shares", .verdict = LEFT_OUT, .text = "use cpus" },
        { .key = "cpu_quota", .verdict = LEFT_OUT, .text = "use cpus" },
        { .key = "cpu_period", .verdict = LEFT_OUT, .text = "use cpus" },
        { .key = "cpu_rt_period", .verdict = LEFT_OUT, .text = "use cpus" },
        { .key = "cpu_rt_runtime", .verdict = LEFT_OUT, .text = "use cpus" },
        { .key = "cpuset", .verdict = LEFT_OUT, .text = "use cpus" },
        { .key = "blkio_config",
          .verdict = LEFT_OUT,
          .text = "limits come from cpus and mem_limit" },
        { .key = "mem_swappiness", .verdict = LEFT_OUT, .text = "use mem_limit" },
        { .key = "memswap_limit", .verdict = LEFT_OUT, .text = "use mem_limit" },
        { .key = "oom_kill_disable", .verdict = LEFT_OUT, .text = "use mem_limit" },
        { .key = "oom_score_adj", .verdict = LEFT_OUT, .text = "use mem_limit" },
        { .key = "storage_opt",
          .verdict = LEFT_OUT,
          .text = "there is no image whose size to limit" },
        { .key = "mac_address", .verdict = LEFT_OUT, .text = ONE_NETWORK },
        { .key = "cgroup_parent", .verdict = REFUSED, .text = ISOLATED },
        { .key = "cap_add", .verdict = REFUSED, .text = ISOLATED },
        { .key = "privileged", .verdict = REFUSED, .text = ISOLATED },
        { .key = "devices", .verdict = REFUSED, .text = ISOLATED },
        { .key = "device_cgroup_rules", .verdict = REFUSED, .text = ISOLATED },
        { .key = "gpus", .verdict = REFUSED, .text = ISOLATED },
        { .key = "ipc", .verdict = REFUSED, .text = ISOLATED },
        { .key = "pid", .verdict = REFUSED, .text = ISOLATED },
        { .key = "uts", .verdict = REFUSED, .text = ISOLATED },
        { .key = "userns_mode", .verdict = REFUSED, .text = ISOLATED },
        { .key = "sysctls", .verdict = REFUSED, .text = ISOLATED },
        { .key = "use_api_socket", .verdict = REFUSED, .text = ISOLATED },
        { .key = "isolation", .verdict = REFUSED, .text = ISOLATED },
        { .key = "runtime", .verdict = REFUSED, .text = ISOLATED },
        { .key = "credential_spec", .verdict = REFUSED, .text = ISOLATED },
        { .key = "external_links", .verdict = REFUSED, .text = "no other machine can be reached" },
        { .key = "extends",
          .verdict = REFUSED,
          .text = "write the service out: one file says it all" },
        { .key = "volumes_from", .verdict = REFUSED, .text = "name the volumes in both services" },
        { .key = "post_start",
          .verdict = REFUSED,
          .text = "nothing runs inside from outside; use the "
                  "command, or 'migrate' in mayfly.yaml" },
        { .key = "pre_stop", .verdict = REFUSED, .text = "handle SIGTERM instead" },
        { .key = "provider", .verdict = REFUSED, .text = "use a resource and a definition for it" },
        { .key = "models", .verdict = REFUSED, .text = "nothing serves models" },
};

static void unknown_key(Compose *c, const YamlEntry *entry, const char *path) {
        const char *names[N_ELEMENTS(keys) + 1] = { NULL }, *nearest;

        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
                names[i] = keys[i].key;
        nearest = strv_nearest(names, entry->key);
        compose_say(c, entry->place, path, REFUSED, "'%.80s' is not a key of a service%s%s%s",
                    entry->key, nearest ? "; did you mean '" : "", nearest ? nearest : "",
                    nearest ? "'?" : "");
}

static void service_key(Compose *c, Service *s, const YamlEntry *entry) {
        auto_cleanup(freep) char *path = str_format("/services/%s/%s", s->name, entry->key);

        if (!path) {
                c->no_memory = true;
                return;
        }
        for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
                bool off = entry->value->kind == YAML_KIND_BOOLEAN && !entry->value->boolean;

                if (!streq(keys[i].key, entry->key))
                        continue;
                if (keys[i].handler && entry->value->kind != YAML_KIND_NULL)
                        keys[i].handler(c, s, entry->value, path);
                else if (keys[i].text && entry->value->kind != YAML_KIND_NULL && !off)
                        compose_say(c, entry->place, path, keys[i].verdict, "%s", keys[i].text);
                return;
        }
        if (!str_after(entry->key, "x-"))
                unknown_key(c, entry, path);
}

static bool service_wants_image(const Service *s) {
        return yaml_get(s->node, "image") && !service_is_built(s);
}

void compose_service(Compose *c, Service *s) {
        Service *owner = &c->services[s->owner];

        if (!owner->folder)
                owner->folder = service_folder(c, owner);
        if (!s->folder)
                s->folder = service_folder(c, s);
        if (!owner->folder || !s->folder) {
                c->no_memory = true;
                return;
        }
        place_part(c, s, "", s->place);
        if (!service_wants_image(s))
                compose_set(c, s->container, "image", json_string("."));
        if (!service_wants_image(s) && !service_is_built(s))
                compose_say(c, s->place, "", REFUSED, "The service '%s' needs 'build' or 'image'",
                            s->name);
        for (size_t i = 0; i < s->node->n_entries && !compose_full(c); i++)
                service_key(c, s, &s->node->entries[i]);
        if (s == owner && *s->folder)
                compose_set(c, s->settings, "directory", json_string(s->folder));
        if (s != owner && !service_wants_image(s) && !streq_null(s->folder, owner->folder))
                compose_say(
                        c, s->place, "", REFUSED,
                        "'%s' runs to its end inside the workload '%s', so both must have the same "
                        "build context",
                        s->name, owner->name);
}

void compose_resource_service(Compose *c, Service *s) {
        for (size_t i = 0; i < s->node->n_entries; i++) {
                const YamlEntry *entry = &s->node->entries[i];
                auto_cleanup(freep) char *path = str_format("/services/%s/%s", s->name, entry->key);

                if (streq(entry->key, "image") || str_after(entry->key, "x-"))
                        continue;
                compose_say(c, entry->place, path ? path : "", LEFT_OUT,
                            "the provider of '%s' decides this; others get its outputs", s->type);
        }
}
