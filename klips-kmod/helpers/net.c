// SPDX-License-Identifier: GPL-2.0
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/netfilter.h>
#include <net/addrconf.h>
#include <net/dst_metadata.h>
#include <net/ip6_route.h>
#include <net/route.h>
#include "net.h"

struct sk_buff *klips_h_skb_new(unsigned int head, const u8 *bytes, unsigned int len, unsigned int tail)
{
	struct sk_buff *skb = alloc_skb(head + len + tail, GFP_ATOMIC | __GFP_NOWARN);

	if (skb) {
		skb_reserve(skb, head);
		skb_put_data(skb, bytes, len);
	}
	return skb;
}

void klips_h_skb_free(struct sk_buff *skb)
{
	kfree_skb(skb);
}

/* Makes all of skb one buffer that is ours to write, with so much room; copies only where one of these is lacking. */
int klips_h_skb_prepare(struct sk_buff *skb, unsigned int head, unsigned int tail)
{
	unsigned int has_head, has_tail;
	int err;

	/* The stack segments for ipsecN, and no card puts segments of ESP together: a guest or TUN made this one up. */
	if (skb_is_gso(skb))
		return -EINVAL;
	if (skb->ip_summed == CHECKSUM_PARTIAL) {
		err = skb_checksum_help(skb);
		if (err)
			return err;
	}
	err = skb_linearize(skb);
	if (err)
		return err;
	has_head = skb_headroom(skb);
	has_tail = skb_tailroom(skb);
	if (!skb_cloned(skb) && has_head >= head && has_tail >= tail)
		return 0;
	return pskb_expand_head(skb, head > has_head ? SKB_DATA_ALIGN(head - has_head) : 0,
				tail > has_tail ? tail - has_tail : 0, GFP_ATOMIC | __GFP_NOWARN);
}

void klips_h_skb_room(const struct sk_buff *skb, struct klips_room *room)
{
	room->head = skb->head;
	room->start = skb->data - skb->head;
	room->end = skb_tail_pointer(skb) - skb->head;
	room->size = skb_end_pointer(skb) - skb->head;
}

void klips_h_skb_set_range(struct sk_buff *skb, unsigned int start, unsigned int end)
{
	skb->data = skb->head + start;
	skb->len = end - start;
	skb_set_tail_pointer(skb, skb->len);
}

/* Of a packet that was received. What its link said of a checksum may be made up, and is of no use inside ESP. */
void klips_h_skb_to_network_header(struct sk_buff *skb)
{
	skb_push(skb, skb->data - skb_network_header(skb));
	skb->ip_summed = CHECKSUM_NONE;
}

struct sk_buff *klips_h_skb_next(const struct sk_buff *skb)
{
	return skb->next;
}

void klips_h_skb_set_next(struct sk_buff *skb, struct sk_buff *next)
{
	skb->next = next;
}

void klips_h_queue_init(struct sk_buff_head *queue)
{
	skb_queue_head_init(queue);
}

bool klips_h_queue_put(struct sk_buff_head *queue, struct sk_buff *skb, unsigned int most)
{
	if (skb_queue_len_lockless(queue) >= most)
		return false;
	skb_queue_tail(queue, skb);
	return true;
}

/* A queue that was never made ready, all zero, is empty. */
struct sk_buff *klips_h_queue_take(struct sk_buff_head *queue)
{
	return queue->next ? skb_dequeue(queue) : NULL;
}

/* Drops what the stack knew about the packet before it became another one. */
static void forget(struct sk_buff *skb)
{
	skb_dst_drop(skb);
	nf_reset_ct(skb);
	secpath_reset(skb);
	skb_gso_reset(skb);
	skb->ip_summed = CHECKSUM_NONE;
	skb->ignore_df = 1;
	skb->encapsulation = 0;
	memset(skb->cb, 0, sizeof(skb->cb));
	skb_reset_network_header(skb);
}

/* Sends an IP packet of this host by one device, as its routes for it say; whether it went. Takes skb. */
static bool transmit(struct net *net, struct sk_buff *skb, u32 device)
{
	struct dst_entry *dst;
	int sent;

	forget(skb);
	if (skb->len >= sizeof(struct iphdr) && ip_hdr(skb)->version == 4) {
		const struct iphdr *ip = ip_hdr(skb);
		struct flowi4 fl = {
			.flowi4_oif = device,
			.flowi4_mark = skb->mark,
			.flowi4_tos = ip->tos & INET_DSCP_MASK,
			.daddr = ip->daddr,
			.saddr = ip->saddr,
			.flowi4_flags = FLOWI_FLAG_ANYSRC,
		};
		struct rtable *rt = __ip_route_output_key(net, &fl);

		if (IS_ERR(rt))
			goto no_route;
		if (rt->dst.dev->ifindex != device) {
			ip_rt_put(rt);
			goto no_route;
		}
		skb_dst_set(skb, &rt->dst);
		skb->protocol = htons(ETH_P_IP);
		skb_set_transport_header(skb, ip->ihl * 4);
		skb->dev = rt->dst.dev;
		sent = ip_local_out(net, NULL, skb);
		return !net_xmit_eval(sent);
	}
#if IS_ENABLED(CONFIG_IPV6)
	if (skb->len >= sizeof(struct ipv6hdr) && ip_hdr(skb)->version == 6) {
		const struct ipv6hdr *ip = ipv6_hdr(skb);
		struct flowi6 fl = {
			.flowi6_oif = device,
			.flowi6_mark = skb->mark,
			.daddr = ip->daddr,
			.saddr = ip->saddr,
			.flowlabel = ip6_flowinfo(ip),
		};

		/* Without the flag a packet whose source is given may go by another device: back into ipsecN. */
		dst = ip6_route_output_flags(net, NULL, &fl, RT6_LOOKUP_F_IFACE);
		if (dst->error || dst->dev->ifindex != device) {
			dst_release(dst);
			goto no_route;
		}
		skb_dst_set(skb, dst);
		skb->protocol = htons(ETH_P_IPV6);
		skb_set_transport_header(skb, sizeof(*ip));
		skb->dev = dst->dev;
		sent = ip6_local_out(net, NULL, skb);
		return !net_xmit_eval(sent);
	}
#endif
no_route:
	kfree_skb(skb);
	return false;
}

/*
 * An ipsecN may be attached to a tunnel whose packets are routed to an ipsecN again. The kernel's own limit for devices without
 * a queue, 8, is more than the stack holds with KLIPS in between.
 */
#define MOST_NESTED 2
static DEFINE_PER_CPU(unsigned int, nested);

/* The same; it does not go where it went through ipsecN too often on its way. Takes skb. Any context but hard interrupts. */
bool klips_h_transmit(struct net *net, struct sk_buff *skb, u32 device)
{
	bool sent = false;

	local_bh_disable();
	if (__this_cpu_inc_return(nested) <= MOST_NESTED) {
		sent = transmit(net, skb, device);
	} else {
		net_warn_ratelimited("klips: a packet went round through ipsecN and its physical device, and is dropped\n");
		kfree_skb(skb);
	}
	__this_cpu_dec(nested);
	local_bh_enable();
	return sent;
}

/* Gives an IP packet to the stack as one that dev received. Takes skb. Any context but hard interrupts. */
void klips_h_deliver(struct net_device *dev, struct sk_buff *skb)
{
	struct klips_device *ours = netdev_priv(dev);

	forget(skb);
	/* An answer to a packet of this host's own has that packet's sender still. */
	skb_orphan(skb);
	skb->ignore_df = 0;
	skb->protocol = ip_hdr(skb)->version == 4 ? htons(ETH_P_IP) : htons(ETH_P_IPV6);
	skb_reset_mac_header(skb);
	skb_reset_mac_len(skb);
	skb->pkt_type = PACKET_HOST;
	skb->dev = dev;
	skb_clear_hash(skb);
	skb_set_queue_mapping(skb, 0);
	/* The cell is this CPU's, and has no lock. */
	local_bh_disable();
	gro_cells_receive(&ours->cells, skb);
	local_bh_enable();
}

static void setup(struct net_device *dev)
{
	dev->type = ARPHRD_NONE;
	dev->flags = IFF_NOARP | IFF_POINTOPOINT | IFF_MULTICAST;
	/* netpoll transmits with interrupts off, where the gate cannot be entered. */
	dev->priv_flags |= IFF_NO_QUEUE | IFF_DISABLE_NETPOLL;
	dev->lltx = true;
	dev->netns_immutable = true;
	dev->hard_header_len = 0;
	dev->addr_len = 0;
	dev->mtu = 0;
	dev->min_mtu = 0;
	dev->max_mtu = IP_MAX_MTU;
	dev->needed_headroom = LL_MAX_HEADER + 192;
	dev->needed_tailroom = 128;
	/* No offloads: the stack hands over packets that are whole, in one piece, and summed, and does so best itself. */
	dev->features = 0;
}

struct net_device *klips_h_device_new(struct net *net, unsigned int number, const struct net_device_ops *ops, void *host)
{
	char name[IFNAMSIZ];
	struct net_device *dev;
	struct klips_device *ours;

	snprintf(name, sizeof(name), "ipsec%u", number);
	dev = alloc_netdev(sizeof(struct klips_device), name, NET_NAME_PREDICTABLE, setup);
	if (!dev)
		return NULL;
	dev_net_set(dev, net);
	dev->netdev_ops = ops;
	ours = netdev_priv(dev);
	ours->host = host;
	ours->number = number;
	if (gro_cells_init(&ours->cells, dev)) {
		free_netdev(dev);
		return NULL;
	}
	return dev;
}

struct klips_device *klips_h_device_priv(const struct net_device *dev)
{
	return netdev_priv(dev);
}

int klips_h_device_register(struct net_device *dev)
{
	return register_netdev(dev);
}

/* While it unregisters: what waits in the cells must not reach the stack when nobody waits for the device's users any more. */
void klips_h_device_uninit(struct net_device *dev)
{
	struct klips_device *ours = netdev_priv(dev);

	gro_cells_destroy(&ours->cells);
}

/* One that was unregistered, or never registered. */
void klips_h_device_free(struct net_device *dev)
{
	klips_h_device_uninit(dev);
	free_netdev(dev);
}

unsigned int klips_h_device_flags(const struct net_device *dev)
{
	return dev->flags;
}

unsigned int klips_h_device_mtu(const struct net_device *dev)
{
	return READ_ONCE(dev->mtu);
}

int klips_h_device_ifindex(const struct net_device *dev)
{
	return dev->ifindex;
}

const char *klips_h_device_name(const struct net_device *dev)
{
	return dev->name;
}

struct net *klips_h_device_net(const struct net_device *dev)
{
	return dev_net(dev);
}

bool klips_h_device_is_ours(const struct net_device *dev, const struct net_device_ops *ops)
{
	return dev->netdev_ops == ops;
}

void klips_h_device_count_drop(struct net_device *dev, bool tx)
{
	if (tx)
		dev_core_stats_tx_dropped_inc(dev);
	else
		dev_core_stats_rx_dropped_inc(dev);
}

struct net_device *klips_h_notified_device(void *info)
{
	return netdev_notifier_info_to_dev(info);
}

/* Each address: its length, 4 or 16, and then its bytes. */
unsigned int klips_h_addresses(struct net_device *dev, u8 (*out)[17], unsigned int most)
{
	unsigned int n = 0;
	struct in_device *in4;
	const struct in_ifaddr *ifa;
#if IS_ENABLED(CONFIG_IPV6)
	struct inet6_dev *in6;
	const struct inet6_ifaddr *ifa6;
#endif

	rcu_read_lock();
	in4 = __in_dev_get_rcu(dev);
	if (in4) {
		in_dev_for_each_ifa_rcu(ifa, in4) {
			if (n == most)
				break;
			out[n][0] = 4;
			memcpy(&out[n++][1], &ifa->ifa_local, 4);
		}
	}
#if IS_ENABLED(CONFIG_IPV6)
	in6 = __in6_dev_get(dev);
	if (in6) {
		read_lock_bh(&in6->lock);
		list_for_each_entry(ifa6, &in6->addr_list, if_list) {
			if (n == most)
				break;
			out[n][0] = 16;
			memcpy(&out[n++][1], &ifa6->addr, 16);
		}
		read_unlock_bh(&in6->lock);
	}
#endif
	rcu_read_unlock();
	return n;
}

struct net_device *klips_h_inetaddr_device(void *ifa)
{
	return ((struct in_ifaddr *)ifa)->ifa_dev->dev;
}

struct net_device *klips_h_inet6addr_device(void *ifa)
{
	return ((struct inet6_ifaddr *)ifa)->idev->dev;
}

bool klips_h_icmp_too_big4(const struct sk_buff *skb)
{
	const struct icmphdr *icmp = icmp_hdr(skb);

	return icmp->type == ICMP_DEST_UNREACH && icmp->code == ICMP_FRAG_NEEDED;
}

bool klips_h_icmp_too_big6(u8 type)
{
	return type == ICMPV6_PKT_TOOBIG;
}
