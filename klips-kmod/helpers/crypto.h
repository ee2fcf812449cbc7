/* SPDX-License-Identifier: GPL-2.0 */
/* Ciphers, AEADs and MACs of the kernel's crypto API, deflate of its zlib. */
#ifndef KLIPS_CRYPTO_H
#define KLIPS_CRYPTO_H
#include <crypto/aead.h>
#include <crypto/hash.h>
#include <crypto/skcipher.h>

struct crypto_sync_skcipher *klips_h_cipher_new(const char *name, bool load, int *error);
void klips_h_cipher_free(struct crypto_sync_skcipher *cipher);
int klips_h_cipher_key(struct crypto_sync_skcipher *cipher, const u8 *key, unsigned int len);
int klips_h_crypt(struct crypto_sync_skcipher *cipher, bool encrypt, u8 *iv, u8 *data,
		  unsigned int len);

int klips_h_aead_init(void);
void klips_h_aead_exit(void);
struct crypto_aead *klips_h_aead_new(const char *name, unsigned int icv, bool load, int *error);
void klips_h_aead_free(struct crypto_aead *aead);
int klips_h_aead_key(struct crypto_aead *aead, const u8 *key, unsigned int len);
int klips_h_aead_crypt(struct crypto_aead *aead, bool encrypt, u8 *nonce, u8 *aad,
		       unsigned int aad_len, u8 *data, unsigned int len);

struct crypto_shash *klips_h_mac_new(const char *name, bool load, int *error);
void klips_h_mac_free(struct crypto_shash *mac);
int klips_h_mac_key(struct crypto_shash *mac, const u8 *key, unsigned int len);

struct klips_segment {
	const u8 *at;
	size_t len;
};
int klips_h_mac(struct crypto_shash *mac, const struct klips_segment *segments, size_t count,
		u8 *out, size_t room);

int klips_h_deflate_init(void);
void klips_h_deflate_exit(void);
int klips_h_deflate(u8 *data, size_t len);
int klips_h_inflate(u8 *data, size_t len, size_t room);
#endif
