/* How long system calls take: run bare, and under `pymigrate exec`. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define MANY 50000UL
#define PARTS 3000UL

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static char *map(unsigned long nr)
{
	char *p = mmap(0, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 1, nr * PAGE);
	return p;
}

/* The best of some rounds; what is to be measured is between the two looks at the clock. */
#define MEASURE(name, rounds, before, call)                                                        \
	do {                                                                                       \
		double best = 1e18;                                                                \
		for (int i = 0; i < (rounds); i++) {                                               \
			before;                                                                    \
			double took = now();                                                       \
			call;                                                                      \
			took = now() - took;                                                       \
			if (took < best)                                                           \
				best = took;                                                       \
		}                                                                                  \
		printf("%s\t%.1f\n", name, best);                                                  \
		fflush(stdout);                                                                    \
	} while (0)

int main(void)
{
	static void *addrs[MANY];
	static int nodes[MANY], status[MANY];
	unsigned long old[16] = {1}, new[16] = {2};
	char *p = map(256), *q;
	int node;

	MEASURE("getppid, which is not traced", 500, , syscall(SYS_getppid));
	MEASURE("get_mempolicy", 300, , syscall(SYS_get_mempolicy, &node, 0, 0, p, 3));
	MEASURE("open and close", 300, , close(open("/dev/null", O_RDONLY)));
	MEASURE("set_mempolicy", 100, , syscall(SYS_set_mempolicy, 0, 0, 0));
	MEASURE("mbind of a page", 100, , syscall(SYS_mbind, p, PAGE, 2, old, 8, 0));
	MEASURE("munmap of a page that is known", 100,
		(q = map(1), syscall(SYS_get_mempolicy, &node, 0, 0, q, 3)), munmap(q, PAGE));
	MEASURE("mmap, touch, munmap of a page", 100, , (q = map(1), munmap(q, PAGE)));
	MEASURE("migrate_pages, masks of 1023 nodes", 20, ,
		syscall(SYS_migrate_pages, 0, 1024, old, new));
	q = map(MANY);
	for (unsigned long i = 0; i < MANY; i++) {
		addrs[i] = q + i * PAGE;
		nodes[i] = 0;
	}
	MEASURE("move_pages of 50 000 pages, query", 3, ,
		syscall(SYS_move_pages, 0, MANY, addrs, 0, status, 2));
	MEASURE("move_pages of 50 000 pages", 3, ,
		syscall(SYS_move_pages, 0, MANY, addrs, nodes, status, 2));
	munmap(q, MANY * PAGE);
	q = map(2 * PARTS);
	for (unsigned long i = 0; i < PARTS; i++)
		mprotect(q + 2 * i * PAGE, PAGE, PROT_READ);
	MEASURE("get_mempolicy, 6000 mappings", 20, , syscall(SYS_get_mempolicy, &node, 0, 0, p, 3));
	MEASURE("mbind of a page, 6000 mappings", 20, , syscall(SYS_mbind, p, PAGE, 2, old, 8, 0));
	MEASURE("munmap of a page, 6000 mappings", 20, q = map(1), munmap(q, PAGE));
	return 0;
}
