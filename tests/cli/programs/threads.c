/* What threads and processes that share memory have for themselves: for test_exec_others.py. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void set_policy(int mode)
{
	unsigned long node1 = 2;

	syscall(SYS_set_mempolicy, mode, &node1, 64);
}

static int policy(void)
{
	int mode = -1;

	syscall(SYS_get_mempolicy, &mode, 0, 0, 0, 0);
	return mode;
}

static int shares(void *unused)
{
	set_policy(2);
	_exit(policy());
}

static void *runs(void *path)
{
	set_policy(2);
	execl(path, path, "policy", (char *)0);
	return 0;
}

static void *stays(void *unused)
{
	char command[99];

	usleep(200000);
	set_policy(2);
	printf("%d\n", policy());
	fflush(stdout);
	snprintf(command, sizeof(command), "grep -c bind /proc/%d/numa_maps; cut -d' ' -f2 /proc/%d/stat",
		 getpid(), getpid());
	system(command);
	exit(0);
}

int main(int argc, char **argv)
{
	char *word = argv[1];

	if (!strcmp(word, "policy"))
		printf("%d %d\n", policy(), getpid() == (int)syscall(SYS_gettid));
	if (!strcmp(word, "thread")) {
		pthread_t thread;

		pthread_create(&thread, 0, runs, argv[0]);
		pthread_join(thread, 0);
	}
	if (!strcmp(word, "leader")) {
		pthread_t thread;

		pthread_create(&thread, 0, stays, 0);
		pthread_exit(0);
	}
	if (!strcmp(word, "shared")) {
		char *stack = malloc(1 << 16);
		int status, child;

		child = clone(shares, stack + (1 << 16), CLONE_VM | SIGCHLD, 0);
		waitpid(child, &status, 0);
		printf("%d %d\n", WEXITSTATUS(status), policy());
	}
	if (!strcmp(word, "spawn")) {
		char *words[] = {argv[0], "policy", 0};
		pid_t child;
		int status;

		set_policy(3);
		posix_spawn(&child, argv[0], 0, 0, words, environ);
		waitpid(child, &status, 0);
	}
	if (!strcmp(word, "cpu")) {
		unsigned cpu = 99, node = 99;
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(2, &set);
		sched_setaffinity(0, sizeof(set), &set);
		getcpu(&cpu, &node);
		printf("%d %d %d\n", sched_getcpu(), cpu, node);
	}
	return 0;
}
