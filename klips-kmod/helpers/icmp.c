// SPDX-License-Identifier: GPL-2.0
/*
 * What routers say of packets that are too big. Of ESP, AH and IPCOMP the protocols' error handlers
 * hear it (protocol.rs); what is said of ESP in UDP goes to the socket, which is another's, so a
 * netfilter hook listens behind the firewall's.
 */
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <linux/udp.h>
#include "icmp.h"

bool klips_h_icmp_too_big4(const struct sk_buff *skb)
{
	const struct icmphdr *icmp = icmp_hdr(skb);

	return icmp->type == ICMP_DEST_UNREACH && icmp->code == ICMP_FRAG_NEEDED;
}

bool klips_h_icmp_too_big6(u8 type)
{
	return type == ICMPV6_PKT_TOOBIG;
}

#if IS_ENABLED(CONFIG_NETFILTER)
static klips_icmp_fn *tell;

static unsigned int listen4(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	if (ip_hdr(skb)->protocol == IPPROTO_ICMP)
		tell(skb, state->hook);
	return NF_ACCEPT;
}

static unsigned int listen6(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	if (ipv6_hdr(skb)->nexthdr == IPPROTO_ICMPV6)
		tell(skb, state->hook);
	return NF_ACCEPT;
}

/* Whether the sum of an ICMP message is right that begins "at" bytes behind the IP header's start. */
bool klips_h_icmp_sum(struct sk_buff *skb, unsigned int hook, unsigned int at)
{
	at += skb_network_offset(skb);
	if (ip_hdr(skb)->version == 4)
		return !nf_ip_checksum(skb, hook, at, IPPROTO_ICMP);
	return !nf_ip6_checksum(skb, hook, at, IPPROTO_ICMPV6);
}

static const struct nf_hook_ops listeners[] = {
	{ .hook = listen4,
	  .pf = NFPROTO_IPV4,
	  .hooknum = NF_INET_LOCAL_IN,
	  .priority = NF_IP_PRI_LAST },
	{ .hook = listen6,
	  .pf = NFPROTO_IPV6,
	  .hooknum = NF_INET_LOCAL_IN,
	  .priority = NF_IP6_PRI_LAST },
};

int klips_h_icmp_listen(struct net *net, klips_icmp_fn *f)
{
	tell = f;
	return nf_register_net_hooks(net, listeners, ARRAY_SIZE(listeners));
}

void klips_h_icmp_stop(struct net *net)
{
	nf_unregister_net_hooks(net, listeners, ARRAY_SIZE(listeners));
}
#else
bool klips_h_icmp_sum(struct sk_buff *skb, unsigned int hook, unsigned int at)
{
	return false;
}

int klips_h_icmp_listen(struct net *net, klips_icmp_fn *f)
{
	return 0;
}

void klips_h_icmp_stop(struct net *net)
{
}
#endif
