#include "orchestrator/glue/crypto.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "orchestrator/base/io.h"

#define SEAL_VERSION  1
#define NONCE_BYTES   12
#define TAG_BYTES     16
#define SEAL_OVERHEAD (1 + NONCE_BYTES + TAG_BYTES)

DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free)

int sha256(const void *data, size_t size, uint8_t ret[static SHA256_BYTES]) {
        return EVP_Digest(data, size, ret, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

int sha256_hex(const void *data, size_t size, char ret[static SHA256_HEX]) {
        uint8_t digest[SHA256_BYTES];
        int r = sha256(data, size, digest);

        if (r < 0)
                return r;
        for (size_t i = 0; i < SHA256_BYTES; i++)
                snprintf(ret + 2 * i, 3, "%02x", digest[i]);
        return 0;
}

int hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                uint8_t ret[static SHA256_BYTES]) {
        unsigned n = SHA256_BYTES;

        return HMAC(EVP_sha256(), key, (int) key_size, data, size, ret, &n) ? 0 : -ENOMEM;
}

int seal(const uint8_t key[static SEAL_KEY_BYTES], const char *context, const void *data,
         size_t size, uint8_t **ret, size_t *ret_size, Error *reterr) {
        auto_cleanup(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        auto_cleanup(freep) uint8_t *sealed = NULL;
        uint8_t *nonce, *text;
        int n;

        if (!ctx || size > INT32_MAX - SEAL_OVERHEAD)
                return -ENOMEM;
        sealed = malloc(size + SEAL_OVERHEAD);
        if (!sealed)
                return -ENOMEM;
        sealed[0] = SEAL_VERSION;
        nonce = sealed + 1;
        text = nonce + NONCE_BYTES;
        if (getrandom(nonce, NONCE_BYTES, 0) != NONCE_BYTES)
                return error_set(reterr, -EIO, "No random bytes for a nonce");
        if (EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) != 1 ||
            EVP_EncryptUpdate(ctx, NULL, &n, (const uint8_t *) context, (int) strlen(context)) !=
                    1 ||
            EVP_EncryptUpdate(ctx, text, &n, data, (int) size) != 1 ||
            EVP_EncryptFinal_ex(ctx, text + n, &n) != 1 ||
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, text + size) != 1)
                return error_set(reterr, -EIO, "Cannot encrypt a secret");
        *ret_size = size + SEAL_OVERHEAD;
        *ret = TAKE(sealed);
        return 0;
}

int unseal(const uint8_t key[static SEAL_KEY_BYTES], const char *context, const void *sealed,
           size_t sealed_size, char **ret, size_t *ret_size, Error *reterr) {
        auto_cleanup(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        const uint8_t *nonce = (const uint8_t *) sealed + 1, *text = nonce + NONCE_BYTES;
        auto_cleanup(freep) char *plain = NULL;
        uint8_t tag[TAG_BYTES];
        size_t size;
        int n;

        if (!ctx)
                return -ENOMEM;
        if (sealed_size < SEAL_OVERHEAD || sealed_size > INT32_MAX ||
            ((const uint8_t *) sealed)[0] != SEAL_VERSION)
                return error_set(reterr, -EBADMSG, "A sealed secret is damaged");
        size = sealed_size - SEAL_OVERHEAD;
        plain = malloc(size + 1);
        if (!plain)
                return -ENOMEM;
        memcpy(tag, text + size, TAG_BYTES);
        if (EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) != 1 ||
            EVP_DecryptUpdate(ctx, NULL, &n, (const uint8_t *) context, (int) strlen(context)) !=
                    1 ||
            EVP_DecryptUpdate(ctx, (uint8_t *) plain, &n, text, (int) size) != 1 ||
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) != 1 ||
            EVP_DecryptFinal_ex(ctx, (uint8_t *) plain + n, &n) != 1) {
                wipe(plain, size);
                return error_set(reterr, -EBADMSG,
                                 "A secret does not open: another key, or the row was changed");
        }
        plain[size] = 0;
        if (ret_size)
                *ret_size = size;
        *ret = TAKE(plain);
        return 0;
}

int seal_key_load(const char *path, uint8_t ret[static SEAL_KEY_BYTES], Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        struct stat st;
        size_t size;
        int r;

        if (stat(path, &st) < 0) {
                uint8_t fresh[SEAL_KEY_BYTES];

                if (errno != ENOENT)
                        return error_set(reterr, -errno, "Cannot read '%s': %s", path,
                                         strerror(errno));
                if (getrandom(fresh, sizeof(fresh), 0) != sizeof(fresh))
                        return error_set(reterr, -EIO, "No random bytes for a key");
                r = write_file(path, fresh, sizeof(fresh), 0600, reterr);
                if (r < 0)
                        return r;
                memcpy(ret, fresh, sizeof(fresh));
                wipe(fresh, sizeof(fresh));
                return 0;
        }
        if (st.st_mode & 0077)
                return error_set(reterr, -EPERM, "'%s' may be read by others; run: chmod 600 '%s'",
                                 path, path);
        r = read_file(path, SEAL_KEY_BYTES, &text, &size, reterr);
        if (r < 0)
                return r;
        if (size != SEAL_KEY_BYTES)
                return error_set(reterr, -EBADMSG, "'%s' is not a key of %d bytes", path,
                                 SEAL_KEY_BYTES);
        memcpy(ret, text, size);
        wipe(text, size);
        return 0;
}

bool equal_constant_time(const void *a, const void *b, size_t size) {
        return CRYPTO_memcmp(a, b, size) == 0;
}

void wipe(void *data, size_t size) {
        OPENSSL_cleanse(data, size);
}
