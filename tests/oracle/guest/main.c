/* agent PROGRAM OUTPUT key=value...: physical, service_cpu, service_node, cpus, mems, memcg, trace */
#include "agent.h"
#include <sys/prctl.h>
#include <sys/resource.h>

#define MAX_ARGUMENTS 64

struct task tasks[64];
int nr_tasks;
struct region regions[512];
int nr_regions;
unsigned long next_place = FIRST_REGION;
FILE *out;
volatile sig_atomic_t timed_out;
bool spare_tasks;
static char *keys[MAX_ARGUMENTS], *values[MAX_ARGUMENTS];
static int nr_arguments;

const char *arg(const char *key)
{
	for (int i = 0; i < nr_arguments; i++)
		if (!strcmp(keys[i], key)) return values[i];
	return NULL;
}

long number(const char *key, long otherwise)
{
	const char *value = arg(key);

	return value ? strtol(value, NULL, 0) : otherwise;
}

bool is(const char *key, const char *word)
{
	const char *value = arg(key);

	return value && !strcmp(value, word);
}

struct task *task_named(const char *name)
{
	for (int i = nr_tasks - 1; name && i >= 0; i--)
		if (!strcmp(tasks[i].name, name)) return &tasks[i];
	return NULL;
}

struct region *region_named(const char *name)
{
	for (int i = 0; name && i < nr_regions; i++)
		if (!strcmp(regions[i].name, name)) return &regions[i];
	return NULL;
}

void fatal(const char *what)
{
	fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
	exit(3);
}

static void take_argument(char *text)
{
	char *equals = strchr(text, '=');

	if (!equals || nr_arguments == MAX_ARGUMENTS) return;
	*equals = 0;
	keys[nr_arguments] = text;
	values[nr_arguments++] = equals + 1;
}

static void on_alarm(int sig)
{
	(void)sig;
	if (spare_tasks) return;
	timed_out = 1;
	for (int i = 0; i < nr_tasks; i++)
		if (tasks[i].alive) kill(tasks[i].pid, SIGKILL);
}

static void settle(void)                /* the agent's own place, and what it is allowed */
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY }, none = { 0, 0 };
	unsigned long node = 1UL << number("service_node", 0);

	if (set_affinity(0, arg("service_cpu")) < 0) fatal("affinity");
	syscall(SYS_set_mempolicy, 2, &node, 64);
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigaction(SIGALRM, &action, NULL);
	write_file("/proc/sys/vm/percpu_pagelist_high_fraction", "1000000");    /* free is free: no CPU keeps much */
}

static void begin_task(void)
{
	struct task *t = spawn(arg("name"), arg("cpus"), number("uid", 0));

	if (!is("home", "0") && attach("root_", t) < 0) fatal("attach");
	if (set_affinity(t->pid, arg("cpus")) < 0) fatal("affinity");
}

static bool prepare(const char *op)     /* lines before the first step, and the last one */
{
	static char name[64];

	if (!strcmp(op, "case")) {
		snprintf(name, sizeof name, "%s", arg("name"));
		timed_out = 0;
		alarm(number("alarm", 90));
		fprintf(out, "{\"case\":\"%s\"}\n", name);
	} else if (!strcmp(op, "setting")) {
		long result = set_setting(arg("name"), arg("value"), arg("node"));

		if (result < 0 && !is("value", "0")) fprintf(out, "{\"warn\":\"%s cannot be set\"}\n", arg("name"));
	} else if (!strcmp(op, "file")) {
		add_file();
	} else if (!strcmp(op, "spawn")) {
		begin_task();
	} else if (!strcmp(op, "end")) {
		alarm(0);
		clean_up();
		fprintf(out, "{\"end\":\"%s\",\"timed_out\":%s}\n", name, timed_out ? "true" : "false");
		fflush(out);
	} else {
		return false;
	}
	return true;
}

static void run(FILE *program)
{
	static char line[LINE_MAX_];
	int step = 0;

	while (fgets(line, sizeof line, program)) {
		char *save, *op;

		line[strcspn(line, "\n")] = 0;
		nr_arguments = 0;
		op = strtok_r(line, "\t", &save);
		if (!op) continue;
		for (char *text; (text = strtok_r(NULL, "\t", &save));) take_argument(text);
		if (prepare(op)) {
			step = 0;
			continue;
		}
		if (!step) {
			fputs("{\"start\":true,", out);
			print_counters();
			fputs("}\n", out);
		}
		step++;
		trace_read(0);
		do_step(op);
		trace_read(step);
	}
}

int main(int argc, char **argv)
{
	FILE *program = argc > 2 ? fopen(argv[1], "r") : NULL;
	bool tracing;

	out = argc > 2 ? fopen(argv[2], "w") : NULL;
	if (!program || !out) fatal("usage: agent PROGRAM OUTPUT key=value...");
	setvbuf(out, NULL, _IOFBF, 1 << 18);
	for (int i = 3; i < argc; i++) take_argument(argv[i]);
	settle();
	map_window(number("physical", 0));
	mount_cgroups(arg("cpus"), arg("mems"));
	tracing = is("trace", "1") && trace_begin();
	fprintf(out, "{\"boot\":true,\"cgroup2\":%s,\"tracing\":%s}\n", has_cgroup2 ? "true" : "false", tracing ? "true" : "false");
	fflush(out);
	clean_up();
	run(program);
	fprintf(out, "{\"done\":true}\n");
	fclose(out);
	return 0;
}
