/* What is printed: numbers and texts of JSON, and the three views. */
#include "agent.h"

void print_string(const char *text, size_t len)
{
	fputc('"', out);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = text[i];

		if (c == '"' || c == '\\') fprintf(out, "\\%c", c);
		else if (c < 32) fprintf(out, "\\u%04x", c);
		else fputc(c, out);
	}
	fputc('"', out);
}

void print_result(long result)
{
	if (result >= 0 || result <= -4096) {
		fprintf(out, "\"ret\":%ld,\"errno\":null", result);
		return;
	}
	const char *name = strerrorname_np(-result);

	fprintf(out, "\"ret\":-1,\"errno\":\"%s\"", name ? name : "unknown");
}

void print_mask(const unsigned long *mask)
{
	bool first = true;

	fputc('"', out);
	for (int i = 0; i < MASK_BITS; i++) {
		int j = i;

		if (!(mask[i / 64] >> i % 64 & 1)) continue;
		while (j + 1 < MASK_BITS && mask[(j + 1) / 64] >> (j + 1) % 64 & 1) j++;
		fprintf(out, "%s%d", first ? "" : ",", i);
		if (j > i) fprintf(out, "-%d", j);
		first = false;
		i = j;
	}
	fputc('"', out);
}

void print_runs(const int *values, long nr)
{
	fputc('[', out);
	for (long i = 0, j; i < nr; i = j) {
		for (j = i; j < nr && values[j] == values[i]; j++);
		fprintf(out, "%s[%ld,%d]", i ? "," : "", j - i, values[i]);
	}
	fputc(']', out);
}

void print_counters(void)
{
	FILE *f = fopen("/proc/vmstat", "r");
	char name[128];
	unsigned long value;
	bool first = true;

	fputs("\"counters\":{", out);
	while (f && fscanf(f, "%127s %lu", name, &value) == 2) {
		fprintf(out, "%s\"%s\":%lu", first ? "" : ",", name, value);
		first = false;
	}
	fputc('}', out);
	if (f) fclose(f);
}

void print_numa_maps(struct task *t, struct region *r)
{
	char path[64], *line = NULL;
	size_t cap = 0;
	bool first = true;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/numa_maps", t->pid);
	f = t->alive ? fopen(path, "r") : NULL;
	fputs("\"raw\":[", out);
	while (f && getline(&line, &cap, f) > 0) {
		unsigned long addr = strtoul(line, NULL, 16);

		if (addr < r->addr || addr >= r->addr + r->len) continue;
		if (!first) fputc(',', out);
		first = false;
		print_string(line, strcspn(line, "\n"));
	}
	if (f) fclose(f);
	free(line);
	fprintf(out, "],\"addr\":%lu", r->addr);
}

void print_placement(struct task *t, unsigned long addr, unsigned long len)
{
	static void *pages[MAX_PAGES];
	static int status[MAX_PAGES];
	long nr = (len + 4095) / 4096, result;

	if (nr > MAX_PAGES) nr = MAX_PAGES;
	for (long i = 0; i < nr; i++) pages[i] = (void *)(addr + i * 4096);
	result = t->alive ? syscall(SYS_move_pages, t->pid, nr, pages, NULL, status, 0) : -1;
	for (long i = 0; i < nr; i++)
		if (result < 0 || status[i] < 0) status[i] = -1;
	fputs("\"nodes\":", out);
	print_runs(status, nr);
}
