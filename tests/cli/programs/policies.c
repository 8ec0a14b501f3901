/* Threads with policies of their own, by libnuma's header. */
#include <numa.h>
#include <numaif.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define SIZE (16 * 4096)

static void *work(void *argument)
{
    long i = (long)argument;
    unsigned long mask = 1UL << i;
    int policy, node;
    char *memory;

    if (set_mempolicy(MPOL_BIND, &mask, 5))
        perror("set_mempolicy");
    memory = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 1, SIZE);
    get_mempolicy(&policy, NULL, 0, 0, 0);
    get_mempolicy(&node, NULL, 0, memory, MPOL_F_NODE | MPOL_F_ADDR);
    printf("thread %ld: policy %d node %d\n", i, policy, node);
    return 0;
}

int main(void)
{
    pthread_t thread;
    int policy;

    for (long i = 0; i < 4; i++) {
        pthread_create(&thread, 0, work, (void *)i);
        pthread_join(thread, 0);
    }
    get_mempolicy(&policy, NULL, 0, 0, 0);
    printf("main: policy %d\n", policy);
    return 0;
}
