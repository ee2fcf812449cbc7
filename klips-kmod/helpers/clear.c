// SPDX-License-Identifier: GPL-2.0
/*
 * Netfilter's hooks for packets that arrive in the clear, and the stack's answer to where a packet
 * would go. What may come is decided in Rust.
 */
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <net/ip6_route.h>
#include <net/route.h>
#include "clear.h"

/*
 * The device by which a packet from saddr to daddr would go. NULL: no route, or a blackhole. Under
 * RCU, which keeps the device.
 */
const struct net_device *klips_h_way4(struct net *net, const u8 *saddr, const u8 *daddr)
{
	struct flowi4 fl = { .flowi4_flags = FLOWI_FLAG_ANYSRC };
	const struct net_device *dev;
	struct rtable *rt;

	memcpy(&fl.saddr, saddr, sizeof(fl.saddr));
	memcpy(&fl.daddr, daddr, sizeof(fl.daddr));
	rt = __ip_route_output_key(net, &fl);
	if (IS_ERR(rt))
		return NULL;
	dev = rt->dst.dev;
	ip_rt_put(rt);
	return dev;
}

const struct net_device *klips_h_way6(struct net *net, const u8 *saddr, const u8 *daddr)
{
#if IS_ENABLED(CONFIG_IPV6)
	struct flowi6 fl = {};
	const struct net_device *dev;
	struct dst_entry *dst;

	memcpy(&fl.saddr, saddr, sizeof(fl.saddr));
	memcpy(&fl.daddr, daddr, sizeof(fl.daddr));
	dst = ip6_route_output_flags(net, NULL, &fl, 0);
	dev = dst->error ? NULL : dst->dev;
	dst_release(dst);
	return dev;
#else
	return NULL;
#endif
}

#if IS_ENABLED(CONFIG_NETFILTER)
static klips_arrived_fn *may_go_on;

static unsigned int arrived(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	unsigned int at = skb_network_offset(skb), len;
	u8 buffer[KLIPS_SHOWING];
	const u8 *start;

	if (!state->in || state->in->flags & IFF_LOOPBACK || skb->len < at)
		return NF_ACCEPT;
	len = min_t(unsigned int, skb->len - at, sizeof(buffer));
	start = skb_header_pointer(skb, at, len, buffer);
	if (!start)
		return NF_ACCEPT;
	return may_go_on(state->net, state->in, start, len, state->hook == NF_INET_LOCAL_IN) ?
		       NF_ACCEPT : NF_DROP;
}

/* Once addresses are translated, and before the firewall's filter, which then logs nothing of it. */
static const struct nf_hook_ops hooks[] = {
	{ .hook = arrived,
	  .pf = NFPROTO_IPV4,
	  .hooknum = NF_INET_LOCAL_IN,
	  .priority = NF_IP_PRI_FILTER - 1 },
	{ .hook = arrived,
	  .pf = NFPROTO_IPV4,
	  .hooknum = NF_INET_FORWARD,
	  .priority = NF_IP_PRI_FILTER - 1 },
	{ .hook = arrived,
	  .pf = NFPROTO_IPV6,
	  .hooknum = NF_INET_LOCAL_IN,
	  .priority = NF_IP6_PRI_FILTER - 1 },
	{ .hook = arrived,
	  .pf = NFPROTO_IPV6,
	  .hooknum = NF_INET_FORWARD,
	  .priority = NF_IP6_PRI_FILTER - 1 },
};

int klips_h_clear_watch(struct net *net, klips_arrived_fn *f)
{
	may_go_on = f;
	return nf_register_net_hooks(net, hooks, ARRAY_SIZE(hooks));
}

void klips_h_clear_stop(struct net *net)
{
	nf_unregister_net_hooks(net, hooks, ARRAY_SIZE(hooks));
}
#else
int klips_h_clear_watch(struct net *net, klips_arrived_fn *f)
{
	pr_warn_once("klips: without netfilter packets that come in the clear are not checked\n");
	return 0;
}

void klips_h_clear_stop(struct net *net)
{
}
#endif
