#include "orchestrator/api/pages.h"

#include <jansson.h>
#include <string.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"

#define TEXT_MAX LIMIT_EVENT_TEXT_BYTES

typedef struct Kind {
        const char *answer; /* of the route; NULL: there is none */
        int status;
        unsigned refresh_s; /* the page looks again by itself; 0: it does not */
        const char *colour; /* class of the mark beside the title */
        const char *title;
        const char *lead;
        const char *next; /* what to do; NULL: nothing but wait */
} Kind;

static const Kind kinds[] = {
        { "building", 503, 3, "busy", "This preview is being built",
          "It appears here by itself as soon as it answers.", NULL },
        { "asleep", 503, 1, "busy", "This preview is waking up",
          "Nobody used it for a while, so it was put to sleep. It appears here in a moment.",
          NULL },
        { "waking", 503, 1, "busy", "This preview is waking up",
          "Nobody used it for a while, so it was put to sleep. It appears here in a moment.",
          NULL },
        { "failed", 502, 0, "bad", "This preview could not be made",
          "Its build or its start failed.",
          "Push a commit that cures the cause, or try the same one again with “mayfly retry”." },
        { "direct", 502, 5, "bad", "This preview does not answer",
          "It was started, but the port that its dependency file names does not take connections.",
          "See what it says with “mayfly logs”." },
        { "gone", 410, 0, "quiet", "This preview was taken away",
          "Nothing of it is running any more.", NULL },
        { NULL, 404, 0, "quiet", "There is no such preview",
          "No project here has a branch with this address. It may be spelled differently, or was taken "
          "away so long ago that nothing is remembered of it.",
          "“mayfly list” shows all previews and their addresses." },
};

static const struct {
        const char *fact, *label;
} rows[] = {
        { "project", "Project" }, { "branch", "Branch" }, { "commit", "Commit" },
        { "who", "By" },          { "when", "When" },     { "why", "Why" },
};

static const char style[] =
        ":root{color-scheme:light dark;--text:#1c2024;--soft:#5b6470;--ground:#f6f7f9;--card:#fff;"
        "--line:#dfe3e8;--busy:#2563eb;--bad:#c62828;--quiet:#7a8491}"
        "@media(prefers-color-scheme:dark){:root{--text:#e8eaed;--soft:#a3acb8;--ground:#14171b;"
        "--card:#1d2126;--line:#343a42;--busy:#7aa7ff;--bad:#ff8a80;--quiet:#929ca9}}"
        "*{box-sizing:border-box}"
        "body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;"
        "background:var(--ground);color:var(--text);font:1rem/1.55 system-ui,sans-serif}"
        "main{width:100%;max-width:38rem;padding:2rem 2.25rem;background:var(--card);"
        "border:1px solid var(--line);border-radius:.75rem}"
        "h1{margin:0 0 .5rem;font-size:1.45rem;line-height:1.25;display:flex;align-items:center;"
        "gap:.75rem}"
        "h1 i{flex:none;width:.8rem;height:.8rem;border-radius:50%;background:var(--quiet)}"
        "i.busy{background:var(--busy);animation:pulse 1.4s ease-in-out infinite}i.bad{background:"
        "var(--bad)}"
        "@keyframes pulse{50%{opacity:.25}}"
        "@media(prefers-reduced-motion:reduce){i.busy{animation:none}}"
        "p{margin:.5rem 0}pre+p{margin-top:1rem}"
        "dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem;margin:1.5rem 0 0;"
        "padding-top:1.25rem;border-top:1px solid var(--line)}"
        "dt{color:var(--soft)}dd{margin:0;min-width:0;overflow-wrap:anywhere}"
        "pre{margin:1.25rem 0 0;padding:.85rem 1rem;max-height:40vh;overflow:auto;white-space:pre-wrap;"
        "overflow-wrap:anywhere;background:var(--ground);border:1px solid var(--line);"
        "border-left:3px solid var(--bad);border-radius:.4rem;font:.875rem/1.5 ui-monospace,monospace}"
        "footer{margin-top:1.5rem;color:var(--soft);font-size:.85rem;overflow-wrap:anywhere}";

/* ---- text from outside ---- */

/* Bytes of the character at s, and whether it may be shown: no control characters (an escape sequence
 * would act on a terminal), and nothing that turns the direction of writing (Unicode UAX #9). */
static size_t character(const char *s, bool *ret_shown) {
        unsigned char c = (unsigned char) s[0], d = c ? (unsigned char) s[1] : 0;
        size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

        *ret_shown = (c >= ' ' && c != 0x7f) || c == '\n' || c == '\t';
        if (c == 0xc2 && d < 0xa0)
                *ret_shown = false;
        if (c == 0xe2 && d == 0x80) {
                unsigned char e = (unsigned char) s[2];

                *ret_shown = !(e >= 0xa8 && e <= 0xae) && e != 0x8e && e != 0x8f;
        }
        if (c == 0xe2 && d == 0x81 && (unsigned char) s[2] >= 0xa6 && (unsigned char) s[2] <= 0xa9)
                *ret_shown = false;
        return n;
}

static const char *entity(char c) {
        switch (c) {
        case '&':
                return "&amp;";
        case '<':
                return "&lt;";
        case '>':
                return "&gt;";
        case '"':
                return "&quot;";
        case '\'':
                return "&#39;";
        }
        return NULL;
}

static void add_text(StrBuf *b, const char *s, bool html) {
        size_t at = 0, n;
        bool shown;

        if (!utf8_valid(s, strlen(s))) {
                strbuf_add(b, "(not readable)");
                return;
        }
        for (; s[at]; at += n) {
                n = character(s + at, &shown);
                if (at + n > TEXT_MAX) {
                        strbuf_add(b, " …");
                        return;
                }
                if (!shown)
                        strbuf_add(b, "�");
                else if (html && n == 1 && entity(s[at]))
                        strbuf_add(b, entity(s[at]));
                else
                        strbuf_addn(b, s + at, n);
        }
}

/* ---- the page ---- */

typedef struct Page {
        const Kind *kind;
        const char *host;
        json_t *facts;         /* an object, or NULL */
        const char *endpoints; /* JSON of the route, NULL */
} Page;

/* A fact as text, NULL when there is none; owned. */
static char *page_fact(const Page *p, const char *name) {
        const json_t *value = json_object_get(p->facts, name);
        char when[TIME_TEXT_MAX];

        if (json_is_integer(value) && json_integer_value(value) > 0)
                return strdup(time_format(json_integer_value(value), when));
        if (!json_is_string(value) || json_string_length(value) == 0)
                return NULL;
        /* a whole object name is no use to a reader */
        if (streq(name, "commit"))
                return strndup(json_string_value(value), 12);
        return strdup(json_string_value(value));
}

/* "Port 127.0.0.1:9103 for /api", for a preview that does not answer; owned, NULL when there is none. */
static char *page_ports(const Page *p) {
        json_auto_t *list = p->endpoints ? json_loads(p->endpoints, 0, NULL) : NULL;
        auto_strbuf text = { 0 };
        const json_t *item;
        size_t i;

        json_array_foreach(list, i, item) {
                const char *path = NULL, *address = NULL;
                json_int_t port = 0;

                (void) json_unpack((json_t *) item, "{s?s,s?s,s?I}", "path", &path, "address",
                                   &address, "port", &port); /* what is missing is left out */
                if (i >= 8)
                        break;
                strbuf_addf(&text, "%s%s:%lld for %s", i ? ", " : "", address ? address : "?",
                            (long long) port, path ? path : "/");
        }
        return text.size > 0 ? strbuf_take(&text) : NULL;
}

static void html_row(StrBuf *b, const char *label, const char *text) {
        strbuf_addf(b, "<dt>%s</dt><dd><bdi>", label);
        add_text(b, text, true);
        strbuf_add(b, "</bdi></dd>\n");
}

static void html_facts(StrBuf *b, const Page *p) {
        auto_cleanup(freep) char *ports = page_ports(p);
        auto_strbuf list = { 0 };

        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                auto_cleanup(freep) char *text = page_fact(p, rows[i].fact);

                if (text)
                        html_row(&list, rows[i].label, text);
        }
        if (ports && p->kind->answer && streq(p->kind->answer, "direct"))
                html_row(&list, "Port", ports);
        if (list.size > 0)
                strbuf_addf(b, "<dl>\n%s</dl>\n", list.text);
        b->broken = b->broken || list.broken;
}

static char *page_html(const Page *p) {
        auto_cleanup(freep) char *cause = page_fact(p, "cause"), *back = page_fact(p, "back");
        const Kind *k = p->kind;
        StrBuf b = { 0 };

        strbuf_add(&b, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n");
        if (k->refresh_s > 0)
                strbuf_addf(&b, "<meta http-equiv=\"refresh\" content=\"%u\">\n", k->refresh_s);
        strbuf_addf(&b, "<title>%s</title>\n<style>%s</style>\n</head>\n<body>\n<main>\n", k->title,
                    style);
        strbuf_addf(&b, "<h1><i class=\"%s\" aria-hidden=\"true\"></i>%s</h1>\n", k->colour,
                    k->title);
        strbuf_addf(&b, "<p%s>%s</p>\n", k->refresh_s > 0 ? " role=\"status\"" : "", k->lead);
        if (cause) {
                strbuf_add(&b, "<pre aria-label=\"Cause\"><bdi>");
                add_text(&b, cause, true);
                strbuf_add(&b, "</bdi></pre>\n");
        }
        if (k->next)
                strbuf_addf(&b, "<p>%s</p>\n", k->next);
        if (back) {
                strbuf_add(&b, "<p><bdi>");
                add_text(&b, back, true);
                strbuf_add(&b, "</bdi></p>\n");
        }
        html_facts(&b, p);
        strbuf_add(&b, "<footer><bdi>");
        add_text(&b, p->host, true);
        strbuf_add(&b, "</bdi> · mayfly</footer>\n</main>\n</body>\n</html>\n");
        return strbuf_take(&b);
}

static char *page_plain(const Page *p) {
        auto_cleanup(freep) char *cause = page_fact(p, "cause"), *back = page_fact(p, "back");
        auto_cleanup(freep) char *ports = page_ports(p);
        const Kind *k = p->kind;
        StrBuf b = { 0 };

        strbuf_addf(&b, "%s: ", k->title);
        add_text(&b, p->host, false);
        strbuf_addf(&b, "\n%s\n", k->lead);
        if (cause) {
                strbuf_add(&b, "Cause: ");
                add_text(&b, cause, false);
                strbuf_add(&b, "\n");
        }
        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                auto_cleanup(freep) char *text = page_fact(p, rows[i].fact);

                if (!text)
                        continue;
                strbuf_addf(&b, "%s: ", rows[i].label);
                add_text(&b, text, false);
                strbuf_add(&b, "\n");
        }
        if (ports && k->answer && streq(k->answer, "direct")) {
                strbuf_add(&b, "Port: ");
                add_text(&b, ports, false);
                strbuf_add(&b, "\n");
        }
        if (k->next)
                strbuf_addf(&b, "%s\n", k->next);
        if (back) {
                add_text(&b, back, false);
                strbuf_add(&b, "\n");
        }
        return strbuf_take(&b);
}

static const Kind *kind_of(const Route *route) {
        const Kind *unknown = kinds + N_ELEMENTS(kinds) - 1;

        for (const Kind *k = kinds; route && k < unknown; k++)
                if (streq(k->answer, route->answer))
                        return k;
        return unknown;
}

int pages_render(void *userdata, const Route *route, const char *host, int *ret_status,
                 char **ret_html, char **ret_plain, Error *reterr) {
        json_auto_t *facts = route && route->facts ? json_loads(route->facts, 0, NULL) : NULL;
        Page page = { .kind = kind_of(route), .host = host, .facts = facts };
        auto_cleanup(freep) char *html = NULL, *plain = NULL;

        page.endpoints = route ? route->endpoints : NULL;
        html = page_html(&page);
        plain = page_plain(&page);
        if (!html || !plain)
                return -ENOMEM;
        *ret_status = page.kind->status;
        *ret_html = TAKE(html);
        *ret_plain = TAKE(plain);
        return 0;
}
