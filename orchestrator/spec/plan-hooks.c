/* Data hooks of mayfly.yaml, made of what Score has: containers that must be complete before the others
 * start. "migrate" runs before each start. "seed" runs once in the life of an environment: it leaves a
 * mark in a small volume of its own, which lives and goes with the environment, and a seed that failed
 * leaves none. Both see what the workload's first container sees. */
#include "orchestrator/base/str.h"
#include "orchestrator/spec/plan-internal.h"

#define SEED_FOLDER "/mayfly/seed"
#define SEED_SCRIPT "test -e " SEED_FOLDER "/done || { \"$@\" && : > " SEED_FOLDER "/done; }"

static json_t *find_container(const json_t *containers, const char *name) {
        json_t *container;
        size_t i;

        json_array_foreach(containers, i, container)
                if (streq(json_string_value(json_object_get(container, "name")), name))
                        return container;
        return NULL;
}

/* A copy of the first container that runs something else, before all that are there. */
static int hook_add(json_t *containers, const char *name, json_t *command) {
        auto_cleanup(json_decrefp) json_t *hook = NULL, *before = json_array(), *owned = command;
        const json_t *other;
        size_t i;

        json_array_foreach(containers, i, other)
                if (json_array_append_new(before, json_pack("{s:O, s:s}", "container",
                                                            json_object_get(other, "name"), "ready",
                                                            "complete")) < 0)
                        return -ENOMEM;
        hook = json_deep_copy(json_array_get(containers, 0));
        if (!owned || json_object_set_new(hook, "name", json_string(name)) < 0 ||
            json_object_set(hook, "command", owned) < 0 ||
            json_object_set_new(hook, "args", json_array()) < 0 ||
            json_object_set(hook, "before", before) < 0 ||
            json_object_set_new(hook, "liveness", json_null()) < 0 ||
            json_object_set_new(hook, "readiness", json_null()) < 0)
                return -ENOMEM;
        return json_array_insert(containers, 0, hook) < 0 ? -ENOMEM : 0;
}

/* The volume that remembers. Its id holds "@", which no id in a file can. */
static int seed_volume(Planner *p, const ScoreDocument *d, size_t at, json_t *container) {
        auto_cleanup(freep) char *id = str_format("%s.@seed", d->workload);
        auto_error error = { 0 };
        NodeWish wish = { .type = "volume",
                          .class = "default",
                          .id = id,
                          .name = "@seed",
                          .workload = d->workload,
                          .implicit = true,
                          .params = json_object() };
        json_t *mount, *volumes = json_object_get(container, "volumes");
        GraphNode *n;
        int r;

        if (!id) {
                json_decref(wish.params);
                return -ENOMEM;
        }
        r = plan_node_add(p, &wish, &n, &error);
        if (r == -ENOENT || r == -EINVAL) {
                planner_fault(p, d, "/metadata/name", NULL, "'seed' needs a volume: %s",
                              error_text(&error, r));
                return 0;
        }
        if (r < 0)
                return error_set(p->reterr, r, "%s", error_text(&error, r));
        mount = json_pack("{s:s, s:{s:s}, s:b}", "target", SEED_FOLDER, "source", "$outputs",
                          n->key, "read_only", 0);
        if (json_array_append_new(volumes, mount) < 0)
                return -ENOMEM;
        r = plan_node_refer(&p->graph->nodes[at], "@seed", n->key);
        return r < 0 ? r : plan_node_depend(&p->graph->nodes[at], n->key);
}

static json_t *seed_command(const json_t *said) {
        json_t *command = json_pack("[s, s, s, s]", "/bin/sh", "-c", SEED_SCRIPT, "seed");

        if (json_array_extend(command, (json_t *) said) < 0) {
                json_decref(command);
                return NULL;
        }
        return command;
}

int plan_hooks(Planner *p, const ScoreDocument *d, size_t at, json_t *containers) {
        const json_t *migrate = planner_settings(p, d->workload, "migrate");
        const json_t *seed = planner_settings(p, d->workload, "seed");
        int r;

        if ((migrate && find_container(containers, "migrate")) ||
            (seed && find_container(containers, "seed"))) {
                planner_fault(
                        p, d, "/containers", NULL,
                        "The workload '%s' has a container named like its hook in mayfly.yaml",
                        d->workload);
                return 0;
        }
        if (seed) {
                r = hook_add(containers, "seed", seed_command(seed));
                if (r == 0)
                        r = seed_volume(p, d, at, json_array_get(containers, 0));
                if (r < 0)
                        return r;
        }
        /* stands before the seed as well */
        return migrate ? hook_add(containers, "migrate", json_deep_copy(migrate)) : 0;
}
