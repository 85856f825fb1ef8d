/* YAML: whatever the bytes, there is a tree or a reason; the tree keeps its limits, and what it gives as
 * JSON is read as the same JSON again. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/glue/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const YamlNode *node, unsigned depth) {
        size_t n = 1;

        assert(depth <= LIMIT_SPEC_DEPTH);
        assert(node->kind < _YAML_KIND_MAX && node->place.line > 0 && node->place.column > 0);
        assert(node->text && utf8_valid(node->text, strlen(node->text)));
        for (size_t i = 0; node->kind == YAML_KIND_LIST && i < node->n_items; i++)
                n += walk(node->items[i], depth + 1);
        for (size_t i = 0; node->kind == YAML_KIND_MAP && i < node->n_entries; i++) {
                assert(node->entries[i].key && node->entries[i].place.line > 0);
                assert(!node->entries[i].odd || node->odd_keys);
                n += walk(node->entries[i].value, depth + 1);
        }
        return n;
}

static void check_json(const YamlNode *root) {
        json_auto_t *json = NULL, *again = NULL;
        auto_cleanup(freep) char *text = NULL, *text_again = NULL;

        if (yaml_to_json(root, &json, NULL) < 0)
                return;
        text = json_compact(json);
        again = json_loads(text, JSON_DECODE_ANY, NULL);
        /* digits of numbers beyond 64 bits are the one thing that jansson refuses */
        if (!again)
                return;
        text_again = json_compact(again);
        assert(strcmp(text, text_again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        auto_cleanup(yaml_tree_freep) YamlTree *t = yaml_tree_new();
        YamlNode *root = NULL;
        size_t n;
        int r;

        r = yaml_parse(t, "fuzz", (const char *) data, size, &root);
        yaml_problems(t, &n);
        assert(r == 0 || r == -EBADMSG);
        assert((r == 0) == (n == 0));
        if (r < 0 || !root)
                return 0;
        assert(walk(root, 0) <= LIMIT_SPEC_NODES);
        check_json(root);
        return 0;
}
