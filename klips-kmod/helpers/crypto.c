// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/zlib.h>
#include "crypto.h"

/* Whether the kernel may load a module for what it does not have yet. */
static u32 mask(bool load)
{
	return load ? 0 : CRYPTO_NOLOAD;
}

struct crypto_sync_skcipher *klips_h_cipher_new(const char *name, bool load, int *error)
{
	struct crypto_sync_skcipher *cipher = crypto_alloc_sync_skcipher(name, 0, mask(load));

	*error = PTR_ERR_OR_ZERO(cipher);
	return IS_ERR(cipher) ? NULL : cipher;
}

void klips_h_cipher_free(struct crypto_sync_skcipher *cipher)
{
	crypto_free_sync_skcipher(cipher);
}

int klips_h_cipher_key(struct crypto_sync_skcipher *cipher, const u8 *key, unsigned int len)
{
	return crypto_sync_skcipher_setkey(cipher, key, len);
}

/* A packet of 64 kilobytes that begins in the middle of a page. */
#define MOST_PAGES (65536 / PAGE_SIZE + 2)

/*
 * Adds data to the list of sg[] from *n on. Pages from vmalloc lie apart in memory; everything else
 * is one piece.
 */
static int add_pieces(struct scatterlist *sg, unsigned int *n, unsigned int most, u8 *data,
		      unsigned int len)
{
	while (len) {
		unsigned int part = len;

		if (*n == most)
			return -EMSGSIZE;
		if (is_vmalloc_addr(data)) {
			part = min_t(unsigned int, len, PAGE_SIZE - offset_in_page(data));
			sg_set_page(&sg[(*n)++], vmalloc_to_page(data), part, offset_in_page(data));
		} else {
			sg_set_buf(&sg[(*n)++], data, part);
		}
		data += part;
		len -= part;
	}
	return 0;
}

static int pieces(struct scatterlist *sg, u8 *data, unsigned int len)
{
	unsigned int n = 0;
	int error;

	if (!is_vmalloc_addr(data)) {
		sg_init_one(sg, data, len);
		return 0;
	}
	sg_init_table(sg, MOST_PAGES);
	error = add_pieces(sg, &n, MOST_PAGES, data, len);
	if (!error)
		sg_mark_end(&sg[n - 1]);
	return error;
}

int klips_h_crypt(struct crypto_sync_skcipher *cipher, bool encrypt, u8 *iv, u8 *data,
		  unsigned int len)
{
	SYNC_SKCIPHER_REQUEST_ON_STACK(request, cipher);
	struct scatterlist sg[MOST_PAGES];
	int error;

	if (!len)
		return 0;
	error = pieces(sg, data, len);
	if (error)
		return error;
	skcipher_request_set_sync_tfm(request, cipher);
	skcipher_request_set_callback(request, 0, NULL, NULL);
	skcipher_request_set_crypt(request, sg, sg, len, iv);
	error = encrypt ? crypto_skcipher_encrypt(request) : crypto_skcipher_decrypt(request);
	skcipher_request_zero(request);
	return error;
}

/* Salt and IV of RFC 4106 and RFC 7634. */
#define NONCE 12
/*
 * Room for a request of any AEAD with what its parts want; one a CPU, since it is too much for the
 * stack.
 */
#define REQUEST 2048

static void __percpu *requests;

int klips_h_aead_init(void)
{
	requests = __alloc_percpu(REQUEST, CRYPTO_MINALIGN);
	return requests ? 0 : -ENOMEM;
}

void klips_h_aead_exit(void)
{
	free_percpu(requests);
	requests = NULL;
}

struct crypto_aead *klips_h_aead_new(const char *name, unsigned int icv, bool load, int *error)
{
	struct crypto_aead *aead = crypto_alloc_aead(name, 0, CRYPTO_ALG_ASYNC | mask(load));

	*error = PTR_ERR_OR_ZERO(aead);
	if (*error)
		return NULL;
	if (crypto_aead_ivsize(aead) != NONCE ||
	    sizeof(struct aead_request) + crypto_aead_reqsize(aead) > REQUEST)
		*error = -EOPNOTSUPP;
	else
		*error = crypto_aead_setauthsize(aead, icv);
	if (!*error)
		return aead;
	crypto_free_aead(aead);
	return NULL;
}

void klips_h_aead_free(struct crypto_aead *aead)
{
	crypto_free_aead(aead);
}

int klips_h_aead_key(struct crypto_aead *aead, const u8 *key, unsigned int len)
{
	return crypto_aead_setkey(aead, key, len);
}

/* data holds, or has room for, the ICV at its end. */
int klips_h_aead_crypt(struct crypto_aead *aead, bool encrypt, u8 *nonce, u8 *aad,
		       unsigned int aad_len, u8 *data, unsigned int len)
{
	struct aead_request *request;
	/* What is authenticated only may lie across two pages. */
	struct scatterlist sg[MOST_PAGES + 2];
	unsigned int n = 0, icv = crypto_aead_authsize(aead);
	int error;

	if (len < icv)
		return -EMSGSIZE;
	sg_init_table(sg, ARRAY_SIZE(sg));
	error = add_pieces(sg, &n, ARRAY_SIZE(sg), aad, aad_len);
	if (!error)
		error = add_pieces(sg, &n, ARRAY_SIZE(sg), data, len);
	if (error)
		return error;
	sg_mark_end(&sg[n - 1]);
	/* Until they are on again the request is ours: nothing below comes back here. */
	local_bh_disable();
	request = this_cpu_ptr(requests);
	aead_request_set_tfm(request, aead);
	aead_request_set_callback(request, 0, NULL, NULL);
	aead_request_set_ad(request, aad_len);
	aead_request_set_crypt(request, sg, sg, encrypt ? len - icv : len, nonce);
	error = encrypt ? crypto_aead_encrypt(request) : crypto_aead_decrypt(request);
	memzero_explicit(request, sizeof(*request) + crypto_aead_reqsize(aead));
	local_bh_enable();
	return error;
}

struct crypto_shash *klips_h_mac_new(const char *name, bool load, int *error)
{
	struct crypto_shash *mac = crypto_alloc_shash(name, 0, mask(load));

	*error = PTR_ERR_OR_ZERO(mac);
	return IS_ERR(mac) ? NULL : mac;
}

void klips_h_mac_free(struct crypto_shash *mac)
{
	crypto_free_shash(mac);
}

int klips_h_mac_key(struct crypto_shash *mac, const u8 *key, unsigned int len)
{
	return crypto_shash_setkey(mac, key, len);
}

int klips_h_mac(struct crypto_shash *mac, const struct klips_segment *segments, size_t count,
		u8 *out, size_t room)
{
	SHASH_DESC_ON_STACK(desc, mac);
	size_t n;
	int error;

	if (crypto_shash_digestsize(mac) > room)
		return -EMSGSIZE;
	desc->tfm = mac;
	error = crypto_shash_init(desc);
	for (n = 0; !error && n < count; n++)
		error = crypto_shash_update(desc, segments[n].at, segments[n].len);
	if (!error)
		error = crypto_shash_final(desc, out);
	shash_desc_zero(desc);
	return error;
}

/* RFC 2394 allows a peer the largest window; raw deflate is a negative number of bits. */
#define WINDOW_BITS 15
#define MEMORY_LEVEL 8
#define LARGEST 65536

struct squeezer {
	struct z_stream_s deflate, inflate;
	u8 *out;
};

static struct squeezer __percpu *squeezers;

static int squeezer_init(struct squeezer *s)
{
	s->deflate.workspace = vzalloc(zlib_deflate_workspacesize(WINDOW_BITS, MEMORY_LEVEL));
	s->inflate.workspace = vzalloc(zlib_inflate_workspacesize());
	s->out = vmalloc(LARGEST);
	if (!s->deflate.workspace || !s->inflate.workspace || !s->out)
		return -ENOMEM;
	if (zlib_deflateInit2(&s->deflate, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -WINDOW_BITS,
			      MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK ||
	    zlib_inflateInit2(&s->inflate, -WINDOW_BITS) != Z_OK)
		return -EINVAL;
	return 0;
}

int klips_h_deflate_init(void)
{
	int cpu, error;

	squeezers = alloc_percpu(struct squeezer);
	if (!squeezers)
		return -ENOMEM;
	for_each_possible_cpu (cpu) {
		error = squeezer_init(per_cpu_ptr(squeezers, cpu));
		if (error) {
			klips_h_deflate_exit();
			return error;
		}
	}
	return 0;
}

void klips_h_deflate_exit(void)
{
	int cpu;

	if (!squeezers)
		return;
	for_each_possible_cpu (cpu) {
		struct squeezer *s = per_cpu_ptr(squeezers, cpu);

		vfree(s->deflate.workspace);
		vfree(s->inflate.workspace);
		vfree(s->out);
	}
	free_percpu(squeezers);
	squeezers = NULL;
}

/* The new length, or an error when it would not be shorter; data is unchanged then. */
int klips_h_deflate(u8 *data, size_t len)
{
	struct squeezer *s = this_cpu_ptr(squeezers);
	struct z_stream_s *z = &s->deflate;

	if (len < 2 || len > LARGEST)
		return -EMSGSIZE;
	if (zlib_deflateReset(z) != Z_OK)
		return -EINVAL;
	z->next_in = data;
	z->avail_in = len;
	z->next_out = s->out;
	z->avail_out = len - 1;
	if (zlib_deflate(z, Z_FINISH) != Z_STREAM_END)
		return -EMSGSIZE;
	memcpy(data, s->out, z->total_out);
	return z->total_out;
}

/* The new length, at most room; on an error data is unchanged. */
int klips_h_inflate(u8 *data, size_t len, size_t room)
{
	struct squeezer *s = this_cpu_ptr(squeezers);
	struct z_stream_s *z = &s->inflate;
	u8 nothing = 0;
	int result;

	if (zlib_inflateReset(z) != Z_OK)
		return -EINVAL;
	z->next_in = data;
	z->avail_in = len;
	z->next_out = s->out;
	z->avail_out = min_t(size_t, room, LARGEST);
	result = zlib_inflate(z, Z_SYNC_FLUSH);
	/* Without zlib's own header the end of the last block may want one byte more to be seen. */
	if (result == Z_OK && !z->avail_in && z->avail_out) {
		z->next_in = &nothing;
		z->avail_in = 1;
		result = zlib_inflate(z, Z_FINISH);
	}
	if (result != Z_STREAM_END)
		return -EINVAL;
	memcpy(data, s->out, z->total_out);
	return z->total_out;
}
