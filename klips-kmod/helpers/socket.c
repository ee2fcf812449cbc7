// SPDX-License-Identifier: GPL-2.0
#include <linux/poll.h>
#include <linux/rculist.h>
#include <linux/wait.h>
#include "socket.h"

static DEFINE_MUTEX(key_list_mutex);

gfp_t klips_h_key_gfp(void)
{
	return GFP_KERNEL;
}

__poll_t klips_h_key_writable(void)
{
	return EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
}

void klips_h_key_purge(struct sock *sk)
{
	skb_queue_purge(&sk->sk_receive_queue);
}

struct net *klips_h_key_net(const struct sock *sk)
{
	return sock_net(sk);
}

bool klips_h_key_allowed(const struct net *net)
{
	return ns_capable(net->user_ns, CAP_NET_ADMIN);
}

void klips_h_key_lock_init(spinlock_t *lock)
{
	spin_lock_init(lock);
}

void klips_h_key_lock(spinlock_t *lock)
{
	spin_lock_bh(lock);
}

void klips_h_key_unlock(spinlock_t *lock)
{
	spin_unlock_bh(lock);
}

void klips_h_key_link(struct sock *sk, struct hlist_head *list)
{
	mutex_lock(&key_list_mutex);
	sk_add_node_rcu(sk, list);
	mutex_unlock(&key_list_mutex);
}

void klips_h_key_unlink(struct sock *sk)
{
	mutex_lock(&key_list_mutex);
	sk_del_node_init_rcu(sk);
	mutex_unlock(&key_list_mutex);
}

struct sock *klips_h_key_first(struct hlist_head *list)
{
	return hlist_entry_safe(rcu_dereference(hlist_first_rcu(list)), struct sock, sk_node);
}

struct sock *klips_h_key_next(struct sock *sk)
{
	return hlist_entry_safe(rcu_dereference(hlist_next_rcu(&sk->sk_node)), struct sock,
				sk_node);
}

void klips_h_key_read_lock(void)
{
	rcu_read_lock();
}

void klips_h_key_read_unlock(void)
{
	rcu_read_unlock();
}

void klips_h_key_orphan(struct sock *sk)
{
	sock_orphan(sk);
}

void klips_h_key_put(struct sock *sk)
{
	sock_put(sk);
}

void klips_h_key_hold_user(struct sock *sk)
{
	lock_sock(sk);
}

bool klips_h_key_room(const struct sock *sk)
{
	return atomic_read(&sk->sk_rmem_alloc) <= READ_ONCE(sk->sk_rcvbuf);
}

/* Until there is room for answers: 0, or a negative errno. */
int klips_h_key_wait(struct sock *sk, bool dontwait)
{
	long time = sock_sndtimeo(sk, dontwait);
	long left;

	if (klips_h_key_room(sk))
		return 0;
	if (!time)
		return -EAGAIN;
	left = wait_event_interruptible_timeout(*sk_sleep(sk), klips_h_key_room(sk), time);
	return left > 0 ? 0 : left < 0 ? sock_intr_errno(time) : -EAGAIN;
}

/* Appends a copy of a message to what waits to be received, whether there is room or not. */
bool klips_h_key_queue(struct sock *sk, struct sk_buff *message)
{
	struct sk_buff *skb = skb_clone(message, GFP_ATOMIC | __GFP_NOWARN);

	if (!skb)
		return false;
	skb_set_owner_r(skb, sk);
	skb_queue_tail(&sk->sk_receive_queue, skb);
	sk->sk_data_ready(sk);
	return true;
}

void klips_h_key_overrun(struct sock *sk)
{
	WRITE_ONCE(sk->sk_err, ENOBUFS);
	sk_error_report(sk);
}

int klips_h_key_request(void *to, struct msghdr *msg, size_t len)
{
	return memcpy_from_msg(to, msg, len);
}

int klips_h_key_answer(struct sock *sk, struct sk_buff *skb, struct msghdr *msg, int len)
{
	int error;

	skb_reset_transport_header(skb);
	error = skb_copy_datagram_msg(skb, 0, msg, len);
	if (!error)
		sock_recv_cmsgs(msg, sk, skb);
	return error;
}

void klips_h_key_wipe(void *bytes, size_t len)
{
	memzero_explicit(bytes, len);
}
