#include "suffix.h"

#include <libpsl.h>
#include <stdlib.h>

struct suffix_list {
	psl_ctx_t *psl;
};

enum bs_err
suffix_list_new(struct suffix_list **out)
{
	struct suffix_list *list = calloc(1, sizeof(*list));

	if (list == NULL)
		return BS_ERR_NOMEM;
	list->psl = psl_latest(NULL);
	if (list->psl == NULL) {
		free(list);
		return BS_ERR_UNAVAIL;
	}
	*out = list;
	return BS_OK;
}

void
suffix_list_free(struct suffix_list *list)
{
	if (list == NULL)
		return;
	psl_free(list->psl);
	free(list);
}

const char *
suffix_organisation(const struct suffix_list *list, const char *name)
{
	const char *found = psl_registrable_domain(list->psl, name);

	return found != NULL ? found : name;
}

bool
suffix_is_public(const struct suffix_list *list, const char *name)
{
	return psl_is_public_suffix(list->psl, name) == 1;
}
