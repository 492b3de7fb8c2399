#include "confirm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "args.h"

static bool
is_answered(const struct ctl_question *question)
{
	char line[258];

	fprintf(stderr, "%s: ", question->prompt);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return false;
	line[strcspn(line, "\n")] = '\0';
	return strcmp(line, question->wanted) == 0;
}

bool
ctl_confirmed(uint64_t given, const struct ctl_question *asked, size_t n)
{
	if ((given & CTL_YES) != 0)
		return true;
	if (!isatty(STDIN_FILENO))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_answered(&asked[i]))
			return false;
	return true;
}
