/* Params as templates: making them from what a person wrote, and resolving them once the outputs exist.
 *
 * An object with exactly one member named "$text", "$outputs" or "$literal" is an operator; everything
 * else is literal. The text of "$text" is read by Score's scanner in one pass: "${...}" is a
 * placeholder, "$$" one dollar, "$${...}" stays "${...}"; results are not read again. */
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/graph.h"
#include "orchestrator/spec/placeholder.h"

static const char *const operators[] = { "$text", "$outputs", "$literal" };

static const char *operator_of(const json_t *object) {
        const char *name;

        if (json_object_size(object) != 1)
                return NULL;
        name = json_object_iter_key(json_object_iter((json_t *) object));
        for (size_t i = 0; i < N_ELEMENTS(operators); i++)
                if (streq(name, operators[i]))
                        return operators[i];
        return NULL;
}

/* ---- making ---- */

json_t *template_text(const char *text, size_t size) {
        json_t *string = json_stringn(text, size);

        if (!string || !memchr(text, '$', size))
                return string;
        return json_pack("{s:o}", "$text", string);
}

static json_t *template_of(const json_t *tree, bool placeholders);

static json_t *template_array(const json_t *tree, bool placeholders) {
        json_t *copy = json_array();
        const json_t *value;
        size_t i;

        json_array_foreach(tree, i, value)
                if (json_array_append_new(copy, template_of(value, placeholders)) < 0) {
                        json_decref(copy);
                        return NULL;
                }
        return copy;
}

static json_t *template_object(const json_t *tree, bool placeholders) {
        json_t *copy = json_object(), *value;
        const char *name;
        size_t size;

        json_object_keylen_foreach(
                (json_t *) tree, name, size,
                value) if (json_object_setn_new(copy, name, size,
                                                template_of(value, placeholders)) < 0) {
                json_decref(copy);
                return NULL;
        }
        return operator_of(tree) ? json_pack("{s:o}", "$literal", copy) : copy;
}

static json_t *template_of(const json_t *tree, bool placeholders) {
        if (json_is_string(tree) && placeholders)
                return template_text(json_string_value(tree), json_string_length(tree));
        if (json_is_array(tree))
                return template_array(tree, placeholders);
        if (json_is_object(tree))
                return template_object(tree, placeholders);
        return json_deep_copy(tree);
}

json_t *template_tree(const json_t *tree) {
        return template_of(tree, true);
}

json_t *template_literal(const json_t *tree) {
        return template_of(tree, false);
}

void template_escape(StrBuf *b, const char *text) {
        PlaceholderScan scan = { .string = text };
        PlaceholderPart part;

        while (*(text = scan.string + scan.at)) {
                (void) placeholder_next(&scan, &part);
                if (!part.reference &&
                    *text == '$') { /* one at a time: what follows may be one too */
                        scan.at = part.offset + 1;
                        strbuf_add(b, "$$");
                        continue;
                }
                strbuf_add(b, part.reference ? "$" : "");
                strbuf_addn(b, text, scan.at - part.offset);
        }
}

/* ---- resolving ---- */

typedef struct Resolver {
        const GraphNode *node;
        GraphOutputsFunc outputs;
        void *userdata;
        Error *reterr;
        size_t *room; /* bytes that may still be put in: a short text can refer to a long one often */
} Resolver;

static int resolve(const Resolver *v, const json_t *tree, json_t **ret);

/* The outputs of the resource called name in this node's file. */
static int outputs_of(const Resolver *v, const char *name, const json_t **ret) {
        const char *key = json_string_value(json_object_get(v->node->refs, name));
        const json_t *outputs;

        if (!key)
                return error_set(v->reterr, -EINVAL, "There is no resource '%s' for '%s'", name,
                                 v->node->key);
        outputs = v->outputs(v->userdata, key);
        if (!outputs)
                return error_set(v->reterr, -ENOENT, "The resource '%s' (%s) has no outputs yet",
                                 name, key);
        *ret = outputs;
        return 0;
}

/* The value that a reference means, borrowed. */
static int reference_find(const Resolver *v, const char *text, size_t size, const json_t **ret) {
        auto_cleanup(strv_freep) char **parts = NULL;
        const json_t *at = NULL;
        size_t first = 1;
        int r;

        parts = placeholder_split(text, size);
        if (!parts)
                return -ENOMEM;
        if (streq(parts[0], "metadata") && parts[1]) {
                at = v->node->metadata;
        } else if (streq(parts[0], "resources") && parts[1] && parts[2]) {
                r = outputs_of(v, parts[1], &at);
                if (r < 0)
                        return r;
                first = 2;
        } else {
                return error_set(v->reterr, -EINVAL,
                                 "'${%.*s}' is not a reference: write ${metadata.KEY} or "
                                 "${resources.NAME.OUTPUT}, or $${...} for the text itself",
                                 (int) size, text);
        }

        for (size_t i = first; parts[i]; i++) {
                at = json_is_object(at) ? json_object_get(at, parts[i]) : NULL;
                if (!at)
                        return error_set(v->reterr, -ENOENT, "'${%.*s}': there is no '%s'",
                                         (int) size, text, parts[i]);
        }
        *ret = at;
        return 0;
}

static int room_take(const Resolver *v, size_t size) {
        if (size > *v->room)
                return error_set(v->reterr, -EINVAL,
                                 "The params of '%s' become larger than %d bytes", v->node->key,
                                 LIMIT_PROVIDER_REQUEST_BYTES);
        *v->room -= size;
        return 0;
}

static int value_append(const Resolver *v, StrBuf *b, const json_t *value) {
        size_t before = b->size;

        if (json_is_string(value))
                strbuf_addn(b, json_string_value(value), json_string_length(value));
        else
                json_write(b, value, 0);
        return b->broken ? -ENOMEM : room_take(v, b->size - before);
}

static int resolve_text(const Resolver *v, const json_t *string, json_t **ret) {
        PlaceholderScan scan = { .string = json_string_value(string) };
        const json_t *value = NULL;
        PlaceholderPart part;
        auto_strbuf b = { 0 };
        int r;

        while (placeholder_next(&scan, &part)) {
                if (!part.reference) {
                        strbuf_addn(&b, part.text, part.size);
                        continue;
                }
                r = reference_find(v, part.text, part.size, &value);
                if (r < 0)
                        return r;
                r = value_append(v, &b, value);
                if (r < 0)
                        return r;
        }
        if (b.broken)
                return -ENOMEM;
        *ret = json_stringn(b.text ? b.text : "", b.size);
        return *ret ? 0 : -ENOMEM;
}

static int resolve_outputs(const Resolver *v, const json_t *value, json_t **ret) {
        const json_t *outputs;
        int r;

        outputs = v->outputs(v->userdata, json_string_value(value));
        if (!outputs)
                return error_set(v->reterr, -ENOENT, "The resource '%s' has no outputs yet",
                                 json_string_value(value));
        r = room_take(v, json_dumpb(outputs, NULL, 0, JSON_COMPACT));
        if (r < 0)
                return r;
        *ret = json_deep_copy(outputs);
        return *ret ? 0 : -ENOMEM;
}

static int resolve_array(const Resolver *v, const json_t *tree, json_t **ret) {
        auto_cleanup(json_decrefp) json_t *copy = json_array();
        const json_t *value;
        size_t i;
        int r;

        json_array_foreach(tree, i, value) {
                json_t *resolved;

                r = resolve(v, value, &resolved);
                if (r < 0)
                        return r;
                if (json_array_append_new(copy, resolved) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE(copy);
        return *ret ? 0 : -ENOMEM;
}

static int resolve_object(const Resolver *v, const json_t *tree, json_t **ret) {
        auto_cleanup(json_decrefp) json_t *copy = json_object();
        const char *name;
        json_t *value;
        size_t size;
        int r;

        json_object_keylen_foreach((json_t *) tree, name, size, value) {
                json_t *resolved;

                r = resolve(v, value, &resolved);
                if (r < 0)
                        return r;
                if (json_object_setn_new(copy, name, size, resolved) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE(copy);
        return *ret ? 0 : -ENOMEM;
}

static int resolve(const Resolver *v, const json_t *tree, json_t **ret) {
        const char *kind = json_is_object(tree) ? operator_of(tree) : NULL;
        const json_t *operand = kind ? json_object_get(tree, kind) : NULL;
        bool literal = kind && streq(kind, "$literal");

        if (kind && (literal ? !json_is_object(operand) : !json_is_string(operand)))
                return error_set(v->reterr, -EINVAL, "A param of '%s' has a bad '%s'", v->node->key,
                                 kind);
        if (literal)
                return resolve_object(v, operand, ret);
        if (kind && streq(kind, "$text"))
                return resolve_text(v, operand, ret);
        if (kind)
                return resolve_outputs(v, operand, ret);
        if (json_is_object(tree))
                return resolve_object(v, tree, ret);
        if (json_is_array(tree))
                return resolve_array(v, tree, ret);
        *ret = json_deep_copy(tree);
        return *ret ? 0 : -ENOMEM;
}

int graph_resolve(const GraphNode *node, GraphOutputsFunc outputs, void *userdata, json_t **ret,
                  Error *reterr) {
        size_t room = LIMIT_PROVIDER_REQUEST_BYTES;
        Resolver v = { .node = node,
                       .outputs = outputs,
                       .userdata = userdata,
                       .reterr = reterr,
                       .room = &room };
        json_t *resolved;
        int r;

        r = resolve(&v, node->params, &resolved);
        if (r < 0)
                return r;
        *ret = resolved;
        return 0;
}
