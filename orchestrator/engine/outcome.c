/* What a reply means for its resource, by verb. Failures: trouble.c. */
#include "orchestrator/engine/private.h"

/* ---- provision, wake ---- */

static const char *detail_of(const Call *c, const char *otherwise) {
        const char *detail = json_string_value(json_object_get(c->result, "detail"));

        return detail && *detail ? detail : otherwise;
}

static int event_ready(View *v, Part *p, const Call *c) {
        auto_cleanup(freep) char *detail = view_scrub(v, detail_of(c, ""));

        if (!detail)
                return -ENOMEM;
        return event_add(v->e, EVENT_RESOURCE_READY, event_of(v), "%s '%s' is ready%s%s",
                         p->row.type, part_title(p), *detail ? ": " : "", detail);
}

static int outcome_ready(View *v, Part *p, Call *c, Error *reterr) {
        int r = c->result ? result_store(v, p, c->result, reterr) : 1;
        bool repaired;

        if (r == 0 && streq(c->verb, "provision") && !p->row.outputs)
                r = ledger_resource_set_outputs(v->e->ledger, &p->row, "{}", NULL, reterr);
        if (r == 0)
                r = result_store_notes(v, p, c);
        if (r < 0)
                return r;
        if (r > 0) {
                r = nonsense(v, p, c, reterr);
                return r > 0 ? give_up(v, p, c, reterr) : r < 0 ? r : part_save(v, p, reterr);
        }
        repaired = p->row.ready_ms > 0 && p->row.cause;
        part_calm(p);
        if (p->row.generation == 0 || p->row.generation != v->env.live_generation)
                p->row.tries = 0; /* repairs of what serves are counted until it is calm */
        p->row.ready_ms = v->e->now_ms;
        r = stray_is_there(v->e, p->row.uid, reterr);
        if (r < 0)
                return r;
        if (c->node) {
                /* A copy: the reply is applied again when the turn fails. */
                r = str_replace(&p->row.node, c->node);
                if (r < 0)
                        return r;
                p->row.applied = c->generation;
        }
        if (streq(p->row.type, "network") && map_put(v->e->sound, p->row.uid, v->e) < 0)
                return -ENOMEM;
        r = part_move(v, p, RES_READY, reterr);
        if (r == 0 && repaired)
                r = resource_made_again(v, p, reterr);
        return r < 0 ? r : event_ready(v, p, c);
}

static int outcome_provision(View *v, Part *p, Call *c, Error *reterr) {
        int r;

        if (c->class == PROVIDER_OK)
                return outcome_ready(v, p, c, reterr);
        if (c->cancelled) { /* we ended it: no failure of its own */
                p->row.inspect = true;
                return part_save(v, p, reterr);
        }
        r = trouble(v, p, c, reterr);
        return r > 0 ? give_up(v, p, c, reterr) : r < 0 ? r : part_save(v, p, reterr);
}

static int outcome_wake(View *v, Part *p, Call *c, Error *reterr) {
        int r;

        if (c->class == PROVIDER_OK)
                return outcome_ready(v, p, c, reterr);
        if (c->cancelled) {
                p->row.inspect = true;
                return part_save(v, p, reterr);
        }
        if (c->class == PROVIDER_GONE || c->class == PROVIDER_CONFLICT) {
                p->row.inspect =
                        true; /* what slept is not there any more: look, then make it again */
                return part_save(v, p, reterr);
        }
        r = trouble(v, p, c, reterr);
        if (r < 0)
                return r;
        if (c->class == PROVIDER_DEPENDENCY)
                for (size_t i = 0; i < v->n_parts; i++)
                        if (streq(v->parts[i]->row.type, "network"))
                                map_remove(v->e->sound, v->parts[i]->row.uid);
        return r > 0 ? give_up(v, p, c, reterr) : part_save(v, p, reterr);
}

/* ---- sleep ---- */

static int outcome_sleep(View *v, Part *p, Call *c, Error *reterr) {
        bool asleep = c->class == PROVIDER_OK || c->class == PROVIDER_GONE;
        int r = asleep && c->result ? result_store(v, p, c->result, reterr) : 0;

        if (r < 0)
                return r;
        if (asleep && r == 0) {
                part_calm(p);
                p->row.tries = 0;
                return part_move(v, p, RES_ASLEEP, reterr);
        }
        if (c->cancelled) {
                p->row.inspect = true;
                return part_save(v, p, reterr);
        }
        r = asleep ? nonsense(v, p, c, reterr) : trouble(v, p, c, reterr);
        if (r <= 0)
                return r < 0 ? r : part_save(v, p, reterr);
        /* It would not fall asleep: it stays awake, and so does the environment. */
        p->row.retry_ms = 0;
        p->row.tries = 0;
        r = part_move(v, p, RES_READY, reterr);
        if (r == 0)
                r = event_add(v->e, EVENT_RESOURCE_TROUBLE, event_of(v),
                              "%s '%s' cannot be put to sleep: %s", p->row.type, part_title(p),
                              p->row.cause);
        return r;
}

/* ---- deprovision ---- */

static int stuck(View *v, Part *p, Error *reterr) {
        int r;

        p->row.retry_ms = time_add(v->e->now_ms, LIMIT_STUCK_RETRY_MS);
        r = part_move(v, p, RES_STUCK, reterr);
        if (r == 0 && v->env.state == ENV_DELETING) {
                free(v->env.cause);
                v->env.cause = str_format("%s '%s' cannot be removed: %s", p->row.type,
                                          part_title(p), p->row.cause);
                r = v->env.cause ? ledger_environment_update(v->e->ledger, &v->env, reterr)
                                 : -ENOMEM;
        }
        if (r == 0)
                r = event_add(v->e, EVENT_RESOURCE_STUCK, event_of(v),
                              "%s '%s' cannot be removed (%s): %s; tried again once a day",
                              p->row.type, part_title(p), p->row.cause_class, p->row.cause);
        return r;
}

static int outcome_deprovision(View *v, Part *p, Call *c, Error *reterr) {
        int r;

        if (c->class == PROVIDER_OK || c->class == PROVIDER_GONE) {
                p->row.emptied = true; /* that it is absent is still to be seen */
                p->row.inspect = true;
                free(TAKE(p->row.live)); /* what was known of it: some resources are nothing else */
                r = receipt_note(v, p, c, reterr);
                return r < 0 ? r : part_save(v, p, reterr);
        }
        if (json_object_get(c->result, "removed")) {
                r = receipt_note(v, p, c, reterr);
                if (r < 0)
                        return r;
        }
        r = trouble(v, p, c, reterr);
        return r > 0 ? stuck(v, p, reterr) : r < 0 ? r : part_save(v, p, reterr);
}

/* ---- inspect ---- */

Seen reply_seen(const Call *c, const char *marker) {
        const char *present = json_string_value(json_object_get(c->result, "present"));
        json_t *carried = json_object_get(c->result, "marker");

        if (c->class == PROVIDER_GONE)
                return SEEN_ABSENT;
        if (c->class != PROVIDER_OK || !present)
                return SEEN_NONSENSE;
        if (streq(present, "absent"))
                return SEEN_ABSENT;
        if (streq(present, "uncertain"))
                return SEEN_UNCERTAIN;
        if (!streq(present, "present"))
                return SEEN_NONSENSE;
        if (json_is_string(carried) && !streq(json_string_value(carried), marker))
                return SEEN_FOREIGN;
        return SEEN_OURS;
}

static int removed_for_good(View *v, Part *p, const char *how, Error *reterr) {
        int r = 0;

        part_calm(p);
        p->row.emptied = true;
        p->row.tries = 0;
        p->row.removed_ms = v->e->now_ms;
        patience_end(v->e, p->row.uid);
        map_remove(v->e->refused, p->row.uid);
        map_remove(v->e->looked, p->row.uid);
        r = stray_is_there(v->e, p->row.uid, reterr);
        if (r < 0)
                return r;
        if (p->row.secret)
                r = view_secret_ends(v, p);
        if (r == 0 && p->row.secret)
                r = ledger_resource_set_outputs(v->e->ledger, &p->row, "{}", NULL, reterr);
        if (r == 0)
                r = part_move(v, p, RES_REMOVED, reterr);
        if (r == 0)
                r = event_add(v->e, EVENT_RESOURCE_REMOVED, event_of(v), "%s '%s' %s", p->row.type,
                              part_title(p), how);
        return r;
}

static int removal_may_go_on(View *v, Part *p, const Call *c, Error *reterr) {
        int r = removal_looked(v->e, c);

        p->row.inspect = false;
        return r == 0 ? part_save(v, p, reterr) : r;
}

static int inspected_removing(View *v, Part *p, Call *c, Seen s, Error *reterr) {
        int r;

        switch (s) {
        case SEEN_FOREIGN:
                /* Somebody else's thing stands there: ours is not, and theirs is not touched. */
                return removed_for_good(v, p,
                                        "is gone; what stands in its place carries another marker "
                                        "and was left alone",
                                        reterr);
        case SEEN_ABSENT:
                if (p->row.emptied)
                        return removed_for_good(v, p, "is gone", reterr);
                return removal_may_go_on(v, p, c, reterr); /* half-made parts may be left */
        case SEEN_OURS:
                if (!p->row.emptied)
                        return removal_may_go_on(v, p, c, reterr);
                /* It said "removed", and it is there. */
                p->row.emptied = p->row.inspect = false;
                c->class = PROVIDER_TRANSIENT;
                c->unknown = false;
                free(c->message);
                c->message = str_format("It is still there after its removal%s%s",
                                        json_object_get(c->result, "detail") ? ": " : "",
                                        detail_of(c, ""));
                break;
        default:
                if (s == SEEN_UNCERTAIN || c->class == PROVIDER_OK) {
                        c->class = PROVIDER_TRANSIENT;
                        free(c->message);
                        c->message = str_format("Whether it is there could not be seen: %s",
                                                detail_of(c, "no reason given"));
                }
        }
        r = trouble(v, p, c, reterr);
        return r > 0 ? stuck(v, p, reterr) : r < 0 ? r : part_save(v, p, reterr);
}

static int inspected_provisioning(View *v, Part *p, Call *c, Seen s, Error *reterr) {
        int r;

        if (s == SEEN_OURS || s == SEEN_ABSENT) {
                p->row.inspect = false; /* provision again: twice is once */
                return part_save(v, p, reterr);
        }
        if (s == SEEN_FOREIGN) {
                c->class = PROVIDER_INVALID;
                free(c->message);
                c->message = strdup("Something that is not ours stands in its place");
                r = trouble(v, p, c, reterr);
                return r < 0 ? r : give_up(v, p, c, reterr);
        }
        r = s == SEEN_UNCERTAIN || c->class == PROVIDER_OK ? nonsense(v, p, c, reterr)
                                                           : trouble(v, p, c, reterr);
        return r > 0 ? give_up(v, p, c, reterr) : r < 0 ? r : part_save(v, p, reterr);
}

static bool level_is(const Call *c, const char *level) {
        return streq_null(json_string_value(json_object_get(c->result, "level")), level);
}

static int inspected_ready(View *v, Part *p, Call *c, Seen s, Error *reterr) {
        auto_cleanup(freep) char *why = NULL;
        int r;

        switch (s) {
        case SEEN_OURS:
                if (!json_is_false(json_object_get(c->result, "ready")) &&
                    !level_is(c, "stopped")) {
                        if (refused_in_vain(v->e, p->row.uid))
                                return resource_repair(v, p,
                                                       "visitors are refused, though it says "
                                                       "that it is ready",
                                                       reterr);
                        part_calm(p);
                        if (streq(p->row.type, "network") &&
                            map_put(v->e->sound, p->row.uid, v->e) < 0)
                                return -ENOMEM;
                        return part_save(v, p, reterr);
                }
                why = view_scrub(v, detail_of(c, "it is not ready any more"));
                return why ? resource_repair(v, p, why, reterr) : -ENOMEM;
        case SEEN_ABSENT:
                why = view_scrub(v, detail_of(c, "it is not there any more"));
                return why ? resource_repair(v, p, why, reterr) : -ENOMEM;
        case SEEN_FOREIGN:
                r = resource_repair(v, p, "something that is not ours stands in its place", reterr);
                p->row.inspect = true; /* never blindly */
                return r < 0 ? r : part_save(v, p, reterr);
        default:
                r = s == SEEN_UNCERTAIN || c->class == PROVIDER_OK ? nonsense(v, p, c, reterr)
                                                                   : trouble(v, p, c, reterr);
                if (r <= 0)
                        return r < 0 ? r : part_save(v, p, reterr);
                p->row.tries = 0;
                return resource_repair(v, p, p->row.cause, reterr);
        }
}

static int inspected_asleep(View *v, Part *p, Call *c, Seen s, Error *reterr) {
        bool falling = p->row.state == RES_FALLING;
        int r;

        if (s == SEEN_OURS || s == SEEN_ABSENT) {
                p->row.inspect = false;
                p->row.retry_ms = 0;
                if (falling && (s == SEEN_ABSENT || level_is(c, "stopped")))
                        return part_move(v, p, RES_ASLEEP, reterr);
                if (!falling && s == SEEN_ABSENT)
                        return part_move(v, p, RES_PROVISIONING, reterr);
                return part_save(v, p, reterr); /* the same verb again */
        }
        if (s == SEEN_FOREIGN) /* looked at once more there, and given up */
                return part_move(v, p, RES_PROVISIONING, reterr);
        r = s == SEEN_UNCERTAIN || c->class == PROVIDER_OK ? nonsense(v, p, c, reterr)
                                                           : trouble(v, p, c, reterr);
        if (r <= 0)
                return r < 0 ? r : part_save(v, p, reterr);
        if (!falling)
                return give_up(v, p, c, reterr);
        p->row.tries = 0;
        return part_move(v, p, RES_READY, reterr);
}

static int outcome_inspect(View *v, Part *p, Call *c, Error *reterr) {
        Seen s = reply_seen(c, p->row.marker);
        int r = s == SEEN_OURS ? stray_is_there(v->e, p->row.uid, reterr) : 0;

        if (r < 0)
                return r;

        switch (p->row.state) {
        case RES_REMOVING:
                return inspected_removing(v, p, c, s, reterr);
        case RES_PROVISIONING:
        case RES_FAILED:
                return inspected_provisioning(v, p, c, s, reterr);
        case RES_READY:
                return inspected_ready(v, p, c, s, reterr);
        case RES_FALLING:
        case RES_WAKING:
                return inspected_asleep(v, p, c, s, reterr);
        default:
                return part_save(v, p, reterr);
        }
}

static const struct {
        const char *verb;
        int (*apply)(View *v, Part *p, Call *c, Error *reterr);
} outcomes[] = {
        { "provision", outcome_provision },
        { "inspect", outcome_inspect },
        { "deprovision", outcome_deprovision },
        { "sleep", outcome_sleep },
        { "wake", outcome_wake },
};

int outcome_apply(View *v, Part *p, Call *c, Error *reterr) {
        if (c->class == PROVIDER_OK && !streq(c->verb, "inspect"))
                patience_end(v->e, p->row.uid);
        for (size_t i = 0; i < N_ELEMENTS(outcomes); i++)
                if (streq(outcomes[i].verb, c->verb))
                        return outcomes[i].apply(v, p, c, reterr);
        return error_set(reterr, -EINVAL, "A reply to the verb '%s'", c->verb);
}
