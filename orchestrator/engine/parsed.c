/* Graphs and nodes as they were parsed, kept while calls are under way: a look at an environment comes with
 * every reply, and the texts of its rows are the same as at the look before. Which row an entry belongs to
 * finds it; that its text is the row's makes it the right one, so nothing has to be told of changes and
 * of turns that are taken back. What a look may have borrowed is freed at the end of the turn. */
#include "orchestrator/engine/private.h"

typedef struct Parsed {
        char *text;
        Graph *graph; /* or a node */
        GraphNode node;
        bool has_node;
        struct Parsed *next; /* replaced in this turn */
} Parsed;

static void parsed_free(void *p) {
        Parsed *parsed = p;

        if (!parsed)
                return;
        free(parsed->text);
        graph_free(parsed->graph);
        if (parsed->has_node)
                graph_node_done(&parsed->node);
        free(parsed);
}

void parsed_forget(Engine *e, bool all) {
        size_t at = 0;
        Parsed *p;

        while (e->replaced) {
                p = e->replaced;
                e->replaced = p->next;
                parsed_free(p);
        }
        if (!all && e->parsed_bytes <= LIMIT_PARSED_BYTES)
                return;
        const char *key;

        while (e->parsed && (p = map_next(e->parsed, &at, &key))) {
                parsed_free(p);
                map_remove(e->parsed, key);
        }
        e->parsed_bytes = 0;
}

static Parsed *find(Engine *e, const char *key, const char *text) {
        Parsed *p = map_get(e->parsed, key);

        return p && streq(p->text, text) ? p : NULL;
}

static int keep(Engine *e, const char *key, const char *text, Parsed *p) {
        Parsed *before = map_get(e->parsed, key);
        int r;

        p->text = strdup(text);
        r = p->text ? map_put(e->parsed, key, p) : -ENOMEM;
        if (r < 0) {
                parsed_free(p);
                return r;
        }
        e->parsed_bytes += strlen(text);
        if (before) {
                before->next = e->replaced;
                e->replaced = before;
        }
        return 0;
}

int parsed_graph(Engine *e, const char *environment_id, int64_t number, const char *text,
                 Graph **ret, Error *reterr) {
        auto_cleanup(freep) char *key = str_format("%s/%lld", environment_id, (long long) number);
        json_auto_t *json = NULL;
        Parsed *p;
        int r;

        if (!key)
                return -ENOMEM;
        p = find(e, key, text);
        if (!p) {
                p = calloc(1, sizeof(Parsed));
                if (!p)
                        return -ENOMEM;
                json = json_loads(text, 0, NULL);
                r = json ? graph_from_json(json, &p->graph, reterr) : -EBADMSG;
                if (r < 0) {
                        free(p);
                        return r;
                }
                r = keep(e, key, text, p);
                if (r < 0)
                        return r;
        }
        *ret = p->graph;
        return 0;
}

int parsed_node(Engine *e, const char *uid, const char *text, GraphNode **ret, Error *reterr) {
        Parsed *p = find(e, uid, text);
        json_auto_t *json = NULL;
        int r;

        if (!p) {
                p = calloc(1, sizeof(Parsed));
                if (!p)
                        return -ENOMEM;
                json = json_loads(text, 0, NULL);
                r = json ? graph_node_from_json(json, &p->node, reterr) : -EBADMSG;
                if (r < 0) {
                        free(p);
                        return r;
                }
                p->has_node = true;
                r = keep(e, uid, text, p);
                if (r < 0)
                        return r;
        }
        *ret = &p->node;
        return 0;
}
