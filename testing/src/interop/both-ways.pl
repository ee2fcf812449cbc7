# Sends /run/data and receives /run/got over one TCP connection, both at once, the last quarter only once /run/rekeyed is there.
# Usage: perl both-ways.pl listen|ADDRESS PORT; prints "SHA-256 sent" and "SHA-256 got".
use strict;
use warnings;
use IO::Socket::INET;

my ($whom, $port) = @ARGV;
alarm 100;
unlink '/run/rekeyed', '/run/got';
my $socket;
if ($whom eq 'listen') {
    my $listener = IO::Socket::INET->new(LocalPort => $port, Listen => 1, ReuseAddr => 1) or die "listen: $@";
    $socket = $listener->accept or die "accept: $!";
} else {
    $socket = IO::Socket::INET->new(PeerAddr => $whom, PeerPort => $port, Timeout => 10) or die "connect: $@";
}

my $writer = fork // die "fork: $!";
if (!$writer) {
    open my $data, '<:raw', '/run/data' or die "data: $!";
    my $size = -s $data;
    for my $part (0 .. 7) {
        if ($part == 6) { select undef, undef, undef, 0.05 until -e '/run/rekeyed' }
        read $data, my $piece, $size / 8;
        while (length $piece) {
            my $sent = syswrite $socket, $piece;
            defined $sent or die "send: $!";
            substr $piece, 0, $sent, '';
        }
        select undef, undef, undef, 0.1;
    }
    shutdown $socket, 1;
    exit;
}
open my $got, '>:raw', '/run/got' or die "got: $!";
while (1) {
    my $read = sysread $socket, my $piece, 65536;
    defined $read or die "receive: $!";
    last if !$read;
    print $got $piece;
}
close $got;
waitpid $writer, 0;
print((split ' ', `sha256sum $_`)[0], "\n") for '/run/data', '/run/got';
