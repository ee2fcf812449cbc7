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
/* An IP header, a UDP header and an SPI. */
#define QUOTE4 (60 + sizeof(struct udphdr) + 4)
#define QUOTE6 (sizeof(struct ipv6hdr) + sizeof(struct udphdr) + 4)

static klips_too_big_fn *tell;

/* Copies what an ICMP error quotes, as much as there is of "most". */
static unsigned int quote(const struct sk_buff *skb, unsigned int at, u8 *out, unsigned int most)
{
	unsigned int len = skb->len > at ? min(skb->len - at, most) : 0;

	return len && !skb_copy_bits(skb, at, out, len) ? len : 0;
}

static unsigned int listen4(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	const struct iphdr *ip = ip_hdr(skb);
	unsigned int at = skb_network_offset(skb) + ip->ihl * 4, len;
	struct icmphdr copy;
	const struct icmphdr *icmp;
	u8 quoted[QUOTE4];

	if (ip->protocol != IPPROTO_ICMP)
		return NF_ACCEPT;
	icmp = skb_header_pointer(skb, at, sizeof(copy), &copy);
	if (!icmp || icmp->type != ICMP_DEST_UNREACH || icmp->code != ICMP_FRAG_NEEDED)
		return NF_ACCEPT;
	len = quote(skb, at + sizeof(copy), quoted, sizeof(quoted));
	if (len < sizeof(struct iphdr) || ((const struct iphdr *)quoted)->protocol != IPPROTO_UDP)
		return NF_ACCEPT;
	if (!nf_ip_checksum(skb, state->hook, at, IPPROTO_ICMP))
		tell(skb->dev, quoted, len, ntohs(icmp->un.frag.mtu));
	return NF_ACCEPT;
}

static unsigned int listen6(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	unsigned int at = skb_network_offset(skb) + sizeof(struct ipv6hdr), len;
	struct icmp6hdr copy;
	const struct icmp6hdr *icmp;
	u8 quoted[QUOTE6];

	if (ipv6_hdr(skb)->nexthdr != IPPROTO_ICMPV6)
		return NF_ACCEPT;
	icmp = skb_header_pointer(skb, at, sizeof(copy), &copy);
	if (!icmp || icmp->icmp6_type != ICMPV6_PKT_TOOBIG)
		return NF_ACCEPT;
	len = quote(skb, at + sizeof(copy), quoted, sizeof(quoted));
	if (len < sizeof(struct ipv6hdr) ||
	    ((const struct ipv6hdr *)quoted)->nexthdr != IPPROTO_UDP)
		return NF_ACCEPT;
	if (!nf_ip6_checksum(skb, state->hook, at, IPPROTO_ICMPV6))
		tell(skb->dev, quoted, len, ntohl(icmp->icmp6_mtu));
	return NF_ACCEPT;
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

int klips_h_icmp_listen(struct net *net, klips_too_big_fn *f)
{
	tell = f;
	return nf_register_net_hooks(net, listeners, ARRAY_SIZE(listeners));
}

void klips_h_icmp_stop(struct net *net)
{
	nf_unregister_net_hooks(net, listeners, ARRAY_SIZE(listeners));
}
#else
int klips_h_icmp_listen(struct net *net, klips_too_big_fn *f)
{
	return 0;
}

void klips_h_icmp_stop(struct net *net)
{
}
#endif
