/* SPDX-License-Identifier: GPL-2.0 */
/* Namespaces, the reader lock, deferred work, time, memory. */
#ifndef KLIPS_HOST_H
#define KLIPS_HOST_H
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

/*
 * With PREEMPT_RT softirqs can be preempted, and no memory is had while a lock like that of the gate
 * is held: each packet would have to be done under a lock that sleeps.
 */
#ifdef CONFIG_PREEMPT_RT
#error "klips.ko does not work on kernels with CONFIG_PREEMPT_RT: use klipsd there (IPSEC_KLIPS=klipsd)"
#endif

struct klips_gate; /* a lock whose readers, each on its own CPU, never meet */
struct klips_gate *klips_h_gate_new(void);
void klips_h_gate_free(struct klips_gate *gate);
void klips_h_gate_enter(struct klips_gate *gate);
void klips_h_gate_leave(struct klips_gate *gate);
void klips_h_gate_close(struct klips_gate *gate);
void klips_h_gate_open(struct klips_gate *gate);
void klips_h_gate_lock_writers(struct klips_gate *gate);
void klips_h_gate_unlock_writers(struct klips_gate *gate);

void *klips_h_stash(void);
void klips_h_set_stash(void *stash);
void *klips_h_swap_scratch(void *scratch);
void klips_h_pin(void);
void klips_h_unpin(void);
bool klips_h_may_load(void);
int klips_h_scratch_init(size_t size);
void klips_h_scratch_exit(void);

void *klips_h_net_slot(const struct net *net, unsigned int id);
void klips_h_rcu_read_lock(void);
void klips_h_rcu_read_unlock(void);
void klips_h_init_work(struct work_struct *work, work_func_t f);
void klips_h_init_delayed_work(struct delayed_work *work, work_func_t f);
void klips_h_schedule_work(struct work_struct *work);
void klips_h_schedule_delayed_work(struct delayed_work *work, unsigned int ms);
void klips_h_hurry_delayed_work(struct delayed_work *work);
void *klips_h_kmalloc_atomic(size_t size);
void *klips_h_kvmalloc(size_t size);
void klips_h_kvfree(const void *p);
u64 klips_h_seconds(void);
u64 klips_h_real_seconds(void);
unsigned int klips_h_device_count(void);
void klips_h_rtnl_lock(void);
void klips_h_rtnl_unlock(void);
#endif
