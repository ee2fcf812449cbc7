/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inline functions of the kernel that sys/proc.rs, sys/sysctl.rs and sys/ioctl.rs need as
 * functions.
 */
#ifndef KLIPS_PROC_H
#define KLIPS_PROC_H
#include <linux/if.h>
#include <linux/netdevice.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/seq_file_net.h>
#include <linux/sockios.h>
#include <linux/sysctl.h>
#include <net/net_namespace.h>

struct proc_dir_entry *klips_h_proc_dir(struct net *net, const char *name,
					struct proc_dir_entry *parent);
struct seq_file *klips_h_file_seq(struct file *file);
struct net *klips_h_seq_net(struct seq_file *file);
size_t klips_h_seq_number(const struct seq_file *file);
#endif
