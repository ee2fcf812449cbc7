/* SPDX-License-Identifier: GPL-2.0 */
/* Inline functions and macros of the kernel that sys/socket.rs needs as functions. */
#ifndef KLIPS_SOCKET_H
#define KLIPS_SOCKET_H
#include <linux/capability.h>
#include <linux/net.h>
#include <linux/pfkeyv2.h>
#include <linux/skbuff.h>
#include <linux/user_namespace.h>
#include <net/net_namespace.h>
#include <net/sock.h>

gfp_t klips_h_key_gfp(void);
__poll_t klips_h_key_writable(void);
void klips_h_key_purge(struct sock *sk);
struct net *klips_h_key_net(const struct sock *sk);
bool klips_h_key_allowed(const struct net *net);
void klips_h_key_lock_init(spinlock_t *lock);
void klips_h_key_lock(spinlock_t *lock);
void klips_h_key_unlock(spinlock_t *lock);
void klips_h_key_link(struct sock *sk, struct hlist_head *list);
void klips_h_key_unlink(struct sock *sk);
struct sock *klips_h_key_first(struct hlist_head *list);
struct sock *klips_h_key_next(struct sock *sk);
void klips_h_key_read_lock(void);
void klips_h_key_read_unlock(void);
void klips_h_key_orphan(struct sock *sk);
void klips_h_key_put(struct sock *sk);
void klips_h_key_hold_user(struct sock *sk);
bool klips_h_key_room(const struct sock *sk);
int klips_h_key_wait(struct sock *sk, bool dontwait);
bool klips_h_key_queue(struct sock *sk, struct sk_buff *message);
void klips_h_key_overrun(struct sock *sk);
int klips_h_key_request(void *to, struct msghdr *msg, size_t len);
void klips_h_key_wipe(void *bytes, size_t len);
int klips_h_key_answer(struct sock *sk, struct sk_buff *skb, struct msghdr *msg, int len);
#endif
