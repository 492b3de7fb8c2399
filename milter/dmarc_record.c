#include "dmarc_record.h"

#include <string.h>
#include <strings.h>

#define VALUE_MAX DMARC_RUA_MAX
#define URI_MAX 256

/* What is known while the tags are read. */
struct reading {
	struct dmarc_record *out;
	bool has_p, has_sp, bad;
};

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Cuts blanks off both ends. */
static void
trim(const uint8_t **p, size_t *len)
{
	while (*len > 0 && is_blank(**p)) {
		(*p)++;
		(*len)--;
	}
	while (*len > 0 && is_blank((*p)[*len - 1]))
		(*len)--;
}

static bool
read_policy(const char *value, enum auth_dmarc_policy *out)
{
	for (int i = AUTH_DMARC_P_NONE; i <= AUTH_DMARC_P_REJECT; i++) {
		if (strcasecmp(value, auth_dmarc_policy_text((enum auth_dmarc_policy)i)) == 0) {
			*out = (enum auth_dmarc_policy)i;
			return true;
		}
	}
	return false;
}

static void
read_pct(const char *value, struct dmarc_record *out)
{
	unsigned n = 0;

	if (value[0] == '\0' || strlen(value) > 3 || strspn(value, "0123456789") != strlen(value))
		return;
	for (; *value != '\0'; value++)
		n = n * 10 + (unsigned)(*value - '0');
	if (n <= 100)
		out->pct = n;
}

/* 0, 1, d, s, with colons between, each once. */
static void
read_fo(const char *value, struct dmarc_record *out)
{
	size_t len = strlen(value);

	if (len == 0 || len >= sizeof(out->fo) || len % 2 == 0)
		return;
	for (size_t i = 0; i < len; i++)
		if (i % 2 == 0 ? strchr("01dsDS", value[i]) == NULL : value[i] != ':')
			return;
	memcpy(out->fo, value, len + 1);
}

/* mailto: with an address of printable ASCII; what else is published is left out, and so is "!10m" behind it. */
static bool
read_uri(const char *uri, size_t len, char *out)
{
	static const char mailto[] = "mailto:";
	size_t scheme = strlen(mailto);

	for (size_t i = 0; i < len; i++)
		if (uri[i] <= 0x20 || uri[i] >= 0x7f || strchr("<>\"\\", uri[i]) != NULL)
			return false;
	if (len <= scheme || len >= URI_MAX || strncasecmp(uri, mailto, scheme) != 0)
		return false;
	for (size_t i = scheme; i < len; i++)
		if (uri[i] == '!')
			len = i;
	memcpy(out, uri, len);
	out[len] = '\0';
	return strchr(out + scheme, '@') != NULL;
}

static void
read_rua(const char *value, struct dmarc_record *out)
{
	char uri[URI_MAX];
	size_t n = 0;

	out->rua[0] = '\0';
	while (*value != '\0') {
		size_t len = strcspn(value, ","), end = len, blank = strspn(value, " \t");

		while (end > blank && is_blank((uint8_t)value[end - 1]))
			end--;
		if (blank < end && read_uri(value + blank, end - blank, uri) && n + strlen(uri) + 2 < sizeof(out->rua)) {
			if (n > 0)
				out->rua[n++] = ',';
			memcpy(out->rua + n, uri, strlen(uri) + 1);
			n += strlen(uri);
		}
		value += len + (value[len] == ',' ? 1 : 0);
	}
}

static void
take_tag(struct reading *r, const char *name, const char *value)
{
	struct dmarc_record *out = r->out;

	if (strcasecmp(name, "p") == 0) {
		r->has_p = read_policy(value, &out->p);
	} else if (strcasecmp(name, "sp") == 0) {
		r->has_sp = read_policy(value, &out->sp);
		r->bad = r->bad || !r->has_sp;
	} else if (strcasecmp(name, "np") == 0) {
		out->has_np = read_policy(value, &out->np);
		r->bad = r->bad || !out->has_np;
	} else if (strcasecmp(name, "adkim") == 0) {
		out->adkim_strict = strcasecmp(value, "s") == 0;
	} else if (strcasecmp(name, "aspf") == 0) {
		out->aspf_strict = strcasecmp(value, "s") == 0;
	} else if (strcasecmp(name, "t") == 0) {
		out->testing = strcasecmp(value, "y") == 0;
		out->has_t = out->testing || strcasecmp(value, "n") == 0;
	} else if (strcasecmp(name, "psd") == 0) {
		out->psd = strcasecmp(value, "y") == 0 ? DMARC_PSD_YES :
		    strcasecmp(value, "n") == 0 ? DMARC_PSD_NO : DMARC_PSD_UNKNOWN;
	} else if (strcasecmp(name, "pct") == 0) {
		read_pct(value, out);
	} else if (strcasecmp(name, "fo") == 0) {
		read_fo(value, out);
	} else if (strcasecmp(name, "rua") == 0) {
		read_rua(value, out);
	}
}

/* The next "name = value" up to ';', as texts; a value that is too long or holds NUL is "". False: it has no '='. */
static bool
split_tag(const uint8_t *p, size_t len, char name[8], char value[VALUE_MAX])
{
	const uint8_t *eq = memchr(p, '=', len), *v;
	size_t name_len, value_len;

	if (eq == NULL)
		return false;
	v = eq + 1;
	name_len = (size_t)(eq - p);
	value_len = len - name_len - 1;
	trim(&p, &name_len);
	trim(&v, &value_len);
	if (name_len == 0 || name_len >= 8 || memchr(p, 0, name_len) != NULL)
		name_len = 0;
	if (value_len >= VALUE_MAX || memchr(v, 0, value_len) != NULL)
		value_len = 0;
	memcpy(name, p, name_len);
	name[name_len] = '\0';
	if (value_len > 0)
		memcpy(value, v, value_len);
	value[value_len] = '\0';
	return true;
}

/* Fills in what absent tags mean. False: RFC 9989 section 4.7, a record without policy that names no reader of reports. */
static bool
complete(struct reading *r)
{
	struct dmarc_record *out = r->out;

	if (!r->has_p || r->bad) {
		if (out->rua[0] == '\0')
			return false;
		out->p = out->sp = out->np = AUTH_DMARC_P_NONE;
		out->has_np = false;
		return true;
	}
	if (!r->has_sp)
		out->sp = out->p;
	if (!out->has_np)
		out->np = out->sp;
	return true;
}

bool
dmarc_record_parse(const uint8_t *data, size_t len, struct dmarc_record *out)
{
	struct dmarc_record record = { .pct = 100, .fo = "0" };
	struct reading r = { .out = &record };
	char name[8], value[VALUE_MAX];

	if (len > DMARC_RECORD_MAX)
		return false;
	for (unsigned n = 0; len > 0 && n < DMARC_TAGS_MAX; n++) {
		const uint8_t *end = memchr(data, ';', len);
		size_t tag_len = end != NULL ? (size_t)(end - data) : len, step = tag_len + (end != NULL ? 1 : 0);
		bool tag = split_tag(data, tag_len, name, value);

		if (n == 0 && (!tag || is_blank(data[0]) || strcasecmp(name, "v") != 0 || strcmp(value, "DMARC1") != 0))
			return false;
		if (n > 0 && tag)
			take_tag(&r, name, value);
		data += step;
		len -= step;
		if (n == 0 && len == 0)
			return false;
	}
	if (!complete(&r))
		return false;
	*out = record;
	return true;
}
