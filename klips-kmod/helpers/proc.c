// SPDX-License-Identifier: GPL-2.0
#include "proc.h"

struct proc_dir_entry *klips_h_proc_dir(struct net *net, const char *name,
					struct proc_dir_entry *parent)
{
	return proc_net_mkdir(net, name, parent);
}

struct seq_file *klips_h_file_seq(struct file *file)
{
	return file->private_data;
}

struct net *klips_h_seq_net(struct seq_file *file)
{
	return seq_file_net(file);
}

size_t klips_h_seq_number(const struct seq_file *file)
{
	return (size_t)pde_data(file_inode(file->file));
}
