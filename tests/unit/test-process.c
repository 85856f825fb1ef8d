#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "providers/process/bridge.h"
#include "providers/process/content.h"
#include "providers/process/keeper.h"
#include "providers/process/launch.h"
#include "providers/process/lines.h"
#include "providers/process/sandbox.h"
#include "providers/process/tree.h"

static void test_targets(void **state) {
        static const char *const bad[] = { "",       "/",     "x",    "a/b", "/a/../b",
                                           "/a/..",  "/a//b", "/./a", "/a/", "/proc/x",
                                           "/dev/x", "/sys",  "//a",  "/..", "/proc" };
        static const char *const good[] = { "/a",         "/etc/x", "/app/a b\n",
                                            "/processes", "/...",   "/a/..b" };

        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                char *path = NULL;

                assert_int_equal(sandbox_target(bad[i], &path, NULL), -EINVAL);
                assert_null(path);
        }
        for (size_t i = 0; i < N_ELEMENTS(good); i++) {
                auto_cleanup(freep) char *path = NULL;

                assert_int_equal(sandbox_target(good[i], &path, NULL), 0);
                assert_string_equal(path, good[i]);
        }
}

static void test_directories(void **state) {
        static const struct {
                const char *directory, *inside;
        } cases[] = {
                { "/co", "/app" },    { "/co/", "/app" }, { "/co/a/b", "/app/a/b" },
                { "/com", NULL },     { "/c", NULL },     { "/co/../x", NULL },
                { "/co/a/..", NULL }, { "/x", NULL },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(freep) char *path = NULL;
                int r = sandbox_directory("/co", cases[i].directory, &path, NULL);

                assert_int_equal(r, cases[i].inside ? 0 : -EINVAL);
                if (cases[i].inside)
                        assert_string_equal(path, cases[i].inside);
        }
}

static void test_base64(void **state) {
        static const struct {
                const char *text, *bytes;
                size_t size;
        } good[] = { { "", "", 0 },
                     { "Zg==", "f", 1 },
                     { "Zm8=", "fo", 2 },
                     { "Zm9v", "foo", 3 },
                     { "Zm9v\nYmFy", "foobar", 6 },
                     { "AAEC/w==", "\0\1\2\377", 4 } };
        static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "Z=g=", "Zm9v!", "Zg==Zg==" };

        for (size_t i = 0; i < N_ELEMENTS(good); i++) {
                auto_cleanup(freep) char *bytes = NULL;
                size_t size;

                assert_int_equal(base64_decode(good[i].text, &bytes, &size), 0);
                assert_int_equal(size, good[i].size);
                assert_memory_equal(bytes, good[i].bytes, size);
        }
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                char *bytes = NULL;
                size_t size;

                assert_int_equal(base64_decode(bad[i], &bytes, &size), -EINVAL);
        }
}

/* A route of ours must never hide what the machine reaches by its default route, such as its name
 * servers: only addresses that nobody may use elsewhere. */
static void test_own_subnets_are_nobody_elses(void **state) {
        uint32_t range, seen[16];
        unsigned prefix;

        assert_int_equal(subnet_parse("198.18.0.0/15", &range, &prefix), 0);
        for (unsigned i = 0; i < 16; i++) {
                seen[i] = subnet_candidate(i);
                assert_int_equal(seen[i] & UINT32_C(0xfffe0000), range);
                for (unsigned j = 0; j < i; j++)
                        assert_int_not_equal(seen[i], seen[j]);
        }
        assert_int_equal(subnet_candidate(16), seen[0]);
}

static void test_subnets(void **state) {
        static const char routes[] =
                "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
                "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
                "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
                "mfown\t0000D50A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
                "vpn\t0064D60A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        uint32_t subnet;
        unsigned prefix;

        assert_int_equal(subnet_parse("10.213.7.9/16", &subnet, &prefix), 0);
        assert_int_equal(subnet, 0x0ad50000);
        assert_int_equal(prefix, 16);
        assert_true(subnet_clashes(routes, subnet, prefix, "other"));
        assert_false(subnet_clashes(routes, subnet, prefix, "mfown"));
        assert_int_equal(subnet_parse("10.214.0.0/16", &subnet, &prefix), 0);
        assert_true(subnet_clashes(routes, subnet, prefix, "mfown")); /* holds 10.214.100.0/24 */
        assert_int_equal(subnet_parse("192.0.2.128/28", &subnet, &prefix), 0);
        assert_true(subnet_clashes(routes, subnet, prefix, "mfown")); /* held by 192.0.2.0/24 */
        assert_int_equal(subnet_parse("10.215.0.0/16", &subnet, &prefix), 0);
        assert_false(subnet_clashes(routes, subnet, prefix, "mfown"));
        for (const char **bad = (const char *[]){ "", "10.0.0.0", "10.0.0.0/30", "10.0.0.0/7",
                                                  "10.0/16", "x/16", "10.0.0.0/", NULL };
             *bad; bad++)
                assert_int_equal(subnet_parse(*bad, &subnet, &prefix), -EINVAL);
}

static void test_names(void **state) {
        SdkCall call = { .installation = "iabcdefghijklmnopqrs", .uid = "r0123456789abcdefghi" };
        Bridge b;

        bridge_names(&call, &b);
        assert_true(strlen(b.name) <= 15 && strlen(b.veth) <= 15);
        assert_string_equal(b.name, "mfhijklmnopqrs");
        assert_string_equal(b.veth, "mv789abcdefghi");
        assert_string_equal(b.netns, "mf-lmnopqrs-r0123456789abcdefghi");
        assert_string_equal(b.table, "mayfly_iabcdefghijklmnopqrs");
}

static void test_listening_ports(void **state) {
        static const char tcp[] = "  sl  local_address rem_address   st tx_queue\n"
                                  "   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000\n"
                                  "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000\n"
                                  "   2: 00000000:0050 00000000:0000 0A 00000000:00000000\n";
        static const char tcp6[] =
                "  sl  local_address rem_address st\n"
                "   0: 00000000000000000000000000000000:0BB9 00000000000000000000000000000000:0000 0A 0:0\n";
        auto_strbuf b = { 0 };

        ports_parse(tcp, &b);
        ports_parse(tcp6, &b);
        assert_string_equal(b.text, "127.0.0.1:3000, 0.0.0.0:80, [::]:3001");
        ports_parse("nonsense\n: : :\n", &b);
}

/* A folder that goes with the test. */
typedef struct Folder {
        char path[64];
        int fd;
} Folder;

static void folder_done(Folder *f) {
        closep(&f->fd);
        assert_int_equal(remove_tree(f->path, NULL), 0);
}

static Folder folder_new(void) {
        Folder f = { .path = "/tmp/mayfly-lines-XXXXXX" };

        assert_non_null(mkdtemp(f.path));
        f.fd = open(f.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return f;
}

static void test_lines_are_clean_and_bounded(void **state) {
        static const char odd[] = "lo\r\nbad \033[1m \377\xc3\xa4 \xc3\ntail";
        auto_cleanup(folder_done) Folder f = folder_new();
        auto_cleanup(freep) char *text = NULL, *big = malloc(3 * LIMIT_PROCESS_LOG_LINE);
        LinesStream out = { .stream = 'o' };
        Lines l = { 0 };

        assert_int_equal(lines_open(&l, f.fd, "api", NULL), 0);
        lines_feed(&l, &out, "hel", 3);
        lines_feed(&l, &out, odd, sizeof(odd) - 1);
        lines_flush(&l, &out);
        assert_int_equal(lines_tail_text(f.fd, "api", 10, "> ", &text), 0);
        assert_string_equal(text, "> hello\n> bad ?[1m ?\xc3\xa4 ?\n> tail");
        memset(big, 'x', 3 * LIMIT_PROCESS_LOG_LINE);
        lines_feed(&l, &out, big, 3 * LIMIT_PROCESS_LOG_LINE);
        lines_feed(&l, &out, "\n", 1);
        free(TAKE(text));
        assert_int_equal(lines_tail_text(f.fd, "api", 3, "", &text), 0);
        assert_int_equal(strlen(text), 3 * LIMIT_PROCESS_LOG_LINE + 2);
        lines_close(&l);
}

static void test_lines_rotate(void **state) {
        auto_cleanup(folder_done) Folder f = folder_new();
        auto_cleanup(freep) char *tail = NULL;
        LinesStream out = { .stream = 'o' };
        size_t files = 0, total = 0;
        char line[256];
        Lines l = { 0 };

        assert_int_equal(lines_open(&l, f.fd, "api", NULL), 0);
        for (int i = 0; i < 60000; i++) {
                int n = snprintf(line, sizeof(line), "%06d %0100d\n", i, 0);

                lines_feed(&l, &out, line, (size_t) n);
        }
        for (const char **name = (const char *[]){ "api.log", "api.log.1", "api.log.2", "api.log.3",
                                                   "api.log.4", NULL };
             *name; name++) {
                auto_cleanup(freep) char *text = NULL;
                size_t size;

                if (read_file_at(f.fd, *name, 8 * LIMIT_PROCESS_LOG_BYTES, &text, &size, NULL) < 0)
                        continue;
                files++;
                total += size;
        }
        assert_int_equal(files, LIMIT_PROCESS_LOG_FILES);
        assert_true(total <= (LIMIT_PROCESS_LOG_BYTES + 1024) * LIMIT_PROCESS_LOG_FILES);
        /* Across the border of two files. */
        assert_int_equal(lines_tail(f.fd, "api", 12000, &tail), 0);
        assert_non_null(strstr(tail, "048000 "));
        assert_null(strstr(tail, "047999 "));
        assert_non_null(strstr(tail, "059999 "));
        lines_close(&l);
}

static void test_launch_record_survives(void **state) {
        char *argv[] = { (char *) "a b", (char *) "", (char *) "c\nd", NULL };
        char *env[] = { (char *) "X=1", NULL };
        Launch l = {
                .uid = 600001, .processes = 7, .cwd = (char *) "/app", .argv = argv, .env = env
        };
        auto_cleanup(launch_done) Launch back = { 0 };
        auto_cleanup(closep) int fd = -1;

        assert_int_equal(launch_write(&l, &fd, NULL), 0);
        assert_int_equal(launch_read(fd, &back, NULL), 0);
        assert_int_equal(back.uid, 600001);
        assert_int_equal(back.processes, 7);
        assert_string_equal(back.cwd, "/app");
        assert_int_equal(strv_length(back.argv), 3);
        assert_string_equal(back.argv[2], "c\nd");
        assert_string_equal(back.env[0], "X=1");
        /* Cut short anywhere: refused, never read beyond. */
        for (off_t size = 0; size < 30; size++) {
                Launch none = { 0 };

                fd = fd_close(fd);
                assert_int_equal(launch_write(&l, &fd, NULL), 0);
                assert_int_equal(ftruncate(fd, size), 0);
                assert_true(launch_read(fd, &none, NULL) < 0);
        }
}

static void test_input_patterns(void **state) {
        static const struct {
                const char *pattern, *path;
                bool matches;
        } cases[] = {
                { "a", "a", true },
                { "a", "ab", false },
                { "a", "a/b/c", true },
                { "./a/", "a/b", true },
                { "a/b", "a", false },
                { "*.js", "x.js", true },
                { "*.js", "x/y.js", false },
                { "*.js", "x.js/y", true },
                { "**/*.js", "x.js", true },
                { "**/*.js", "x/y/z.js", true },
                { "**/*.js", "x/y/z.css", false },
                { "a/**", "a/b/c", true },
                { "a/**", "b/a/c", false },
                { "a/**/z", "a/z", true },
                { "a/**/z", "a/b/z/c", true },
                { "a/**/b/**/c", "a/b/x/b/c", true },
                { "a/**/b/**/c", "a/x/c/b", false },
                { "**", "a/b", true },
                { "?", "a", true },
                { "?", "ab", false },
                { "a*b*c", "aXbYbZc", true },
                { "a*b*c", "aXcYb", false },
                { "[a]", "a", false },
                { "", "a", true },
        };
        char pattern[8192], path[8192];

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                if (tree_matches(cases[i].pattern, cases[i].path) != cases[i].matches)
                        fail_msg("'%s' over '%s'", cases[i].pattern, cases[i].path);
        for (size_t i = 0; i + 2 < sizeof(pattern);
             i += 2) /* would take for ever if tried in all ways */
                memcpy(pattern + i, "*a", 3);
        memset(path, 'a', sizeof(path) - 1);
        path[sizeof(path) - 1] = 0;
        path[sizeof(path) - 2] = 'b';
        assert_false(tree_matches(pattern, path));
        for (size_t i = 0; i + 5 < sizeof(pattern); i += 5)
                memcpy(pattern + i, "**/a/", 6);
        for (size_t i = 0; i + 2 < sizeof(path); i += 2)
                memcpy(path + i, "a/", 3);
        (void) tree_matches(pattern, path);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_targets),
                cmocka_unit_test(test_directories),
                cmocka_unit_test(test_base64),
                cmocka_unit_test(test_own_subnets_are_nobody_elses),
                cmocka_unit_test(test_subnets),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_listening_ports),
                cmocka_unit_test(test_lines_are_clean_and_bounded),
                cmocka_unit_test(test_lines_rotate),
                cmocka_unit_test(test_launch_record_survives),
                cmocka_unit_test(test_input_patterns),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
