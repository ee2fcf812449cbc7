/* SPDX-License-Identifier: GPL-2.0 */
/* Packets, net devices, and the way in and out of the IP stacks. */
#ifndef KLIPS_NET_H
#define KLIPS_NET_H
#include <linux/if_arp.h>
#include <linux/inetdevice.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/addrconf.h>
#include <net/gro_cells.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/xfrm.h>

/* What of an ipsecN net_device is ours. */
struct klips_device {
	void *host;
	unsigned int number;
	struct gro_cells cells;
	struct xfrm_state *state;
};

struct klips_room {
	unsigned char *head;
	unsigned int start;
	unsigned int end;
	unsigned int size;
};

struct sk_buff *klips_h_skb_new(unsigned int head, const u8 *bytes, unsigned int len,
				unsigned int tail);
void klips_h_skb_free(struct sk_buff *skb);
int klips_h_skb_prepare(struct sk_buff *skb, unsigned int head, unsigned int tail);
int klips_h_skb_expand(struct sk_buff *skb, unsigned int head, unsigned int tail);
struct sk_buff *klips_h_skb_segment(struct sk_buff *skb);
void klips_h_skb_room(const struct sk_buff *skb, struct klips_room *room);
unsigned int klips_h_skb_peek(const struct sk_buff *skb, u8 *to, unsigned int most);
void klips_h_skb_tag(const struct sk_buff *skb, u32 *tag);
void klips_h_skb_set_tag(struct sk_buff *skb, const u32 *tag);
void klips_h_skb_set_range(struct sk_buff *skb, unsigned int start, unsigned int end);
void klips_h_skb_to_network_header(struct sk_buff *skb);
struct sk_buff *klips_h_skb_next(const struct sk_buff *skb);
void klips_h_skb_set_next(struct sk_buff *skb, struct sk_buff *next);
void klips_h_queue_init(struct sk_buff_head *queue);
bool klips_h_queue_put(struct sk_buff_head *queue, struct sk_buff *skb, unsigned int most);
struct sk_buff *klips_h_queue_take(struct sk_buff_head *queue);
struct klips_routes;
struct klips_routes *klips_h_routes_new(void);
void klips_h_routes_free(struct klips_routes *routes);
bool klips_h_transmit(struct net *net, struct klips_routes *routes, struct sk_buff *skb,
		      u32 device);
void klips_h_answer(struct net *net, struct sk_buff *skb);
void klips_h_deliver(struct net_device *dev, struct sk_buff *skb, bool secured);

struct net_device *klips_h_device_new(struct net *net, unsigned int number,
				      const struct net_device_ops *ops, void *host);
struct klips_device *klips_h_device_priv(const struct net_device *dev);
int klips_h_device_register(struct net_device *dev);
void klips_h_device_uninit(struct net_device *dev);
void klips_h_device_free(struct net_device *dev);
unsigned int klips_h_device_flags(const struct net_device *dev);
unsigned int klips_h_device_mtu(const struct net_device *dev);
int klips_h_device_ifindex(const struct net_device *dev);
const char *klips_h_device_name(const struct net_device *dev);
struct net *klips_h_device_net(const struct net_device *dev);
bool klips_h_device_is_ours(const struct net_device *dev, const struct net_device_ops *ops);
unsigned int klips_h_device_link_header(const struct net_device *dev);
void klips_h_device_need_room(struct net_device *dev, unsigned int head, unsigned int tail);
void klips_h_device_count_drop(struct net_device *dev, bool tx);
struct net_device *klips_h_notified_device(void *info);
unsigned int klips_h_addresses(struct net_device *dev, u8 (*out)[17], unsigned int most);
struct net_device *klips_h_inetaddr_device(void *ifa);
struct net_device *klips_h_inet6addr_device(void *ifa);
#endif
