#include "compat.h"

#include <hex-binary.h>
#include <str.h>

#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

#include "builtfor.h"
#include "dovecot_builds.h"

#define ALIGN4(n) (((n) + 3) & ~(size_t)3)

static const char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

/* The build id in a segment of notes of this process (elf(5), "Notes"), in hex; NULL if there is none. */
static const char *
id_in_notes(const uint8_t *p, size_t left)
{
	static const char owner[] = "GNU";
	ElfW(Nhdr) note;

	for (; left >= sizeof(note); p += sizeof(note), left -= sizeof(note)) {
		size_t name_len, len;

		memcpy(&note, p, sizeof(note));
		name_len = ALIGN4(note.n_namesz);
		len = name_len + ALIGN4(note.n_descsz);
		if (len > left - sizeof(note))
			return NULL;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof(owner) && memcmp(p + sizeof(note), owner, sizeof(owner)) == 0)
			return binary_to_hex(p + sizeof(note) + name_len, note.n_descsz);
		p += len;
		left -= len;
	}
	return NULL;
}

static const char *
id_of(const struct dl_phdr_info *object)
{
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		const char *id = segment->p_type != PT_NOTE ? NULL :
		    id_in_notes((const uint8_t *)(object->dlpi_addr + segment->p_vaddr), segment->p_memsz); /* NOLINT(performance-no-int-to-ptr) */

		if (id != NULL)
			return id;
	}
	return NULL;
}

/* For dl_iterate_phdr(): not 0 ends it, with the other file's path in *path_r. */
static int
judge(struct dl_phdr_info *object, size_t size ATTR_UNUSED, void *path_r)
{
	const char *path = object->dlpi_name[0] != '\0' ? object->dlpi_name : (const char *)getauxval(AT_EXECFN); /* NOLINT(performance-no-int-to-ptr) */
	const char *name = path == NULL ? "" : base_name(path), *id = id_of(object);

	for (size_t i = 0; id != NULL && dovecot_builds[i].file != NULL; i++) {
		if (strcmp(dovecot_builds[i].file, name) == 0 && strcmp(dovecot_builds[i].id, id) != 0) {
			*(const char **)path_r = path;
			return 1;
		}
	}
	return 0;
}

bool
basalt_built_for_this(const char **error_r)
{
	const char *path = NULL;

	if (dl_iterate_phdr(judge, (void *)&path) == 0)
		return true;
	*error_r = t_strdup_printf("%s is of another build of Dovecot than the one for which this plugin was built: install the "
	    "dovecot-dev of the same version, then in Basalt's source `make all`, `make install`, and restart Dovecot", path);
	return false;
}
