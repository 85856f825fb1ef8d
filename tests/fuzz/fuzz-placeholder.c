/* Placeholders: the parts of a string cover it, a reference that passes the check can be evaluated
 * without surprise, and text without "$" comes out as it went in. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/spec/placeholder.h"
#include "orchestrator/spec/quantity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *lookup(void *userdata, const char *name) {
        return json_object_get(userdata, name);
}

static void check_parts(const char *string) {
        PlaceholderScan scan = { .string = string };
        PlaceholderPart part;
        size_t end = 0;

        while (placeholder_next(&scan, &part)) {
                assert(part.offset == end && scan.at > end);
                assert(part.text >= string + part.offset &&
                       part.text + part.size <= string + scan.at);
                end = scan.at;
                if (part.reference) {
                        auto_cleanup(strv_freep) char **parts = NULL;
                        auto_error e = { 0 };
                        int r;

                        assert(!memchr(part.text, '}', part.size));
                        r = placeholder_check(part.text, part.size, &parts, NULL, &e);
                        assert(r == 0 ? parts && parts[1] : e.message != NULL);
                }
        }
        assert(end == strlen(string));
}

static void check_substitution(const char *string) {
        json_auto_t *metadata = json_pack("{s:s, s:{s:i}}", "name", "shop", "a.b", "c", 1);
        json_auto_t *resources =
                json_pack("{s:{s:s, s:[b]}}", "db", "host", "${metadata.name} $$", "l", 1);
        auto_cleanup(freep) char *text = NULL, *name = NULL;
        auto_error e = { 0 };
        int r;

        r = placeholder_substitute(string, metadata, lookup, resources, &text, &e);
        assert(r == 0 ? text != NULL : e.message != NULL);
        assert(placeholder_whole_resource(string, &name) == 0);
        assert(!name || placeholder_in(string));
        if (!strchr(string, '$'))
                assert(strcmp(text, string) == 0);
        if (!placeholder_in(string))
                assert(r == 0 && strlen(text) <= strlen(string));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        auto_cleanup(freep) char *string = strndup((const char *) data, size);
        int64_t value = 0;

        check_parts(string);
        check_substitution(string);
        if (quantity_cpu_milli(string, &value) == 0)
                assert(value >= 0);
        if (quantity_memory_bytes(string, &value) == 0)
                assert(value >= 0);
        return 0;
}
