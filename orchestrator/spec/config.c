/* The configuration that holds without any file, and the end of one. The file's reader is
 * config-read.c, the choice of a definition definition.c. */
#include "orchestrator/spec/config.h"

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"

static const struct {
        const char *type, *provider;
        int64_t deadline_ms;
} builtin[] = {
        { "checkout", "git", 120 * MS_PER_SECOND },
        { "network", "process", 20 * MS_PER_SECOND },
        { "build", "process", 15 * MS_PER_MINUTE },
        { "workload", "process", 90 * MS_PER_SECOND },
        { "volume", "volume", 20 * MS_PER_SECOND },
        { "service", "address", 20 * MS_PER_SECOND },
        { "service-port", "address", 20 * MS_PER_SECOND },
        { "dns", "address", 20 * MS_PER_SECOND },
        { "route", "address", 20 * MS_PER_SECOND },
        { "environment", "environment", 20 * MS_PER_SECOND },
};

static int definition_init(Definition *d, const char *type, const char *provider,
                           int64_t deadline_ms) {
        *d = (Definition){
                .name = str_format("builtin:%s", type),
                .type = strdup(type),
                .provider = strdup(provider),
                .params = json_object(),
                .defaults = json_object(),
                .bounds = json_object(),
                .config = json_object(),
                .deadline_ms = deadline_ms,
        };
        return d->name && d->type && d->provider && d->params && d->defaults && d->bounds &&
                               d->config
                       ? 0
                       : -ENOMEM;
}

int config_default(Config **ret, Error *reterr) {
        auto_cleanup(config_freep) Config *c = NULL;
        int r;

        c = calloc(1, sizeof(Config));
        if (!c)
                return -ENOMEM;
        c->domain = strdup("preview.localhost");
        c->listen = strdup("127.0.0.1:8150");
        c->front = strdup("door");
        c->clocks = (ConfigClocks){
                .sleep_after_idle = 30 * MS_PER_MINUTE,
                .delete_after_asleep = 7 * MS_PER_DAY,
                .delete_after_age = 21 * MS_PER_DAY,
                .delete_after_close = MS_PER_HOUR,
        };
        c->clocks_max = (ConfigClocks){ -1, -1, -1, -1 };
        c->values = json_object();
        c->providers = json_object();
        c->projects = json_object();
        c->definitions = calloc(N_ELEMENTS(builtin), sizeof(Definition));
        if (!c->domain || !c->listen || !c->front || !c->values || !c->providers || !c->projects ||
            !c->definitions)
                return -ENOMEM;
        for (size_t i = 0; i < N_ELEMENTS(builtin); i++) {
                r = definition_init(&c->definitions[i], builtin[i].type, builtin[i].provider,
                                    builtin[i].deadline_ms);
                c->n_definitions = i + 1;
                if (r < 0)
                        return r;
        }
        *ret = TAKE(c);
        return 0;
}

void definition_done(Definition *d) {
        char **owned[] = { &d->name,    &d->type,  &d->class,  &d->id,
                           &d->project, &d->trust, &d->branch, &d->provider };

        for (size_t i = 0; i < N_ELEMENTS(owned); i++)
                free(*owned[i]);
        json_decref(d->params);
        json_decref(d->defaults);
        json_decref(d->bounds);
        json_decref(d->config);
        *d = (Definition){ 0 };
}

Config *config_free(Config *c) {
        if (!c)
                return NULL;
        free(c->domain);
        free(c->listen);
        free(c->front);
        free(c->front_listen);
        json_decref(c->values);
        json_decref(c->providers);
        json_decref(c->projects);
        for (size_t i = 0; i < c->n_definitions; i++)
                definition_done(&c->definitions[i]);
        free(c->definitions);
        free(c);
        return NULL;
}
