/* basaltctl probe: sends an account a mail by the way that all mail takes, and looks at how it lies on the disk. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "crypto.h"
#include "home.h"
#include "keyclient_slots.h"
#include "sealed.h"
#include "sendmail.h"
#include "sock.h"
#include "verbs.h"
#include "walk.h"

#define WAIT_MS 60000
#define EVERY_MS 250
#define WORD_LEN 16
#define CLEAR_READ_MAX (64u * 1024) /* of a plaintext message, in search of the word */

/* What the mail home holds that was written since the beginning. */
struct probe {
	struct bs_record record;
	char word[2 * WORD_LEN + 1];
	time_t since;
	unsigned sealed, foreign; /* to the account's active key; to another */
	bool clear;
	char clear_path[4096];
	const char *path; /* of the file under way */
	int fd;
};

enum outcome { SEALED, IN_CLEAR, FOREIGN, MISSING };

static const struct {
	const char *name, *text;
} outcomes[] = {
	[SEALED] = { "sealed", "it arrived, and lies sealed on the disk" },
	[IN_CLEAR] = { "clear", "it arrived, and LIES IN CLEAR on the disk: mail_plugins of Dovecot's protocol lmtp lacks basalt, see `doveconf -n`" },
	[FOREIGN] = { "other-key", "it arrived, and is not sealed to the account's active key: do several databases or site keys serve this domain?" },
	[MISSING] = { "missing", "it did not arrive within a minute, or not in a form that this program knows: see the mail queue and Dovecot's log" },
};

/* --- looking --- */

static bool
holds_word(const struct probe *p, const struct ctl_mail *mail)
{
	size_t want = mail->len < CLEAR_READ_MAX ? (size_t)mail->len : CLEAR_READ_MAX, got = 0;
	char *text = malloc(want + 1);
	bool found = text != NULL && ctl_pread(p->fd, mail->off, text, want, &got) == BS_OK && memmem(text, got, p->word, strlen(p->word)) != NULL;

	free(text);
	return found;
}

/* ctl_mail_fn */
static enum bs_err
on_message(void *ctx, const struct ctl_mail *mail)
{
	struct probe *p = ctx;
	struct ctl_look look;
	enum bs_err err = ctl_sealed_look(p->fd, mail, &look);

	if (err != BS_OK)
		return err;
	if (look.have_prefix && look.damage == NULL && look.prefix.suite != BS_MSG_SUITE_PLAIN) {
		bool ours = ctl_sealed_to(&look.prefix, &p->record);

		p->sealed += ours;
		p->foreign += !ours;
	} else if (!p->clear && holds_word(p, mail)) {
		p->clear = true;
		snprintf(p->clear_path, sizeof(p->clear_path), "%s", p->path);
	}
	return BS_OK;
}

static bool
on_file(void *ctx, size_t root, const char *path, const char *name)
{
	struct probe *p = ctx;
	struct stat st;
	uint64_t bad_off;
	bool go_on;

	(void)root;
	(void)name;
	p->path = path;
	p->fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (p->fd < 0)
		return true;
	/* What is being written is whole when it is looked at again. */
	go_on = fstat(p->fd, &st) != 0 || st.st_mtime < p->since ||
	    ctl_mailfile_each(p->fd, (uint64_t)st.st_size, on_message, p, &bad_off) != BS_ERR_NOMEM;
	(void)close(p->fd);
	return go_on;
}

static enum bs_err
look(struct probe *p, char *home)
{
	struct ctl_walk_ops ops = { .ctx = p, .file = on_file }; /* what can't be looked at is not where it arrived */
	char *roots[] = { home };
	enum bs_err err;

	p->sealed = p->foreign = 0;
	err = ctl_walk(roots, 1, 0, NULL, &ops);
	return err == BS_ERR_BUSY ? BS_ERR_NOMEM : err;
}

/* --- sending --- */

static const char *
send_mail(const struct ctl *ctl, const char *address, const struct probe *p)
{
	char text[1024];
	int len = snprintf(text, sizeof(text),
	    "To: %s\nSubject: A probe of this mailbox\nAuto-Submitted: auto-generated\n"
	    "MIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n\n"
	    "Is mail to this account sealed? Nobody needs to keep this message.\n\n%s\n",
	    address, p->word);

	return len > 0 && (size_t)len < sizeof(text) ? ctl_sendmail(ctl, address, text, (size_t)len) : "its text is too long";
}

static enum bs_err
await(struct probe *p, char *home, const struct probe *before, enum outcome *out)
{
	int64_t deadline_ms = bs_now_ms() + WAIT_MS;
	enum bs_err err;

	*out = MISSING;
	do {
		(void)poll(NULL, 0, EVERY_MS);
		err = look(p, home);
		if (p->clear)
			*out = IN_CLEAR;
		else if (p->sealed > before->sealed)
			*out = SEALED;
		else if (p->foreign > before->foreign)
			*out = FOREIGN;
	} while (err == BS_OK && *out == MISSING && bs_now_ms() < deadline_ms);
	return err;
}

/* --- the command --- */

/* Its record; an exit status. */
static int
find_account(struct ctl *ctl, const char *address, struct bs_record *out)
{
	struct bs_slot_list list;
	enum bs_err err = bs_keyclient_slots(ctl->keyd, address, &list);

	if (err == BS_ERR_NOENT)
		return ctl_fail(err, "%s has no keys: `basaltctl account add` makes an account for probes", address);
	if (err != BS_OK)
		return ctl_fail(err, "%s: %s", address, ctl_keyd_text(err));
	*out = list.record;
	bs_slot_list_clear(&list);
	if ((out->flags & BS_RECORD_FLAG_SEALED) == 0)
		return ctl_fail(BS_ERR_ARG, "%s is a plain account, its mail lies in clear: probe a sealed one", address);
	return CTL_OK;
}

static int
report(const struct ctl *ctl, const char *address, const struct probe *p, enum outcome outcome, int64_t took_ms)
{
	int rc = outcome == SEALED ? CTL_OK : CTL_FAILED;

	if ((ctl->args.given & CTL_JSON) != 0) {
		json_t *json = json_pack("{s:s, s:s, s:f}", "account", address, "outcome", outcomes[outcome].name, "seconds", (double)took_ms / 1000);

		if (p->clear)
			(void)json_object_set_new(json, "path", ctl_json_path(p->clear_path));
		return ctl_print_json(json) == CTL_OK ? rc : CTL_FAILED;
	}
	printf("%s: %s (%.1f s)\n", address, outcomes[outcome].text, (double)took_ms / 1000);
	if (p->clear) {
		printf("  ");
		ctl_print_path(stdout, p->clear_path);
		printf("\n");
	}
	return rc;
}

int
probe_run(struct ctl *ctl)
{
	char address[BS_ADDRESS_MAX + 1], home[4096];
	struct probe p = { .since = time(NULL) }, before;
	uint8_t word[WORD_LEN];
	enum outcome outcome;
	int64_t began_ms;
	const char *why;
	enum bs_err err;
	int rc = ctl_address_arg(ctl->args.words[0], address);

	if (rc == CTL_OK)
		rc = ctl_open_keyd(ctl);
	if (rc == CTL_OK && ctl->settings.notify[0] == '\0')
		rc = ctl_fail(BS_ERR_CONF, "ctl.notify is empty: it names the program that sends the probe, \"/usr/sbin/sendmail -i\" say");
	if (rc == CTL_OK)
		rc = find_account(ctl, address, &p.record);
	if (rc != CTL_OK)
		return rc;
	bs_random(word, sizeof(word));
	ctl_hex(word, sizeof(word), p.word);
	home_folder(ctl, address, home, sizeof(home));
	err = look(&p, home);
	before = p;
	began_ms = bs_now_ms();
	why = err == BS_OK ? send_mail(ctl, address, &p) : NULL;
	if (why != NULL)
		return ctl_fail(BS_ERR_UNAVAIL, "the probe was not sent: %s", why);
	if (err == BS_OK)
		err = await(&p, home, &before, &outcome);
	if (err != BS_OK)
		return ctl_fail(err, "looking through %s: %s", home, bs_err_text(err));
	return report(ctl, address, &p, outcome, bs_now_ms() - began_ms);
}
