/* The machine around the tasks: settings, cgroups, files, memory blocks, programs. */
#include "agent.h"
#include <dirent.h>
#include <grp.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define CGROUPS "/cg"
#define HOME "root_"                    /* where tasks begin: all nodes but the service node */
#define THP "/sys/kernel/mm/transparent_hugepage/"
#define NODE "/sys/devices/system/node/node"
#define KSM "/sys/kernel/mm/ksm/"
#define PATIENCE 10                     /* seconds, for what only a signal can end */

struct file { char name[32], path[128]; int fd; };
static struct file files[32];
static int nr_files;
static char cpusets[32][64];
static int nr_cpusets;
bool has_cgroup2;

static const struct { const char *name, *path, *first; } settings[] = {
	{ "numa_balancing", "/proc/sys/kernel/numa_balancing", "0" },
	{ "demotion_enabled", "/sys/kernel/mm/numa/demotion_enabled", "0" },
	{ "thp", THP "enabled", "never" },
	{ "thp_defrag", THP "defrag", "madvise" },
	{ "compact_unevictable_allowed", "/proc/sys/vm/compact_unevictable_allowed", "1" },
	{ "extfrag_threshold", "/proc/sys/vm/extfrag_threshold", "500" },
	{ "nr_overcommit_hugepages", "/proc/sys/vm/nr_overcommit_hugepages", "0" },
	{ "enable_soft_offline", "/proc/sys/vm/enable_soft_offline", "1" },
	{ "stat_interval", "/proc/sys/vm/stat_interval", "1" },
	{ "zone_reclaim_mode", "/proc/sys/vm/zone_reclaim_mode", "0" },
	{ "ksm/run", KSM "run", "2" },
	{ "ksm/merge_across_nodes", KSM "merge_across_nodes", "1" },
	{ "ksm/max_page_sharing", KSM "max_page_sharing", "256" },
	{ "drop_caches", "/proc/sys/vm/drop_caches", NULL },
	{ "compact_memory", "/proc/sys/vm/compact_memory", NULL },
	{ "nr_hugepages", "/proc/sys/vm/nr_hugepages", NULL },
};

int write_file(const char *path, const char *format, ...)
{
	char text[512];
	va_list list;
	int len, fd = open(path, O_WRONLY | O_TRUNC), result;

	if (fd < 0) return -errno;
	va_start(list, format);
	len = vsnprintf(text, sizeof text, format, list);
	va_end(list);
	result = write(fd, text, len) < 0 ? -errno : 0;
	close(fd);
	return result;
}

static size_t read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t got = fd < 0 ? 0 : read(fd, text, size - 1);

	if (fd >= 0) close(fd);
	text[got > 0 ? got : 0] = 0;
	return got > 0 ? got : 0;
}

/* ---- settings */

long set_setting(const char *name, const char *value, const char *node)
{
	char path[256];

	if (!strncmp(name, "weighted_interleave/", 20)) {
		snprintf(path, sizeof path, "/sys/kernel/mm/mempolicy/%s", name);
		return write_file(path, "%s", value);
	}
	if (node && !strcmp(name, "nr_hugepages")) {
		snprintf(path, sizeof path, NODE "%s/hugepages/hugepages-2048kB/nr_hugepages", node);
		return write_file(path, "%s", value);
	}
	if (node && !strcmp(name, "compact")) {
		snprintf(path, sizeof path, NODE "%s/compact", node);
		return write_file(path, "%s", value);
	}
	if (!strcmp(name, "drop_caches")) sync();
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		if (!strcmp(settings[i].name, name)) return write_file(settings[i].path, "%s", value);
	return -ENOENT;
}

/* ---- cgroups: version 1's cpuset where there is one, else version 2 */

void mount_cgroups(const char *cpus, const char *mems)
{
	char path[256];

	mkdir(CGROUPS, 0755);
	if (mount("cpuset", CGROUPS, "cgroup", 0, "cpuset") < 0) {
		has_cgroup2 = true;
		if (mount("cg", CGROUPS, "cgroup2", 0, NULL) < 0) fatal("cgroup2");
		if (write_file(CGROUPS "/cgroup.subtree_control", is("memcg", "1") ? "+cpuset +memory" : "+cpuset") < 0) fatal("subtree_control");
	}
	mkdir(CGROUPS "/" HOME, 0755);
	snprintf(path, sizeof path, CGROUPS "/" HOME "/cpuset.cpus");
	if (write_file(path, "%s\n", cpus) < 0) fatal("cpuset.cpus");
	snprintf(path, sizeof path, CGROUPS "/" HOME "/cpuset.mems");
	if (write_file(path, "%s\n", mems) < 0) fatal("cpuset.mems");
}

int attach(const char *cpuset, struct task *t)
{
	char path[256];
	int result;

	snprintf(path, sizeof path, CGROUPS "/%s/cgroup.procs", cpuset);
	result = write_file(path, "%d", t->pid);
	if (!has_cgroup2) set_affinity(t->pid, t->cpus);        /* before 6.2 attaching forgets it */
	return result;
}

static long cpuset_file(const char *cpuset, const char *file, const char *value)
{
	char path[256];

	if (!value) return 0;
	snprintf(path, sizeof path, CGROUPS "/%s/cpuset.%s", cpuset, file);
	return write_file(path, "%s\n", value);
}

long cpuset_set(const char *cpuset)
{
	long result = cpuset_file(cpuset, "cpus", arg("cpus"));

	if (!result && !has_cgroup2) result = cpuset_file(cpuset, "memory_migrate", arg("memory_migrate"));
	return result ? result : cpuset_file(cpuset, "mems", arg("mems"));
}

static void enable_below(const char *cpuset)    /* version 2: cpusets may be made below its parent */
{
	char path[256];
	const char *slash = strrchr(cpuset, '/');

	if (!slash || !has_cgroup2) return;
	snprintf(path, sizeof path, CGROUPS "/%.*s/cgroup.subtree_control", (int)(slash - cpuset), cpuset);
	write_file(path, "+cpuset");
}

long cpuset_remove(void)
{
	char path[256];

	snprintf(path, sizeof path, CGROUPS "/%s", arg("cpuset"));
	return rmdir(path) < 0 ? -errno : 0;
}

long cpuset_create(void)
{
	char path[256];

	enable_below(arg("cpuset"));
	snprintf(path, sizeof path, CGROUPS "/%s", arg("cpuset"));
	if (mkdir(path, 0755) < 0) return -errno;
	snprintf(cpusets[nr_cpusets++], sizeof *cpusets, "%s", arg("cpuset"));
	return cpuset_set(arg("cpuset"));
}

long reclaim(struct task *caller)
{
	char path[512], text[256], *group = NULL;

	if (arg("node")) {
		snprintf(path, sizeof path, NODE "%s/reclaim", arg("node"));
	} else if (arg("cpuset")) {
		snprintf(path, sizeof path, CGROUPS "/%s/memory.reclaim", arg("cpuset"));
	} else {
		snprintf(path, sizeof path, "/proc/%d/cgroup", caller->pid);
		read_file(path, text, sizeof text);
		group = strstr(text, "0::");
		if (!group) return -ENOENT;
		group[strcspn(group, "\n")] = 0;
		snprintf(path, sizeof path, CGROUPS "%s/memory.reclaim", group + 3);
	}
	if (arg("swappiness")) return write_file(path, "%ld swappiness=%s", number("size", 0), arg("swappiness"));
	return write_file(path, "%ld", number("size", 0));
}

/* ---- memory blocks */

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static int blocks_of(const char *node, int *blocks, int most)
{
	char path[256];
	struct dirent *entry;
	int nr = 0;
	DIR *dir;

	snprintf(path, sizeof path, NODE "%s", node);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (nr < most && !strncmp(entry->d_name, "memory", 6) && entry->d_name[6] >= '0' && entry->d_name[6] <= '9')
			blocks[nr++] = atoi(entry->d_name + 6);
	if (dir) closedir(dir);
	qsort(blocks, nr, sizeof *blocks, by_number);
	return nr;
}

static bool is_chosen(const char *list, int index)      /* no list: all are */
{
	while (list && *list) {
		char *end;

		if (strtol(list, &end, 10) == index) return true;
		if (*end != ',') return false;
		list = end + 1;
	}
	return !list;
}

static bool is_ordinary[1024];  /* memory blocks that may have come back to another zone */

void memory_blocks(const char *state)
{
	int blocks[256], nr = blocks_of(arg("node"), blocks, 256);
	long result = nr ? 0 : -ENOENT;

	for (int i = 0; i < nr; i++) {
		char path[256], old[64];
		long one;

		if (!is_chosen(arg("blocks"), i)) continue;
		snprintf(path, sizeof path, "/sys/devices/system/memory/memory%d/state", blocks[i]);
		read_file(path, old, sizeof old);
		if (!arg("blocks") && !strncmp(old, "offline", 7) == !strcmp(state, "offline")) continue;
		spare_tasks = true;
		alarm(PATIENCE);
		one = write_file(path, "%s", state);
		if (blocks[i] < 1024 && !strncmp(state, "online", 6)) is_ordinary[blocks[i]] = strcmp(state, "online_movable");
		alarm(300);
		spare_tasks = false;
		if (!result) result = one;
	}
	print_result(result);
}

static void all_online(void)
{
	char path[512], text[64];
	struct dirent *entry;
	DIR *dir;

	for (int i = 0; i < 1024; i++) {
		if (!is_ordinary[i]) continue;
		snprintf(path, sizeof path, "/sys/devices/system/memory/memory%d/state", i);
		write_file(path, "offline");
		is_ordinary[i] = false;
	}
	dir = opendir("/sys/devices/system/memory");
	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "memory", 6)) continue;
		snprintf(path, sizeof path, "/sys/devices/system/memory/%s/state", entry->d_name);
		read_file(path, text, sizeof text);
		if (!strncmp(text, "offline", 7) && write_file(path, "online_movable") < 0)
			fprintf(out, "{\"warn\":\"%s stays offline\"}\n", entry->d_name);
	}
	if (dir) closedir(dir);
}

/* ---- files, programs, KSM */

int file_named(const char *name)
{
	for (int i = 0; i < nr_files; i++)
		if (!strcmp(files[i].name, name)) return files[i].fd;
	return -1;
}

long unlink_file(const char *name)      /* nobody has it open afterwards */
{
	for (int i = 0; i < nr_files; i++) {
		if (strcmp(files[i].name, name)) continue;
		if (unlink(files[i].path) < 0) return -errno;
		for (int j = 0; j < nr_tasks; j++)
			if (tasks[j].alive && tasks[j].tgid == tasks[j].pid) sys(&tasks[j], SYS_close, files[i].fd);
		close(files[i].fd);
		files[i].name[0] = 0;
		files[i].fd = -1;
		return 0;
	}
	return -ENOENT;
}

void add_file(void)
{
	struct file *f = &files[nr_files++];
	const char *folder = is("fs", "ext4") ? "/ext4" : is("fs", "hugetlbfs") ? "/hfs" : "/shm";

	snprintf(f->name, sizeof f->name, "%s", arg("name"));
	snprintf(f->path, sizeof f->path, "%s/%s", folder, arg("name"));
	f->fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC, 0666);
	if (f->fd < 0) fatal(f->path);
	fchmod(f->fd, 0666);
	if (ftruncate(f->fd, number("size", 0)) < 0) fatal("ftruncate");
	if (is("fs", "ext4")) fsync(f->fd);
}

void run_program(struct task *caller)
{
	static char text[65536];
	char *argv[64], pids[64][16], *list = strdup(arg("argv"));
	int nr = 0, status;
	pid_t pid;

	for (char *word = strtok(list, "\x1f"); word && nr < 63; word = strtok(NULL, "\x1f"), nr++) {
		struct task *named = *word == '$' ? task_named(word + 1) : NULL;

		snprintf(pids[nr], sizeof *pids, "%d", named ? named->pid : 0);
		argv[nr] = *word == '$' ? pids[nr] : word;
	}
	argv[nr] = NULL;
	pid = fork();
	if (!pid) {             /* it stays in the agent's cpuset: attaching it would migrate it */
		dup2(open("/tmp/1", O_RDWR | O_CREAT | O_TRUNC, 0666), 1);
		dup2(open("/tmp/2", O_RDWR | O_CREAT | O_TRUNC, 0666), 2);
		if (caller && caller->uid && (setgroups(0, NULL) < 0 || setresgid(caller->uid, caller->uid, caller->uid) < 0 || setresuid(caller->uid, caller->uid, caller->uid) < 0)) _exit(126);
		execvp(argv[0], argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR);
	free(list);
	fprintf(out, "\"exit\":%d", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	fputs(",\"stdout\":", out);
	print_string(text, read_file("/tmp/1", text, sizeof text));
	fputs(",\"stderr\":", out);
	print_string(text, read_file("/tmp/2", text, sizeof text));
}

static long ksm_number(const char *name)
{
	char path[128], text[64];

	snprintf(path, sizeof path, KSM "%s", name);
	read_file(path, text, sizeof text);
	return atol(text);
}

void ksm(void)          /* let ksmd go round until nothing changes */
{
	long scans = ksm_number("full_scans") + 4;

	write_file(KSM "sleep_millisecs", "1");
	write_file(KSM "pages_to_scan", "100000");
	write_file(KSM "run", "1");
	while (ksm_number("full_scans") < scans && !timed_out) usleep(2000);
	write_file(KSM "run", "0");
	fprintf(out, "\"pages_shared\":%ld,\"pages_sharing\":%ld", ksm_number("pages_shared"), ksm_number("pages_sharing"));
}

/* ---- between cases */

static void first_turns(void)   /* where pools grow or shrink together, the lowest node is first */
{
	char path[256], text[16] = "";

	for (int i = 0; i < 16 && *text != '1'; i++) {
		snprintf(path, sizeof path, NODE "%d/hugepages/hugepages-2048kB/nr_hugepages", i);
		if (write_file(path, "1") < 0) continue;
		read_file(path, text, sizeof text);
		write_file(path, "0");
	}
}

void clean_up(void)
{
	char path[512];

	unpin_all(NULL);
	for (int i = nr_tasks - 1; i >= 0; i--) reap(&tasks[i]);
	while (waitpid(-1, NULL, WNOHANG | __WALL) > 0);
	for (int i = 0; i < nr_files; i++) { close(files[i].fd); unlink(files[i].path); }
	for (int i = nr_cpusets - 1; i >= 0; i--) {
		snprintf(path, sizeof path, CGROUPS "/%s", cpusets[i]);
		for (int tries = 0; tries < 50 && rmdir(path) < 0 && errno == EBUSY; tries++) usleep(10000);
	}
	next_place = FIRST_REGION;
	nr_tasks = nr_regions = nr_files = nr_cpusets = 0;
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		if (settings[i].first) write_file(settings[i].path, "%s", settings[i].first);
	all_online();
	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof path, NODE "%d/hugepages/hugepages-2048kB/nr_hugepages", i);
		write_file(path, "0");
		snprintf(path, sizeof path, "/sys/kernel/mm/mempolicy/weighted_interleave/node%d", i);
		write_file(path, "0");
	}
	sync();
	write_file("/proc/sys/vm/drop_caches", "3");
	write_file("/proc/sys/vm/compact_memory", "1");
	first_turns();
}
