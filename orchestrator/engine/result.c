/* What a provider's result says of its resource, into the row. All of it is checked before any of it is
 * kept: outputs whose secrets are not named rightly would be stored, and shown, in clear. */
#include "orchestrator/engine/private.h"

/* "secret": names of outputs. When it is not said, what was secret before still is. -EBADMSG when it is no
 * list, or names something that is no output. */
static int secret_names(const Part *p, const json_t *result, char ***ret) {
        json_t *list = json_object_get(result, "secret"),
               *outputs = json_object_get(result, "outputs"), *name;
        auto_cleanup(strv_freep) char **names = NULL;
        int r = 0;
        size_t i;

        if (list && !json_is_array(list))
                return -EBADMSG;
        json_array_foreach(list, i, name) {
                if (!json_is_string(name) || !json_object_get(outputs, json_string_value(name)))
                        return -EBADMSG;
                if (!strv_contains(names, json_string_value(name)))
                        r = strv_add(&names, json_string_value(name));
                if (r < 0)
                        return r;
        }
        for (char **before = list ? NULL : p->row.secret; r == 0 && before && *before; before++)
                if (json_object_get(outputs, *before))
                        r = strv_add(&names, *before);
        if (r == 0)
                *ret = TAKE(names);
        return r;
}

int result_store(View *v, Part *p, const json_t *result, Error *reterr) {
        json_t *state = json_object_get(result, "state"),
               *outputs = json_object_get(result, "outputs");
        auto_cleanup(strv_freep) char **names = NULL;
        auto_cleanup(freep) char *text = NULL;
        int r;

        r = secret_names(p, result, &names);
        if (r < 0 && r != -EBADMSG)
                return r;
        if (r < 0 || (state && !json_is_object(state) && !json_is_null(state)) ||
            (outputs && !json_is_object(outputs)))
                return 1;
        if (json_is_object(state)) {
                free(p->row.live);
                p->row.live = json_dumps(state, JSON_COMPACT | JSON_SORT_KEYS);
                if (!p->row.live)
                        return -ENOMEM;
        }
        if (!outputs)
                return 0;
        text = json_dumps(outputs, JSON_COMPACT | JSON_SORT_KEYS);
        if (!text)
                return -ENOMEM;
        r = view_secret_ends(v, p);
        json_decref(TAKE(p->outputs));
        if (r == 0)
                r = ledger_resource_set_outputs(v->e->ledger, &p->row, text, names, reterr);
        wipe(text, strlen(text));
        return r;
}

int result_store_notes(View *v, Part *p, const Call *c) {
        json_t *list = json_object_get(c->result, "notes"), *note;
        auto_cleanup(strv_freep) char **notes = NULL;
        size_t i;

        if (!list && !streq(c->verb, "provision"))
                return 0;
        json_array_foreach(list, i, note) {
                auto_cleanup(freep) char *clean =
                        view_scrub(v, json_is_string(note) ? json_string_value(note) : "");
                int r = clean ? 0 : -ENOMEM;

                if (r == 0 && *clean && strv_length(notes) < LIMIT_NOTES &&
                    !strv_contains(notes, clean))
                        r = strv_add(&notes, clean);
                if (r < 0)
                        return r;
        }
        strv_free(p->row.notes);
        p->row.notes = TAKE(notes);
        return 0;
}
