// SPDX-License-Identifier: GPL-2.0
#include "proc.h"

struct net *klips_h_seq_net(struct seq_file *file)
{
	return seq_file_net(file);
}

size_t klips_h_seq_number(const struct seq_file *file)
{
	return (size_t)pde_data(file_inode(file->file));
}
