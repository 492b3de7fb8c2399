#include "newpass.h"

#include <string.h>
#include <strings.h>

#include "secretcode.h"
#include "utf8.h"

/* The head of every list of leaked passwords, as far as it is 8 characters or longer. */
static const char *const common[] = {
	"password", "password1", "password12", "password123", "password1234", "passw0rd", "p@ssw0rd", "p@ssword",
	"12345678", "123456789", "1234567890", "0123456789", "0987654321", "987654321", "87654321", "1q2w3e4r",
	"1q2w3e4r5t", "1qaz2wsx", "11111111", "00000000", "88888888", "12341234", "11223344", "123123123", "asdfghjkl",
	"asdfasdf", "qwertyuiop", "qwerty12", "qwerty123", "qwertyui", "qwertzuiop", "qazwsxedc", "zaq12wsx", "abcd1234",
	"abc12345", "aa123456", "a1b2c3d4", "iloveyou", "sunshine", "princess", "football", "baseball", "superman",
	"trustno1", "starwars", "whatever", "computer", "internet", "letmein1", "welcome1", "welcome123", "administrator",
	"changeme", "changeme1", "admin123", "secret123", "mypassword", "passwort", "passwort1", "hallo123",
};
#define N_COMMON (sizeof(common) / sizeof(common[0]))

static bool
is_text(const char *text, size_t text_len, const uint8_t *password, size_t len)
{
	return text_len == len && strncasecmp(text, (const char *)password, len) == 0;
}

bool
newpass_is_password(const uint8_t *password, size_t len)
{
	struct bs_code code;
	unsigned group;
	bool is_code = bs_code_read((const char *)password, len, &code, &group) != BS_ERR_FORMAT; /* mistyped ones, too */

	bs_wipe(&code, sizeof(code));
	return len > 0 && !is_code;
}

bool
newpass_is_good(const char *user, const uint8_t *password, size_t len)
{
	const char *at = strrchr(user, '@');

	if (!newpass_is_password(password, len))
		return false;
	if (bs_utf8_length((const char *)password, len) < NEWPASS_MIN)
		return false;
	if (is_text(user, strlen(user), password, len) || (at != NULL && is_text(user, (size_t)(at - user), password, len)))
		return false;
	for (size_t i = 0; i < N_COMMON; i++)
		if (is_text(common[i], strlen(common[i]), password, len))
			return false;
	return true;
}
