/* The steps, each a function; the rest of its answer's line is what it prints. */
#include "agent.h"
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#define SET_MEMPOLICY_HOME_NODE 450
#define MEMFD_SECRET 447
#define HUGE_SHIFT 21
#define MASK_ARGUMENT (MASK_BITS + 1L)
#define MADV_SOFT_OFFLINE_ 101
enum { GET_NODE = 1, GET_ADDR = 2, GET_MEMS_ALLOWED = 4 };

static struct task *t;                  /* of the step at hand */
static struct region *region;
static unsigned long addr, len;

static long mask_at(const char *nodes, int slot)
{
	unsigned char *bits = (unsigned char *)ARGUMENTS + slot * 256;

	cpu_bits(nodes ? nodes : "", bits);
	return (long)bits;
}

static long prot_bits(void)
{
	long prot = 0;

	for (const char *p = arg("prot"); p && *p; p++) prot |= *p == 'r' ? PROT_READ : *p == 'w' ? PROT_WRITE : *p == 'x' ? PROT_EXEC : 0;
	return prot;
}

static unsigned long stride(void) { return number("stride", 4096); }
static unsigned long strides(void) { return (len + stride() - 1) / stride(); }

/* ---- memory */

static void name_region(struct region *r, unsigned long at, unsigned long size)
{
	unsigned long end = at + ((size + 4095) & ~4095UL) + 4096;

	r->addr = at;
	r->len = size;
	snprintf(r->name, sizeof r->name, "%s", arg("as"));
	if (end > next_place) next_place = end;
}

static void place(struct region *r, const char *size)  /* the next free place, or over a region */
{
	unsigned long align = number("align", 1L << HUGE_SHIFT), at = (next_place + align - 1) / align * align;
	struct region *over = region_named(arg("over"));

	name_region(r, over ? over->addr + number("over_offset", 0) : at, number(size, 0));
}

static void do_mmap(void)
{
	struct region *r = &regions[nr_regions++];
	long flags = number("shared", 0) ? MAP_SHARED : MAP_PRIVATE, fd = -1, result;

	place(r, "length");
	flags |= !arg("over") || number("noreplace", 0) ? MAP_FIXED_NOREPLACE : MAP_FIXED;
	if (arg("file")) fd = file_named(arg("file"));
	else if (!number("secretmem", 0)) flags |= MAP_ANONYMOUS;
	else if ((fd = sys(t, MEMFD_SECRET, 0)) >= 0) sys(t, SYS_ftruncate, fd, r->len);
	if (number("populate", 0)) flags |= MAP_POPULATE;
	if (number("hugetlb", 0)) flags |= MAP_HUGETLB | HUGE_SHIFT << 26;
	result = sys(t, SYS_mmap, r->addr, r->len, prot_bits(), flags, fd, number("offset", 0));
	if (number("secretmem", 0) && fd >= 0) sys(t, SYS_close, fd);
	print_result(result < 0 && result > -4096 ? result : 0);
}

static void do_mremap(void)
{
	struct region *r = &regions[nr_regions++];
	long flags = number("flags", 0), result = -ENOMEM, size = number("size", 0);
	unsigned long old = addr;

	place(r, "size");
	if (!(flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)))        /* where it is, if it can be */
		result = sys(t, SYS_mremap, old, len, size, flags & ~MREMAP_MAYMOVE, r->addr);
	if (flags & MREMAP_FIXED || (result == -ENOMEM && flags == MREMAP_MAYMOVE))
		result = sys(t, SYS_mremap, old, len, size, flags | MREMAP_FIXED, r->addr);
	else if (flags & MREMAP_DONTUNMAP)
		result = sys(t, SYS_mremap, old, len, size, flags, r->addr);
	if (result >= 0 || result <= -4096) name_region(r, result, size);
	print_result(result < 0 && result > -4096 ? result : 0);
}

static void do_ftruncate(void) { print_result(sys(t, SYS_ftruncate, file_named(arg("file")), number("size", 0))); }
static void do_punch_hole(void) { print_result(sys(t, SYS_fallocate, file_named(arg("file")), 3, number("offset", 0), number("length", 0))); }
static void do_unlink(void) { print_result(unlink_file(arg("file"))); }
static void do_mlockall(void) { print_result(sys(t, SYS_mlockall, number("flags", 0))); }
static void do_munlockall(void) { print_result(sys(t, SYS_munlockall)); }
static void do_setresuid(void) { print_result(sys(t, SYS_setresuid, number("ruid", -1), number("euid", -1), number("suid", -1))); }
static void do_prctl(void) { print_result(sys(t, SYS_prctl, PR_SET_DUMPABLE, number("dumpable", 1), 0, 0, 0)); }

static void do_capset(void)             /* what it drops it has no more: effective, permitted, inheritable */
{
	uint32_t *header = (uint32_t *)ARGUMENTS, *data = header + 2;
	unsigned long dropped = number("caps", 0);
	long result;

	header[0] = 0x20080522;         /* _LINUX_CAPABILITY_VERSION_3 */
	header[1] = 0;
	result = sys(t, SYS_capget, (long)header, (long)data);
	for (int i = 0; i < 6; i++) data[i] &= ~(uint32_t)(dropped >> i / 3 * 32);
	print_result(result < 0 ? result : sys(t, SYS_capset, (long)header, (long)data));
}

static void do_munmap(void) { print_result(sys(t, SYS_munmap, addr, len)); }
static void do_mprotect(void) { print_result(sys(t, SYS_mprotect, addr, len, prot_bits())); }
static void do_madvise(void) { print_result(sys(t, SYS_madvise, addr, len, number("advice", 0))); }
static void do_soft_offline(void) { print_result(sys(t, SYS_madvise, addr, len, MADV_SOFT_OFFLINE_)); }
static void do_mlock(void) { print_result(sys(t, SYS_mlock, addr, len)); }
static void do_munlock(void) { print_result(sys(t, SYS_munlock, addr, len)); }
static void do_pin(void) { print_result(pin(t, addr, len, is("kind", "short"))); }
static void do_unpin(void) { print_result(unpin(t, addr, len)); }

static void do_touch(void)
{
	if (arg("seconds")) sweep_for(t, addr, stride(), strides(), number("seconds", 1));
	else sweep(t, addr, stride(), strides(), number("write", 1));
	if (!t->alive) fputs("\"signal\":\"SIGKILL\"", out);
	else if (last_signal) fprintf(out, "\"signal\":\"%s\"", last_signal == SIGSEGV ? "SIGSEGV" : "SIGBUS");
	else fputs("\"signal\":null", out);
}

/* ---- tasks */

static void do_fork(void)
{
	long error;

	fork_task(t, arg("as"), false, &error);
	print_result(error);
}

static void do_clone(void)
{
	long error;

	fork_task(t, arg("as"), true, &error);
	print_result(error);
}

static void do_exit(void)
{
	if (t->tgid == t->pid) unpin_all(t);
	end_task(t);
	print_result(0);
}

static void do_sched_setaffinity(void)
{
	long result;

	cpu_bits(arg("cpus"), (unsigned char *)ARGUMENTS);
	result = sys(t, SYS_sched_setaffinity, 0, MASK_BITS / 8, ARGUMENTS);
	if (result >= 0) {
		sys(t, SYS_sched_yield);
		snprintf(t->cpus, sizeof t->cpus, "%s", arg("cpus"));
	}
	print_result(result);
}

/* ---- policies and migration */

static long mask_size(void) { return arg("no_nodes") ? 0 : MASK_ARGUMENT; }
static long mask_of_nodes(void) { return arg("no_nodes") ? 0 : mask_at(arg("nodes"), 0); }

static void do_set_mempolicy(void)
{
	print_result(sys(t, SYS_set_mempolicy, number("mode", 0), mask_of_nodes(), mask_size()));
}

static void do_mbind(void)
{
	print_result(sys(t, SYS_mbind, addr, len, number("mode", 0), mask_of_nodes(), mask_size(), number("flags", 0)));
}

static void do_set_mempolicy_home_node(void)
{
	print_result(sys(t, SET_MEMPOLICY_HOME_NODE, addr, len, number("node", 0), 0));
}

static void do_get_mempolicy(void)
{
	int *mode = (int *)(ARGUMENTS + 2048);
	long flags = number("flags", 0), mask = mask_at("", 1), result;

	*mode = -1;
	result = sys(t, SYS_get_mempolicy, flags & GET_MEMS_ALLOWED ? 0 : (long)mode, flags & GET_NODE ? 0 : mask, flags & GET_NODE ? 0 : MASK_ARGUMENT, addr, flags);
	print_result(result);
	if (result < 0) return;
	fprintf(out, ",\"mode\":%d,\"mask\":", *mode);
	print_mask((unsigned long *)mask);
}

static long target(void)                /* the pid that a call names: 0 for the caller's own */
{
	struct task *other = task_named(arg("target"));

	return !other || other == t ? 0 : other->pid;
}

static void do_migrate_pages(void)
{
	long from = mask_at(arg("from"), 0), to = mask_at(arg("to"), 1);

	print_result(sys(t, SYS_migrate_pages, target(), MASK_ARGUMENT, from, to));
}

static long list_pages(unsigned long *pages)
{
	const char *list = arg("pages");
	long nr = 0;

	if (!list) {
		for (unsigned long at = 0; at < len && nr < MAX_PAGES; at += stride()) pages[nr++] = addr + at;
		return nr;
	}
	while (*list && nr < MAX_PAGES) {
		char *end;

		pages[nr++] = (region ? region->addr : 0) + strtol(list, &end, 0) * 4096;
		if (*end != ',') break;
		list = end + 1;
	}
	return nr;
}

static void do_move_pages(void)
{
	unsigned long *pages = (unsigned long *)PAGES;
	int *nodes = (int *)NODES, *status = (int *)STATUS, node = 0;
	const char *list = arg("nodes");
	long nr = list_pages(pages);

	for (long i = 0; i < nr; i++) {
		status[i] = UNWRITTEN;
		if (list && *list) {
			char *end;

			node = strtol(list, &end, 0);
			list = *end == ',' ? end + 1 : end;
		}
		nodes[i] = node;
	}
	print_result(sys(t, SYS_move_pages, target(), nr, (long)pages, list ? (long)nodes : 0, (long)status, number("flags", 2)));
	fputs(",\"status\":", out);
	print_runs(status, nr);
}

/* ---- the machine, and what is looked at */

static void do_cpuset_create(void) { print_result(cpuset_create()); }
static void do_cpuset_set(void) { print_result(cpuset_set(arg("cpuset"))); }
static void do_cpuset_remove(void) { print_result(cpuset_remove()); }
static void do_cpuset_attach(void) { print_result(attach(arg("cpuset"), t)); }
static void do_sysctl(void) { print_result(set_setting(arg("name"), arg("value"), arg("node"))); }
static void do_reclaim(void) { print_result(reclaim(t)); }
static void do_memory_offline(void) { memory_blocks("offline"); }
static void do_memory_online(void) { memory_blocks(arg("state")); }
static void do_exec(void) { run_program(t); }
static void do_ksm(void) { ksm(); }
static void do_placement(void) { print_placement(t, addr, len); }
static void do_numa_maps(void) { print_numa_maps(t, region); }
static void do_vmstat(void) { print_counters(); }

enum { TASK = 1, REGION = 2 };          /* what a step cannot do without */
static const struct { const char *op; void (*run)(void); int needs; } steps[] = {
	{ "mmap", do_mmap, TASK }, { "munmap", do_munmap, TASK | REGION },
	{ "ftruncate", do_ftruncate, TASK }, { "punch_hole", do_punch_hole, TASK }, { "unlink", do_unlink, TASK },
	{ "mlockall", do_mlockall, TASK }, { "munlockall", do_munlockall, TASK }, { "setresuid", do_setresuid, TASK },
	{ "prctl", do_prctl, TASK }, { "capset", do_capset, TASK }, { "cpuset_remove", do_cpuset_remove, 0 },
	{ "mremap", do_mremap, TASK | REGION },
	{ "mprotect", do_mprotect, TASK | REGION }, { "madvise", do_madvise, TASK | REGION },
	{ "touch", do_touch, TASK | REGION }, { "mlock", do_mlock, TASK | REGION },
	{ "munlock", do_munlock, TASK | REGION }, { "fork", do_fork, TASK }, { "clone", do_clone, TASK }, { "exit", do_exit, TASK },
	{ "sched_setaffinity", do_sched_setaffinity, TASK },
	{ "set_mempolicy", do_set_mempolicy, TASK }, { "mbind", do_mbind, TASK | REGION },
	{ "set_mempolicy_home_node", do_set_mempolicy_home_node, TASK | REGION },
	{ "get_mempolicy", do_get_mempolicy, TASK }, { "migrate_pages", do_migrate_pages, TASK },
	{ "move_pages", do_move_pages, TASK }, { "pin", do_pin, TASK | REGION },
	{ "unpin", do_unpin, TASK | REGION }, { "soft_offline", do_soft_offline, TASK | REGION },
	{ "cpuset_create", do_cpuset_create, 0 }, { "cpuset_set", do_cpuset_set, 0 },
	{ "cpuset_attach", do_cpuset_attach, TASK }, { "sysctl", do_sysctl, 0 },
	{ "reclaim", do_reclaim, 0 }, { "memory_offline", do_memory_offline, 0 },
	{ "memory_online", do_memory_online, 0 }, { "exec", do_exec, 0 }, { "ksm", do_ksm, 0 },
	{ "placement", do_placement, TASK | REGION }, { "numa_maps", do_numa_maps, TASK | REGION },
	{ "vmstat", do_vmstat, 0 },
};

void do_step(const char *op)
{
	unsigned long offset = number("offset", 0);

	t = task_named(arg("task"));
	region = region_named(arg("at"));
	addr = region ? region->addr + offset : 0;
	len = arg("length") ? (unsigned long)number("length", 0) : region && offset < region->len ? region->len - offset : 0;
	fprintf(out, "{\"op\":\"%s\",", op);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		if (strcmp(steps[i].op, op)) continue;
		if ((steps[i].needs & TASK && !t) || (steps[i].needs & REGION && !region)) fputs("\"missing\":true", out);
		else steps[i].run();
	}
	fputs("}\n", out);
	fflush(out);
}
