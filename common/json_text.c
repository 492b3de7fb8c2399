#include "json_text.h"

json_t *
bs_json_text(const char *from)
{
	char clean[BS_JSON_TEXT_MAX + 1];
	size_t n = 0;
	json_t *value;

	for (; n < BS_JSON_TEXT_MAX && from[n] != '\0'; n++)
		clean[n] = (char)((unsigned char)from[n] < 0x20 || from[n] == 0x7f ? '?' : from[n]);
	clean[n] = '\0';
	value = json_string(clean);
	if (value != NULL)
		return value;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)clean[i] >= 0x80)
			clean[i] = '?';
	return json_string(clean);
}

void
bs_json_put_text(json_t *object, const char *key, const char *from)
{
	if (from[0] != '\0')
		(void)json_object_set_new(object, key, bs_json_text(from));
}
