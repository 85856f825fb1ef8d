/* A shape as JSON Schema. What only code can check (that a duration is in range, that a pattern is well
 * formed) is left out or approximated from the wide side: the schema never refuses a good file. */
#include <inttypes.h>

#include "orchestrator/base/str.h"
#include "orchestrator/spec/shape.h"

#define DURATION_PATTERN "^([0-9]+(ms|s|m|h|d|w) *)+$"

static json_t *schema_of(const Shape *shape);

static json_t *schema_text(const Shape *shape) {
        json_t *schema = json_pack("{s:s, s:i}", "type", "string", "minLength", 1);

        if (shape->pattern)
                json_object_set_new(schema, "pattern", json_string(shape->pattern));
        if (shape->choices) {
                json_t *list = json_array();

                for (const char *const *c = shape->choices; *c; c++)
                        json_array_append_new(list, json_string(*c));
                json_object_set_new(schema, "enum", list);
        }
        return schema;
}

static json_t *schema_fields(const Shape *shape) {
        json_t *properties = json_object(), *required = json_array(), *schema;

        for (const Shape *f = shape->fields; f->name; f++) {
                json_object_set_new(properties, f->name, schema_of(f));
                if (f->required)
                        json_array_append_new(required, json_string(f->name));
        }
        schema = json_pack("{s:s, s:b, s:o}", "type", "object", "additionalProperties", 0,
                           "properties", properties);
        if (json_array_size(required) > 0)
                json_object_set_new(schema, "required", required);
        else
                json_decref(required);
        return schema;
}

static json_t *schema_map(const Shape *shape) {
        json_t *schema = json_pack("{s:s, s:o}", "type", "object", "additionalProperties",
                                   schema_of(shape->inner));

        if (shape->pattern)
                json_object_set_new(schema, "propertyNames",
                                    json_pack("{s:s}", "pattern", shape->pattern));
        return schema;
}

static json_t *schema_bare(const Shape *shape) {
        switch (shape->kind) {
        case SHAPE_TEXT:
                return schema_text(shape);
        case SHAPE_BOOLEAN:
                return json_pack("{s:s}", "type", "boolean");
        case SHAPE_DURATION:
                return json_pack("{s:s, s:s}", "type", "string", "pattern",
                                 shape->or_off ? "^(off|([0-9]+(ms|s|m|h|d|w) *)+)$"
                                               : DURATION_PATTERN);
        case SHAPE_INTEGER:
                return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum",
                                 (json_int_t) shape->min, "maximum", (json_int_t) shape->max);
        case SHAPE_TEXTS:
                return json_pack("{s:s, s:i, s:o}", "type", "array", "minItems", 1, "items",
                                 schema_text(shape));
        case SHAPE_COMMAND:
                return json_pack("{s:[{s:s, s:i}, {s:s, s:i, s:{s:s, s:i}}]}", "anyOf", "type",
                                 "string", "minLength", 1, "type", "array", "minItems", 1, "items",
                                 "type", "string", "minLength", 1);
        case SHAPE_SCALAR:
                return json_pack("{s:[s, s, s]}", "type", "string", "number", "boolean");
        case SHAPE_SCALARS:
                return json_pack("{s:s, s:{s:[s, s, s]}}", "type", "array", "items", "type",
                                 "string", "number", "boolean");
        case SHAPE_TREE:
                return json_pack("{s:s}", "type", "object");
        case SHAPE_FIELDS:
                return schema_fields(shape);
        case SHAPE_MAP:
                return schema_map(shape);
        case SHAPE_LIST:
                return json_pack("{s:s, s:o}", "type", "array", "items", schema_of(shape->inner));
        case _SHAPE_KIND_MAX:
                break;
        }
        return NULL;
}

static json_t *schema_of(const Shape *shape) {
        json_t *schema = schema_bare(shape);

        if (shape->help)
                json_object_set_new(schema, "description", json_string(shape->help));
        return schema;
}

int shape_to_schema(const Shape *shape, const char *id, const char *title, json_t **ret) {
        json_t *schema = schema_of(shape);

        if (!schema ||
            json_object_set_new(schema, "$schema",
                                json_string("https://json-schema.org/draft/2020-12/schema")) < 0 ||
            json_object_set_new(schema, "$id", json_string(id)) < 0 ||
            json_object_set_new(schema, "title", json_string(title)) < 0) {
                json_decref(schema);
                return -ENOMEM;
        }
        *ret = schema;
        return 0;
}
