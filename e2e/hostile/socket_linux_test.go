package hostile_test

import (
	"net"

	"golang.org/x/sys/unix"
)

// closed reports whether the other side of c has sent a FIN or a reset.
func closed(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	gone := true
	raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		const established = 1
		gone = err != nil || info.State != established
	})
	return gone
}
