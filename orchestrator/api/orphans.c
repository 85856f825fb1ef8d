/* Orphans and ghosts: what is known, a look now, and what a person wants done about them. */
#include <string.h>

#include "orchestrator/api/api.h"
#include "orchestrator/base/str.h"

int api_orphan_list(ApiCall *c, Error *reterr) {
        return engine_orphans(c->m->engine, &c->result, reterr);
}

static void on_looked(void *userdata, int r, const Error *error) {
        ApiCall *c = userdata;
        auto_error own = { 0 };

        c->looking = false;
        if (r == 0) {
                error = &own;
                r = engine_orphans(c->m->engine, &c->result, &own);
        }
        api_finish(c, r, error);
}

int api_orphan_look(ApiCall *c, Error *reterr) {
        int r = engine_orphans_look(c->m->engine, on_looked, c, reterr);

        c->looking = r == 0;
        return r == 0 ? API_LATER : r;
}

/* "uids", or all. */
static int which(ApiCall *c, bool may_all, char ***ret, Error *reterr) {
        const json_t *uids = json_object_get(c->body, "uids"), *uid;
        bool all = may_all && json_is_true(json_object_get(c->body, "all"));
        auto_cleanup(strv_freep) char **list = NULL;
        size_t i;

        if (all == (json_array_size(uids) > 0))
                return error_set(reterr, -EINVAL,
                                 may_all ? "Say which, in 'uids', or 'all', and not both"
                                         : "Say which, in 'uids'");
        json_array_foreach(uids, i, uid) {
                int r = strv_add(&list, json_string_value(uid));

                if (r < 0)
                        return r;
        }
        *ret = TAKE(list);
        return 0;
}

static OrphanWish wish_of(ApiCall *c) {
        return (OrphanWish){ .dry_run = json_is_true(json_object_get(c->body, "dry_run")),
                             .young = json_is_true(json_object_get(c->body, "young")) };
}

int api_orphan_remove(ApiCall *c, Error *reterr) {
        auto_cleanup(strv_freep) char **uids = NULL;
        int r = which(c, true, &uids, reterr);

        return r == 0 ? engine_orphans_remove(c->m->engine, &c->actor, uids, wish_of(c), &c->result,
                                              reterr)
                      : r;
}

int api_orphan_adopt(ApiCall *c, Error *reterr) {
        auto_cleanup(strv_freep) char **uids = NULL;
        int r = which(c, false, &uids, reterr);

        return r == 0 ? engine_orphans_adopt(c->m->engine, &c->actor, uids, wish_of(c), &c->result,
                                             reterr)
                      : r;
}
