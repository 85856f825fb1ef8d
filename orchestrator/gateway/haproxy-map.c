/* The daemon is the only writer of the maps and remembers what they hold, so a change is one "set",
 * "add" or "del" whose success needs no reading back: any word in the answer means that memory and
 * HAProxy differ, and then both maps are replaced as a whole (prepare, add, commit). A host that is
 * missing from the map goes to the door, which knows the truth, so no order of commands can be wrong for
 * more than one hop. */
#include "orchestrator/gateway/haproxy-map.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/hash.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"
#include "orchestrator/gateway/haproxy-config.h"

#define COMMAND_MAX 8000 /* bytes of one question; HAProxy's buffer has 16384 */
#define AGAIN_USEC  (1000 * 1000)
#define EXPIRE_MS   (24 * MS_PER_HOUR) /* of the stick table, as haproxy-config.c has it */

typedef struct Shown {
        char *value;
        char **paths; /* lines of the second map */
} Shown;

typedef struct Seen { /* the counters of an open host as last read */
        int64_t bytes, since_ms;
} Seen;

struct HaproxyMap {
        const GatewaySetup *setup;
        Sites *sites;
        Runtime *runtime;
        char *routes_path, *paths_path;
        Map *shown;     /* host -> Shown */
        Map *dirty;     /* host -> anything */
        Map *seen;      /* host -> Seen */
        bool up, stale; /* stale: the files are older than the sites */
        bool whole;     /* replace everything */
        bool failed;    /* within a replacement */
        unsigned busy;  /* questions about the maps that are not answered yet */
        LoopSource *apply, *again;
};

static void shown_free(void *value) {
        Shown *s = value;

        free(s->value);
        strv_free(s->paths);
        free(s);
}

static void apply_soon(HaproxyMap *m) {
        (void) loop_turn_end_set(m->apply); /* fails only for a source that is gone */
}

/* ---- files ---- */

/* Not synced to the disk: after a power loss HAProxy is started by a daemon that writes them anew. */
static int replace_file(const char *path, const char *text, Error *reterr) {
        auto_cleanup(freep) char *beside = str_format("%s.new", path);
        auto_cleanup(closep) int fd = -1;
        int r;

        if (!beside)
                return -ENOMEM;
        fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        r = fd < 0 ? -errno : write_all(fd, text, strlen(text));
        crash_point("gateway.map");
        if (r == 0 && rename(beside, path) < 0)
                r = -errno;
        return r < 0 ? error_set(reterr, r, "Cannot write %s: %s", path, strerror(-r)) : 0;
}

/* Everything that is to be shown, as the lines of both maps. */
static int all_lines(HaproxyMap *m, StrBuf *routes, StrBuf *paths) {
        size_t at = 0;
        Site *s;
        int r;

        while ((s = sites_next(m->sites, &at))) {
                auto_cleanup(strv_freep) char **lines = NULL;
                auto_cleanup(freep) char *value = NULL;

                r = haproxy_view(s, &value, &lines);
                if (r < 0)
                        return r;
                if (value)
                        strbuf_addf(routes, "%s %s\n", s->host, value);
                for (char **line = lines; line && *line; line++)
                        strbuf_addf(paths, "%s\n", *line);
        }
        return routes->broken || paths->broken ? -ENOMEM : 0;
}

int haproxy_map_write(HaproxyMap *m, Error *reterr) {
        auto_strbuf routes = { 0 }, paths = { 0 };
        int r;

        r = all_lines(m, &routes, &paths);
        if (r == 0)
                r = replace_file(m->routes_path, routes.text ? routes.text : "", reterr);
        if (r == 0)
                r = replace_file(m->paths_path, paths.text ? paths.text : "", reterr);
        if (r == 0)
                m->stale = false;
        return r;
}

/* ---- questions about the maps ---- */

static void whole_later(HaproxyMap *m) {
        m->whole = true;
        (void) loop_timer_arm_after(m->again, AGAIN_USEC); /* fails only without a loop */
}

/* Success is silence. */
static bool is_silence(const char *answer) {
        return answer && answer[strspn(answer, " \r\n")] == 0;
}

static int ask(HaproxyMap *m, StrBuf *command, RuntimeFunc done) {
        char *text;

        strbuf_addc(command, '\n');
        text = strbuf_take(command);
        if (!text || runtime_ask(m->runtime, text, done, m) < 0)
                return -ENOMEM;
        m->busy++;
        return 0;
}

/* ---- all at once ---- */

static void on_whole_part(void *userdata, int r, const char *answer) {
        HaproxyMap *m = userdata;

        m->busy--;
        if (r == -ECANCELED)
                return;
        if (r < 0 || !is_silence(answer))
                m->failed = true;
        if (m->busy > 0)
                return;
        if (m->failed) {
                log_notice("HAProxy did not take the routes: %s", r < 0 ? strerror(-r)
                                                                  : answer && *answer
                                                                          ? answer
                                                                          : "it is not known why");
                whole_later(m);
                return;
        }
        apply_soon(m);
}

static int ask_lines(HaproxyMap *m, const char *path, unsigned version, const char *lines) {
        while (lines && *lines) {
                const char *end = lines;
                StrBuf command = { 0 };
                int r;

                while (*end && end - lines < COMMAND_MAX)
                        end = strchr(end, '\n') + 1;
                strbuf_addf(&command, "add map @%u %s <<\n", version, path);
                strbuf_addn(&command, lines, (size_t) (end - lines));
                r = ask(m, &command, on_whole_part);
                if (r < 0)
                        return r;
                lines = end;
        }
        return 0;
}

static int shown_put(HaproxyMap *m, const char *host, char **value, char ***paths) {
        Shown *s = calloc(1, sizeof(Shown));
        int r;

        if (!s)
                return -ENOMEM;
        s->value = TAKE(*value);
        s->paths = TAKE(*paths);
        r = map_put(m->shown, host, s);
        if (r < 0)
                shown_free(s);
        return r;
}

/* Remembers as shown what the lines of a replacement say. */
static int remember_all(HaproxyMap *m) {
        Map *shown = map_new(shown_free);
        size_t at = 0;
        Site *s;
        int r = 0;

        if (!shown)
                return -ENOMEM;
        map_free(m->shown);
        m->shown = shown;
        while (r == 0 && (s = sites_next(m->sites, &at))) {
                auto_cleanup(strv_freep) char **paths = NULL;
                auto_cleanup(freep) char *value = NULL;

                r = haproxy_view(s, &value, &paths);
                if (r == 0 && value)
                        r = shown_put(m, s->host, &value, &paths);
        }
        return r;
}

static int ask_whole(HaproxyMap *m, unsigned routes_version, unsigned paths_version) {
        auto_strbuf routes = { 0 }, paths = { 0 };
        StrBuf commit = { 0 };
        int r;

        r = all_lines(m, &routes, &paths);
        if (r == 0)
                r = remember_all(m);
        if (r == 0)
                r = ask_lines(m, m->paths_path, paths_version, paths.text);
        if (r == 0)
                r = ask_lines(m, m->routes_path, routes_version, routes.text);
        if (r < 0)
                return r;
        strbuf_addf(&commit, "commit map @%u %s;commit map @%u %s", paths_version, m->paths_path,
                    routes_version, m->routes_path);
        return ask(m, &commit, on_whole_part);
}

static void on_prepared(void *userdata, int r, const char *answer) {
        static const char words[] = "New version created: ";
        HaproxyMap *m = userdata;
        const char *first, *second;
        unsigned routes, paths;

        m->busy--;
        if (r == -ECANCELED)
                return;
        first = answer ? strstr(answer, words) : NULL;
        second = first ? strstr(first + 1, words) : NULL;
        if (!second || sscanf(first + sizeof(words) - 1, "%u", &routes) != 1 ||
            sscanf(second + sizeof(words) - 1, "%u", &paths) != 1) {
                log_notice("HAProxy does not let its maps be replaced: %s", r < 0    ? strerror(-r)
                                                                            : answer ? answer
                                                                                     : "");
                whole_later(m);
                return;
        }
        m->failed = false;
        m->whole = false;
        if (ask_whole(m, routes, paths) < 0)
                whole_later(m);
}

/* ---- one change after another ---- */

static void on_changed(void *userdata, int r, const char *answer) {
        HaproxyMap *m = userdata;

        m->busy--;
        if (r == -ECANCELED)
                return;
        if (r < 0 || !is_silence(answer)) {
                log_notice("HAProxy did not take a change of routes (%s), all are sent again",
                           r < 0 ? strerror(-r) : answer);
                m->whole = true;
        }
        apply_soon(m);
}

/* Commands of one question stand in one line; a ';' at its end would be an unknown command. */
static void add_command(StrBuf *b, const char *verb, const char *map, const char *rest, size_t n) {
        strbuf_addf(b, "%s%s map %s %.*s", b->size > 0 ? ";" : "", verb, map, (int) n, rest);
}

static void add_path_commands(HaproxyMap *m, StrBuf *b, char *const *old, char *const *now) {
        for (char *const *line = old; line && *line; line++)
                if (!strv_contains(now, *line))
                        add_command(b, "del", m->paths_path, *line, strcspn(*line, " "));
        for (char *const *line = now; line && *line; line++)
                if (!strv_contains(old, *line))
                        add_command(b, "add", m->paths_path, *line, strlen(*line));
}

/* The commands that make HAProxy show this host as it is now, and the memory of it. */
static int add_commands(HaproxyMap *m, StrBuf *b, const char *host) {
        const Shown *old = map_get(m->shown, host);
        const Site *s = sites_get(m->sites, host);
        auto_cleanup(strv_freep) char **paths = NULL;
        auto_cleanup(freep) char *value = NULL, *line = NULL;
        int r;

        r = s ? haproxy_view(s, &value, &paths) : 0;
        if (r < 0)
                return r;
        add_path_commands(m, b, old ? old->paths : NULL, paths);
        line = str_format("%s %s", host, value ? value : "");
        if (!line)
                return -ENOMEM;
        if (value && !old)
                add_command(b, "add", m->routes_path, line, strlen(line));
        else if (value && !streq(value, old->value))
                add_command(b, "set", m->routes_path, line, strlen(line));
        else if (!value && old)
                add_command(b, "del", m->routes_path, host, strlen(host));
        if (value)
                return shown_put(m, host, &value, &paths);
        (void) map_remove(m->shown, host); /* it may not have been there */
        return 0;
}

static int ask_changes(HaproxyMap *m) {
        auto_strbuf b = { 0 };
        const char *host;
        size_t at = 0;
        int r = 0;

        while (r == 0 && b.size < COMMAND_MAX && map_next(m->dirty, &at, &host)) {
                r = add_commands(m, &b, host);
                (void) map_remove(m->dirty, host); /* it is there */
        }
        if (r < 0 || b.broken)
                return -ENOMEM;
        return b.size > 0 ? ask(m, &b, on_changed) : 0;
}

static void on_apply(void *userdata) {
        HaproxyMap *m = userdata;
        auto_error error = { 0 };
        StrBuf command = { 0 };
        int r;

        r = m->stale ? haproxy_map_write(m, &error) : 0;
        if (r < 0)
                log_error("%s", error_text(&error, r)); /* the running process can still be told */
        if (!m->up || m->busy > 0)
                return;
        if (m->whole) {
                strbuf_addf(&command, "prepare map %s;prepare map %s", m->routes_path,
                            m->paths_path);
                r = ask(m, &command, on_prepared);
        } else {
                r = map_size(m->dirty) > 0 ? ask_changes(m) : 0;
        }
        if (r < 0)
                whole_later(m);
}

void haproxy_map_up(HaproxyMap *m) {
        m->up = m->whole = true;
        apply_soon(m);
}

void haproxy_map_down(HaproxyMap *m) {
        m->up = false;
        loop_timer_disarm(m->again);
}

void haproxy_map_changed(HaproxyMap *m, const char *host) {
        m->stale = true;
        if (map_put(m->dirty, host, m) < 0)
                m->whole = true; /* needs less memory than many names */
        apply_soon(m);
}

/* ---- the stick table ---- */

typedef struct Question {
        HaproxyMap *map;
        char *host;
        int64_t lost_ms;
        HaproxyActivityFunc done;
        void *userdata;
} Question;

static void question_free(Question *q) {
        free(q->host);
        free(q);
}

DEFINE_CLEANUP(Question *, question_free)

static int64_t field(const char *line, const char *name) {
        const char *at = strstr(line, name);
        long long value = 0;

        return at && sscanf(at + strlen(name), "%lld", &value) == 1 ? value : 0;
}

/* An open request or websocket is use as long as bytes move: what had the same counters at the last
 * reading has been silent since then. */
static void read_open(Question *q, const char *line, int64_t now, FrontActivity *a) {
        int64_t bytes = field(line, " bytes_in_cnt=") + field(line, " bytes_out_cnt=");
        Seen *seen = map_get(q->map->seen, q->host);

        a->open = (unsigned) field(line, " conn_cur=");
        if (seen && seen->bytes == bytes) {
                a->last_visit_ms = seen->since_ms;
                if (now - seen->since_ms >= LIMIT_DOOR_SILENT_MS)
                        a->open = 0;
                return;
        }
        a->last_visit_ms = now;
        seen = calloc(1, sizeof(Seen));
        if (!seen)
                return;
        *seen = (Seen){ bytes, now };
        if (map_put(q->map->seen, q->host, seen) < 0)
                free(seen);
}

static void on_table(void *userdata, int r, const char *answer) {
        auto_cleanup(question_freep) Question *q = userdata;
        FrontActivity a = { .last_visit_ms = q->lost_ms };
        int64_t now = (int64_t) (loop_boot_usec() / 1000);
        const char *line;

        /* a host that the table does not have is answered with silence */
        a.known = r == 0 && (is_silence(answer) || str_after(answer, "# table: activity"));
        line = a.known ? strstr(answer, " use=") : NULL;
        if (line && field(line, " conn_cur=") > 0) {
                read_open(q, line, now, &a);
        } else if (line) {
                (void) map_remove(q->map->seen, q->host); /* it need not be there */
                a.last_visit_ms = now - (EXPIRE_MS - field(line, " exp="));
        }
        if (a.last_visit_ms < q->lost_ms)
                a.last_visit_ms = q->lost_ms;
        /* ages are measured by the boot clock, and told by the wall clock as it is now */
        if (a.last_visit_ms > 0)
                a.last_visit_ms += clock_wall_ms(q->map->setup->clock) - now;
        q->done(q->userdata, q->host, &a);
}

int haproxy_map_activity(HaproxyMap *m, const char *host, int64_t lost_ms, HaproxyActivityFunc done,
                         void *userdata) {
        auto_cleanup(question_freep) Question *q = NULL;
        char *command;
        int r;

        if (!m->up)
                return -ENOTCONN;
        if (!haproxy_word_valid(host))
                return -EINVAL;
        q = calloc(1, sizeof(Question));
        command = str_format("show table activity key %s\n", host);
        if (!q || !command) {
                free(command);
                return -ENOMEM;
        }
        *q = (Question){ m, strdup(host), lost_ms, done, userdata };
        if (!q->host) {
                free(command);
                return -ENOMEM;
        }
        r = runtime_ask(m->runtime, command, on_table, q);
        if (r == 0)
                q = NULL;
        return r;
}

/* ---- start and end ---- */

int haproxy_map_new(const GatewaySetup *setup, Sites *sites, Runtime *runtime, HaproxyMap **ret,
                    Error *reterr) {
        auto_cleanup(haproxy_map_freep) HaproxyMap *m = calloc(1, sizeof(HaproxyMap));
        int r;

        if (!m)
                return -ENOMEM;
        m->setup = setup;
        m->sites = sites;
        m->runtime = runtime;
        m->shown = map_new(shown_free);
        m->dirty = map_new(NULL);
        m->seen = map_new(free);
        m->routes_path = path_join(setup->run_dir, "routes.map");
        m->paths_path = path_join(setup->run_dir, "paths.map");
        if (!m->shown || !m->dirty || !m->seen || !m->routes_path || !m->paths_path)
                return -ENOMEM;
        r = loop_add_turn_end(setup->loop, "HAProxy routes", on_apply, m, &m->apply, reterr);
        if (r == 0)
                r = loop_add_timer(setup->loop, "HAProxy routes again", on_apply, m, &m->again,
                                   reterr);
        if (r < 0)
                return r;
        *ret = TAKE(m);
        return 0;
}

HaproxyMap *haproxy_map_free(HaproxyMap *m) {
        if (!m)
                return NULL;
        loop_source_free(m->apply);
        loop_source_free(m->again);
        map_free(m->shown);
        map_free(m->dirty);
        map_free(m->seen);
        free(m->routes_path);
        free(m->paths_path);
        free(m);
        return NULL;
}
