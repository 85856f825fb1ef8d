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
#include "orchestrator/base/str.h"

#define SEAL_VERSION  1
#define NONCE_BYTES   12
#define TAG_BYTES     16
#define SEAL_OVERHEAD (1 + NONCE_BYTES + TAG_BYTES)

DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)

int sha256(const void *data, size_t size, uint8_t ret[static SHA256_BYTES]) {
        return EVP_Digest(data, size, ret, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

static void digest_hex(const uint8_t digest[static SHA256_BYTES], char ret[static SHA256_HEX]) {
        for (size_t i = 0; i < SHA256_BYTES; i++)
                snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

int sha256_hex(const void *data, size_t size, char ret[static SHA256_HEX]) {
        uint8_t digest[SHA256_BYTES];
        int r = sha256(data, size, digest);

        if (r < 0)
                return r;
        digest_hex(digest, ret);
        return 0;
}

int sha256_fd(int fd, char ret[static SHA256_HEX], int64_t *ret_size) {
        auto_cleanup(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        uint8_t chunk[65536], digest[SHA256_BYTES];
        int64_t at = 0;
        ssize_t n;

        if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
                return -ENOMEM;
        while ((n = pread(fd, chunk, sizeof(chunk), at)) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (EVP_DigestUpdate(ctx, chunk, (size_t) n) != 1)
                        return -ENOMEM;
                at += n;
        }
        if (EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
                return -ENOMEM;
        digest_hex(digest, ret);
        *ret_size = at;
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

/* A file of 32 secret bytes, the form of both keys. */
static int key_read(const char *path, uint8_t ret[static SEAL_KEY_BYTES], Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        struct stat st;
        size_t size;
        int r;

        if (stat(path, &st) < 0)
                return error_set(reterr, -errno, "Cannot read '%s': %s", path, strerror(errno));
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

static int key_make(const char *path, uint8_t ret[static SEAL_KEY_BYTES], Error *reterr) {
        if (getrandom(ret, SEAL_KEY_BYTES, 0) != SEAL_KEY_BYTES)
                return error_set(reterr, -EIO, "No random bytes for a key");
        return write_file(path, ret, SEAL_KEY_BYTES, 0600, reterr);
}

int seal_key_load(const char *path, uint8_t ret[static SEAL_KEY_BYTES], Error *reterr) {
        return key_read(path, ret, reterr);
}

int seal_key_make(const char *path, uint8_t ret[static SEAL_KEY_BYTES], Error *reterr) {
        return key_make(path, ret, reterr);
}

/* ---- signatures ---- */

#define SIGN_PUBLIC_BYTES    32
#define SIGN_SIGNATURE_BYTES 64

int sign_key_load(const char *path, uint8_t ret[static SIGN_KEY_BYTES], Error *reterr) {
        return key_read(path, ret, reterr);
}

int sign_key_make(const char *path, uint8_t ret[static SIGN_KEY_BYTES], Error *reterr) {
        return key_make(path, ret, reterr);
}

/* Exactly size bytes, written in the one way there is. */
static int base64_read(const char *text, uint8_t *ret, size_t size) {
        uint8_t buf[SIGN_SIGNATURE_BYTES + 3];
        char again[SIGN_SIGNATURE_TEXT];
        size_t length = strlen(text);

        if (length != (size + 2) / 3 * 4 || length / 4 * 3 > sizeof(buf) ||
            EVP_DecodeBlock(buf, (const uint8_t *) text, (int) length) < 0)
                return -EBADMSG;
        EVP_EncodeBlock((uint8_t *) again, buf, (int) size);
        if (!streq(again, text))
                return -EBADMSG;
        memcpy(ret, buf, size);
        return 0;
}

int sign_public(const uint8_t key[static SIGN_KEY_BYTES], char ret[static SIGN_PUBLIC_TEXT]) {
        auto_cleanup(EVP_PKEY_freep) EVP_PKEY *pkey =
                EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key, SIGN_KEY_BYTES);
        uint8_t public[SIGN_PUBLIC_BYTES];
        size_t size = sizeof(public);

        if (!pkey || EVP_PKEY_get_raw_public_key(pkey, public, &size) != 1)
                return -ENOMEM;
        EVP_EncodeBlock((uint8_t *) ret, public, sizeof(public));
        return 0;
}

int sign(const uint8_t key[static SIGN_KEY_BYTES], const void *data, size_t size,
         char ret[static SIGN_SIGNATURE_TEXT], Error *reterr) {
        auto_cleanup(EVP_PKEY_freep) EVP_PKEY *pkey =
                EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key, SIGN_KEY_BYTES);
        auto_cleanup(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        uint8_t signature[SIGN_SIGNATURE_BYTES];
        size_t n = sizeof(signature);

        if (!pkey || !ctx)
                return -ENOMEM;
        if (EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) != 1 ||
            EVP_DigestSign(ctx, signature, &n, data, size) != 1)
                return error_set(reterr, -EIO, "Cannot sign");
        EVP_EncodeBlock((uint8_t *) ret, signature, sizeof(signature));
        return 0;
}

int sign_check(const char *public_key, const char *signature, const void *data, size_t size) {
        uint8_t public[SIGN_PUBLIC_BYTES], bytes[SIGN_SIGNATURE_BYTES];
        auto_cleanup(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        auto_cleanup(EVP_PKEY_freep) EVP_PKEY *pkey = NULL;

        if (base64_read(public_key, public, sizeof(public)) < 0 ||
            base64_read(signature, bytes, sizeof(bytes)) < 0)
                return -EBADMSG;
        pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public, sizeof(public));
        if (!ctx || !pkey || EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) != 1)
                return -ENOMEM;
        return EVP_DigestVerify(ctx, bytes, sizeof(bytes), data, size) == 1 ? 0 : -EBADMSG;
}

int sign_public_pem(const char *public_key, char **ret) {
        /* SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING } */
        uint8_t der[12 + SIGN_PUBLIC_BYTES] = { 0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                                0x2b, 0x65, 0x70, 0x03, 0x21, 0x00 };
        char text[64];

        if (base64_read(public_key, der + 12, SIGN_PUBLIC_BYTES) < 0)
                return -EBADMSG;
        EVP_EncodeBlock((uint8_t *) text, der, sizeof(der));
        *ret = str_format("-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n", text);
        return *ret ? 0 : -ENOMEM;
}

bool equal_constant_time(const void *a, const void *b, size_t size) {
        return CRYPTO_memcmp(a, b, size) == 0;
}

void wipe(void *data, size_t size) {
        OPENSSL_cleanse(data, size);
}
