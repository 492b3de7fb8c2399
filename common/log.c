#include "log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN 16384 /* half of it for the text before control characters are spelt out: what syslogs take */

/* The logger is the one mutable global that STYLE allows; set before threads start. */
static struct {
	const char *name;
	int fd;
	bool use_syslog;
	enum bs_log_level level;
} out = { "basalt", STDERR_FILENO, false, BS_LOG_INFO };

static const char *const level_names[] = { "debug", "info", "warning", "error", "alarm", "fatal" };
static const int level_syslog[] = { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR, LOG_ALERT, LOG_CRIT };

enum bs_err
bs_log_open(const char *name, const char *target)
{
	int fd = STDERR_FILENO;

	if (strcmp(target, "syslog") == 0) {
		openlog(name, LOG_PID | LOG_NDELAY, LOG_MAIL);
		out.use_syslog = true;
	} else if (strcmp(target, "stderr") != 0) {
		fd = open(target, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
		if (fd < 0)
			return BS_ERR_IO;
	}
	out.name = name;
	out.fd = fd;
	return BS_OK;
}

void
bs_log_level(enum bs_log_level level)
{
	out.level = level;
}

void
bs_log_name(const char *name)
{
	out.name = name;
}

/* Copies text, with what is not printable as \xNN, so that a hostile address cannot forge a line. */
static size_t
append_clean(char *dst, size_t size, const char *text)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (; *text != '\0' && n + 5 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c != 0x7f) {
			dst[n++] = (char)c;
			continue;
		}
		dst[n++] = '\\';
		dst[n++] = 'x';
		dst[n++] = hex[c >> 4];
		dst[n++] = hex[c & 15];
	}
	dst[n] = '\0';
	return n;
}

static void
emit(enum bs_log_level level, const char *fmt, va_list ap)
{
	char text[LINE_MAX_LEN / 2], line[LINE_MAX_LEN], stamp[32];
	struct timespec now;
	struct tm tm;
	size_t n;

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	if (out.use_syslog) {
		(void)append_clean(line, sizeof(line), text);
		syslog(level_syslog[level], "%s: %s", level_names[level], line);
		return;
	}
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	(void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	n = (size_t)snprintf(line, sizeof(line), "%s.%03ldZ %s[%d]: %s: ", stamp, now.tv_nsec / 1000000,
	    out.name, (int)getpid(), level_names[level]);
	n += append_clean(line + n, sizeof(line) - n - 1, text);
	line[n++] = '\n';
	if (write(out.fd, line, n) < 0)
		return; /* nowhere left to say so */
}

void
bs_log(enum bs_log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level < out.level)
		return;
	va_start(ap, fmt);
	emit(level, fmt, ap);
	va_end(ap);
}

void
bs_fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	emit(BS_LOG_FATAL, fmt, ap);
	va_end(ap);
	exit(1);
}
