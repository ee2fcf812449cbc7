// SPDX-License-Identifier: GPL-2.0
#include <linux/hash.h>
#include <linux/icmpv6.h>
#include <linux/netfilter.h>
#include <net/addrconf.h>
#include <net/dst_metadata.h>
#include <net/gso.h>
#include <net/ip6_checksum.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ndisc.h>
#include <net/route.h>
#include "net.h"

struct sk_buff *klips_h_skb_new(unsigned int head, const u8 *bytes, unsigned int len,
				unsigned int tail)
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

/*
 * Whether skb, which is in one piece, has so much room around it, maybe after it was moved within
 * its buffer: TCP leaves hundreds of bytes before a packet, and of one that fills an Ethernet frame
 * few behind it.
 */
static bool make_room(struct sk_buff *skb, unsigned int head, unsigned int tail)
{
	unsigned int has_head = skb_headroom(skb), has_tail = skb_tailroom(skb), by;

	if (has_head >= head && has_tail >= tail)
		return true;
	if (has_head < head || has_head - head < tail - has_tail)
		return false;
	by = has_head - head;
	memmove(skb->data - by, skb->data, skb->len);
	skb->data -= by;
	skb_set_tail_pointer(skb, skb->len);
	skb_headers_offset_update(skb, -(int)by);
	return true;
}

/* Copies skb into a buffer of its own with at least so much room. */
static int grow(struct sk_buff *skb, unsigned int head, unsigned int tail)
{
	unsigned int has_head = skb_headroom(skb);
	unsigned int has_tail = skb_end_pointer(skb) - skb_tail_pointer(skb);

	return pskb_expand_head(skb, head > has_head ? SKB_DATA_ALIGN(head - has_head) : 0,
				tail > has_tail ? tail - has_tail : 0, GFP_ATOMIC | __GFP_NOWARN);
}

/*
 * Makes all of skb one buffer that is ours to write, and summed, with so much room where that takes
 * no new buffer. What has to be copied gets it in the same copy.
 */
int klips_h_skb_prepare(struct sk_buff *skb, unsigned int head, unsigned int tail)
{
	unsigned int has_tail = skb_end_pointer(skb) - skb_tail_pointer(skb);
	int err;

	/*
	 * What ipsecN got is cut already, and no card puts segments of ESP together: a guest or TUN
	 * made this one up.
	 */
	if (skb_is_gso(skb))
		return -EINVAL;
	if (skb_cloned(skb) || (skb_is_nonlinear(skb) && has_tail < skb->data_len)) {
		err = grow(skb, head, skb->data_len + tail);
		if (err)
			return err;
	}
	err = skb_linearize(skb);
	if (err)
		return err;
	if (skb->ip_summed == CHECKSUM_PARTIAL) {
		err = skb_checksum_help(skb);
		if (err)
			return err;
	}
	make_room(skb, head, tail);
	return 0;
}

/* Makes so much room in one that is prepared. */
int klips_h_skb_expand(struct sk_buff *skb, unsigned int head, unsigned int tail)
{
	return make_room(skb, head, tail) ? 0 : grow(skb, head, tail);
}

/*
 * What ipsecN got as one packet to be cut into many: a list of them, each in one piece and summed,
 * both in the one copy that there has to be. NULL where that fails; takes skb then too.
 */
struct sk_buff *klips_h_skb_segment(struct sk_buff *skb)
{
	struct sk_buff *segments;

	if (!skb_is_gso(skb))
		return skb;
	segments = skb_gso_segment(skb, 0);
	if (!segments)
		return skb;
	if (IS_ERR(segments)) {
		kfree_skb(skb);
		return NULL;
	}
	consume_skb(skb);
	return segments;
}

/* The start of a received packet, from its network header on; how much of it there was. */
unsigned int klips_h_skb_peek(const struct sk_buff *skb, u8 *to, unsigned int most)
{
	int at = skb_network_offset(skb);
	unsigned int len = min(skb->len - at, most);

	return skb_copy_bits(skb, at, to, len) ? 0 : len;
}

/* What has to survive a copy: mark, priority, secmark. */
void klips_h_skb_tag(const struct sk_buff *skb, u32 *tag)
{
	tag[0] = skb->mark;
	tag[1] = skb->priority;
#ifdef CONFIG_NETWORK_SECMARK
	tag[2] = skb->secmark;
#endif
}

void klips_h_skb_set_tag(struct sk_buff *skb, const u32 *tag)
{
	skb->mark = tag[0];
	skb->priority = tag[1];
#ifdef CONFIG_NETWORK_SECMARK
	skb->secmark = tag[2];
#endif
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

/*
 * Of a packet that was received. What its link said of a checksum may be made up, and is of no use
 * inside ESP.
 */
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
	/* The security path too: what is inside has not come by it. */
	skb_ext_reset(skb);
	nf_reset_ct(skb);
	nf_reset_trace(skb);
	ipvs_reset(skb);
#ifdef CONFIG_NET_SWITCHDEV
	skb->offload_fwd_mark = 0;
	skb->offload_l3_fwd_mark = 0;
#endif
	skb_clear_tstamp(skb);
	skb_gso_reset(skb);
	skb->ip_summed = CHECKSUM_NONE;
	skb->ignore_df = 1;
	skb->encapsulation = 0;
	memset(skb->cb, 0, sizeof(skb->cb));
	skb_reset_network_header(skb);
}

/*
 * Routes by which packets went not long ago, some for each CPU: a tunnel's packets all ask for the
 * same. Whether one still holds is asked of the stack each time, as of a socket's.
 */
#define ROUTES 16

struct klips_route {
	struct dst_entry *dst;
	struct in6_addr daddr, saddr;
	u32 cookie, mark, device;
	u8 version, tos;
};

struct klips_routes {
	struct klips_route route[ROUTES];
};

struct klips_routes *klips_h_routes_new(void)
{
	return (struct klips_routes __force *)alloc_percpu(struct klips_routes);
}

/* Nobody uses them any more. */
void klips_h_routes_free(struct klips_routes *routes)
{
	struct klips_routes __percpu *all = (struct klips_routes __percpu __force *)routes;
	int cpu, n;

	for_each_possible_cpu (cpu)
		for (n = 0; n < ROUTES; n++)
			dst_release(per_cpu_ptr(all, cpu)->route[n].dst);
	free_percpu(all);
}

static struct dst_entry *route4(struct net *net, const struct klips_route *to)
{
	struct flowi4 fl = {
		.flowi4_oif = to->device,
		.flowi4_mark = to->mark,
		.flowi4_tos = to->tos,
		.daddr = to->daddr.s6_addr32[0],
		.saddr = to->saddr.s6_addr32[0],
		.flowi4_flags = FLOWI_FLAG_ANYSRC,
	};
	struct rtable *rt = __ip_route_output_key(net, &fl);

	return IS_ERR(rt) ? NULL : &rt->dst;
}

#if IS_ENABLED(CONFIG_IPV6)
static struct dst_entry *route6(struct net *net, const struct klips_route *to)
{
	struct flowi6 fl = {
		.flowi6_oif = to->device,
		.flowi6_mark = to->mark,
		.daddr = to->daddr,
		.saddr = to->saddr,
		.flowlabel = ip6_make_flowinfo(to->tos, 0),
	};
	/*
	 * Without the flag a packet whose source is given may go by another device: back into
	 * ipsecN.
	 */
	struct dst_entry *dst = ip6_route_output_flags(net, NULL, &fl, RT6_LOOKUP_F_IFACE);

	if (!dst->error)
		return dst;
	dst_release(dst);
	return NULL;
}
#endif

/*
 * A route for skb's packet by one device, with a reference; what is remembered is the CPU's own, so
 * softirqs are off.
 */
static struct dst_entry *route(struct net *net, struct klips_routes *routes,
			       const struct sk_buff *skb, u32 device)
{
	struct klips_route want = { .device = device,
				    .mark = skb->mark,
				    .version = ip_hdr(skb)->version },
			   *had;
	struct dst_entry *dst;
	u32 hash;

	if (want.version == 4) {
		want.daddr.s6_addr32[0] = ip_hdr(skb)->daddr;
		want.saddr.s6_addr32[0] = ip_hdr(skb)->saddr;
		want.tos = ip_hdr(skb)->tos & INET_DSCP_MASK;
		hash = (__force u32)ip_hdr(skb)->daddr;
	} else {
		want.daddr = ipv6_hdr(skb)->daddr;
		want.saddr = ipv6_hdr(skb)->saddr;
		want.tos = ipv6_get_dsfield(ipv6_hdr(skb)) & INET_DSCP_MASK;
		hash = ipv6_addr_hash(&want.daddr);
	}
	had = &this_cpu_ptr((struct klips_routes __percpu __force *)routes)
		       ->route[hash_32(hash, ilog2(ROUTES))];
	if (had->dst && had->device == want.device && had->mark == want.mark &&
	    had->version == want.version && had->tos == want.tos &&
	    ipv6_addr_equal(&had->daddr, &want.daddr) &&
	    ipv6_addr_equal(&had->saddr, &want.saddr) && dst_check(had->dst, had->cookie)) {
		dst_hold(had->dst);
		return had->dst;
	}
	dst_release(had->dst);
	had->dst = NULL;
#if IS_ENABLED(CONFIG_IPV6)
	dst = want.version == 4 ? route4(net, &want) : route6(net, &want);
	if (dst && want.version == 6)
		want.cookie = rt6_get_cookie(dst_rt6_info(dst));
#else
	dst = want.version == 4 ? route4(net, &want) : NULL;
#endif
	if (dst && dst->dev->ifindex != device) {
		dst_release(dst);
		dst = NULL;
	}
	if (dst) {
		want.dst = dst_clone(dst);
		*had = want;
	}
	return dst;
}

#if IS_ENABLED(CONFIG_IPV6)
/* The last of the stack's own steps, which it does not lend: to the next hop. Under RCU. */
static int to_neighbour(struct net *net, struct sock *sk, struct sk_buff *skb)
{
	struct dst_entry *dst = skb_dst(skb);
	struct neighbour *neigh;

	if (dst->output != ip6_output)
		return dst_output(net, sk, skb);
	if (skb_headroom(skb) < LL_RESERVED_SPACE(dst->dev)) {
		skb = skb_expand_head(skb, LL_RESERVED_SPACE(dst->dev));
		if (!skb)
			return -ENOMEM;
	}
	neigh = ip_neigh_gw6(dst->dev, rt6_nexthop(dst_rt6_info(dst), &ipv6_hdr(skb)->daddr));
	if (IS_ERR(neigh)) {
		kfree_skb(skb);
		return PTR_ERR(neigh);
	}
	return neigh_output(neigh, skb, false);
}

/*
 * Newer kernels lower an IPv6 route by whatever ICMP says of UDP, from anybody, and would cut by it
 * here, for which IPv6 has nothing like IPSKB_FORWARDED. KLIPS has cut by what it believes.
 */
static int output6(struct net *net, struct sk_buff *skb)
{
	struct dst_entry *dst = skb_dst(skb);
	struct inet6_dev *idev;
	int sent;

	if (skb->len <= dst_mtu(dst) || skb->len > READ_ONCE(dst->dev->mtu) ||
	    dst->output != ip6_output || dst->lwtstate ||
	    ipv6_addr_is_multicast(&ipv6_hdr(skb)->daddr))
		return dst_output(net, NULL, skb);
	rcu_read_lock();
	idev = ip6_dst_idev(dst);
	if (idev && !READ_ONCE(idev->cnf.disable_ipv6)) {
		skb->dev = dst->dev;
		sent = NF_HOOK(NFPROTO_IPV6, NF_INET_POST_ROUTING, net, NULL, skb, NULL, dst->dev,
			       to_neighbour);
	} else {
		kfree_skb(skb);
		sent = -ENETDOWN;
	}
	rcu_read_unlock();
	return sent;
}
#endif

/*
 * Sends an IP packet of this host by one device, as its routes for it say; whether it went. Takes
 * skb. Softirqs are off.
 */
static bool transmit(struct net *net, struct klips_routes *routes, struct sk_buff *skb, u32 device)
{
	struct dst_entry *dst = NULL;
	bool v4;
	int sent;

	forget(skb);
	v4 = skb->len >= sizeof(struct iphdr) && ip_hdr(skb)->version == 4;
	if (v4 || (skb->len >= sizeof(struct ipv6hdr) && ip_hdr(skb)->version == 6))
		dst = route(net, routes, skb, device);
	if (!dst) {
		kfree_skb(skb);
		return false;
	}
	skb_dst_set(skb, dst);
	skb->dev = dst->dev;
	if (v4) {
		skb->protocol = htons(ETH_P_IP);
		/*
		 * As for what is forwarded, the stack is not to cut by path MTUs that it has
		 * learnt: it believes what anybody says of UDP. KLIPS has cut by what it believes.
		 */
		IPCB(skb)->flags |= IPSKB_FORWARDED;
		skb_set_transport_header(skb, ip_hdr(skb)->ihl * 4);
		sent = ip_local_out(net, NULL, skb);
		return !net_xmit_eval(sent);
	}
#if IS_ENABLED(CONFIG_IPV6)
	skb->protocol = htons(ETH_P_IPV6);
	skb_set_transport_header(skb, sizeof(struct ipv6hdr));
	sent = __ip6_local_out(net, NULL, skb);
	if (sent == 1)
		sent = output6(net, skb);
	return !net_xmit_eval(sent);
#else
	kfree_skb(skb);
	return false;
#endif
}

/*
 * An ipsecN may be attached to a tunnel whose packets are routed to an ipsecN again. The kernel's
 * own limit for devices without a queue, 8, is more than the stack holds with KLIPS in between.
 */
#define MOST_NESTED 2
static DEFINE_PER_CPU(unsigned int, nested);

/*
 * The same; it does not go where it went through ipsecN too often on its way. Takes skb. Any
 * context but hard interrupts.
 */
bool klips_h_transmit(struct net *net, struct klips_routes *routes, struct sk_buff *skb, u32 device)
{
	bool sent = false;

	local_bh_disable();
	if (__this_cpu_inc_return(nested) <= MOST_NESTED) {
		sent = transmit(net, routes, skb, device);
	} else {
		net_warn_ratelimited("klips: a packet went round through ipsecN and its physical "
				     "device, and is dropped\n");
		kfree_skb(skb);
	}
	__this_cpu_dec(nested);
	local_bh_enable();
	return sent;
}

#if IS_ENABLED(CONFIG_IPV6)
static void answer6(struct net *net, struct sk_buff *skb)
{
	struct ipv6hdr *ip = ipv6_hdr(skb);
	struct flowi6 flow = { .daddr = ip->daddr, .flowi6_proto = IPPROTO_ICMPV6 };
	struct dst_entry *dst = ip6_dst_lookup_flow(net, NULL, &flow, NULL);
	struct icmp6hdr *icmp;
	unsigned int len = skb->len - sizeof(*ip);

	if (IS_ERR(dst)) {
		kfree_skb(skb);
		return;
	}
	ip->saddr = flow.saddr;
	skb_set_transport_header(skb, sizeof(*ip));
	icmp = icmp6_hdr(skb);
	icmp->icmp6_cksum = 0;
	icmp->icmp6_cksum = csum_ipv6_magic(&ip->saddr, &ip->daddr, len, IPPROTO_ICMPV6,
					    csum_partial(icmp, len, 0));
	skb_dst_set(skb, dst);
	skb->dev = dst->dev;
	skb->protocol = htons(ETH_P_IPV6);
	ip6_local_out(net, NULL, skb);
}
#endif

/*
 * Sends an ICMP error of this host's own by whatever route there is, from the address that goes
 * with the route. Takes skb. Any context but hard interrupts.
 */
void klips_h_answer(struct net *net, struct sk_buff *skb)
{
	struct flowi4 flow = { .flowi4_proto = IPPROTO_ICMP };
	struct rtable *route;

	forget(skb);
	/* It holds its sender's packet no more. */
	skb_orphan(skb);
	skb->ignore_df = 0;
	if (ip_hdr(skb)->version != 4) {
#if IS_ENABLED(CONFIG_IPV6)
		answer6(net, skb);
#else
		kfree_skb(skb);
#endif
		return;
	}
	flow.daddr = ip_hdr(skb)->daddr;
	route = ip_route_output_flow(net, &flow, NULL);
	if (IS_ERR(route)) {
		kfree_skb(skb);
		return;
	}
	ip_hdr(skb)->saddr = flow.saddr;
	skb_set_transport_header(skb, ip_hdr(skb)->ihl * 4);
	skb_dst_set(skb, &route->dst);
	skb->dev = route->dst.dev;
	skb->protocol = htons(ETH_P_IP);
	ip_local_out(net, NULL, skb);
}

/*
 * Gives an IP packet to the stack as one that dev received. Takes skb. Any context but hard
 * interrupts. "secured": it came through SAs, and firewalls are to see so (nft's "meta ipsec", and
 * "-m policy"), as of what the kernel's own IPsec has decrypted.
 */
void klips_h_deliver(struct net_device *dev, struct sk_buff *skb, bool secured)
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
	if (secured) {
		struct sec_path *path = secpath_set(skb);

		if (path) {
			xfrm_state_hold(ours->state);
			path->xvec[path->len++] = ours->state;
		}
	}
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
	/*
	 * Packets come uncut, unsummed and in pieces: each is copied once, when it is cut or
	 * joined, and summed by the way.
	 */
	dev->features = NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HW_CSUM | NETIF_F_HIGHDMA |
			NETIF_F_GSO_SOFTWARE;
	dev->hw_features = dev->features;
}

/*
 * What stands for KLIPS' SAs on the security path of a packet. It is in no table and has no key. It is
 * of transport mode, since the kernel's own policies, which know nothing of ours, would refuse what
 * came by a tunnel that none of them asks for.
 */
static struct xfrm_state *state_new(struct net *net)
{
	struct xfrm_state *state = xfrm_state_alloc(net);

	if (state) {
		state->id.proto = IPPROTO_ESP;
		state->props.mode = XFRM_MODE_TRANSPORT;
		state->props.family = AF_UNSPEC;
		/* So that the last one who has it may free it. */
		state->km.state = XFRM_STATE_DEAD;
	}
	return state;
}

struct net_device *klips_h_device_new(struct net *net, unsigned int number,
				      const struct net_device_ops *ops, void *host)
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
	ours->state = state_new(net);
	if (!ours->state || gro_cells_init(&ours->cells, dev)) {
		if (ours->state)
			xfrm_state_put(ours->state);
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

/*
 * While it unregisters: what waits in the cells must not reach the stack when nobody waits for the
 * device's users any more.
 */
void klips_h_device_uninit(struct net_device *dev)
{
	struct klips_device *ours = netdev_priv(dev);

	gro_cells_destroy(&ours->cells);
}

/* One that was unregistered, or never registered. */
void klips_h_device_free(struct net_device *dev)
{
	struct klips_device *ours = netdev_priv(dev);

	klips_h_device_uninit(dev);
	xfrm_state_put(ours->state);
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

/* The room that a packet needs which goes out by dev. */
unsigned int klips_h_device_link_header(const struct net_device *dev)
{
	return LL_RESERVED_SPACE(dev);
}

/*
 * Has the stack leave at least so much room in packets for dev from now on; any context, as tunnels
 * do.
 */
void klips_h_device_need_room(struct net_device *dev, unsigned int head, unsigned int tail)
{
	if (head > READ_ONCE(dev->needed_headroom))
		WRITE_ONCE(dev->needed_headroom, head);
	if (tail > READ_ONCE(dev->needed_tailroom))
		WRITE_ONCE(dev->needed_tailroom, tail);
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

/* Each address: its length, 4 or 16, and then its bytes. Answers how many there are, most or more. */
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
		in_dev_for_each_ifa_rcu (ifa, in4) {
			if (n < most) {
				out[n][0] = 4;
				memcpy(&out[n][1], &ifa->ifa_local, 4);
			}
			n++;
		}
	}
#if IS_ENABLED(CONFIG_IPV6)
	in6 = __in6_dev_get(dev);
	if (in6) {
		read_lock_bh(&in6->lock);
		list_for_each_entry (ifa6, &in6->addr_list, if_list) {
			if (n < most) {
				out[n][0] = 16;
				memcpy(&out[n][1], &ifa6->addr, 16);
			}
			n++;
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
