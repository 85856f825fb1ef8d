#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
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

/* In pieces or at once, wherever the descriptor stands. */
static void test_a_file_hashes_as_its_bytes(void **state) {
        static const size_t sizes[] = { 0, 1, 65535, 65536, 200000 };
        auto_cleanup(freep) char *data = malloc(200000);
        char hex[SHA256_HEX];
        int64_t none;

        assert_non_null(data);
        for (size_t i = 0; i < 200000; i++)
                data[i] = (char) (i * 31 >> 3);
        for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
                auto_cleanup(closep) int fd = memfd_create("hash", MFD_CLOEXEC);
                char whole[SHA256_HEX], pieces[SHA256_HEX];
                int64_t size = -1;

                assert_int_equal(write_all(fd, data, sizes[i]), 0);
                assert_int_equal(sha256_hex(data, sizes[i], whole), 0);
                assert_int_equal(sha256_fd(fd, pieces, &size), 0);
                assert_string_equal(pieces, whole);
                assert_int_equal(size, sizes[i]);
        }
        assert_int_equal(sha256_fd(-1, hex, &none), -EBADF);
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
        assert_int_equal(seal_key_load(path, one, NULL), -ENOENT);
        assert_int_equal(seal_key_make(path, one, NULL), 0);
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

/* RFC 8032, section 7.1, test 1. */
static void test_signature_vectors(void **state) {
        static const uint8_t one[SIGN_KEY_BYTES] = {
                0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a,
                0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32,
                0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        };
        char public[SIGN_PUBLIC_TEXT], signature[SIGN_SIGNATURE_TEXT];
        auto_cleanup(freep) char *pem = NULL;

        assert_int_equal(sign_public(one, public), 0);
        assert_string_equal(public, "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
        assert_int_equal(sign(one, "", 0, signature, NULL), 0);
        assert_string_equal(
                signature,
                "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFD"
                "jnoQCw==");
        assert_int_equal(sign_public_pem(public, &pem), 0);
        assert_non_null(
                strstr(pem, "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="));
}

static void test_a_signature_is_of_these_bytes_and_this_key(void **state) {
        char folder[] = "/tmp/mayfly-test-sign-XXXXXX", path[64];
        char public[SIGN_PUBLIC_TEXT], other[SIGN_PUBLIC_TEXT], signature[SIGN_SIGNATURE_TEXT];
        uint8_t key[SIGN_KEY_BYTES], again[SIGN_KEY_BYTES];
        char text[] = "{\"a\":1}";
        struct stat st;

        assert_non_null(mkdtemp(folder));
        snprintf(path, sizeof(path), "%s/key", folder);
        assert_int_equal(sign_key_load(path, key, NULL), -ENOENT); /* never made by asking */
        assert_int_equal(stat(path, &st), -1);
        assert_int_equal(sign_key_make(path, key, NULL), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(sign_key_load(path, again, NULL), 0);
        assert_memory_equal(key, again, sizeof(key));
        assert_int_equal(chmod(path, 0640), 0);
        assert_int_equal(sign_key_load(path, again, NULL), -EPERM);

        assert_int_equal(sign_public(key, public), 0);
        assert_int_equal(sign(key, text, strlen(text), signature, NULL), 0);
        assert_int_equal(sign_check(public, signature, text, strlen(text)), 0);
        for (size_t i = 0; i < strlen(text); i++) {
                text[i] ^= 1;
                assert_int_equal(sign_check(public, signature, text, strlen(text)), -EBADMSG);
                text[i] ^= 1;
                assert_int_equal(sign_check(public, signature, text, i), -EBADMSG);
        }
        for (size_t i = 0; i < strlen(signature); i++) {
                char was = signature[i];

                signature[i] = was == 'A' ? 'B' : 'A';
                assert_int_equal(sign_check(public, signature, text, strlen(text)), -EBADMSG);
                signature[i] = was;
        }
        key[0] ^= 1;
        assert_int_equal(sign_public(key, other), 0);
        assert_int_equal(sign_check(other, signature, text, strlen(text)), -EBADMSG);
        assert_int_equal(sign_check("", signature, text, strlen(text)), -EBADMSG);
        assert_int_equal(sign_check(public, "", text, strlen(text)), -EBADMSG);
        assert_int_equal(sign_check(public, "!", text, strlen(text)), -EBADMSG);
        assert_int_equal(remove_tree(folder, NULL), 0);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_hash_vector),
                cmocka_unit_test(test_a_file_hashes_as_its_bytes),
                cmocka_unit_test(test_seal_opens_only_as_it_was),
                cmocka_unit_test(test_key_file),
                cmocka_unit_test(test_signature_vectors),
                cmocka_unit_test(test_a_signature_is_of_these_bytes_and_this_key),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
