/* crypto, known answers: each primitive against the vector of its standard, the composition against ours. */
#include <string.h>

#include "crypto_priv.h"

#define TEXT_MAX 256

struct bytes {
	uint8_t p[TEXT_MAX];
	size_t len;
};

static int
nibble(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* The hexadecimal constants below are lower case and short enough. */
static struct bytes
unhex(const char *hex)
{
	struct bytes out = { .len = 0 };

	for (; hex[0] != 0 && hex[1] != 0 && out.len < sizeof(out.p); hex += 2)
		out.p[out.len++] = (uint8_t)(nibble(hex[0]) << 4 | nibble(hex[1]));
	return out;
}

static bool
is_hex(const uint8_t *p, const char *hex)
{
	struct bytes expected = unhex(hex);

	return memcmp(p, expected.p, expected.len) == 0;
}

/* FIPS 180-4 example; RFC 4231 case 1 (its 20-byte key padded with zeros, as HMAC does); RFC 5869 case 1. */
static bool
hashes_ok(void)
{
	struct bytes key = unhex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b000000000000000000000000");
	struct bytes salt = unhex("000102030405060708090a0b0c"), info = unhex("f0f1f2f3f4f5f6f7f8f9");
	uint8_t out[BS_HASH_LEN];

	bs_sha256("abc", 3, out);
	if (!is_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
		return false;
	if (bs_hmac(key.p, "Hi There", 8, out) != BS_OK ||
	    !is_hex(out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"))
		return false;
	memset(key.p, 0x0b, 22);
	return bs_hkdf(key.p, 22, salt.p, salt.len, info.p, info.len, out) == BS_OK &&
	    is_hex(out, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

/* The reference implementation's answer (argon2 of Debian: -id -t 2 -m 13 -p 1): RFC 9106 has none for one lane. */
static bool
argon2id_ok(void)
{
	uint8_t out[BS_KEY_LEN];

	return bs_argon2id("password", 8, (const uint8_t *)"basalt-test-salt", 8192, 2, out) == BS_OK &&
	    is_hex(out, "68890bfd244e811f0cef9aa82351f8a9405e992fa5a7f143c77137c97e14c268");
}

/* McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16. */
static bool
gcm_ok(void)
{
	struct bytes key = unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
	struct bytes nonce = unhex("cafebabefacedbaddecaf888");
	struct bytes aad = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
	struct bytes text = unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
	    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
	struct bs_gcm *gcm = bs_gcm_new(key.p);
	uint8_t sealed[60], opened[60], tag[BS_TAG_LEN] = { 0 };
	bool ok;

	ok = gcm != NULL && text.len == sizeof(sealed) &&
	    bs_gcm_seal(gcm, nonce.p, aad.p, aad.len, text.p, text.len, sealed, tag) == BS_OK &&
	    is_hex(sealed, "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
	    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662") &&
	    is_hex(tag, "76fc6ece0f4e1768cddf8853bb2d551b") &&
	    bs_gcm_open(gcm, nonce.p, aad.p, aad.len, sealed, sizeof(sealed), tag, opened) == BS_OK &&
	    memcmp(opened, text.p, text.len) == 0;
	tag[0] ^= 1;
	ok = ok && bs_gcm_open(gcm, nonce.p, aad.p, aad.len, sealed, sizeof(sealed), tag, opened) == BS_ERR_AUTH;
	bs_gcm_free(gcm);
	return ok;
}

/* draft-irtf-cfrg-xchacha-03, appendix A.3.1. */
static bool
xchacha_ok(void)
{
	static const char text[] = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
	    "future, sunscreen would be it.";
	struct bytes key = unhex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
	struct bytes nonce = unhex("404142434445464748494a4b4c4d4e4f5051525354555657");
	struct bytes aad = unhex("50515253c0c1c2c3c4c5c6c7");
	uint8_t sealed[sizeof(text) - 1 + BS_TAG_LEN], opened[sizeof(text) - 1];

	if (bs_xchacha_seal(key.p, nonce.p, aad.p, aad.len, text, sizeof(text) - 1, sealed) != BS_OK ||
	    !is_hex(sealed, "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
	    "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
	    "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
	    "21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49"))
		return false;
	if (bs_xchacha_open(key.p, nonce.p, aad.p, aad.len, sealed, sizeof(sealed), opened) != BS_OK ||
	    memcmp(opened, text, sizeof(opened)) != 0)
		return false;
	sealed[0] ^= 1;
	return bs_xchacha_open(key.p, nonce.p, aad.p, aad.len, sealed, sizeof(sealed), opened) == BS_ERR_AUTH;
}

/* RFC 7748 section 6.1: Bob's key, Alice's public key; and a point of order 1. */
static bool
x25519_ok(void)
{
	struct bytes sec = unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
	struct bytes alice = unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
	static const uint8_t zero[BS_KEY_LEN];
	uint8_t out[BS_KEY_LEN];

	bs_x25519_public(sec.p, out);
	return is_hex(out, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f") &&
	    bs_x25519(sec.p, alice.p, out) == BS_OK &&
	    is_hex(out, "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742") &&
	    bs_x25519(sec.p, zero, out) == BS_ERR_AUTH;
}

/* RFC 8032 section 7.1, test 2. */
static bool
ed25519_ok(void)
{
	struct bytes sec = unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
	    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
	uint8_t sig[BS_SIG_LEN];

	if (bs_sign(sec.p, "\x72", 1, sig) != BS_OK ||
	    !is_hex(sig, "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
	    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00") ||
	    bs_sign_verify(sec.p + 32, "\x72", 1, sig) != BS_OK)
		return false;
	return bs_sign_verify(sec.p + 32, "\x73", 1, sig) == BS_ERR_AUTH;
}

/* Made with python3-nacl and python3-cryptography: ephemeral secret 40..5f, key 20..3f, salt 00..0f. */
static bool
kem_ok(void)
{
	static const char label[] = "basalt test v1";
	struct bytes sec = unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
	struct bytes pub = unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
	struct bytes eph = unhex("79a631eede1bf9c98f12032cdeadd0e7a079398fc786b88cc846ec89af85a51a");
	struct bytes salt = unhex("000102030405060708090a0b0c0d0e0f");
	struct bytes sealed = unhex("0d98c37cc88fc422f7a388a24d103bbf1ebf583d1e04222a50272b0c0cb0dfaa"
	    "ae35a1673e5858d815d7a75c6de373f3");
	uint8_t key[BS_KEY_LEN];

	if (bs_kem_open(sec.p, pub.p, salt.p, label, "fields", 6, eph.p, sealed.p, key) != BS_OK ||
	    !is_hex(key, "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"))
		return false;
	if (bs_kem_open(sec.p, pub.p, salt.p, label, "fieldz", 6, eph.p, sealed.p, key) != BS_ERR_AUTH)
		return false;
	return bs_kem_seal(pub.p, salt.p, label, "x", 1, salt.p, eph.p, sealed.p) == BS_OK &&
	    bs_kem_open(sec.p, pub.p, salt.p, label, "x", 1, eph.p, sealed.p, key) == BS_OK &&
	    memcmp(key, salt.p, BS_KEY_LEN) == 0;
}

enum bs_err
bs_crypto_selftest(void)
{
	enum bs_err err = bs_crypto_init();

	if (err != BS_OK)
		return err;
	if (!hashes_ok() || !gcm_ok() || !xchacha_ok() || !x25519_ok() || !ed25519_ok() || !kem_ok() || !argon2id_ok())
		return BS_ERR_CRYPTO;
	return BS_OK;
}
