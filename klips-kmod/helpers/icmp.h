/* SPDX-License-Identifier: GPL-2.0 */
/* ICMP errors about packets that are too big. */
#ifndef KLIPS_ICMP_H
#define KLIPS_ICMP_H
#include <linux/netdevice.h>
#include <linux/skbuff.h>

bool klips_h_icmp_too_big4(const struct sk_buff *skb);
bool klips_h_icmp_too_big6(u8 type);

/* Under RCU in softirq context, with an ICMP message for this host, from its IP header on. */
typedef void klips_icmp_fn(struct sk_buff *skb, unsigned int hook);

bool klips_h_icmp_sum(struct sk_buff *skb, unsigned int hook, unsigned int at);

/* The same function in every namespace. */
int klips_h_icmp_listen(struct net *net, klips_icmp_fn *f);
void klips_h_icmp_stop(struct net *net);
#endif
