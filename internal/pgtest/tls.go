package pgtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Listen has c listen on the loopback too, in plain text until it has a Certificate,
// and returns on which port. It starts c anew.
func (c *Cluster) Listen(tb testing.TB) int {
	tb.Helper()
	if err := c.Stop(); err != nil {
		tb.Log(err) // the guard tells how the server ended
	}
	port, err := freePort(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	c.port = strconv.Itoa(port)
	c.args = append(c.args, "-c", "listen_addresses=127.0.0.1", "-c", "port="+c.port)
	if err := c.Start(); err != nil {
		tb.Fatal(err)
	}
	return port
}

// freePort finds a port that nobody has, among those that no outgoing connection
// is given: PostgreSQL chooses none by itself.
func freePort(ctx context.Context) (int, error) {
	var last error
	for range 100 {
		port := 10000 + rand.IntN(20000) //nolint:gosec // not a secret
		var l net.Listener
		if l, last = new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); last == nil {
			return port, l.Close()
		}
	}
	return 0, last
}

// Certificate has c, which listens, answer by TLS with a certificate and its key,
// in PEM, and returns when it does.
func (c *Cluster) Certificate(cert, key []byte) error {
	for name, content := range map[string][]byte{"server.crt": cert, "server.key": key} {
		path := filepath.Join(c.dir, "data", name)
		if err := errors.Join(os.WriteFile(path, content, 0o600), own(path)); err != nil {
			return err
		}
	}
	if err := errors.Join(c.Do("alter system set ssl = on"), c.Do("select pg_reload_conf()")); err != nil {
		return err
	}
	want, _ := pem.Decode(cert)
	if want == nil {
		return errors.New("the certificate is not in PEM")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for { // the server reads it in its time
		shown, err := c.shown(ctx)
		if err == nil && bytes.Equal(shown, want.Bytes) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server does not show the certificate: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

var errNoTLS = errors.New("the server refuses TLS")

// shown returns the certificate that c shows, in DER.
func (c *Cluster) shown(ctx context.Context) (der []byte, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", c.port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()                                                               //nolint:errcheck // nothing was sent that counts
	if _, err = conn.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil { // SSLRequest
		return nil, err
	}
	var answer [1]byte
	if _, err = io.ReadFull(conn, answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, errNoTLS
	}
	over := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it only looks
	if err := over.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return over.ConnectionState().PeerCertificates[0].Raw, nil
}
