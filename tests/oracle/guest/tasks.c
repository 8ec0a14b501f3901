/* Tasks: made bare, and led through system calls and accesses by ptrace. */
#include "agent.h"
#include <grp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#define TOP_OF_MEMORY 0x7ffffffff000UL
#define WRITE_LOOP (WINDOW + 4)
#define READ_LOOP (WINDOW + 17)
#define ENDLESS_LOOP (WINDOW + 29)
#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
#define SYSCALL_STOP (SIGTRAP | 0x80)
enum { ENTRY = 1, EXIT = 2 };           /* of PTRACE_GET_SYSCALL_INFO */

static const unsigned char code[] = {
	0x0f, 0x05, 0xeb, 0xfc,                                 /* 0: syscall; jmp 0 */
	0xc6, 0x07, 0x01, 0x48, 0x01, 0xd7, 0x48, 0xff, 0xc9,   /* 4: movb $1,(%rdi); add %rdx,%rdi; dec %rcx */
	0x75, 0xf5, 0xeb, 0xef,                                 /* 13: jnz 4; jmp 0 */
	0x8a, 0x07, 0x48, 0x01, 0xd7, 0x48, 0xff, 0xc9,         /* 17: mov (%rdi),%al; add %rdx,%rdi; dec %rcx */
	0x75, 0xf6, 0xeb, 0xe3,                                 /* 25: jnz 17; jmp 0 */
	0x48, 0x89, 0xf7, 0x4c, 0x89, 0xc1,                     /* 29: mov %rsi,%rdi; mov %r8,%rcx */
	0xc6, 0x07, 0x01, 0x48, 0x01, 0xd7, 0x48, 0xff, 0xc9,   /* 35: as at 4 */
	0x75, 0xf5, 0xeb, 0xed,                                 /* 44: jnz 35; jmp 29 */
};

int last_signal;
static pid_t new_child;

void map_window(unsigned long physical)
{
	int fd = open("/dev/mem", O_RDWR);
	void *p;

	if (fd < 0) fatal("/dev/mem");
	p = mmap((void *)WINDOW, WINDOW_LEN, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, physical);
	if (p == MAP_FAILED) fatal("the window");
	close(fd);
	memset(p, 0, WINDOW_LEN);
	memcpy(p, code, sizeof code);
}

static int wait_stop(struct task *t)    /* the stop's status, or -1 when the task is gone */
{
	int status;

	for (;;) {
		if (waitpid(t->pid, &status, __WALL) < 0) {
			if (errno == EINTR) {
				if (timed_out) kill(t->pid, SIGKILL);
				continue;
			}
			break;
		}
		if (WIFSTOPPED(status)) return status;
		break;
	}
	t->alive = false;
	return -1;
}

static int syscall_stop(struct task *t) /* at the entry or the exit? */
{
	struct { uint8_t op, pad[127]; } info;

	return ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, (void *)sizeof info, &info) < 0 ? -1 : info.op;
}

static void go_to(struct task *t, unsigned long rip)    /* outside any call */
{
	struct user_regs_struct r;

	ptrace(PTRACE_GETREGS, t->pid, 0, &r);
	r.rip = rip; r.rax = -1; r.orig_rax = -1;
	ptrace(PTRACE_SETREGS, t->pid, 0, &r);
}

static int run_to(struct task *t, int wanted)   /* its next stop of that kind; -1: it is gone */
{
	for (;;) {
		int status, sig;

		if (ptrace(PTRACE_SYSCALL, t->pid, 0, 0) < 0) { t->alive = false; return -1; }
		if ((status = wait_stop(t)) < 0) return -1;
		sig = WSTOPSIG(status);
		if (sig == SYSCALL_STOP) {
			if (syscall_stop(t) == wanted) return 0;
		} else if (status >> 16) {      /* an event: a child */
			unsigned long message;

			ptrace(PTRACE_GETEVENTMSG, t->pid, 0, &message);
			new_child = message;
		} else if (sig == SIGSEGV || sig == SIGBUS) {
			last_signal = sig;
			go_to(t, WINDOW);
		}
	}
}

long sys_(struct task *t, const long *call)
{
	struct user_regs_struct r;
	long result;

	if (!t->alive || ptrace(PTRACE_GETREGS, t->pid, 0, &r) < 0) return -ESRCH;
	r.orig_rax = call[0];
	r.rdi = call[1]; r.rsi = call[2]; r.rdx = call[3]; r.r10 = call[4]; r.r8 = call[5]; r.r9 = call[6];
	ptrace(PTRACE_SETREGS, t->pid, 0, &r);
	if (run_to(t, EXIT) < 0) return -ESRCH;
	ptrace(PTRACE_GETREGS, t->pid, 0, &r);
	result = r.rax;
	run_to(t, ENTRY);
	return result;
}

static bool leave_call(struct task *t, struct user_regs_struct *r)      /* it waits at a call's entry */
{
	last_signal = 0;
	if (!t->alive) return false;
	ptrace(PTRACE_GETREGS, t->pid, 0, r);
	r->orig_rax = -1;
	ptrace(PTRACE_SETREGS, t->pid, 0, r);
	if (run_to(t, EXIT) < 0) return false;
	ptrace(PTRACE_GETREGS, t->pid, 0, r);
	r->orig_rax = -1;
	r->rax = 0;
	return true;
}

void sweep(struct task *t, unsigned long addr, unsigned long stride, unsigned long nr, bool write)
{
	struct user_regs_struct r;

	if (!nr || !leave_call(t, &r)) return;
	r.rip = write ? WRITE_LOOP : READ_LOOP;
	r.rdi = addr; r.rdx = stride; r.rcx = nr;
	ptrace(PTRACE_SETREGS, t->pid, 0, &r);
	run_to(t, ENTRY);
}

void sweep_for(struct task *t, unsigned long addr, unsigned long stride, unsigned long nr, long seconds)
{
	struct user_regs_struct r;
	struct timespec left = { seconds, 0 };
	int status;

	if (!nr || !leave_call(t, &r)) return;
	r.rip = ENDLESS_LOOP;
	r.rsi = addr; r.rdx = stride; r.r8 = nr;
	ptrace(PTRACE_SETREGS, t->pid, 0, &r);
	ptrace(PTRACE_SYSCALL, t->pid, 0, 0);
	while (nanosleep(&left, &left) < 0 && !timed_out);
	syscall(SYS_tgkill, t->tgid, t->pid, SIGUSR1);
	if ((status = wait_stop(t)) < 0) return;
	if (WSTOPSIG(status) == SIGSEGV || WSTOPSIG(status) == SIGBUS) last_signal = WSTOPSIG(status);
	go_to(t, WINDOW);
	run_to(t, ENTRY);
}

void cpu_bits(const char *cpus, unsigned char *bits)
{
	memset(bits, 0, MASK_BITS / 8);
	while (*cpus) {
		char *end;
		long a = strtol(cpus, &end, 10), b = *end == '-' ? strtol(end + 1, &end, 10) : a;

		for (; a <= b && a < MASK_BITS; a++) bits[a / 8] |= 1 << a % 8;
		if (*end != ',') break;
		cpus = end + 1;
	}
}

int set_affinity(pid_t pid, const char *cpus)
{
	unsigned char bits[MASK_BITS / 8];

	cpu_bits(cpus, bits);
	return sched_setaffinity(pid, sizeof bits, (cpu_set_t *)bits);
}

static void be_traced(void)
{
	signal(SIGALRM, SIG_DFL);
	signal(SIGCHLD, SIG_IGN);               /* else a child that ends interrupts the next fork */
	syscall(SYS_set_mempolicy, 0, 0, 0);
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	kill(getpid(), SIGSTOP);
	for (;;) pause();
}

struct task *spawn(const char *name, const char *cpus, int uid)
{
	struct task *t = &tasks[nr_tasks++];

	memset(t, 0, sizeof *t);
	snprintf(t->name, sizeof t->name, "%s", name);
	snprintf(t->cpus, sizeof t->cpus, "%s", cpus);
	t->uid = uid;
	t->pid = syscall(SYS_fork);
	if (!t->pid) be_traced();
	t->tgid = t->pid;
	t->alive = true;
	if (wait_stop(t) < 0) fatal("spawn");
	if (ptrace(PTRACE_SETOPTIONS, t->pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL) < 0) fatal("setoptions");
	go_to(t, WINDOW);
	if (run_to(t, ENTRY) < 0) fatal("the first stop");
	if (sys(t, SYS_munmap, 0, WINDOW) < 0) fatal("munmap below");
	if (sys(t, SYS_munmap, WINDOW + WINDOW_LEN, TOP_OF_MEMORY - WINDOW - WINDOW_LEN) < 0) fatal("munmap above");
	if (uid) {
		sys(t, SYS_setgroups, 0, 0);
		sys(t, SYS_setresgid, uid, uid, uid);
		if (sys(t, SYS_setresuid, uid, uid, uid) < 0) fatal("setresuid");
		sys(t, SYS_prctl, PR_SET_DUMPABLE, 1);
	}
	return t;
}

struct task *fork_task(struct task *t, const char *name, bool is_thread, long *error)
{
	struct task *child = &tasks[nr_tasks];

	new_child = 0;
	*error = is_thread ? sys(t, SYS_clone, THREAD) : sys(t, SYS_fork);
	if (*error < 0) return NULL;
	nr_tasks++;
	*child = *t;
	snprintf(child->name, sizeof child->name, "%s", name);
	child->pid = new_child ? new_child : *error;
	if (!is_thread) child->tgid = child->pid;
	child->alive = true;
	*error = 0;
	if (wait_stop(child) >= 0) run_to(child, ENTRY);
	return child;
}

void end_task(struct task *t)           /* a process with its threads; one of these alone */
{
	for (int i = nr_tasks - 1; i >= 0; i--)
		if (tasks[i].tgid == t->pid && tasks[i].pid != t->pid) sys(&tasks[i], SYS_exit, 0);
	sys(t, t->tgid == t->pid ? SYS_exit_group : SYS_exit, 0);
	if (t->tgid == t->pid) reap(t);
}

void reap(struct task *t)
{
	if (!t->alive) return;
	kill(t->pid, SIGKILL);
	while (t->alive)
		if (wait_stop(t) >= 0) ptrace(PTRACE_CONT, t->pid, 0, 0);
}
