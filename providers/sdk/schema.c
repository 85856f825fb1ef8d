#include "providers/sdk/schema.h"

#include <string.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"

static const struct {
        const char *name, *words;
} types[] = {
        { "object", "an object" }, { "array", "a list" },
        { "string", "a text" },    { "integer", "a whole number" },
        { "number", "a number" },  { "boolean", "true or false" },
        { "null", "null" },
};

static bool is_type(const json_t *value, const char *type) {
        switch (json_typeof(value)) {
        case JSON_OBJECT:
                return streq(type, "object");
        case JSON_ARRAY:
                return streq(type, "array");
        case JSON_STRING:
                return streq(type, "string");
        case JSON_INTEGER:
                return streq(type, "integer") || streq(type, "number");
        case JSON_REAL:
                return streq(type, "number");
        case JSON_TRUE:
        case JSON_FALSE:
                return streq(type, "boolean");
        default:
                return streq(type, "null");
        }
}

const char *schema_nearest_key(const json_t *object, const char *key) {
        const char *names[LIMIT_SPEC_SCORE_FILES + 1] = { 0 }, *name;
        json_t *unused;
        size_t n = 0;

        json_object_foreach((json_t *) object, name, unused) {
                if (n < N_ELEMENTS(names) - 1)
                        names[n++] = name;
        }
        return strv_nearest(names, key);
}

static int check_type(const json_t *schema, const json_t *value, const char *where, Error *reterr) {
        const char *type = json_string_value(json_object_get(schema, "type"));
        const char *words = type;

        if (!type || is_type(value, type))
                return 0;
        for (size_t i = 0; i < N_ELEMENTS(types); i++)
                if (streq(types[i].name, type))
                        words = types[i].words;
        return error_set(reterr, -EINVAL, "%s must be %s", where, words);
}

static int check_number(const json_t *schema, const json_t *value, const char *where,
                        Error *reterr) {
        const json_t *least = json_object_get(schema, "minimum");
        const json_t *most = json_object_get(schema, "maximum");
        double number = json_number_value(value);

        if (!json_is_number(value))
                return 0;
        if (json_is_number(least) && number < json_number_value(least))
                return error_set(reterr, -EINVAL, "%s must be at least %.15g", where,
                                 json_number_value(least));
        if (json_is_number(most) && number > json_number_value(most))
                return error_set(reterr, -EINVAL, "%s must be at most %.15g", where,
                                 json_number_value(most));
        return 0;
}

static int check_string(const json_t *schema, const json_t *value, const char *where,
                        Error *reterr) {
        const json_t *longest = json_object_get(schema, "maxLength");
        const json_t *allowed = json_object_get(schema, "enum"), *one;
        auto_strbuf list = { 0 };
        size_t i;

        if (!json_is_string(value))
                return 0;
        if (json_is_integer(longest) &&
            utf8_length(json_string_value(value)) > (size_t) json_integer_value(longest))
                return error_set(reterr, -EINVAL,
                                 "%s is longer than %" JSON_INTEGER_FORMAT " characters", where,
                                 json_integer_value(longest));
        if (!json_is_array(allowed))
                return 0;
        json_array_foreach(allowed, i, one) {
                if (json_equal(one, value))
                        return 0;
                strbuf_addf(&list, "%s'%s'", i ? ", " : "", json_string_value(one));
        }
        return error_set(reterr, -EINVAL, "%s must be one of %s", where,
                         list.text ? list.text : "none");
}

static int check_items(const json_t *schema, const json_t *value, const char *where,
                       Error *reterr) {
        const json_t *items = json_object_get(schema, "items"), *item;
        const json_t *most = json_object_get(schema, "maxItems");
        size_t i;
        int r;

        if (!json_is_array(value))
                return 0;
        if (json_is_integer(most) && json_array_size(value) > (size_t) json_integer_value(most))
                return error_set(reterr, -EINVAL,
                                 "%s has more than %" JSON_INTEGER_FORMAT " entries", where,
                                 json_integer_value(most));
        if (!items)
                return 0;
        json_array_foreach(value, i, item) {
                auto_cleanup(freep) char *place = str_format("%s[%zu]", where, i);

                r = place ? schema_check(items, item, place, reterr) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int check_member(const json_t *schema, const char *key, const json_t *value,
                        const char *where, Error *reterr) {
        const json_t *properties = json_object_get(schema, "properties");
        const json_t *known = json_object_get(properties, key);
        auto_cleanup(freep) char *place = str_format("%s.%s", where, key);
        const char *near;

        if (!place)
                return -ENOMEM;
        if (known)
                return schema_check(known, value, place, reterr);
        if (!json_is_false(json_object_get(schema, "additionalProperties")))
                return 0;
        near = schema_nearest_key(properties, key);
        return near ? error_set(reterr, -EINVAL, "%s is not known; did you mean '%s'?", place, near)
                    : error_set(reterr, -EINVAL, "%s is not known", place);
}

int schema_check(const json_t *schema, const json_t *value, const char *where, Error *reterr) {
        const json_t *required = json_object_get(schema, "required"), *name, *member;
        const char *key;
        size_t i;
        int r;

        r = check_type(schema, value, where, reterr);
        if (r == 0)
                r = check_number(schema, value, where, reterr);
        if (r == 0)
                r = check_string(schema, value, where, reterr);
        if (r == 0)
                r = check_items(schema, value, where, reterr);
        if (r < 0 || !json_is_object(value))
                return r;

        /* A misspelt key comes before the one that it leaves missing. */
        json_object_foreach((json_t *) value, key, member) {
                r = check_member(schema, key, member, where, reterr);
                if (r < 0)
                        return r;
        }
        json_array_foreach(required, i, name) {
                if (!json_object_get(value, json_string_value(name)))
                        return error_set(reterr, -EINVAL, "%s.%s is missing", where,
                                         json_string_value(name));
        }
        return 0;
}
