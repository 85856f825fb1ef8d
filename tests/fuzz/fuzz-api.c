/* API requests: the first line of the input is the path, the rest the body, tried with every method and
 * against every route's fields; and the same bytes as git's list of branches. */
#undef NDEBUG
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/api/api.h"
#include "orchestrator/api/branches.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_path(const char *path) {
        static const char *const methods[] = { "GET", "POST", "DELETE" };

        for (size_t i = 0; i < N_ELEMENTS(methods); i++) {
                char *args[2] = { NULL, NULL };
                bool known;
                const ApiRoute *route = api_route_find(methods[i], path, args, &known);

                assert(!route || known);
                for (size_t a = 0; a < 2; a++)
                        if (args[a] && http_unescape(args[a]) == 0)
                                assert(strlen(args[a]) <= strlen(path));
                free(args[0]);
                free(args[1]);
        }
}

static void try_body(const char *text, size_t size) {
        for (size_t i = 0; i < api_n_routes; i++) {
                json_t *body = NULL;

                if (api_body_read(text, size, api_routes[i].fields, &body, NULL) == 0 && body) {
                        assert(json_is_object(body));
                        for (const ApiField *f = api_routes[i].fields; f->name; f++)
                                assert(!f->required || json_object_get(body, f->name));
                }
                json_decref(body);
        }
}

static void try_branches(const char *text) {
        char *copy = strdup(text), *head = NULL;
        json_t *list = NULL, *item;
        size_t i;

        assert(copy);
        if (branches_parse(copy, &list, &head) == 0)
                json_array_foreach(list, i, item) {
                        size_t n = strlen(json_string_value(json_object_get(item, "commit")));

                        assert(n == 40 || n == 64);
                }
        json_decref(list);
        free(head);
        free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *text = malloc(size + 1), *end;

        assert(text);
        memcpy(text, data, size);
        text[size] = '\0';
        try_branches(text);
        end = memchr(text, '\n', size);
        try_body(end ? end + 1 : text, end ? size - (size_t) (end + 1 - text) : size);
        if (end)
                *end = '\0';
        (void) repository_check(text, NULL);
        try_path(text);
        free(text);
        return 0;
}
