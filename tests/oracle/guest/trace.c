/* The tracepoints of migration, step by step. */
#include "agent.h"
#include <sys/mount.h>

#define TRACING "/sys/kernel/tracing/"

static const char *const events[] = {
	"migrate/mm_migrate_pages_start", "migrate/mm_migrate_pages", "migrate/set_migration_pte",
	"migrate/remove_migration_pte", "thp/set_migration_pmd", "thp/remove_migration_pmd", NULL,
};
static int pipe_fd = -1;

bool trace_begin(void)
{
	char path[160];

	if (access(TRACING "trace_pipe", F_OK) < 0) mount("tracefs", TRACING, "tracefs", 0, 0);
	write_file(TRACING "trace_clock", "counter");           /* one order for all CPUs */
	write_file(TRACING "buffer_size_kb", "4096");
	for (int i = 0; events[i]; i++) {
		snprintf(path, sizeof path, TRACING "events/%s/enable", events[i]);
		if (write_file(path, "1") < 0) return false;
	}
	pipe_fd = open(TRACING "trace_pipe", O_RDONLY | O_NONBLOCK);
	return pipe_fd >= 0;
}

void trace_read(int step)
{
	static char buffer[1 << 16];
	char *text = NULL, *save;
	size_t len = 0;
	ssize_t got;
	bool first = true;

	while (pipe_fd >= 0 && (got = read(pipe_fd, buffer, sizeof buffer)) > 0) {
		text = realloc(text, len + got + 1);
		memcpy(text + len, buffer, got);
		len += got;
	}
	if (step && len) {
		text[len] = 0;
		fprintf(out, "{\"trace\":%d,\"lines\":[", step);
		for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
			char *event = strstr(line, ": ");       /* task, CPU, time: EVENT: TEXT */

			if (!first) fputc(',', out);
			first = false;
			event = event ? event + 2 : line;
			print_string(event, strlen(event));
		}
		fputs("]}\n", out);
	}
	free(text);
}
