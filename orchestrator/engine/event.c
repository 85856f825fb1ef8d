/* Events: what happened, for people and for the audit. One table of kinds; every change of a state
 * writes one, in the same transaction. Texts come partly from outside, so they are cleaned here. */
#include <stdio.h>

#include "orchestrator/engine/private.h"

static const char *const kinds[_EVENT_KIND_MAX] = {
        [EVENT_PROJECT_ADDED] = "project.added",
        [EVENT_PROJECT_CHANGED] = "project.changed",
        [EVENT_PROJECT_REMOVED] = "project.removed",
        [EVENT_PROJECT_COMPARED] = "project.compared",
        [EVENT_ENVIRONMENT_CREATED] = "environment.created",
        [EVENT_ENVIRONMENT_BUILDING] = "environment.building",
        [EVENT_ENVIRONMENT_READY] = "environment.ready",
        [EVENT_ENVIRONMENT_FAILED] = "environment.failed",
        [EVENT_ENVIRONMENT_CLOSED] = "environment.closed",
        [EVENT_ENVIRONMENT_REOPENED] = "environment.reopened",
        [EVENT_ENVIRONMENT_DELETING] = "environment.deleting",
        [EVENT_ENVIRONMENT_GONE] = "environment.gone",
        [EVENT_ENVIRONMENT_FALLING] = "environment.falling",
        [EVENT_ENVIRONMENT_STOPPED] = "environment.stopped",
        [EVENT_ENVIRONMENT_WAKING] = "environment.waking",
        [EVENT_ENVIRONMENT_AWAKE] = "environment.awake",
        [EVENT_ENVIRONMENT_EXTENDED] = "environment.extended",
        [EVENT_ENVIRONMENT_PINNED] = "environment.pinned",
        [EVENT_ENVIRONMENT_UNPINNED] = "environment.unpinned",
        [EVENT_ENVIRONMENT_RETRIED] = "environment.retried",
        [EVENT_ENVIRONMENT_UNCERTAIN] = "environment.uncertain",
        [EVENT_GENERATION_WANTED] = "generation.wanted",
        [EVENT_GENERATION_CHECKOUT] = "generation.checkout",
        [EVENT_GENERATION_PROVISIONING] = "generation.provisioning",
        [EVENT_GENERATION_LIVE] = "generation.live",
        [EVENT_GENERATION_FAILED] = "generation.failed",
        [EVENT_GENERATION_RETIRING] = "generation.retiring",
        [EVENT_GENERATION_REMOVED] = "generation.removed",
        [EVENT_RESOURCE_PROVISIONING] = "resource.provisioning",
        [EVENT_RESOURCE_READY] = "resource.ready",
        [EVENT_RESOURCE_FAILED] = "resource.failed",
        [EVENT_RESOURCE_TROUBLE] = "resource.trouble",
        [EVENT_RESOURCE_REPAIR] = "resource.repair",
        [EVENT_RESOURCE_FOUND] = "resource.found",
        [EVENT_RESOURCE_REMOVING] = "resource.removing",
        [EVENT_RESOURCE_REMOVED] = "resource.removed",
        [EVENT_RESOURCE_STUCK] = "resource.stuck",
        [EVENT_ORPHAN_FOUND] = "orphan.found",
        [EVENT_ORPHAN_GONE] = "orphan.gone",
        [EVENT_ORPHAN_REMOVING] = "orphan.removing",
        [EVENT_ORPHAN_REMOVED] = "orphan.removed",
        [EVENT_ORPHAN_STUCK] = "orphan.stuck",
        [EVENT_ORPHAN_ADOPTED] = "orphan.adopted",
        [EVENT_FROZEN] = "installation.frozen",
        [EVENT_UNFROZEN] = "installation.unfrozen",
        [EVENT_LEASES_MOVED] = "installation.leases-moved",
        [EVENT_CLOCK_STEPPED] = "installation.clock-stepped",
        [EVENT_BACKUP_MADE] = "installation.backup-made",
};

static char *clean_bounded(const char *text, size_t max) {
        auto_strbuf b = { 0 };
        size_t size = strlen(text);

        if (size > max) {
                size = max;
                while (size > 0 && ((unsigned char) text[size] & 0xc0) == 0x80)
                        size--; /* not in the middle of a character */
        }
        if (!utf8_valid(text, size)) {
                for (size_t i = 0; i < size; i++)
                        strbuf_addc(&b, (unsigned char) text[i] < 0x80 ? text[i] : '?');
        } else
                strbuf_addn(&b, text, size);
        for (size_t i = 0; i < b.size; i++)
                if ((unsigned char) b.text[i] < 0x20 || b.text[i] == 0x7f)
                        b.text[i] = ' ';
        while (b.size > 0 && b.text[b.size - 1] == ' ')
                b.text[--b.size] = 0;
        return strbuf_take(&b);
}

/* Of a long one the beginning says what was tried, and the end mostly why it failed. */
char *text_clean(const char *text) {
        static const size_t end = LIMIT_PROVIDER_MESSAGE_BYTES * 2 / 5;
        auto_cleanup(freep) char *head = NULL, *tail = NULL;
        size_t size = strlen(text);

        if (size <= LIMIT_PROVIDER_MESSAGE_BYTES)
                return clean_bounded(text, size);
        head = clean_bounded(text, LIMIT_PROVIDER_MESSAGE_BYTES - end - strlen(" ... "));
        text += size - end;
        while (((unsigned char) *text & 0xc0) == 0x80)
                text++;
        tail = clean_bounded(text, end);
        return head && tail ? str_format("%s ... %s", head, tail) : NULL;
}

int event_add(Engine *e, EventKind kind, EventWhere where, const char *fmt, ...) {
        auto_cleanup(freep) char *raw = NULL, *text = NULL, *actor = NULL, *data = NULL;
        json_auto_t *object = where.data;
        auto_error error = { 0 };
        va_list args;
        int r;

        va_start(args, fmt);
        r = vasprintf(&raw, fmt, args);
        va_end(args);
        if (r < 0) {
                raw = NULL;
                return -ENOMEM;
        }
        text = clean_bounded(raw, LIMIT_EVENT_TEXT_BYTES);
        actor = clean_bounded(where.actor ? where.actor : "engine", 200);
        if (!text || !actor)
                return -ENOMEM;
        if (object) {
                data = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
                if (!data)
                        return -ENOMEM;
        }
        Event event = {
                .time_ms = e->now_ms,
                .environment_id = (char *) where.environment_id,
                .project_id = (char *) where.project_id,
                .kind = (char *) kinds[kind],
                .actor = actor,
                .trace = (char *) where.trace,
                .text = text,
                .data = data,
        };

        r = ledger_event_add(e->ledger, &event, &error);
        if (r < 0) {
                log_debug("event: %s", error_text(&error, r));
                return r;
        }
        e->events_added = true;
        return 0;
}
