/* SPDX-License-Identifier: GPL-2.0 */
/* ICMP errors about packets that are too big. */
#ifndef KLIPS_ICMP_H
#define KLIPS_ICMP_H
#include <linux/netdevice.h>
#include <linux/skbuff.h>

bool klips_h_icmp_too_big4(const struct sk_buff *skb);
bool klips_h_icmp_too_big6(u8 type);

/*
 * Under RCU in softirq context; "quoted" is the start of the packet that did not pass, and that
 * came to dev.
 */
typedef void klips_too_big_fn(const struct net_device *dev, const u8 *quoted, unsigned int len,
			      u32 mtu);

/* The same function in every namespace. */
int klips_h_icmp_listen(struct net *net, klips_too_big_fn *f);
void klips_h_icmp_stop(struct net *net);
#endif
