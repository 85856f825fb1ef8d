/* Log and progress lines of the calls for a resource. They are logged when the call is over: only then is
 * every secret known that they must not show, those that the call itself has made included. */
#include "orchestrator/engine/private.h"

void said_done(Said *s) {
        for (size_t i = 0; i < LIMIT_PROVIDER_SAID; i++)
                free(s->lines[i].text);
        *s = (Said){ 0 };
}

/* Cut between words: half a secret would not be found. */
static char *begin_of(const char *text) {
        size_t size = strnlen(text, LIMIT_PROVIDER_SAID_BYTES + 1);

        if (size > LIMIT_PROVIDER_SAID_BYTES)
                while (size > 0 && !strchr(" \n\t", text[size - 1]))
                        size--;
        return strndup(text, size);
}

void said_on_line(Call *c, const json_t *line) {
        const json_t *progress = json_object_get(line, "progress");
        const char *text = json_string_value(json_object_get(line, "log"));
        unsigned place = c->said.n % LIMIT_PROVIDER_SAID;

        if (!text)
                text = json_string_value(json_object_get(progress, "text"));
        if (!text)
                return;
        free(c->said.lines[place].text);
        c->said.lines[place].text = begin_of(text);
        c->said.lines[place].progress = progress != NULL;
        c->said.n++;
}

void said_log(View *v, const Part *p, const Call *c) {
        const unsigned max = LIMIT_PROVIDER_SAID, n = c->said.n;
        auto_scrub scrub = { 0 };

        if (n == 0 || view_secrets(v, &scrub) < 0)
                return;
        scrub_add_result(&scrub, c->result);
        if (n > max)
                log_info("%s of %s '%s' (%s) said %u lines; these are the last", c->verb,
                         p->row.type, p->row.name ? p->row.name : p->row.key, p->row.uid, n);
        for (unsigned i = n > max ? n - max : 0; i < n; i++) {
                const char *text = c->said.lines[i % max].text;
                auto_cleanup(freep) char *less = text ? scrub_text(&scrub, text) : NULL;
                auto_cleanup(freep) char *clean = less ? text_clean(less) : NULL;

                if (clean)
                        log_line(c->said.lines[i % max].progress ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
                                 "%s, %s of %s '%s' (%s): %s", p->row.provider, c->verb,
                                 p->row.type, p->row.name ? p->row.name : p->row.key, p->row.uid,
                                 clean);
        }
}
