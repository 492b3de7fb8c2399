/*
 * json_text: strings from outside as JSON strings, whatever bytes they hold. Any thread.
 *
 *     json_object_set_new(object, "from", bs_json_text(sender));
 */
#ifndef BS_JSON_TEXT_H
#define BS_JSON_TEXT_H

#include <jansson.h>

#define BS_JSON_TEXT_MAX 254

/* Cut after BS_JSON_TEXT_MAX bytes, without control characters, valid UTF-8. NULL when out of memory. */
json_t *bs_json_text(const char *from);
/* Sets key to text, unless that is empty. */
void bs_json_put_text(json_t *object, const char *key, const char *from);

#endif
