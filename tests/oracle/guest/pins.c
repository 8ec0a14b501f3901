/* Pins: long-term ones are io_uring's registered buffers, short ones vmsplice into a pipe. */
#include "agent.h"
#include <linux/io_uring.h>
#include <sys/uio.h>

#define PIPE_DEFAULT 16                 /* pages */
#define SPLICE_NONBLOCK 2

struct pin { struct task *task; unsigned long addr, len; int fds[2]; bool is_short, held; };
static struct pin pins[256];
static int nr_pins;

static long pin_long(struct task *t, struct pin *p)
{
	struct iovec *range = (struct iovec *)ARGUMENTS;
	struct io_uring_params *params = (struct io_uring_params *)(ARGUMENTS + 1024);
	long fd, result;

	memset(params, 0, sizeof *params);
	fd = sys(t, SYS_io_uring_setup, 1, (long)params);
	if (fd < 0) return fd;
	range->iov_base = (void *)p->addr;
	range->iov_len = p->len;
	result = sys(t, SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, (long)range, 1);
	if (result < 0) sys(t, SYS_close, fd);
	p->fds[0] = fd;
	return result;
}

static long pin_short(struct task *t, struct pin *p)
{
	struct iovec *range = (struct iovec *)ARGUMENTS;
	int *fds = (int *)(ARGUMENTS + 1024);
	long nr = (p->len + 4095) / 4096, result = sys(t, SYS_pipe2, (long)fds, 0);

	if (result < 0) return result;
	memcpy(p->fds, fds, sizeof p->fds);
	sys(t, SYS_fcntl, p->fds[1], F_SETPIPE_SZ, 4096 * (nr < PIPE_DEFAULT ? PIPE_DEFAULT : nr));
	range->iov_base = (void *)p->addr;
	range->iov_len = p->len;
	result = sys(t, SYS_vmsplice, p->fds[1], (long)range, 1, SPLICE_NONBLOCK);
	if (result > 0) return 0;
	sys(t, SYS_close, p->fds[0]);
	sys(t, SYS_close, p->fds[1]);
	return result;
}

long pin(struct task *t, unsigned long addr, unsigned long len, bool is_short)
{
	struct pin *p = &pins[nr_pins];
	long result;

	*p = (struct pin){ t, addr, len, { -1, -1 }, is_short, false };
	result = is_short ? pin_short(t, p) : pin_long(t, p);
	p->held = result >= 0;
	nr_pins += p->held;
	return result;
}

static void drop(struct pin *p)
{
	if (p->is_short) sys(p->task, SYS_close, p->fds[1]);
	else sys(p->task, SYS_io_uring_register, p->fds[0], IORING_UNREGISTER_BUFFERS, 0, 0);
	sys(p->task, SYS_close, p->fds[0]);
	p->held = false;
}

long unpin(struct task *t, unsigned long addr, unsigned long len)
{
	long result = -EINVAL;

	for (struct pin *p = pins; p < pins + nr_pins; p++)
		if (p->held && p->task == t && p->addr == addr && p->len == len) { drop(p); result = 0; }
	return result;
}

void unpin_all(struct task *t)
{
	for (struct pin *p = pins; p < pins + nr_pins; p++)
		if (p->held && (!t || p->task == t) && p->task->alive) drop(p);
	if (!t) nr_pins = 0;
}
