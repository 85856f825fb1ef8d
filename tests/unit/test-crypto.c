#include "tests/unit/test.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/glue/crypto.h"

static void test_hash_vector(void **state) {
        char hex[SHA256_HEX];

        /* FIPS 180-2, appendix B.1 */
        assert_int_equal(sha256_hex("abc", 3, hex), 0);
        assert_string_equal(hex,
                            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_seal_opens_only_as_it_was(void **state) {
        static const uint8_t key[SEAL_KEY_BYTES] = "a key of thirty-two bytes, no mo",
                             other[SEAL_KEY_BYTES] = { 0 };
        auto_cleanup(freep) uint8_t *sealed = NULL, *second = NULL;
        auto_cleanup(freep) char *plain = NULL;
        size_t size, again;
        char *none = NULL;

        assert_int_equal(seal(key, "row 1", "hunter2", 7, &sealed, &size, NULL), 0);
        assert_null(memmem(sealed, size, "hunter2", 7));
        assert_int_equal(seal(key, "row 1", "hunter2", 7, &second, &again, NULL), 0);
        assert_memory_not_equal(sealed, second, size); /* a fresh nonce each time */
        assert_int_equal(unseal(key, "row 1", sealed, size, &plain, &again, NULL), 0);
        assert_string_equal(plain, "hunter2");
        assert_int_equal(again, 7);
        assert_int_equal(unseal(key, "row 2", sealed, size, &none, NULL, NULL), -EBADMSG);
        assert_int_equal(unseal(other, "row 1", sealed, size, &none, NULL, NULL), -EBADMSG);
        for (size_t i = 0; i < size; i++) {
                sealed[i] ^= 1;
                assert_int_equal(unseal(key, "row 1", sealed, size, &none, NULL, NULL), -EBADMSG);
                sealed[i] ^= 1;
                assert_int_equal(unseal(key, "row 1", sealed, i, &none, NULL, NULL), -EBADMSG);
        }
        assert_null(none);
}

static void test_key_file(void **state) {
        char folder[] = "/tmp/mayfly-test-key-XXXXXX", path[64];
        uint8_t one[SEAL_KEY_BYTES], two[SEAL_KEY_BYTES];
        struct stat st;

        assert_non_null(mkdtemp(folder));
        snprintf(path, sizeof(path), "%s/key", folder);
        assert_int_equal(seal_key_load(path, one, NULL), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(seal_key_load(path, two, NULL), 0);
        assert_memory_equal(one, two, sizeof(one));
        assert_int_equal(chmod(path, 0644), 0);
        assert_int_equal(seal_key_load(path, two, NULL), -EPERM);
        assert_int_equal(chmod(path, 0600), 0);
        assert_int_equal(truncate(path, 5), 0);
        assert_int_equal(seal_key_load(path, two, NULL), -EBADMSG);
        assert_int_equal(remove_tree(folder, NULL), 0);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_hash_vector),
                cmocka_unit_test(test_seal_opens_only_as_it_was),
                cmocka_unit_test(test_key_file),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
