/* Rules over lists: everything of ours, each thing once, nothing of others, and the truth about being all. */
#include "orchestrator/cli/provider-rules.h"

/* Enough that a page, a limit or a forgotten level shows. */
#define LISTED_THINGS 5

size_t kit_listed(Kit *kit, const Subject *subject, const char *uid, const json_t **ret,
                  Answer *list) {
        const json_t *item;
        size_t i, n = 0;

        *list = kit_ask(kit, subject, "list", NULL);
        json_array_foreach(list->items, i, item) {
                if (!uid || streq(kit_text(item, "uid"), uid)) {
                        n++;
                        *ret = item;
                }
        }
        return n;
}

/* The resource that an item is, among those that the check has made; NULL: none. */
static const json_t *made_find(const Kit *kit, const json_t *item) {
        const json_t *one;
        size_t i;

        json_array_foreach(kit->made, i, one) {
                const json_t *resource = json_object_get(one, "resource");

                if (streq(kit_text(resource, "uid"), kit_text(item, "uid")))
                        return one;
        }
        return NULL;
}

static Verdict item_check(Kit *kit, const json_t *item) {
        const json_t *made = made_find(kit, item), *resource = json_object_get(made, "resource");
        const char *uid = kit_text(item, "uid");

        if (!json_is_object(item) || !*uid)
                return kit_not_ok(kit, "an item without a text 'uid'");
        if (!made)
                return kit_not_ok(kit, "'%s' is listed, and was never made or is removed", uid);
        if (!streq(kit_text(item, "marker"), kit_text(resource, "marker")) ||
            !streq(kit_text(item, "type"), kit_text(resource, "type")) ||
            !streq(kit_text(item, "environment"),
                   kit_text(json_object_get(made, "environment"), "id")))
                return kit_not_ok(
                        kit, "the item of '%s' needs its right 'marker', 'type' and 'environment'",
                        uid);
        if (!streq(kit_text(item, "present"), "present"))
                return kit_not_ok(kit, "the item of '%s' does not say that it is present", uid);
        return VERDICT_OK;
}

static Verdict list_check(Kit *kit, const Subject *subject, json_t *const *things, size_t n,
                          const json_t *asleep) {
        auto_answer list = kit_ask(kit, subject, "list", NULL);
        const json_t *item;
        char words[256];
        size_t i;

        if (!list.result)
                return kit_not_ok(kit, "%s", answer_words(&list, words));
        if (!json_is_true(json_object_get(list.result, "complete")))
                return kit_not_ok(kit, "a list that nothing cut short is not \"complete\": true");
        json_array_foreach(list.items, i, item) {
                if (item_check(kit, item) != VERDICT_OK)
                        return VERDICT_NOT_OK;
        }
        for (size_t j = 0; j < n; j++) {
                const char *uid = kit_text(things[j], "uid");
                size_t times = 0;

                json_array_foreach(list.items, i, item) {
                        times += streq(kit_text(item, "uid"), uid);
                }
                if (times != (subject->computed ? 0u : 1u))
                        return kit_not_ok(kit, "of %zu things, '%s'%s is listed %zu times", n, uid,
                                          things[j] == asleep ? ", which sleeps," : "", times);
        }
        return VERDICT_OK;
}

Verdict rule_list(Kit *kit, Subject *subject) {
        json_t *things[LISTED_THINGS] = { json_incref(subject->resource) }, *asleep = NULL;
        Verdict verdict = VERDICT_OK;
        char words[256];

        for (size_t i = 1; i < LISTED_THINGS && verdict == VERDICT_OK; i++) {
                auto_answer made = { 0 };

                things[i] = kit_resource(kit, subject);
                made = kit_ask(kit, subject, "provision", things[i]);
                if (!made.result)
                        verdict = kit_not_ok(kit, "provision of thing %zu: %s", i + 1,
                                             answer_words(&made, words));
        }
        if (verdict == VERDICT_OK && kit_offers(subject, "sleep")) {
                auto_answer slept = { 0 };

                asleep = things[LISTED_THINGS - 1];
                slept = kit_ask(kit, subject, "sleep", asleep);
                if (!slept.result)
                        verdict = kit_not_ok(kit, "sleep: %s", answer_words(&slept, words));
        }
        if (verdict == VERDICT_OK)
                verdict = list_check(kit, subject, things, LISTED_THINGS, asleep);
        for (size_t i = 1; i < LISTED_THINGS; i++) {
                if (things[i])
                        kit_tell(kit, subject, "deprovision", things[i]);
                json_decref(things[i]);
        }
        json_decref(things[0]);
        if (verdict == VERDICT_OK &&
            list_check(kit, subject, &subject->resource, 1, NULL) != VERDICT_OK)
                return VERDICT_NOT_OK;
        if (verdict != VERDICT_OK)
                return verdict;
        return subject->computed ? kit_ok(kit, "nothing, as it is computed; complete")
                                 : kit_ok(kit, "%d things, each once; complete", LISTED_THINGS);
}

Verdict rule_list_of_others(Kit *kit, Subject *subject) {
        json_auto_t *nothing = json_object(), *own = json_incref(kit->config);
        json_t *other = json_copy(kit->config);
        auto_answer list = { 0 };
        char id[ID_SIZE];

        id_make(&random_system, 'i', id);
        json_object_set_new(other, "installation", json_string(id));
        json_decref(kit->config);
        kit->config = other;
        list = kit_call(kit, "list", nothing, NULL, INTERRUPT_NONE);
        json_decref(kit->config);
        kit->config = json_incref(own);
        return list.result && json_array_size(list.items) == 0
                       ? kit_ok(kit, "another installation sees nothing of it")
                       : kit_not_ok(kit,
                                    "another installation is shown %zu things that are not its own",
                                    json_array_size(list.items));
}
