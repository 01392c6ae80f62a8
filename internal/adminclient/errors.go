package adminclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// unreachable says in words why there was no answer, and what to do. The
// caller's own cancellation stays what it is.
func (c *Client) unreachable(ctx context.Context, timeout time.Duration, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, context.Canceled) {
		return cause
	}
	say := func(format string, args ...any) error {
		return license.Errorf(license.Unreachable, format, args...).WithCause(err)
	}
	var late net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &late) && late.Timeout() {
		return say("%s did not answer within %s", c.server, timeout)
	}
	if c.socket != "" {
		return c.socketError(err, say)
	}
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var plain tls.RecordHeaderError
	var dns *net.DNSError
	switch {
	case errors.As(err, &unknown):
		return say("the certificate of %s is signed by nobody that this machine trusts", c.server)
	case errors.As(err, &host):
		return say("the certificate of %s is for another name", c.server)
	case errors.As(err, &invalid):
		return say("the certificate of %s is not valid, or the clock here is wrong", c.server)
	case errors.As(err, &plain):
		return say("%s does not speak TLS", c.server)
	case errors.As(err, &dns):
		return say("the host of %s cannot be found", c.server)
	case errors.Is(err, syscall.ECONNREFUSED):
		return say("nothing listens at %s; is the daemon running with admin.listen set?", c.server)
	}
	return say("%s cannot be reached: %s", c.server, lastPart(err))
}

func (c *Client) socketError(err error, say func(string, ...any) error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return say("no daemon is running here: there is no socket %s; start one with \"licensed serve\", or name its socket with --server", c.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return say("no daemon answers at the socket %s: it has stopped; start it with \"licensed serve\"", c.socket)
	case errors.Is(err, fs.ErrPermission):
		return say("no permission to use the socket %s; run this as the user that runs the daemon", c.socket)
	case errors.Is(err, syscall.ENOTSOCK), errors.Is(err, syscall.EPROTOTYPE):
		return say("%s is not a socket of a daemon", c.socket)
	}
	return say("what answers at the socket %s is not a licensed, or it has just stopped", c.socket)
}

// lastPart is what a transport error says after the address, which the caller
// names in the form that the user knows.
func lastPart(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}
