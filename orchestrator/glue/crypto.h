/* What mayfly needs of OpenSSL's libcrypto: hashes, authenticated encryption, constant-time compare. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/base/error.h"

#define SHA256_BYTES 32
#define SHA256_HEX   65
int sha256(const void *data, size_t size, uint8_t ret[static SHA256_BYTES]);
int sha256_hex(const void *data, size_t size, char ret[static SHA256_HEX]);
/* Of a whole file, whatever its size, from its beginning. */
int sha256_fd(int fd, char ret[static SHA256_HEX], int64_t *ret_size);
int hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                uint8_t ret[static SHA256_BYTES]);

/* AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce: the sealed form is one byte of version,
 * the nonce, the ciphertext and the tag. context is authenticated, not stored: opening with another
 * one fails with -EBADMSG, so a sealed value cannot be moved to another row. *ret is owned. */
#define SEAL_KEY_BYTES 32
int seal(const uint8_t key[static SEAL_KEY_BYTES], const char *context, const void *data,
         size_t size, uint8_t **ret, size_t *ret_size, Error *reterr);
int unseal(const uint8_t key[static SEAL_KEY_BYTES], const char *context, const void *sealed,
           size_t sealed_size, char **ret, size_t *ret_size, Error *reterr);

/* A key file has mode 0600; one that others may read is refused. It is never made by reading it: -ENOENT when
 * there is none. */
int seal_key_load(const char *path, uint8_t ret[static SEAL_KEY_BYTES], Error *reterr);
int seal_key_make(const char *path, uint8_t ret[static SEAL_KEY_BYTES], Error *reterr);

/* Ed25519 (RFC 8032). The file holds the 32 bytes of the private key; as above. */
#define SIGN_KEY_BYTES      32
#define SIGN_PUBLIC_TEXT    45 /* base64 of a public key */
#define SIGN_SIGNATURE_TEXT 89 /* base64 of a signature */
int sign_key_load(const char *path, uint8_t ret[static SIGN_KEY_BYTES], Error *reterr);
int sign_key_make(const char *path, uint8_t ret[static SIGN_KEY_BYTES], Error *reterr);
int sign_public(const uint8_t key[static SIGN_KEY_BYTES], char ret[static SIGN_PUBLIC_TEXT]);
int sign(const uint8_t key[static SIGN_KEY_BYTES], const void *data, size_t size,
         char ret[static SIGN_SIGNATURE_TEXT], Error *reterr);
/* 0 when the signature is that of the key's owner for these bytes, else -EBADMSG. */
int sign_check(const char *public_key, const char *signature, const void *data, size_t size);
/* The public key as others read it: PEM of a SubjectPublicKeyInfo (RFC 8410); *ret is owned. */
int sign_public_pem(const char *public_key, char **ret);

bool equal_constant_time(const void *a, const void *b, size_t size);
/* Overwrites memory in a way the compiler keeps. */
void wipe(void *data, size_t size);
