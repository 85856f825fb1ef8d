#include "tests/unit/test.h"

#include <string.h>

#include "orchestrator/base/str.h"
#include "providers/git/tree.h"
#include "providers/git/url.h"

static void test_addresses(void **state) {
        static const struct {
                const char *text, *result;
                UrlKind kind;
                const char *host;
        } cases[] = {
                { "/srv/git/shop.git", "/srv/git/shop.git", URL_LOCAL, NULL },
                { "file:///srv/a%20b", "/srv/a b", URL_LOCAL, NULL },
                { "file://localhost/srv", "/srv", URL_LOCAL, NULL },
                { "https://forge.example/a/b.git", "https://forge.example/a/b.git", URL_HTTPS,
                  "forge.example" },
                { "https://[::1]:8443/a", "https://[::1]:8443/a", URL_HTTPS, "[::1]" },
                { "ssh://git@forge.example:22/a", "ssh://git@forge.example:22/a", URL_SSH,
                  "forge.example" },
                { "git@forge.example:a/b.git", "git@forge.example:a/b.git", URL_SSH,
                  "forge.example" },
                { "", NULL, 0, NULL },
                { "shop", NULL, 0, NULL },
                { "../shop", NULL, 0, NULL },
                { "-u/x", NULL, 0, NULL },
                { "ext::sh", NULL, 0, NULL },
                { "git://h/x", NULL, 0, NULL },
                { "http://h/x", NULL, 0, NULL },
                { "ftp://h/x", NULL, 0, NULL },
                { "HTTPS://h/x", NULL, 0, NULL },
                { "file://srv/x", NULL, 0, NULL },
                { "file:///a%00b", NULL, 0, NULL },
                { "file:///a%0ab", NULL, 0, NULL },
                { "file:///a%4", NULL, 0, NULL },
                { "https://user@h/x", NULL, 0, NULL },
                { "https://u:p@h/x", NULL, 0, NULL },
                { "https:///x", NULL, 0, NULL },
                { "https://h", NULL, 0, NULL },
                { "https://h:x/y", NULL, 0, NULL },
                { "https://[::1/x", NULL, 0, NULL },
                { "ssh://-oProxyCommand=x/y", NULL, 0, NULL },
                { "ssh://-u@h/y", NULL, 0, NULL },
                { "ssh://u@-h/y", NULL, 0, NULL },
                { "ssh://@h/y", NULL, 0, NULL },
                { "ssh://h/-x", NULL, 0, NULL },
                { "a@-oX:b", NULL, 0, NULL },
                { "a@h::b", NULL, 0, NULL },
                { "a@h:-b", NULL, 0, NULL },
                { "a@h:", NULL, 0, NULL },
                { "/a\tb", NULL, 0, NULL },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_error error = { 0 };
                auto_url url = { 0 };
                int r = url_parse(cases[i].text, &url, &error);

                if (r != (cases[i].result ? 0 : -EINVAL))
                        fail_msg("'%s' gives %d", cases[i].text, r);
                if (!cases[i].result) {
                        assert_non_null(error.message);
                        assert_null(url.text);
                        continue;
                }
                assert_string_equal(url.text, cases[i].result);
                assert_int_equal(url.kind, cases[i].kind);
                assert_true(streq_null(url.host, cases[i].host));
        }
}

static void test_relative_addresses(void **state) {
        static const char *const cases[][3] = {
                { "/srv/git/shop", "../lib", "/srv/git/lib" },
                { "/srv/git/shop/", "../lib", "/srv/git/lib" },
                { "/srv/git/shop", "./lib", "/srv/git/shop/lib" },
                { "/srv/git/shop", "../../../lib", "/lib" },
                { "/srv/git/shop", "../../../../lib", NULL },
                { "https://h/a/b.git", "../c.git", "https://h/a/c.git" },
                { "https://h/a/b.git", "../../c.git", "https://h/c.git" },
                { "https://h/a/b.git", "../../../c.git", NULL },
                { "https://h/a/b.git", "https://other/x", "https://other/x" },
                { "git@h:a/b.git", "../c.git", "git@h:a/c.git" },
                { "git@h:b.git", "../c.git", NULL },
                { "https://h/a/b.git", "../x/../../../y", NULL },
                { "https://h/a/b.git", "..", NULL },
                { "https://h/a/b.git", "../", NULL },
                { "/srv/shop", "lib", NULL },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_url parent = { 0 }, url = { 0 };
                int r;

                assert_int_equal(url_parse(cases[i][0], &parent, NULL), 0);
                r = url_parse_relative(&parent, cases[i][1], &url, NULL);
                if (r != (cases[i][2] ? 0 : -EINVAL))
                        fail_msg("'%s' from '%s' gives %d", cases[i][1], cases[i][0], r);
                if (cases[i][2])
                        assert_string_equal(url.text, cases[i][2]);
        }
}

static void test_trees(void **state) {
        static const char text[] = "100644 blob aaaa      12\tREADME\n"
                                   "120000 blob bbbb       7\ta link with spaces\n"
                                   "160000 commit cccc       -\tlib\n"
                                   "100755 blob dddd  100000\t\"new\\nline\"\n";
        static const char *const bad[] = {
                "100644 blob aaaa 12 README\n",
                "100644 blob\tx\n",
                "100644 blob a -1\tx\n",
                "100644 blob a x\tx\n",
                "160000 commit c -\t\"quoted\\n\"\n",
                "160000 commit c -\t-x\n",
        };
        auto_tree tree = { 0 };

        assert_int_equal(tree_parse(text, &tree, NULL), 0);
        assert_int_equal(tree.n_bytes, 100019);
        assert_int_equal(tree.n_entries, 3);
        assert_int_equal(strv_length(tree.links), 1);
        assert_string_equal(tree.links[0], "lib");
        assert_string_equal(tree.commits[0], "cccc");
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                auto_tree none = { 0 };

                assert_true(tree_parse(bad[i], &none, NULL) < 0);
                assert_null(none.links);
        }
}

static void test_modules(void **state) {
        static const char text[] = "submodule.a.path=lib\nsubmodule.a.url=../lib\n"
                                   "submodule.b=c.url=x\nsubmodule.b.path=other\n"
                                   "core.path=third\ncore.url=y\n";
        auto_cleanup(freep) char *url = NULL, *none = NULL;

        assert_int_equal(modules_find(text, "lib", &url, NULL), 0);
        assert_string_equal(url, "../lib");
        assert_int_equal(modules_find(text, "other", &none, NULL), -ENOENT);
        assert_int_equal(modules_find(text, "third", &none, NULL), -ENOENT);
        assert_int_equal(modules_find("", "lib", &none, NULL), -ENOENT);
}

static void test_words_and_meanings(void **state) {
        char buf[64];

        assert_string_equal(git_words("warning: x\nfatal: no\x1b[31m way\n", buf, sizeof(buf)),
                            "no [31m way");
        assert_string_equal(git_words("", buf, sizeof(buf)), "");
        assert_int_equal(git_meaning("fatal: Authentication failed for 'x'"), -EACCES);
        assert_int_equal(git_meaning("fatal: remote error: upload-pack: not our ref 1"), -ENODATA);
        assert_int_equal(git_meaning("error: invalid path '.git'"), -EINVAL);
        assert_int_equal(git_meaning("Connection refused"), -EIO);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_relative_addresses),
                cmocka_unit_test(test_trees),
                cmocka_unit_test(test_modules),
                cmocka_unit_test(test_words_and_meanings),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
