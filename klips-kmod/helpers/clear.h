/* SPDX-License-Identifier: GPL-2.0 */
/* Packets that arrive in the clear, before they are taken or forwarded. */
#ifndef KLIPS_CLEAR_H
#define KLIPS_CLEAR_H
#include <linux/netdevice.h>
#include <linux/skbuff.h>

/* Octets of a packet that are shown. */
#define KLIPS_SHOWING 128

/* Whether a packet that came by "in" and begins like "start" may go on. In softirq context, under RCU. */
typedef bool klips_arrived_fn(const struct net *net, const struct net_device *in, const u8 *start,
			      unsigned int len, bool local);

int klips_h_clear_watch(struct net *net, klips_arrived_fn *f);
void klips_h_clear_stop(struct net *net);
const struct net_device *klips_h_way4(struct net *net, const u8 *saddr, const u8 *daddr);
const struct net_device *klips_h_way6(struct net *net, const u8 *saddr, const u8 *daddr);
#endif
