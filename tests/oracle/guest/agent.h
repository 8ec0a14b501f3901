/*
 * The agent runs in the guest: it carries out programs, line by line, and answers each line with
 * a line of JSON.
 *
 * A task of a case is a process that owns nothing. Its only mapping is a window onto memory that
 * the kernel was told not to manage (memmap= on its command line, reached through /dev/mem, so
 * VM_PFNMAP: never migrated, never counted). The window holds a loop of a few instructions and
 * the arguments of system calls. The agent traces each task with ptrace and lets it make system
 * calls and accesses by setting its registers, so no page, stack or library of the agent's own is
 * ever seen by the paths of the kernel that a case is about.
 */
#ifndef AGENT_H
#define AGENT_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define WINDOW 0x200000000000UL         /* its address, in every task and in the agent */
#define WINDOW_LEN (8UL << 20)
#define FIRST_REGION (WINDOW + (64UL << 20))
#define ARGUMENTS (WINDOW + 0x1000)     /* what a call's pointers point to */
#define PAGES (WINDOW + 0x100000)       /* void *[MAX_PAGES]: move_pages's three arrays */
#define NODES (WINDOW + 0x200000)
#define STATUS (WINDOW + 0x300000)
#define MAX_PAGES 131072L
#define MASK_BITS 1024
#define UNWRITTEN -9999                 /* a status that the kernel has left as it was */
#define LINE_MAX_ (2 << 20)

struct task { char name[32]; pid_t pid, tgid; bool alive; char cpus[64]; int uid; };
struct region { char name[32]; unsigned long addr, len; };

/* main.c: the arguments of the line at hand */
const char *arg(const char *key);
long number(const char *key, long otherwise);
bool is(const char *key, const char *word);

/* main.c: what a case has made */
extern struct task tasks[64];
extern int nr_tasks;
extern struct region regions[512];
extern int nr_regions;
extern unsigned long next_place;        /* behind all regions */
struct task *task_named(const char *name);
struct region *region_named(const char *name);
extern FILE *out;
extern volatile sig_atomic_t timed_out;
extern bool spare_tasks;                /* the alarm interrupts the agent, and kills no task */
void fatal(const char *what);

/* tasks.c: letting tasks do things; sys() gives a negative errno where a call fails */
void map_window(unsigned long physical);
struct task *spawn(const char *name, const char *cpus, int uid);
long sys_(struct task *t, const long *call);
#define sys(t, ...) sys_(t, (long[7]){ __VA_ARGS__ })
struct task *fork_task(struct task *t, const char *name, bool is_thread, long *error);
void sweep(struct task *t, unsigned long addr, unsigned long stride, unsigned long nr, bool write);
void sweep_for(struct task *t, unsigned long addr, unsigned long stride, unsigned long nr, long s);
void end_task(struct task *t);
void reap(struct task *t);
int set_affinity(pid_t pid, const char *cpus);
void cpu_bits(const char *cpus, unsigned char *bits);
extern int last_signal;                 /* SIGSEGV or SIGBUS of the last sweep, or 0 */

/* pins.c */
long pin(struct task *t, unsigned long addr, unsigned long len, bool is_short);
long unpin(struct task *t, unsigned long addr, unsigned long len);
void unpin_all(struct task *t);         /* of one task, or of all (NULL) */

/* machine.c: files of the kernel's, cgroups, programs */
int write_file(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mount_cgroups(const char *cpus, const char *mems);
int attach(const char *cpuset, struct task *t);
long set_setting(const char *name, const char *value, const char *node);
void add_file(void);
int file_named(const char *name);
long unlink_file(const char *name);
long cpuset_create(void);
long cpuset_remove(void);
long cpuset_set(const char *cpuset);
void clean_up(void);
long reclaim(struct task *caller);
void memory_blocks(const char *state);
void run_program(struct task *caller);
void ksm(void);
extern bool has_cgroup2;

/* views.c: what is printed */
void print_string(const char *text, size_t len);
void print_result(long result);
void print_mask(const unsigned long *mask);
void print_runs(const int *values, long nr);
void print_counters(void);
void print_numa_maps(struct task *t, struct region *r);
void print_placement(struct task *t, unsigned long addr, unsigned long len);

/* trace.c */
bool trace_begin(void);
void trace_read(int step);              /* 0: forget what came */

/* steps.c */
void do_step(const char *op);

#endif
