/*
 * msgfmt against the independent implementation in Python (tests/vectors): every file of the frozen mailboxes opens to
 * its plaintext and sizes, the generator still makes the same files, and it opens what our encoder makes.
 * Runs in the top folder of the source tree.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "msgfmt_helper.h"

#define PYTHON "/usr/bin/python3"
#define GENERATOR "tests/vectors/make_message.py"

/* One for each version that is still read. */
static const struct {
	const char *folder;
	int files;
} frozen[] = { { "tests/data/frozen", 15 }, { "tests/data/frozen-2", 9 } };

static const char *folder;

static struct bytes
read_file(const char *name)
{
	struct bytes b = { 0 };
	uint8_t block[65536];
	FILE *f = fopen(name, "rb");
	size_t n;

	if (f == NULL)
		fail_msg("%s: can't be opened", name);
	while ((n = fread(block, 1, sizeof(block), f)) > 0)
		assert_int_equal(append_bytes(&b, block, n), BS_OK);
	fclose(f);
	(void)append_bytes(&b, (const uint8_t *)"", 1); /* a C string, for those that are text */
	b.len--;
	return b;
}

static struct bytes
read_frozen(const char *name, const char *suffix)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s%s", folder, name, suffix);
	return read_file(path);
}

static void
unhex(const char *hex, uint8_t *out, size_t len)
{
	size_t i;
	unsigned int v;

	assert_int_equal(strlen(hex), 2 * len);
	for (i = 0; i < len; i++) {
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
		out[i] = (uint8_t)v;
	}
}

static struct account
read_account(void)
{
	struct bytes b = read_frozen("account", "");
	char id[33], pub[65], sec[65];
	struct account a;

	assert_int_equal(sscanf((char *)b.p, "%32s %64s %64s", id, pub, sec), 3);
	unhex(id, a.id, sizeof(a.id));
	unhex(pub, a.pub, sizeof(a.pub));
	unhex(sec, a.sec, sizeof(a.sec));
	free(b.p);
	return a;
}

struct entry {
	char name[64];
	unsigned int suite, chunks, header_chunks;
	char data_key[65];
	unsigned long long physical, virt, header, header_virt, lines, header_lines;
};

static void
check_entry(const struct account *a, const struct entry *e)
{
	struct bytes sealed = read_frozen(e->name, ".sealed"), plain = read_frozen(e->name, ".eml");
	const struct bs_msg_sizes *s;
	struct bs_msg_prefix prefix;
	struct bs_msg_reader *rd = NULL;
	struct bs_msg_span span;
	uint8_t key[BS_KEY_LEN], listed[BS_KEY_LEN];

	assert_int_equal(bs_msg_prefix_parse(sealed.p, sealed.len, &prefix), BS_OK);
	assert_int_equal(prefix.suite, e->suite);
	if (e->suite == 1) {
		assert_int_equal(bs_msg_unwrap(&prefix, a->sec, a->pub, &(struct bs_kem){ .made = false }, key), BS_OK);
		unhex(e->data_key, listed, sizeof(listed));
		assert_memory_equal(key, listed, sizeof(key));
	}
	assert_true(scrub_message(sealed.p, sealed.len));
	assert_int_equal(open_message(a, NULL, sealed.p, sealed.len, &rd), BS_OK);
	s = bs_msg_reader_sizes(rd);
	assert_int_equal(s->physical_len, e->physical);
	assert_int_equal(s->virtual_len, e->virt);
	assert_int_equal(s->header_len, e->header);
	assert_int_equal(s->header_virtual_len, e->header_virt);
	assert_int_equal(s->lines, e->lines);
	assert_int_equal(s->header_lines, e->header_lines);
	assert_int_equal(bs_msg_reader_chunk_count(rd), e->chunks);
	assert_int_equal(bs_msg_reader_span(rd, e->header_chunks, &span), BS_OK);
	assert_int_equal(span.plain_off, e->header);
	bs_msg_reader_free(rd);
	assert_int_equal(plain.len, e->physical);
	assert_int_equal(read_message(a, NULL, sealed.p, sealed.len, plain.p, plain.len), BS_OK);
	free(sealed.p);
	free(plain.p);
}

static int
check_mailbox(void)
{
	struct account a = read_account();
	struct bytes index = read_frozen("index", "");
	char *line, *save = NULL;
	struct entry e;
	int n = 0;

	for (line = strtok_r((char *)index.p, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		if (line[0] == '#')
			continue;
		assert_int_equal(sscanf(line, "%63s %u %64s %llu %llu %llu %llu %llu %llu %u %u", e.name, &e.suite, e.data_key,
		    &e.physical, &e.virt, &e.header, &e.header_virt, &e.lines, &e.header_lines, &e.chunks,
		    &e.header_chunks), 11);
		check_entry(&a, &e);
		n++;
	}
	free(index.p);
	return n;
}

static void
test_every_file(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(frozen) / sizeof(frozen[0]); i++) {
		folder = frozen[i].folder;
		assert_int_equal(check_mailbox(), frozen[i].files);
	}
}

static void
run_python(const char *option, const char *arg1, const char *arg2, const char *out_path)
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (out_path != NULL && freopen(out_path, "wb", stdout) == NULL)
			_exit(126);
		execl(PYTHON, PYTHON, "-B", GENERATOR, option, arg1, arg2, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
test_generator_still_makes_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(frozen) / sizeof(frozen[0]); i++)
		run_python("--check", frozen[i].folder, NULL, "/dev/null");
}

static void
write_file(const char *path, const uint8_t *data, size_t len)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* Ours to theirs: the encoder's files, what liblzo2 and libzstd made included, through the Python reader. */
static void
test_python_opens_ours(void **state)
{
	static const size_t sizes[] = { 0, 1, 500, 4096, 150000 };
	char dir[] = "/tmp/basalt-test-XXXXXX", secret[64], sealed[64], plain[64];
	struct account a = new_account();
	struct bytes m, file, back;
	size_t i;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(secret, sizeof(secret), "%s/secret", dir);
	snprintf(sealed, sizeof(sealed), "%s/sealed", dir);
	snprintf(plain, sizeof(plain), "%s/plain", dir);
	write_file(secret, a.sec, sizeof(a.sec));
	for (i = 0; i < 10; i++) {
		m = make_text(sizes[i / 2]);
		if (m.len > 100)
			memcpy(m.p + m.len / 3, "\r\n\r\n", 4);
		file = seal_message(&a, (uint8_t)(i % 2), true, m.p, m.len, 10000, NULL);
		write_file(sealed, file.p, file.len);
		run_python("--open", secret, sealed, plain);
		back = read_file(plain);
		assert_int_equal(back.len, m.len);
		assert_memory_equal(back.p, m.p, m.len);
		free(back.p);
		free(file.p);
		free(m.p);
	}
	unlink(secret);
	unlink(sealed);
	unlink(plain);
	rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_file),
		cmocka_unit_test(test_generator_still_makes_them),
		cmocka_unit_test(test_python_opens_ours),
	};

	if (bs_crypto_init() != BS_OK)
		return 1;
	return cmocka_run_group_tests_name("msgfmt_frozen", tests, NULL, NULL);
}
