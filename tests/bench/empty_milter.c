/* empty_milter: what a filter costs that does nothing: all stages by libmilter, no reply where none is needed.
 *
 *   empty_milter SOCKET
 */
#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>
#include <stdio.h>

static sfsistat
on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3, unsigned long *o0,
    unsigned long *o1, unsigned long *o2, unsigned long *o3)
{
	(void)ctx;
	(void)f0;
	(void)f2;
	(void)f3;
	*o0 = SMFIF_ADDHDRS;
	*o1 = f1 & (SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_HDR | SMFIP_NR_BODY | SMFIP_NR_EOH | SMFIP_NR_DATA |
	    SMFIP_NR_UNKN);
	*o2 = *o3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat
on_connect(SMFICTX *ctx, char *name, _SOCK_ADDR *address)
{
	(void)ctx;
	(void)name;
	(void)address;
	return SMFIS_NOREPLY;
}

static sfsistat
on_helo(SMFICTX *ctx, char *name)
{
	(void)ctx;
	(void)name;
	return SMFIS_NOREPLY;
}

static sfsistat
on_mail(SMFICTX *ctx, char **argv)
{
	(void)ctx;
	(void)argv;
	return SMFIS_NOREPLY;
}

static sfsistat
on_rcpt(SMFICTX *ctx, char **argv)
{
	(void)ctx;
	(void)argv;
	return SMFIS_CONTINUE;
}

static sfsistat
on_header(SMFICTX *ctx, char *name, char *value)
{
	(void)ctx;
	(void)name;
	(void)value;
	return SMFIS_NOREPLY;
}

static sfsistat
on_body(SMFICTX *ctx, unsigned char *data, size_t len)
{
	(void)ctx;
	(void)data;
	(void)len;
	return SMFIS_NOREPLY;
}

int
main(int argc, char **argv)
{
	static char name[] = "empty";
	struct smfiDesc filter = {
		.xxfi_name = name, .xxfi_version = SMFI_VERSION, .xxfi_flags = SMFIF_ADDHDRS, .xxfi_connect = on_connect,
		.xxfi_helo = on_helo, .xxfi_envfrom = on_mail, .xxfi_envrcpt = on_rcpt, .xxfi_header = on_header,
		.xxfi_body = on_body, .xxfi_negotiate = on_negotiate,
	};
	char address[256];

	if (argc != 2)
		return 2;
	(void)snprintf(address, sizeof(address), "unix:%s", argv[1]);
	if (smfi_setconn(address) != MI_SUCCESS || smfi_register(filter) != MI_SUCCESS || smfi_opensocket(1) != MI_SUCCESS)
		return 1;
	return smfi_main() == MI_SUCCESS ? 0 : 1;
}
