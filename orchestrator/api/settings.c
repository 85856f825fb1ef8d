#include "orchestrator/api/settings.h"

#include <string.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"
#include "orchestrator/engine/runner.h"
#include "orchestrator/glue/journal.h"

/* One line for each fault: "mayflyd.yaml:3:1: unknown key 'lisen' (did you mean 'listen'?)". */
static char *fault_line(const SpecFault *f) {
        auto_strbuf b = { 0 };

        strbuf_addf(&b, "%s:%u:%u: %s", f->file, f->line, f->column, f->message);
        if (f->hint && !strstr(f->message, f->hint))
                strbuf_addf(&b, " (%s)", f->hint);
        return strbuf_take(&b);
}

static void log_faults(const SpecFaults *faults) {
        for (size_t i = 0; i < faults->n_items; i++) {
                auto_cleanup(freep) char *line = fault_line(&faults->items[i]);

                log_error("%s", line ?: "out of memory");
        }
        if (faults->n_dropped > 0)
                log_error("... and %zu more", faults->n_dropped);
}

/* Reads the file, or the defaults without one. A fault is in reterr; of several each is logged as well. */
static int settings_read(const char *path, Config **ret, Error *reterr) {
        auto_cleanup(spec_faults_done) SpecFaults faults = { 0 };
        auto_cleanup(freep) char *text = NULL;
        size_t size;
        int r;

        if (!path)
                return config_default(ret, reterr);
        r = read_file(path, LIMIT_CONFIG_BYTES, &text, &size, reterr);
        if (r < 0)
                return r;
        r = config_parse(path, text, size, ret, &faults, reterr);
        if (r < 0) {
                size_t n = faults.n_items + faults.n_dropped;
                auto_cleanup(freep) char *line =
                        faults.n_items > 0 ? fault_line(&faults.items[0]) : NULL;

                if (n > 1)
                        log_faults(&faults);
                if (line) {
                        error_done(reterr);
                        if (n > 1)
                                error_set(reterr, r, "%zu faults, the first: %s", n, line);
                        else
                                error_set(reterr, r, "%s", line);
                }
        }
        return r;
}

int settings_check(const char *path, Error *reterr) {
        auto_cleanup(config_freep) Config *config = NULL;

        return settings_read(path, &config, reterr);
}

/* What the command line says wins. */
static int settings_override(Config *c, const ManagerOptions *o) {
        int r = 0;

        if (o->listen)
                r = str_replace(&c->listen, o->listen);
        if (r == 0 && o->front)
                r = str_replace(&c->front, o->front);
        if (r == 0 && o->front_listen)
                r = str_replace(&c->front_listen, o->front_listen);
        if (r == 0 && o->domain)
                r = str_replace(&c->domain, o->domain);
        if (r == 0 && streq(c->front, "haproxy") && !c->front_listen)
                r = str_replace(&c->front_listen, "127.0.0.1:8200");
        return r;
}

int settings_start(Manager *m, Error *reterr) {
        int r = settings_read(m->options->config, &m->config, reterr);

        return r == 0 ? settings_override(m->config, m->options) : r;
}

void settings_stop(Manager *m) {
        m->config = config_free(m->config);
        free(TAKE(m->config_fault));
}

/* What sockets are bound to cannot change under people's feet: it stays until a restart. */
static int settings_keep(Config *new, const Config *old) {
        const struct {
                char **new;
                const char *old, *name;
        } fixed[] = {
                { &new->domain, old->domain, "domain" },
                { &new->listen, old->listen, "listen" },
                { &new->front, old->front, "front" },
                { &new->front_listen, old->front_listen, "front_listen" },
        };
        int r;

        for (size_t i = 0; i < N_ELEMENTS(fixed); i++) {
                if (streq_null(*fixed[i].new, fixed[i].old))
                        continue;
                log_notice("The new '%s' holds after a restart", fixed[i].name);
                r = str_replace(fixed[i].new, fixed[i].old);
                if (r < 0)
                        return r;
        }
        return 0;
}

void settings_reload(Manager *m) {
        auto_cleanup(config_freep) Config *config = NULL, *old = NULL;
        auto_error error = { 0 };
        int r;

        if (!m->options->config) {
                log_notice("There is no configuration file to read again");
                return;
        }
        r = settings_read(m->options->config, &config, &error);
        if (r == 0)
                r = settings_override(config, m->options);
        if (r == 0)
                r = settings_keep(config, m->config);
        if (r < 0) {
                manager_tell(LOG_LEVEL_ERROR, JOURNAL_CONFIG_REFUSED,
                             "The configuration stays as it was: %s", error_text(&error, r));
                (void) str_replace(&m->config_fault, error_text(&error, r));
                return;
        }
        free(TAKE(m->config_fault));
        old = m->config;
        m->config = TAKE(config);
        runner_set_config(m->runner, m->config);
        engine_set_config(m->engine, m->config);
        log_notice("Read '%s' again", m->options->config);
        manager_want_turn(m);
}
