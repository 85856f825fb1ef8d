#include "providers/sdk/describe.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/base/str.h"

#define VERB(n, needed) \
        { .name = #n, .offset = offsetof(SdkType, n), .required = needed }
const VerbOfType verbs_of_type[VERBS_OF_TYPE] = {
        VERB(provision, true), VERB(inspect, true),   VERB(deprovision, true), VERB(sleep, false),
        VERB(wake, false),     VERB(snapshot, false), VERB(restore, false),    VERB(usage, false),
        VERB(logs, false),     VERB(exec, false),
};

SdkVerb verb_of_type(const SdkType *type, const VerbOfType *verb) {
        return *(const SdkVerb *) (const void *) ((const char *) type + verb->offset);
}

static json_t *words_make(const char *words) {
        json_t *list = json_array();

        while (list && words && *words) {
                size_t n = strcspn(words, " ");

                if (n > 0)
                        json_array_append_new(list, json_stringn(words, n));
                words += n + (words[n] == ' ');
        }
        return list;
}

static json_t *verbs_make(const SdkType *type) {
        json_t *list = json_array();

        for (size_t i = 0; list && i < VERBS_OF_TYPE; i++)
                if (verb_of_type(type, &verbs_of_type[i]))
                        json_array_append_new(list, json_string(verbs_of_type[i].name));
        return list;
}

static int type_make(const SdkType *type, json_t **ret, Error *reterr) {
        const char *text = type->params_schema ? type->params_schema : "{\"type\":\"object\"}";
        json_auto_t *schema = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

        if (!schema)
                return error_set(reterr, -EUCLEAN, "The params schema of type '%s' is no JSON",
                                 type->type);
        *ret = json_pack("{s:s, s:s, s:o, s:O, s:o, s:s, s:b}", "type", type->type, "scope",
                         type->scope ? type->scope : "generation", "verbs", verbs_make(type),
                         "params", schema, "outputs", words_make(type->outputs), "cost",
                         type->cost ? type->cost : "nothing", "computed", type->computed);
        return *ret ? 0 : -ENOMEM;
}

int describe_make(const SdkProvider *provider, json_t **ret, Error *reterr) {
        json_auto_t *list = json_array();
        json_t *one = NULL;
        int r;

        for (const SdkType *type = provider->types; type->type; type++) {
                r = type_make(type, &one, reterr);
                if (r < 0)
                        return r;
                json_array_append_new(list, one);
        }
        *ret = json_pack("{s:i, s:s, s:o, s:O}", "protocol", 1, "name", provider->name, "verbs",
                         words_make(provider->watch ? "describe list watch" : "describe list"),
                         "types", list);
        return *ret ? 0 : -ENOMEM;
}

static void print_properties(const json_t *schema) {
        const json_t *properties = json_object_get(schema, "properties"), *one;
        const char *key;

        json_object_foreach((json_t *) properties, key, one) {
                const char *type = json_string_value(json_object_get(one, "type"));
                const char *about = json_string_value(json_object_get(one, "description"));

                printf("    %-14s %s%s%s\n", key, type ? type : "any", about ? ": " : "",
                       about ? about : "");
        }
}

int describe_print(const SdkProvider *provider) {
        for (const SdkType *type = provider->types; type->type; type++) {
                json_auto_t *schema =
                        type->params_schema ? json_loads(type->params_schema, 0, NULL) : NULL;

                printf("type %s (one for each %s, costs %s)\n  verbs  ", type->type,
                       type->scope ? type->scope : "generation",
                       type->cost ? type->cost : "nothing");
                for (size_t i = 0; i < VERBS_OF_TYPE; i++)
                        if (verb_of_type(type, &verbs_of_type[i]))
                                printf(" %s", verbs_of_type[i].name);
                printf("\n  outputs %s\n  params\n",
                       type->outputs && *type->outputs ? type->outputs : "none");
                print_properties(schema);
        }
        return fflush(stdout) == 0 ? 0 : 1;
}
