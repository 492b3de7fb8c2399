/*
 * verdict_seal: a verdict header as the milter would write it, from lines on standard input:
 *
 *   verdict_seal KEYFILE [SECONDS-AGO]
 *     ADDRESS TAB deliver|drop|reject [TAB KEY=VALUE]...      folder= label= subject= detail= note= code= status= text=
 *
 * Prints the field with CR LF at its folds and end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/verdict_header.h"

#define LINE_SIZE 4096

static void
need(bool ok, const char *what)
{
	if (ok)
		return;
	(void)fprintf(stderr, "verdict_seal: %s\n", what);
	exit(1);
}

static void
set(struct bs_verdict_part *part, const char *word)
{
	const struct {
		const char *key;
		char *at;
		size_t size;
	} texts[] = {
		{ "folder=", part->folder, sizeof(part->folder) }, { "label=", part->label, sizeof(part->label) },
		{ "note=", part->note, sizeof(part->note) },       { "code=", part->code, sizeof(part->code) },
		{ "status=", part->status, sizeof(part->status) }, { "text=", part->text, sizeof(part->text) },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		size_t len = strlen(texts[i].key);

		if (strncmp(word, texts[i].key, len) != 0)
			continue;
		need(strlen(word + len) < texts[i].size, word);
		(void)snprintf(texts[i].at, texts[i].size, "%s", word + len);
		return;
	}
	if (strncmp(word, "subject=", 8) == 0)
		part->label_subject = word[8] == '1';
	else if (strncmp(word, "detail=", 7) == 0)
		part->keep_detail = word[7] == '1';
	else
		need(false, word);
}

static void
add_line(struct bs_verdict_writer *w, char *line)
{
	struct bs_verdict_part part = { .what = BS_VERDICT_DELIVER };
	char *rest = line, *address = strsep(&rest, "\t"), *what = strsep(&rest, "\t"), *word;

	need(what != NULL, "ADDRESS TAB WHAT");
	if (strcmp(what, "drop") == 0)
		part.what = BS_VERDICT_DROP;
	if (strcmp(what, "reject") == 0)
		part.what = BS_VERDICT_REJECT;
	while ((word = strsep(&rest, "\t")) != NULL)
		set(&part, word);
	need(bs_verdict_writer_add(w, address, &part) == BS_OK, address);
}

int
main(int argc, char **argv)
{
	struct bs_buf *value = bs_buf_new(BS_VERDICT_FIELD_MAX);
	struct bs_verdict_writer *w = NULL;
	struct bs_verdict_keys *keys = NULL;
	char line[LINE_SIZE], why[512] = "no crypto";

	need(argc > 1 && bs_crypto_init() == BS_OK, "verdict_seal KEYFILE [SECONDS-AGO]");
	need(bs_verdict_keys_open(argv[1], BS_VERDICT_LIFETIME_S, NULL, NULL, &keys, why, sizeof(why)) == BS_OK, why);
	need(bs_verdict_writer_new(keys, time(NULL) - (argc > 2 ? strtol(argv[2], NULL, 10) : 0), &w) == BS_OK, "no key seals");
	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		add_line(w, line);
	}
	need(bs_verdict_writer_value(w, value) == BS_OK, "value");
	(void)fputs(BS_VERDICT_FIELD ":", stdout);
	for (size_t i = 0; i < bs_buf_len(value); i++) {
		if (bs_buf_data(value)[i] == '\n')
			(void)putchar('\r');
		(void)putchar(bs_buf_data(value)[i]);
	}
	(void)fputs("\r\n", stdout);
	bs_verdict_writer_free(w);
	bs_verdict_keys_free(keys);
	bs_buf_free(value);
	return 0;
}
