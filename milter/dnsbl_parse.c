#include "dnsbl_priv.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEIGHT_MAX 1000
#define ENTRY_MAX 1024

static bool
read_weight(const char *text, int64_t *out)
{
	const char *digits = text + (text[0] == '-' || text[0] == '+');
	char *end;
	long number = strtol(text, &end, 10);

	if (!isdigit((unsigned char)digits[0]) || *end != '\0' || number < -WEIGHT_MAX || number > WEIGHT_MAX || number == 0)
		return false;
	*out = number;
	return true;
}

/* A number up to 255 at *text, which moves behind it. */
static bool
read_octet(const char **text, uint8_t *out)
{
	char *end;
	unsigned long number;

	if (!isdigit((unsigned char)**text))
		return false;
	number = strtoul(*text, &end, 10);
	if (number > 255)
		return false;
	*text = end;
	*out = (uint8_t)number;
	return true;
}

/* "7", "2-11" or "*" */
static bool
read_part(const char **text, uint8_t *low, uint8_t *high)
{
	if (**text == '*') {
		++*text;
		*low = 0;
		*high = 255;
		return true;
	}
	if (!read_octet(text, low))
		return false;
	*high = *low;
	if (**text != '-')
		return true;
	++*text;
	return read_octet(text, high) && *low <= *high;
}

/* "127.0.0.2-11=10" */
static bool
read_code(char *text, struct dnsbl_code *out)
{
	char *weight = strchr(text, '=');
	const char *at = text;

	if (weight == NULL)
		return false;
	*weight++ = '\0';
	for (size_t i = 0; i < 4; i++) {
		if (!read_part(&at, &out->low[i], &out->high[i]) || *at != (i < 3 ? '.' : '\0'))
			return false;
		at++;
	}
	return out->low[0] == 127 && out->high[0] == 127 && read_weight(weight, &out->weight);
}

static void
widen(struct dnsbl_list *list, int64_t weight)
{
	if (weight < list->lowest)
		list->lowest = weight;
	if (weight > list->highest)
		list->highest = weight;
}

static bool
read_answers(struct dnsbl_list *list, char *text)
{
	char *save = NULL;

	if (strchr(text, '=') == NULL) {
		if (!read_weight(text, &list->weight))
			return false;
		widen(list, list->weight);
		return true;
	}
	for (char *code = strtok_r(text, ",", &save); code != NULL; code = strtok_r(NULL, ",", &save)) {
		if (list->n_codes == DNSBL_CODES_MAX || !read_code(code, &list->codes[list->n_codes]))
			return false;
		widen(list, list->codes[list->n_codes++].weight);
	}
	return list->n_codes > 0;
}

static const char *
read_list(char *text, struct dnsbl_list *list)
{
	char *save = NULL;
	char *kind = strtok_r(text, " \t\r\n", &save), *zone = strtok_r(NULL, " \t\r\n", &save);
	char *answers = strtok_r(NULL, " \t\r\n", &save);

	if (answers == NULL || strtok_r(NULL, " \t\r\n", &save) != NULL)
		return "a list is KIND ZONE WEIGHT or KIND ZONE CODE=WEIGHT,CODE=WEIGHT";
	if (strcmp(kind, "ip") != 0 && strcmp(kind, "domain") != 0)
		return "a list's kind is ip or domain";
	list->kind = strcmp(kind, "ip") == 0 ? DNSBL_IP : DNSBL_DOMAIN;
	if (!dns_name_ok(zone))
		return "a list's zone is a domain name";
	(void)snprintf(list->zone, sizeof(list->zone), "%s", zone);
	if (!read_answers(list, answers))
		return "an answer is 127.0.0.2=WEIGHT, its parts numbers, ranges as 2-11, or *; a weight is -1000 to 1000, and not 0";
	return NULL;
}

enum bs_err
dnsbl_parse(const char *text, struct dnsbl_list lists[DNSBL_LISTS_MAX], size_t *n, char *why, size_t why_size)
{
	char entry[ENTRY_MAX];
	const char *wrong = NULL;
	size_t len;

	*n = 0;
	for (const char *p = text; wrong == NULL && *p != '\0'; p += len + (p[len] == ';')) {
		len = strcspn(p, ";");
		if (strspn(p, " \t\r\n") >= len)
			continue;
		if (len >= sizeof(entry) || *n == DNSBL_LISTS_MAX) {
			wrong = "too long, or too many lists";
			break;
		}
		memcpy(entry, p, len);
		entry[len] = '\0';
		wrong = read_list(entry, &lists[(*n)++]);
	}
	if (wrong == NULL)
		return BS_OK;
	(void)snprintf(why, why_size, "%s", wrong);
	return BS_ERR_ARG;
}

static bool
fits(const struct dnsbl_code *code, const uint8_t answer[4])
{
	for (size_t i = 0; i < 4; i++)
		if (answer[i] < code->low[i] || answer[i] > code->high[i])
			return false;
	return true;
}

enum dnsbl_meaning
dnsbl_weigh(const struct dnsbl_list *list, const uint8_t answer[4], int64_t *weight)
{
	static const uint8_t refused[4] = { 127, 0, 0, 1 }; /* what several lists answer to whom they do not serve */

	if (answer[0] != 127 || answer[1] == 255)
		return DNSBL_ERROR;
	for (size_t i = 0; i < list->n_codes; i++) {
		if (fits(&list->codes[i], answer)) {
			*weight = list->codes[i].weight;
			return DNSBL_LISTED;
		}
	}
	if (memcmp(answer, refused, sizeof(refused)) == 0)
		return DNSBL_ERROR;
	if (list->n_codes > 0)
		return DNSBL_NOT_LISTED;
	*weight = list->weight;
	return DNSBL_LISTED;
}
