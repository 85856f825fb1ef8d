#include "providers/git/checkout.h"

static const char params[] =
        "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"repository\",\"commit\"],"
        "\"properties\":{"
        "\"repository\":{\"type\":\"string\",\"maxLength\":2048,"
        "\"description\":\"absolute path, file://, https:// or ssh://\"},"
        "\"commit\":{\"type\":\"string\",\"description\":\"full name of the commit\"},"
        "\"branch\":{\"type\":\"string\",\"description\":\"for people; the commit decides\"},"
        "\"submodules\":{\"type\":\"boolean\",\"description\":\"true when absent\"},"
        "\"size_max\":{\"type\":\"integer\",\"minimum\":0,\"description\":\"bytes; 2 GiB when absent\"}}}";

int main(int argc, char **argv) {
        static const SdkType types[] = {
                { .type = "checkout",
                  .provision = checkout_provision,
                  .inspect = checkout_inspect,
                  .deprovision = checkout_deprovision,
                  .usage = checkout_usage,
                  .scope = "generation",
                  .params_schema = params,
                  .outputs = "path commit",
                  .cost = "disk" },
                { 0 },
        };
        static const SdkProvider provider = {
                .name = "git",
                .summary =
                        "Checks out one commit of a Git repository, with its submodules, running nothing\n"
                        "of what is in it.",
                .types = types,
                .list = checkout_list,
        };

        return sdk_main(argc, argv, &provider);
}
