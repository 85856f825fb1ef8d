/* Overrides: the input is a document, an overrides file and properties, parted by lines of "====". The
 * tree that comes out can be walked and written, and setting the same again changes nothing. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/override.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Up to the next "====\n"; *rest is left behind it. */
static char *next_piece(char **rest) {
        char *piece = *rest, *end = piece ? strstr(piece, "====\n") : NULL;

        *rest = end ? end + 5 : NULL;
        if (end)
                *end = 0;
        return piece;
}

static YamlNode *parse_map(YamlTree *t, const char *text) {
        YamlNode *root = NULL;

        if (!text || yaml_parse(t, "fuzz", text, strlen(text), &root) < 0 || !root ||
            root->kind != YAML_KIND_MAP)
                return NULL;
        return root;
}

static char *written(const YamlNode *root) {
        json_auto_t *json = NULL;

        return yaml_to_json(root, &json, NULL) == 0 ? json_compact(json) : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        auto_cleanup(freep) char *text = strndup((const char *) data, size), *once = NULL,
                                 *twice = NULL;
        auto_cleanup(yaml_tree_freep) YamlTree *t = yaml_tree_new();
        char *rest = text, *document = next_piece(&rest), *overrides = next_piece(&rest), *property;
        YamlNode *root = parse_map(t, document), *from = parse_map(t, overrides);

        if (!root)
                return 0;
        if (from) {
                assert(override_merge(t, root, from) == 0);
                once = written(root);
                /* what was merged is taken over, so the second time reads the file again */
                from = parse_map(t, overrides);
                if (from) {
                        assert(override_merge(t, root, from) == 0);
                        twice = written(root);
                        assert(streq_null(once, twice));
                }
        }
        for (int n = 0; n < 16 && (property = next_piece(&rest)); n++) {
                auto_error e = { 0 };

                property[strcspn(property, "\n")] = 0;
                assert(override_property(t, root, property, &e) == 0 || e.message);
        }
        free(written(root));
        return 0;
}
