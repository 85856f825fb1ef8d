/* What a provider says about itself, as the answer to "describe" and as text for people. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "providers/sdk/sdk.h"

/* The verbs of a type, by name; the offset finds the function in an SdkType. */
typedef struct VerbOfType {
        const char *name;
        size_t offset;
        bool required;
} VerbOfType;
#define VERBS_OF_TYPE 10
extern const VerbOfType verbs_of_type[VERBS_OF_TYPE];

/* NULL when the type does not offer it. */
SdkVerb verb_of_type(const SdkType *type, const VerbOfType *verb);

/* {"protocol","name","verbs","types":[...]}, owned; -EUCLEAN when a schema in the table is no JSON. */
int describe_make(const SdkProvider *provider, json_t **ret, Error *reterr);
int describe_print(const SdkProvider *provider);
