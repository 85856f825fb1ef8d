/* The two spellings that the schema still knows as deprecated and that every Score tool rewrites:
 * files and volumes as lists become maps from target to entry, on the way the lines of a content list
 * are joined and read_only becomes readOnly. Nothing else is rewritten. */
#include "orchestrator/base/hash.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/score-parts.h"

typedef struct Upgrade {
        YamlTree *tree;
        SpecFaults *faults, *notices;
        const char *container, *list; /* "main", "files" */
} Upgrade;

static char *pointer_of(const Upgrade *u, const char *rest) {
        auto_strbuf b = { 0 };

        strbuf_add(&b, "/containers");
        json_pointer_add(&b, u->container);
        json_pointer_add(&b, u->list);
        strbuf_add(&b, rest);
        return strbuf_take(&b);
}

static void say(const Upgrade *u, SpecFaults *to, SpecStage stage, YamlPlace place,
                const char *rest, const char *hint, const char *message) {
        auto_cleanup(freep) char *pointer = pointer_of(u, rest);

        if (to)
                spec_faults_add(to, stage, place.file, place.line, place.column, pointer, hint,
                                "%s", message);
}

/* content: [line, line] of plain values; anything else is left for the schema to refuse. */
static int join_content(const Upgrade *u, YamlNode *entry) {
        YamlEntry *content = yaml_entry(entry, "content");
        auto_strbuf b = { 0 };
        auto_cleanup(freep) char *text = NULL;

        if (!content || content->value->kind != YAML_KIND_LIST)
                return 0;
        for (size_t i = 0; i < content->value->n_items; i++) {
                const YamlNode *line = content->value->items[i];

                if (line->kind == YAML_KIND_LIST || line->kind == YAML_KIND_MAP ||
                    line->kind == YAML_KIND_NULL)
                        return 0;
                strbuf_addf(&b, "%s%s", i > 0 ? "\n" : "", line->text);
        }
        text = strbuf_take(&b);
        if (!text)
                return -ENOMEM;
        content->value = yaml_new_string(u->tree, content->value->place, text);
        return content->value ? 0 : -ENOMEM;
}

static void rename_read_only(YamlNode *entry) {
        YamlEntry *old = yaml_entry(entry, "read_only");

        if (!old || old->value->kind != YAML_KIND_BOOLEAN)
                return;
        yaml_remove(entry, "readOnly");
        old = yaml_entry(entry, "read_only");
        old->key = "readOnly";
}

/* Entries by target. Of two with the same target the later one counts. */
static int add_by_target(const Upgrade *u, YamlNode *map, Map *seen, YamlNode *target,
                         YamlNode *entry) {
        size_t at = (size_t) map_get(seen, target->text);

        if (at > 0) {
                say(u, u->notices, SPEC_STAGE_UPGRADE, target->place, "", "keep one of them",
                    "This target is here a second time; this entry counts");
                map->entries[at - 1].value = entry;
                return 0;
        }
        map->entries[map->n_entries++] =
                (YamlEntry){ .key = target->text, .place = target->place, .value = entry };
        return map_put(seen, target->text, (void *) map->n_entries);
}

static int upgrade_entry(const Upgrade *u, YamlNode *entry, size_t at, YamlPlace list_place,
                         YamlNode *map, Map *seen) {
        auto_cleanup(freep) char *rest = str_format("/%zu", at);
        YamlNode *target = yaml_get(entry, "target");
        int r;

        if (!target || target->kind != YAML_KIND_STRING) {
                say(u, u->faults, SPEC_STAGE_UPGRADE, entry->place.line ? entry->place : list_place,
                    rest ? rest : "", "write it as a map: TARGET: {...}",
                    target ? "The target must be text" : "An entry of a list needs 'target'");
                return 0;
        }
        if (streq(u->list, "files")) {
                r = join_content(u, entry);
                if (r < 0)
                        return r;
        } else {
                rename_read_only(entry);
        }
        yaml_remove(entry, "target");
        return add_by_target(u, map, seen, target, entry);
}

static int upgrade_list(const Upgrade *u, YamlNode *container) {
        YamlEntry *list = yaml_entry(container, u->list);
        auto_cleanup(map_freep) Map *seen = NULL;
        YamlNode *map;
        int r;

        if (!list || list->value->kind != YAML_KIND_LIST)
                return 0;
        say(u, u->notices, SPEC_STAGE_UPGRADE, list->place, "", "write a map from target to entry",
            "The list form is deprecated");
        seen = map_new(NULL);
        map = yaml_new_map(u->tree, list->value->place);
        if (!seen || !map)
                return -ENOMEM;
        r = yaml_map_reserve(u->tree, map, list->value->n_items);
        for (size_t i = 0; r == 0 && i < list->value->n_items; i++)
                r = upgrade_entry(u, list->value->items[i], i, list->place, map, seen);
        list->value = map;
        return r;
}

int score_upgrade(YamlTree *t, YamlNode *root, SpecFaults *faults, SpecFaults *notices) {
        static const char *const lists[] = { "files", "volumes" };
        YamlNode *containers = yaml_get(root, "containers");
        int r = 0;

        if (!containers || containers->kind != YAML_KIND_MAP)
                return 0;
        for (size_t i = 0; i < containers->n_entries; i++)
                for (size_t j = 0; r == 0 && j < N_ELEMENTS(lists); j++) {
                        const Upgrade u = { t, faults, notices, containers->entries[i].key,
                                            lists[j] };

                        r = upgrade_list(&u, containers->entries[i].value);
                }
        return r;
}
