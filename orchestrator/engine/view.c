/* One environment as the ledger has it, for the length of one look. */
#include "orchestrator/engine/private.h"
#include "orchestrator/glue/crypto.h"

typedef struct Loading {
        View *v;
        size_t room_gens, room_parts;
} Loading;

static int add_generation(void *userdata, const Generation *g) {
        Loading *l = userdata;
        View *v = l->v;

        if (v->n_gens == l->room_gens) {
                size_t room = l->room_gens ? l->room_gens * 2 : 4;
                Generation *gens = reallocarray(v->gens, room, sizeof(Generation));

                if (!gens)
                        return -ENOMEM;
                v->gens = gens;
                l->room_gens = room;
        }
        generation_take(g, &v->gens[v->n_gens++]);
        return 0;
}

static int part_append(View *v, Part *p) {
        Part **grown;

        if ((v->n_parts & (v->n_parts - 1)) == 0) {
                grown = reallocarray(v->parts, v->n_parts ? v->n_parts * 2 : 1, sizeof(Part *));
                if (!grown)
                        return -ENOMEM;
                v->parts = grown;
        }
        v->parts[v->n_parts++] = p;
        return 0;
}

static void part_free(Part *p) {
        if (!p)
                return;
        resource_done(&p->row);
        json_decref(p->outputs);
        free(p);
}

static int add_part(void *userdata, const Resource *res) {
        Loading *l = userdata;
        Part *p = calloc(1, sizeof(Part));
        int r;

        if (!p)
                return -ENOMEM;
        resource_take(res, &p->row);
        r = part_append(l->v, p);
        if (r < 0)
                part_free(p);
        return r;
}

/* Who was told a secret that has ended has ended too. */
static void forget_gone(const Engine *e, Look *look) {
        const Call *c;
        size_t at = 0;

        while ((c = map_next(e->calls, &at, NULL)))
                if (streq_null(c->environment_id, look->id))
                        return;
        scrub_done(&look->gone);
}

int view_load(Engine *e, Look *look, View *ret, Error *reterr) {
        Loading loading = { .v = ret };
        int r;

        *ret = (View){ .e = e, .look = look };
        if (look->gone.n > 0)
                forget_gone(e, look);
        r = ledger_environment_get(e->ledger, look->id, &ret->env, reterr);
        if (r == 0)
                r = ledger_generation_each_open(e->ledger, look->id, add_generation, &loading,
                                                reterr);
        if (r == 0)
                r = ledger_resource_each(e->ledger, look->id, false, add_part, &loading, reterr);
        if (r < 0)
                return r;
        ret->graphs = calloc(ret->n_gens + 1, sizeof(Graph *));
        return ret->graphs ? 0 : -ENOMEM;
}

void view_done(View *v) {
        environment_done(&v->env);
        for (size_t i = 0; i < v->n_gens; i++)
                generation_done(&v->gens[i]);
        for (size_t i = 0; i < v->n_parts; i++)
                part_free(v->parts[i]);
        free(v->gens);
        free(v->graphs);
        free(v->parts);
        *v = (View){ 0 };
}

Generation *view_generation(View *v, int64_t number) {
        for (size_t i = 0; i < v->n_gens; i++)
                if (v->gens[i].number == number)
                        return &v->gens[i];
        return NULL;
}

Generation *view_under_way(View *v) {
        Generation *g = view_generation(v, v->env.wanted_generation);

        return generation_under_way(g) && view_wants(v, g->number) ? g : NULL;
}

int view_graph(View *v, int64_t number, Graph **ret, Error *reterr) {
        size_t i = 0;
        int r;

        *ret = NULL;
        while (i < v->n_gens && v->gens[i].number != number)
                i++;
        if (i == v->n_gens || !v->gens[i].graph)
                return 0;
        if (!v->graphs[i]) {
                r = parsed_graph(v->e, v->env.id, number, v->gens[i].graph, &v->graphs[i], reterr);
                if (r < 0)
                        return error_set(reterr, r,
                                         "The stored graph of generation %lld is damaged",
                                         (long long) number);
        }
        *ret = v->graphs[i];
        return 0;
}

bool part_alive(const Part *p) {
        return p->row.state != RES_REMOVED;
}

Part *view_find(View *v, const char *key, int64_t generation) {
        for (size_t i = 0; i < v->n_parts; i++) {
                Part *p = v->parts[i];

                if (part_alive(p) && (p->row.generation == generation || p->row.generation == 0) &&
                    streq(p->row.key, key))
                        return p;
        }
        return NULL;
}

int view_node(View *v, Part *p, GraphNode **ret, Error *reterr) {
        int r;

        if (!p->node) {
                r = parsed_node(v->e, p->row.uid, p->row.node, &p->node, reterr);
                if (r < 0)
                        return error_set(reterr, r, "The stored node of %s is damaged", p->row.uid);
        }
        *ret = p->node;
        return 0;
}

Call *view_call(View *v, const Part *p) {
        return map_get(v->e->busy, p->row.uid);
}

static const json_t *part_outputs(View *v, Part *p) {
        char *text = NULL;

        if (!p->outputs && ledger_resource_outputs(v->e->ledger, &p->row, &text, NULL) == 0)
                p->outputs = json_loads(text, 0, NULL);
        if (text)
                wipe(text, strlen(text));
        free(text);
        return p->outputs;
}

int view_secret_ends(View *v, Part *p) {
        const json_t *outputs = p->row.secret ? part_outputs(v, p) : NULL;

        for (char **name = outputs ? p->row.secret : NULL; name && *name; name++)
                scrub_add(&v->look->gone, json_object_get(outputs, *name));
        return v->look->gone.broken ? -ENOMEM : 0;
}

int view_secrets(View *v, Scrub *ret) {
        for (size_t i = 0; i < v->look->gone.n; i++) {
                json_auto_t *text = json_string(v->look->gone.secrets[i]);

                if (!text)
                        return -ENOMEM;
                scrub_add(ret, text);
        }
        for (size_t i = 0; i < v->n_parts; i++) {
                char **names = v->parts[i]->row.secret;
                const json_t *outputs = names && *names ? part_outputs(v, v->parts[i]) : NULL;

                if (names && *names && !outputs)
                        return -EBADMSG;
                for (char **name = names; name && *name; name++)
                        scrub_add(ret, json_object_get(outputs, *name));
        }
        return ret->broken ? -ENOMEM : 0;
}

char *view_scrub(View *v, const char *text) {
        auto_cleanup(freep) char *clean = NULL;
        auto_scrub scrub = { 0 };
        int r = view_secrets(v, &scrub);

        if (r == -EBADMSG)
                return strdup("words that are not shown, as the secrets of this environment "
                              "cannot be read");
        if (r == 0)
                clean = scrub_text(&scrub, text);
        return clean ? text_clean(clean) : NULL; /* cut last: half a secret is not found */
}

typedef struct Outputs {
        View *v;
        int64_t generation;
} Outputs;

static json_t *outputs_of(void *userdata, const char *key) {
        Outputs *o = userdata;
        Part *p = view_find(o->v, key, o->generation);

        return p && p->row.outputs ? (json_t *) part_outputs(o->v, p) : NULL;
}

int view_params(View *v, const GraphNode *node, int64_t generation, json_t **ret, Error *reterr) {
        Outputs outputs = { v, generation };

        return graph_resolve(node, outputs_of, &outputs, ret, reterr);
}

int part_move(View *v, Part *p, ResState to, Error *reterr) {
        int r = ledger_resource_move(v->e->ledger, &p->row, to, reterr);

        if (r == 0)
                v->again = true;
        return r;
}

int part_save(View *v, Part *p, Error *reterr) {
        return ledger_resource_update(v->e->ledger, &p->row, reterr);
}

static int part_fill(View *v, Part *p, const GraphNode *node, int64_t generation) {
        char uid[ID_SIZE];
        json_auto_t *json = NULL;
        Resource *r = &p->row;
        int error;

        id_make(v->e->setup.random, 'r', uid);
        error = graph_node_to_json(node, &json);
        if (error < 0)
                return error;
        r->uid = strdup(uid);
        r->marker = str_format("%s/%s/%s", ledger_installation(v->e->ledger), v->env.id, uid);
        r->environment_id = strdup(v->env.id);
        r->key = strdup(node->key);
        r->type = strdup(node->type);
        r->class = strdup(node->class ? node->class : "default");
        r->id = strdup(node->id ? node->id : "");
        r->provider = strdup(node->provider);
        r->node = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
        r->generation = node->scope == GRAPH_SCOPE_ENVIRONMENT ? 0 : generation;
        r->state = RES_PLANNED;
        r->created_ms = v->e->now_ms;
        if (!r->uid || !r->marker || !r->environment_id || !r->key || !r->type || !r->class ||
            !r->id || !r->provider || !r->node || str_replace(&r->name, node->name) < 0 ||
            str_replace(&r->workload, node->workload) < 0)
                return -ENOMEM;
        return 0;
}

int view_add_part(View *v, const GraphNode *node, int64_t generation, Part **ret, Error *reterr) {
        Part *p = calloc(1, sizeof(Part));
        int r;

        if (!p)
                return -ENOMEM;
        r = part_fill(v, p, node, generation);
        if (r == 0)
                r = ledger_resource_insert(v->e->ledger, &p->row, reterr);
        if (r == 0)
                r = part_append(v, p);
        if (r < 0) {
                part_free(p);
                return r;
        }
        v->again = true;
        *ret = p;
        return 0;
}
