// Package pipenet is a network inside the process: a listener whose
// connections are pipes. Servers and clients that talk over it run in a
// testing/synctest bubble, where a socket would keep time from advancing.
package pipenet

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// The listener's address, and the one that clients have unless they say otherwise.
var (
	serverAddr = netip.AddrPortFrom(loopback, 80)
	loopback   = netip.AddrFrom4([4]byte{127, 0, 0, 1})
)

// ErrRefused is the error of a dial to a listener that is closed.
var ErrRefused = errors.New("connection refused")

// Listener is a [net.Listener] that is reached by its own Dial methods. Make
// one with [Listen], inside the bubble that uses it.
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	port uint16 // of the client dialled last
}

// Listen returns a listener that is ready to be dialled.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{}), port: 40000}
}

// Accept waits for the next connection; after Close it returns [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	select { // a closed listener accepts nothing, even where a client waits
	case <-l.closed:
		return nil, l.opError("accept", net.ErrClosed)
	default:
	}
	select {
	case <-l.closed:
		return nil, l.opError("accept", net.ErrClosed)
	case c := <-l.conns:
		return c, nil
	}
}

// Close refuses the clients that wait and those to come. Connections that
// were accepted stay open, as with sockets. Closing again does nothing.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr returns 127.0.0.1:80, which no real server has.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(serverAddr) }

// DialContext connects to l whatever the network and address, and returns
// once the server accepts. It fits [http.Transport].
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return l.DialFrom(ctx, loopback)
}

// DialFrom is DialContext from a client with the given address, for servers
// that tell clients apart by it.
func (l *Listener) DialFrom(ctx context.Context, from netip.Addr) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, l.opError("dial", err)
	}
	l.mu.Lock()
	l.port++
	remote := netip.AddrPortFrom(from, l.port)
	l.mu.Unlock()

	client, server := net.Pipe()
	select {
	case l.conns <- &conn{server, serverAddr, remote}:
		return &conn{client, remote, serverAddr}, nil
	case <-l.closed:
		return nil, l.opError("dial", ErrRefused)
	case <-ctx.Done():
		return nil, l.opError("dial", ctx.Err())
	}
}

// Client returns an HTTP client all of whose connections go to l, whatever
// the host. Its CloseIdleConnections must be called before a bubble ends.
func (l *Listener) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: l.DialContext}}
}

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "pipe", Addr: l.Addr(), Err: err}
}

// conn is one end of a pipe with addresses like those of TCP, which servers
// take apart to see who calls.
type conn struct {
	net.Conn
	local, remote netip.AddrPort
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }
