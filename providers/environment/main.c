/* Values that an admin set for the project, as outputs. Nobody can tell from outside which of them are
 * passwords, so all are marked secret: sealed in the ledger, never shown. */
#include "providers/sdk/computed.h"

static int provision(SdkCall *call, Error *reterr) {
        const json_t *values = json_object_get(call->environment, "values"), *value;
        json_auto_t *secret = json_array();
        const char *name;

        if (!secret)
                return -ENOMEM;
        json_object_foreach((json_t *) values, name, value) {
                if (!json_is_string(value))
                        return error_set(reterr, -EINVAL,
                                         "The value '%s' set for this project is no text", name);
                json_array_append_new(secret, json_string(name));
        }
        call->ret_secret = json_incref(secret);
        return computed_provision(
                call, json_is_object(values) ? json_deep_copy(values) : json_object(), reterr);
}

int main(int argc, char **argv) {
        static const SdkType types[] = {
                { .type = "environment",
                  .provision = provision,
                  .inspect = computed_inspect,
                  .deprovision = computed_deprovision,
                  .computed = true,
                  .outputs = "*",
                  .scope = "generation",
                  .params_schema = "{\"type\":\"object\",\"additionalProperties\":false}" },
                { 0 },
        };
        static const SdkProvider provider = {
                .name = "environment",
                .summary = "Hands out the values that an admin set for a project. Makes nothing.",
                .types = types,
                .list = computed_list,
        };

        return sdk_main(argc, argv, &provider);
}
