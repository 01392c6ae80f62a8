package client

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"time"
)

// Memory is what a state file holds, for tests that edit one.
type Memory = memory

// Encode writes a memory as a state file, with a check that fits.
func Encode(m Memory) ([]byte, error) { return m.encode() }

// Decode reads a state file.
func Decode(data []byte) (Memory, error) { return decodeMemory(data) }

// Steady makes a guard call home at a part of the time between the earliest and
// the latest that it may.
func Steady(o Options, part float64) Options {
	o.random = func() float64 { return part }
	return o
}

// SetAside sets a file aside that was read as damaged.
func (c *FileCache) SetAside(read []byte) (moved bool, err error) { return c.setAside(read) }

// SetUptime makes uptime the running time of a guard that was just opened.
func (g *Guard) SetUptime(uptime func() time.Duration) {
	v := *g.view.Load()
	v.line.since = uptime()
	g.ran = uptime
	g.view.Store(&v)
}

// TLSTime is by what the guard's own transport judges certificates.
func (g *Guard) TLSTime() time.Time {
	return g.server.http.Transport.(*transport).current.TLSClientConfig.Time()
}

// TrustCA lets the guard's own transport trust one more authority.
func (g *Guard) TrustCA(pool *x509.CertPool) {
	g.server.http.Transport.(*transport).current.TLSClientConfig.RootCAs = pool
}

// Dial lets the guard's own transport connect by a function.
func (g *Guard) Dial(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	g.server.http.Transport.(*transport).current.DialContext = dial
}

// What the system says of connections.
const (
	ErrReset     = errReset
	ErrNoNetwork = errNoNetwork
)

// RetryAfter reads the header of that name.
func RetryAfter(h http.Header) time.Duration { return retryAfter(h) }
