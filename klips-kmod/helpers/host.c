// SPDX-License-Identifier: GPL-2.0
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include "host.h"

#define MOST_DEVICES 10

static unsigned int devices = 4;

static int set_devices(const char *value, const struct kernel_param *parameter)
{
	int error = param_set_uint_minmax(value, parameter, 1, MOST_DEVICES);

	if (error)
		pr_err("klips: devices=%s is not taken: a number from 1 to %d is\n", value,
		       MOST_DEVICES);
	return error;
}

static const struct kernel_param_ops devices_ops = {
	.set = set_devices,
	.get = param_get_uint,
};
module_param_cb(devices, &devices_ops, &devices, 0444);
MODULE_PARM_DESC(devices,
		 "how many ipsecN devices each network namespace has, 1 to 10 (default 4)");

unsigned int klips_h_device_count(void)
{
	return devices;
}

/*
 * A reader takes the spin lock of the CPU it is on, which is in that CPU's cache and which nobody
 * else wants; a writer takes them all. To lockdep it is one reader/writer lock, for it could not
 * hold a hundred.
 */
struct gate_lock {
	arch_spinlock_t lock;
	unsigned int
		pad; /* where there is one CPU a lock has no size, which percpu memory must have */
};

struct klips_gate {
	struct mutex writers;
	struct gate_lock __percpu *locks;
#ifdef CONFIG_DEBUG_LOCK_ALLOC
	struct lockdep_map dep_map;
#endif
};

struct klips_gate *klips_h_gate_new(void)
{
	static struct lock_class_key key;
	struct klips_gate *gate = kzalloc(sizeof(*gate), GFP_KERNEL);
	int cpu;

	if (!gate)
		return NULL;
	gate->locks = alloc_percpu(struct gate_lock);
	if (!gate->locks) {
		kfree(gate);
		return NULL;
	}
	for_each_possible_cpu (cpu)
		per_cpu_ptr(gate->locks, cpu)->lock = (arch_spinlock_t)__ARCH_SPIN_LOCK_UNLOCKED;
	mutex_init(&gate->writers);
#ifdef CONFIG_DEBUG_LOCK_ALLOC
	lockdep_init_map(&gate->dep_map, "klips_gate", &key, 0);
#else
	(void)key;
#endif
	return gate;
}

void klips_h_gate_free(struct klips_gate *gate)
{
	mutex_destroy(&gate->writers);
	free_percpu(gate->locks);
	kfree(gate);
}

void klips_h_gate_enter(struct klips_gate *gate)
{
	local_bh_disable();
	/* Not recursive, which lockdep's word for a rwlock would be with softirqs off. */
	lock_acquire_shared(&gate->dep_map, 0, 0, NULL, _RET_IP_);
	preempt_disable();
	arch_spin_lock(&this_cpu_ptr(gate->locks)->lock);
}

void klips_h_gate_leave(struct klips_gate *gate)
{
	arch_spin_unlock(&this_cpu_ptr(gate->locks)->lock);
	preempt_enable();
	lock_release(&gate->dep_map, _RET_IP_);
	local_bh_enable();
}

void klips_h_gate_lock_writers(struct klips_gate *gate)
{
	mutex_lock(&gate->writers);
}

void klips_h_gate_unlock_writers(struct klips_gate *gate)
{
	mutex_unlock(&gate->writers);
}

/* With the writers' mutex held. */
void klips_h_gate_close(struct klips_gate *gate)
{
	int cpu;

	local_bh_disable();
	lock_acquire_exclusive(&gate->dep_map, 0, 0, NULL, _RET_IP_);
	preempt_disable();
	for_each_possible_cpu (cpu)
		arch_spin_lock(&per_cpu_ptr(gate->locks, cpu)->lock);
}

void klips_h_gate_open(struct klips_gate *gate)
{
	int cpu;

	for_each_possible_cpu (cpu)
		arch_spin_unlock(&per_cpu_ptr(gate->locks, cpu)->lock);
	preempt_enable();
	lock_release(&gate->dep_map, _RET_IP_);
	local_bh_enable();
}

static DEFINE_PER_CPU(void *, klips_stash);
static DEFINE_PER_CPU(void *, klips_scratch);

void *klips_h_stash(void)
{
	return this_cpu_read(klips_stash);
}

void klips_h_set_stash(void *stash)
{
	this_cpu_write(klips_stash, stash);
}

/* Puts another one in its place, and answers the one that was there. */
void *klips_h_swap_scratch(void *scratch)
{
	return this_cpu_xchg(klips_scratch, scratch);
}

/* As inside a gate. */
void klips_h_pin(void)
{
	local_bh_disable();
	preempt_disable();
}

void klips_h_unpin(void)
{
	preempt_enable();
	local_bh_enable();
}

void klips_h_scratch_exit(void)
{
	int cpu;

	for_each_possible_cpu (cpu) {
		kvfree(per_cpu(klips_scratch, cpu));
		per_cpu(klips_scratch, cpu) = NULL;
	}
}

int klips_h_scratch_init(size_t size)
{
	int cpu;

	for_each_possible_cpu (cpu) {
		void *p = kvzalloc_node(size, GFP_KERNEL, cpu_to_node(cpu));

		if (!p) {
			klips_h_scratch_exit();
			return -ENOMEM;
		}
		per_cpu(klips_scratch, cpu) = p;
	}
	return 0;
}

void *klips_h_net_slot(const struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

void klips_h_rcu_read_lock(void)
{
	rcu_read_lock();
}

void klips_h_rcu_read_unlock(void)
{
	rcu_read_unlock();
}

void klips_h_init_work(struct work_struct *work, work_func_t f)
{
	INIT_WORK(work, f);
}

void klips_h_init_delayed_work(struct delayed_work *work, work_func_t f)
{
	INIT_DELAYED_WORK(work, f);
}

void klips_h_schedule_work(struct work_struct *work)
{
	schedule_work(work);
}

void klips_h_schedule_delayed_work(struct delayed_work *work, unsigned int ms)
{
	schedule_delayed_work(work, msecs_to_jiffies(ms));
}

void klips_h_hurry_delayed_work(struct delayed_work *work)
{
	mod_delayed_work(system_wq, work, 0);
}

void *klips_h_kmalloc_atomic(size_t size)
{
	return kmalloc(size, GFP_ATOMIC | __GFP_NOWARN);
}

void *klips_h_kvmalloc(size_t size)
{
	return kvmalloc(size, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
}

void klips_h_kvfree(const void *p)
{
	kvfree(p);
}

u64 klips_h_seconds(void)
{
	return ktime_get_boottime_seconds();
}

u64 klips_h_real_seconds(void)
{
	return ktime_get_real_seconds();
}

void klips_h_rtnl_lock(void)
{
	rtnl_lock();
}

void klips_h_rtnl_unlock(void)
{
	rtnl_unlock();
}

bool klips_h_may_load(void)
{
	return capable(CAP_NET_ADMIN);
}
